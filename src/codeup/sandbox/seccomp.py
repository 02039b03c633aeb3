"""A system-call filter for the program under test: a deny list in classic BPF, installed without any library.

Denied calls fail with EPERM: new processes, other programs, sockets, tracing, namespaces and mounts, kernel keyrings,
io_uring, bpf, System V memory; signals, limits and scheduling of anyone but oneself. Where no private root keeps the
machine's files away it also refuses what Landlock does not know: owners, extended attributes, truncation by name. There
a change of mode or times is answered with success and not made, because `shutil.copy` of an honest program asks for it.
Covers x86-64 and AArch64. A deny list cannot know calls that are newer than itself: it is one layer of several, never
the only one for files.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from functools import cache

from codeup.sandbox.linux import LIBC, check

# The number of each call on (x86-64, AArch64), None where it does not exist; from the kernel's unistd headers.
CALLS: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "tkill": (200, 130),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "unshare": (272, 97), "setns": (308, 268),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "sethostname": (170, 161), "setdomainname": (171, 162), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "personality": (135, 92),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "lookup_dcookie": (212, 18), "vhangup": (153, 58),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "inotify_add_watch": (254, 27), "io_setup": (206, 0),
    "sync": (162, 81), "syncfs": (306, 267), "quotactl_fd": (443, 443), "process_mrelease": (448, 448),
    "statmount": (457, 457), "listmount": (458, 458), "open_tree_attr": (467, 467),
}  # fmt: skip
ON_FILES: dict[str, tuple[int | None, int | None]] = {
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "truncate": (76, 45),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466),
    "file_setattr": (469, 469), "openat2": (437, 437), "sendmsg": (46, 211), "sendmmsg": (307, 269),
}  # fmt: skip
"""What Landlock lets pass on any file that the user may change (its manual, "Current limitations"); and messages with
descriptors in them, because a file in flight is a file that nobody can count."""

MODES: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
CLONE, CLONE3, KILL, TGKILL, IOCTL = (56, 220), (435, 435), (62, 129), (234, 131), (16, 29)
OPEN, OPENAT, FCNTL, SOCKETPAIR = (2, None), (257, 56), (72, 25), (53, 199)
OF_ONESELF = {
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
}  # fmt: skip
"""Calls whose first argument is a process: 0 or the own number is allowed."""
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

CLONE_THREAD = 0x00010000 | 0x400  # a thread of the same process, with the same table of open files
CLONE_NAMESPACES = 0x7E020000  # CLONE_NEWNS and the other namespaces that clone knows

ALLOWED: dict[str, frozenset[str]] = {
    "python": frozenset(), "exec": frozenset(("execve",)),
    "processes": frozenset(("execve", "fork", "vfork")),
}  # fmt: skip
"""Calls of the deny list that a kind of program needs."""

OTHERS_DEVICES = (0x5412, 0x541C, 0x8901, 0x8902, 0x40086602, 0x401C5820)
"""ioctl: TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR."""

SET_OWNER = (8, 15)
"""fcntl: F_SETOWN, F_SETOWN_EX, by which the kernel sends a signal for someone else."""

CONNECTED = tuple(kind | flags for kind in (1, 5) for flags in (0, 0x800, 0x80000, 0x80800))
"""Socket pairs of streams and packets. Half of a datagram pair could write to any socket that has a name."""

O_TRUNC, O_ACCMODE = 0x200, 3
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
QUIET, DENY, NO_SUCH_CALL = 0x00050000, 0x00050000 | 1, 0x00050000 | 38  # SECCOMP_RET_ERRNO | 0, | EPERM, | ENOSYS
LOAD, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
FIRST_ARGUMENT, SECOND_ARGUMENT, THIRD_ARGUMENT = 16, 24, 32  # their low words


SOMEBODY = 0x7ABCDEF1  # a process number that no system gives out


def available() -> bool:
    """Whether this machine's architecture is covered."""
    return os.uname().machine in ARCHITECTURES


def program(machine: str, own_pid: int, *, guard_files: bool = True, mode: str = "python") -> bytes:
    """The filter as an array of struct sock_filter {u16 code; u8 jump_true, jump_false; u32 k}.

    `guard_files` adds the calls that only matter where the machine's own files can be named. `mode` says what the
    program under test is: "python", which starts nothing; "exec", which may become another program and have threads;
    "processes", a compiler or a shell, which may start processes (never in new namespaces).
    """
    column, audit = ARCHITECTURES[machine]
    lines: list[tuple[int, int, int, int]] = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL_PROCESS), (LOAD, 0, 0, NUMBER),
    ]  # fmt: skip
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, DENY)]  # the x32 numbering of the same calls
    tables = [(CALLS, DENY), (ON_FILES, DENY), (MODES, QUIET)] if guard_files else [(CALLS, DENY)]
    allowed = ALLOWED[mode]
    for table, answer in tables:
        for name, numbers in table.items():
            if numbers[column] is not None and name not in allowed:
                lines += [(EQUAL, 0, 1, numbers[column] or 0), (RETURN, 0, 0, answer)]
    # C libraries fall back to clone when clone3 is missing; only clone's flags can be looked at
    lines += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, NO_SUCH_CALL)]
    if mode == "processes":
        lines += _look(CLONE[column], FIRST_ARGUMENT, [0], hit=ALLOW, miss=DENY, mask=CLONE_NAMESPACES)
    else:
        lines += _look(CLONE[column], FIRST_ARGUMENT, [CLONE_THREAD], hit=ALLOW, miss=DENY, mask=CLONE_THREAD)
    for call in (KILL, TGKILL):
        lines += _look(call[column], FIRST_ARGUMENT, [own_pid], hit=ALLOW, miss=DENY)
    for call in OF_ONESELF.values():
        lines += _look(call[column], FIRST_ARGUMENT, [0, own_pid], hit=ALLOW, miss=DENY)
    lines += _look(SOCKETPAIR[column], SECOND_ARGUMENT, CONNECTED, hit=ALLOW, miss=DENY)
    lines += _look(FCNTL[column], SECOND_ARGUMENT, SET_OWNER, hit=DENY, miss=ALLOW)
    lines += _look(IOCTL[column], SECOND_ARGUMENT, OTHERS_DEVICES, hit=DENY, miss=ALLOW)
    if guard_files:  # a file opened for reading alone can still be emptied, and old Landlocks do not see it
        for number, argument in ((OPEN[column], SECOND_ARGUMENT), (OPENAT[column], THIRD_ARGUMENT)):
            lines += _look(number, argument, [O_TRUNC], hit=DENY, miss=ALLOW, mask=O_TRUNC | O_ACCMODE)
    lines += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _look(
    call: int | None, argument: int, values: Sequence[int], *, hit: int, miss: int, mask: int = 0
) -> list[tuple[int, int, int, int]]:
    """Answer one call by its argument: `hit` if it, or its part in `mask`, is one of the values, or `miss`."""
    if call is None:
        return []
    load = [(LOAD, 0, 0, argument), *([(AND, 0, 0, mask)] if mask else [])]
    tests = [(EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    body = [*load, *tests, (RETURN, 0, 0, miss), (RETURN, 0, 0, hit)]
    return [(EQUAL, 0, len(body), call), *body]


@cache
def template(guard_files: bool, mode: str = "python") -> bytes:
    """The filter of this machine for the process SOMEBODY; made once in the zygote, so that no child has to."""
    return program(os.uname().machine, SOMEBODY, guard_files=guard_files, mode=mode)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(own_pid: int, *, guard_files: bool = True, mode: str = "python") -> None:
    """Install the filter in this process, for good; needs no_new_privs. Raises OSError."""
    code = template(guard_files, mode).replace(struct.pack("=I", SOMEBODY), struct.pack("=I", own_pid))
    head = _Program(len(code) // 8, code)
    check(LIBC.prctl(22, 2, ctypes.byref(head), 0, 0), "seccomp")  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
