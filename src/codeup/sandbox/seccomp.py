"""A system-call filter for the program under test: a deny list in classic BPF, installed without any library.

Denied calls fail with EPERM: new processes, other programs, sockets, tracing, namespaces and mounts, kernel keyrings,
io_uring, bpf, System V memory, and signals to anyone but oneself. Covers x86-64 and AArch64. A deny list cannot know
calls that are newer than itself: it is one layer of several, never the only one for files.
"""

from __future__ import annotations

import ctypes
import os
import struct

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
}  # fmt: skip
CLONE, CLONE3, KILL, TGKILL, IOCTL = (56, 220), (435, 435), (62, 129), (234, 131), (16, 29)
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

CLONE_THREAD = 0x00010000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
DENY, NO_SUCH_CALL = 0x00050000 | 1, 0x00050000 | 38  # SECCOMP_RET_ERRNO | EPERM, | ENOSYS
LOAD, EQUAL, AT_LEAST, BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT = 0, 4, 16, 24  # offsets in struct seccomp_data, low words


def available() -> bool:
    """Whether this machine's architecture is covered."""
    return os.uname().machine in ARCHITECTURES


def program(machine: str, own_pid: int) -> bytes:
    """The filter as an array of struct sock_filter {u16 code; u8 jump_true, jump_false; u32 k}."""
    column, audit = ARCHITECTURES[machine]
    lines: list[tuple[int, int, int, int]] = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL_PROCESS), (LOAD, 0, 0, NUMBER),
    ]  # fmt: skip
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, DENY)]  # the x32 numbering of the same calls
    for numbers in CALLS.values():
        if numbers[column] is not None:
            lines += [(EQUAL, 0, 1, numbers[column] or 0), (RETURN, 0, 0, DENY)]
    # C libraries fall back to clone when clone3 is missing; only clone's flags can be looked at
    lines += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, NO_SUCH_CALL)]
    lines += _only_if(CLONE[column], FIRST_ARGUMENT, (BITS, 0, 1, CLONE_THREAD))
    lines += _only_if(KILL[column], FIRST_ARGUMENT, (EQUAL, 0, 1, own_pid))
    lines += _only_if(TGKILL[column], FIRST_ARGUMENT, (EQUAL, 0, 1, own_pid))
    lines += [(EQUAL, 0, 4, IOCTL[column]), (LOAD, 0, 0, SECOND_ARGUMENT), (EQUAL, 1, 0, TIOCSTI)]
    lines += [(EQUAL, 0, 1, TIOCLINUX), (RETURN, 0, 0, DENY), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _only_if(call: int, argument: int, test: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """Allow one call only where the test on its argument holds."""
    return [(EQUAL, 0, 4, call), (LOAD, 0, 0, argument), test, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, DENY)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(own_pid: int) -> None:
    """Install the filter in this process, for good; needs no_new_privs. Raises OSError."""
    code = program(os.uname().machine, own_pid)
    head = _Program(len(code) // 8, code)
    check(LIBC.prctl(22, 2, ctypes.byref(head), 0, 0), "seccomp")  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
