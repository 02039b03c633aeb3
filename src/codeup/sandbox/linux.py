"""The few Linux calls the sandbox needs, through ctypes: namespaces, mounts, capabilities, no_new_privs, Landlock.

Every function raises OSError with the name of the step. Nothing here decides policy; that is layers.py.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Any

LIBC: Any = ctypes.CDLL(None, use_errno=True)

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MS_REMOUNT, MNT_DETACH = 32, 2
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_SYS_MOUNT_SETATTR, _SYS_LANDLOCK = 442, (444, 445, 446)  # the same on every architecture
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

READ_FILE, READ_DIR, EXECUTE, WRITE_FILE, TRUNCATE, IOCTL_DEV = 1 << 2, 1 << 3, 1 << 0, 1 << 1, 1 << 14, 1 << 15
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_ACCESS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ACCESS_NEWEST = (1 << 16) - 1


def check(result: int, what: str) -> int:
    """The result of a C call, or OSError with errno and the name of the step."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones."""
    check(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), os.fsencode(target), kind.encode() if kind else None)
    check(LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {target}")


def bind_read_only(source: str, target: str, *, devices: bool = False) -> None:
    """Show `source` at `target`, read-only with everything mounted below it."""
    mount(source, target, None, MS_BIND | MS_REC)
    flags = _ATTR_NOSUID | (0 if devices else _ATTR_RDONLY | _ATTR_NODEV)
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)
    check(
        LIBC.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, len(attributes)),
        f"read-only {target}",
    )


def fix_addresses() -> None:
    """No random addresses for what this process becomes (personality(2), ADDR_NO_RANDOMIZE)."""
    check(LIBC.personality(0x0040000), "personality")


def pivot_into(root: str) -> None:
    """Make the mount at `root` the root of this process and let go of the old one."""
    os.chdir(root)
    check(LIBC.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(LIBC.umount2(b".", MNT_DETACH), "umount the old root")
    os.chdir("/")


def unmount(path: str) -> None:
    """Let go of the mount at `path`, if there is one."""
    LIBC.umount2(os.fsencode(path), MNT_DETACH)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    check(LIBC.prctl(1, 9, 0, 0, 0), "PR_SET_PDEATHSIG")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    check(LIBC.prctl(36, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER")


def no_new_privileges() -> None:
    """No execve may gain privileges from here on; needed by seccomp and Landlock."""
    check(LIBC.prctl(38, 1, 0, 0, 0), "no_new_privs")


def bound_capabilities() -> None:
    """No program started from here on can gain a capability; those in force stay until `drop_capabilities`."""
    for capability in range(64):
        if LIBC.prctl(24, capability, 0, 0, 0) < 0:  # PR_CAPBSET_DROP; EINVAL past the last one
            break


def drop_capabilities() -> None:
    """Empty every capability set and lock it empty, uid 0 included."""
    LIBC.prctl(28, 0x2F, 0, 0, 0)  # PR_SET_SECUREBITS: NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off, all locked; best effort
    LIBC.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header, nothing = struct.pack("=II", 0x20080522, 0), bytes(24)
    check(LIBC.capset(header, nothing), "capset")


def landlock_abi() -> int:
    """The Landlock version of the running kernel, 0 if there is none."""
    return max(0, LIBC.syscall(_SYS_LANDLOCK[0], None, 0, 1))


class Landlock:
    """An allow list of paths. Everything not added is refused, as are TCP (ABI 4) and signals outwards (ABI 6)."""

    def __init__(self) -> None:
        abi = landlock_abi()
        self.handled = _ACCESS_OF_ABI.get(abi, _ACCESS_NEWEST)
        fields = [self.handled]
        if abi >= 4:
            fields.append(0b11)
        if abi >= 6:
            fields.append(0b11)
        attributes = struct.pack(f"={len(fields)}Q", *fields)
        self.ruleset = check(LIBC.syscall(_SYS_LANDLOCK[0], attributes, len(attributes), 0), "landlock")

    def allow(self, path: str, access: int) -> None:
        """Allow `access` on a file, or on a folder and everything below it. A path that is gone is not allowed."""
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            wanted = access & self.handled & (-1 if os.path.isdir(path) else _ON_FILES)
            if not wanted:  # listing, on something that is not a folder
                return
            rule = struct.pack("=Qi", wanted, handle)
            check(LIBC.syscall(_SYS_LANDLOCK[1], self.ruleset, 1, rule, 0), f"landlock {path}")
        finally:
            os.close(handle)

    def allow_all(self, paths: Iterable[str], access: int) -> None:
        """`allow` for each path."""
        for path in paths:
            self.allow(path, access)

    def enforce(self) -> None:
        """Restrict this process, for good."""
        check(LIBC.syscall(_SYS_LANDLOCK[2], self.ruleset, 0), "landlock")
        os.close(self.ruleset)
