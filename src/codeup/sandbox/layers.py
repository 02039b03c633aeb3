"""Isolation, stacked from whatever the machine allows, in two moments: once for the zygote, then for every child.

    zygote   user, mount, network, pid, ipc, uts namespaces; a private root with only the interpreter in it
    child    its own in-memory scratch folder; limits; no capabilities; no_new_privs; Landlock; seccomp

A layer that the machine refuses is left out and is missing from the list that every result carries. `level` says
whether what is left still keeps files and the network apart; where it does not, the pool refuses to run.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeup.sandbox import linux, root, seccomp

OUTSIDE_UID = 65534
"""Whom the program is to the rest of the machine when CodeUp runs as root: nobody."""


@dataclass(slots=True)
class Isolation:
    """What the zygote reached, and what each child still has to do."""

    layers: list[str] = field(default_factory=list)
    scratch: str = ""
    scratch_is_private: bool = False
    landlock_paths: list[str] = field(default_factory=list)
    landlock: bool = False
    seccomp: bool = False
    become: int | None = None

    def add(self, *layers: str) -> None:
        """Note layers that hold."""
        self.layers += layers


def level(layers: list[str]) -> str:
    """One word for a list of layers: strong, confined or weak.

    >>> level(["private-root", "network-namespace", "pid-namespace", "seccomp"])
    'strong'
    >>> level(["landlock-7", "seccomp"]), level(["limits"])
    ('confined', 'weak')

    Without seccomp a program can start processes and change the limits of others, so nothing is called strong.
    """
    files = "private-root" in layers, any(layer.startswith("landlock") for layer in layers)
    network = "network-namespace" in layers or "seccomp" in layers
    if {"private-root", "network-namespace", "pid-namespace", "seccomp"} <= set(layers):
        return "strong"
    return "confined" if any(files) and network else "weak"


def isolate_zygote(config: Mapping[str, Any], map_ids: Callable[[], None]) -> Isolation:
    """Leave the machine's namespaces; returns in a process that is alone in its own (the original one waits for it).

    `map_ids` asks the trusted parent to map uid and gid 0 of the new user namespace to nobody; only root's needs that.
    """
    isolation = Isolation(scratch=os.path.join(config["folder"], "scratch"))
    secret = root.hidden([*root.readable(), *config["show"]], list(config["hide"]))
    off = set(config["off"])
    if sys.platform == "linux" and "namespaces" not in off:
        (_as_root if os.geteuid() == 0 else _as_user)(isolation, config, secret, map_ids)
    if sys.platform == "linux" and os.geteuid() == 0 and "user-namespace" not in isolation.layers:
        _become_nobody(isolation, config)
    if isolation.scratch != root.SCRATCH:
        _host_scratch(isolation, config)
    isolation.landlock = sys.platform == "linux" and "landlock" not in off and linux.landlock_abi() > 0
    if isolation.landlock:
        isolation.add(f"landlock-{linux.landlock_abi()}")
        if "private-root" not in isolation.layers:
            isolation.landlock_paths = [*root.without(root.readable(), secret), *config["packages"].values()]
    if (
        sys.platform == "linux"
        and "seccomp" not in off
        and seccomp.available()
        and linux.LIBC.prctl(21, 0, 0, 0, 0) >= 0
    ):
        isolation.seccomp = True
        isolation.add("seccomp")
    if isolation.seccomp:
        seccomp.template("private-root" not in isolation.layers)
        if config["show"]:
            for mode in ("exec", "processes"):
                seccomp.template(False, mode)
    if sys.platform == "linux":
        linux.bound_capabilities()
    isolation.add("limits", "empty-environment")
    return isolation


def _as_root(isolation: Isolation, config: Mapping[str, Any], secret: list[str], map_ids: Callable[[], None]) -> None:
    """Root builds the private root first (only root can read its own home), then becomes nobody in a user namespace."""
    _private_root(isolation, config, secret, linux.NEWNS)
    with contextlib.suppress(OSError):
        linux.unshare(linux.NEWUSER | linux.NEWNS)
        map_ids()
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        isolation.add("user-namespace")
        if "private-root" not in isolation.layers:  # refused to root itself, as in a container
            _private_root(isolation, config, secret, linux.NEWNS)
    _separate(isolation)


def _become_nobody(isolation: Isolation, config: Mapping[str, Any]) -> None:
    """Without a user namespace root's programs run as nobody, where that works; it is tried in a fork.

    A Python below /root cannot be read by nobody; and a scratch on disk needs a look at the program's open files, which
    a container may deny its root. There the program stays uid 0, without any capability.
    """
    needed = root.readable() if isolation.scratch_is_private else [*root.readable(), *config["packages"].values()]
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            set_ids(OUTSIDE_UID)
            os.write(tell, b"y" if all(os.access(path, os.R_OK) for path in needed) else b"n")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    works = os.read(told, 1) == b"y" and (isolation.scratch_is_private or _may_look_into(child))
    os.close(told)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if works:
        isolation.become = OUTSIDE_UID
        isolation.add("nobody")


def _may_look_into(process: int) -> bool:
    try:
        return bool([os.stat(f"/proc/{process}/fd/{number}") for number in os.listdir(f"/proc/{process}/fd")])
    except OSError:
        return False


def set_ids(number: int) -> None:
    """Be this user and group, and in no other group."""
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)


def _as_user(isolation: Isolation, config: Mapping[str, Any], secret: list[str], map_ids: Callable[[], None]) -> None:
    """An ordinary user needs the user namespace first; everything else follows from it."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(linux.NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        return
    isolation.add("user-namespace")
    _private_root(isolation, config, secret, linux.NEWNS)
    _separate(isolation)


def _private_root(isolation: Isolation, config: Mapping[str, Any], secret: list[str], flags: int) -> None:
    try:
        linux.unshare(flags)
        private = root.PrivateRoot(config["folder"])
        try:
            private.build(secret, config["packages"], config["show"], proc=config["proc"])
            private.enter()
        except OSError:
            linux.unmount(config["folder"])
            raise
    except OSError as error:
        isolation.add(f"(no private root: {error})")
        return
    isolation.add("private-root")
    isolation.scratch = root.SCRATCH
    isolation.scratch_is_private = True


def _separate(isolation: Isolation) -> None:
    """Own network, ipc and host names; then a pid namespace, entered by a fork whose child is its process 1."""
    wanted = (("network-namespace", linux.NEWNET), ("ipc-namespace", linux.NEWIPC), ("uts-namespace", linux.NEWUTS))
    for name, flag in wanted:
        with contextlib.suppress(OSError):
            linux.unshare(flag)
            isolation.add(name)
    with contextlib.suppress(OSError):
        linux.unshare(linux.NEWPID)
        child = os.fork()
        if child:
            os._exit(_wait_for(child))
        linux.die_with_parent()
        isolation.add("pid-namespace")


def _wait_for(child: int) -> int:
    """Hold nothing open and end when process 1 of the namespace ends."""
    os.closerange(3, 256)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


def _host_scratch(isolation: Isolation, config: Mapping[str, Any]) -> None:
    """Without a private root the scratch is a real folder, emptied by the zygote after every sample."""
    os.makedirs(isolation.scratch, exist_ok=True)
    root.link_packages(os.path.join(config["folder"], "packages"), config["packages"])
    if isolation.become is not None:
        os.chown(isolation.scratch, isolation.become, isolation.become)


def isolate_child(isolation: Isolation, limits: Mapping[str, Any]) -> None:
    """Give up everything, in the child that will run the program. Raises OSError if a promised layer does not hold."""
    os.setsid()
    if isolation.scratch_is_private:
        linux.unshare(linux.NEWNS)
        size = f"size={limits['scratch_mb']}m,nr_inodes=4096,mode=777"
        linux.mount("tmpfs", isolation.scratch, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)
    os.chdir(isolation.scratch)
    set_limits(limits, isolation)
    if isolation.become is not None:
        set_ids(isolation.become)
    if sys.platform == "linux":
        linux.drop_capabilities()
        linux.no_new_privileges()
    if isolation.landlock:
        _landlock(isolation)
    if isolation.seccomp:
        seccomp.install(os.getpid(), guard_files="private-root" not in isolation.layers)


def _landlock(isolation: Isolation) -> None:
    rules = linux.Landlock()
    read = linux.READ_FILE | linux.READ_DIR
    if isolation.landlock_paths:
        packages = os.path.join(os.path.dirname(isolation.scratch), "packages")
        rules.allow_all([*isolation.landlock_paths, packages], read)
        rules.allow_all(root.readable(), linux.READ_DIR)  # names may be listed everywhere, or imports find nothing
        rules.allow_all(root.DEVICES[1:], linux.READ_FILE)
    else:
        rules.allow("/", read)
    rules.allow("/dev/null", linux.READ_FILE | linux.WRITE_FILE)
    rules.allow(isolation.scratch, rules.handled & ~linux.EXECUTE)
    rules.enforce()


def set_limits(limits: Mapping[str, Any], isolation: Isolation) -> None:
    """Kernel limits of one process, never above the hard limits already in force."""
    memory, size = limits["memory_mb"] << 20, limits["scratch_mb"] << 20
    seconds = math.ceil(limits["cpu_s"])
    wanted: list[tuple[str, int, int]] = [
        ("RLIMIT_AS", memory, memory),
        ("RLIMIT_CPU", seconds, seconds + 1),
        ("RLIMIT_FSIZE", size, size),
        ("RLIMIT_STACK", limits["stack_mb"] << 20, limits["stack_mb"] << 20),
        ("RLIMIT_NOFILE", limits["files"], limits["files"]),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_MSGQUEUE", 0, 0),
    ]
    if "user-namespace" in isolation.layers:  # elsewhere it would count every process the user has on the machine
        wanted.append(("RLIMIT_NPROC", limits["threads"], limits["threads"]))
    for name, soft, hard in wanted:
        which = getattr(resource, name, None)
        if which is None:
            continue
        _, ceiling = resource.getrlimit(which)
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        try:
            resource.setrlimit(which, (soft, hard))
        except (ValueError, OSError):
            if sys.platform == "linux":  # macOS refuses some of these (cpython#78783)
                raise
