"""Runs a whole program with other people's tools: files in a scratch, then steps (compile, run), each its own process.

    referee -> supervisor   {"files": {"main.cpp": text}, "steps": [step, ...], "secret": "9f3c..."}
    supervisor -> referee   ["isolated"] before a program, then {"steps": [{"status", "cpu_s", "wall_s", "timed_out",
                            "flooded", "out", "err", "proof", "memory_mb", "waited"}, ...]}; the last step is the first
                            that failed

    step    {"argv": [...], "env": {...}, "stdin": "secret" or "", or instead "stdin_text": a text of its own,
             "processes": bool, "cpu_s", "wall_s",
             "address_mb" (RLIMIT_AS, 0 for none), "data_mb" (RLIMIT_DATA), "quiet": bool, "kept": bytes of an output,
             "fixed_addresses": bool}
    to look at   "data": {path: base64} besides files, "collect": {"files": 20, "bytes": 4000000} in the request
                 "made": {path: base64}, "others": 0 in the answer

The supervisor is ours, sits inside the zygote's namespaces, in a mount namespace of its own, and stays for one program
after another: between two of them no process is left, and the scratch is another, empty one. Every step is a fork of it
that gives up everything (limits, capabilities, Landlock, seccomp) and becomes the tool. A step's program may replace
itself by another but may not start one, unless `processes` (compilers, a shell).
One that ran out of time `waited` where it used less than 1 % of it: a processor to itself would not have helped.

`proof` is what stood behind the secret on a line of standard output, or "": the secret goes to the program's harness on
standard input, so a program that ends before its checks has nothing to print. Whatever a step leaves behind is killed.
Does not see the memory of a whole process tree: limits are per process, and what a tree can hold is their product.
"""

from __future__ import annotations

import base64
import contextlib
import os
import resource
import select
import signal
import socket
import stat
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from codeup.sandbox import layers, linux, seccomp, wire
from codeup.sandbox.limits import LEAST_SHARE, STARVED, starves

KEPT = 4000
"""Bytes kept of the beginning and of the end of what a step says."""

FLOOD_MB = 64
"""What a step may print; more ends it."""


def serve(channel: socket.socket, isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
    """One program after another: its files, its steps, their results; until the channel closes.

    Raises OSError outside a pid namespace and a private root, or where a scratch cannot be replaced.
    """
    if "pid-namespace" not in isolation.layers or not isolation.scratch_is_private:
        raise OSError("whole programs run only in a pid namespace with a private root")
    linux.adopt_orphans()  # their CPU time counts, also where the shell that started them is killed
    prepare(isolation, limits)
    while True:
        wire.send(channel, ["isolated"])
        request = wire.receive(channel)
        wire.send(channel, _program(request, isolation, limits))
        os.chdir("/")
        linux.unmount(isolation.scratch)
        _empty_scratch(isolation, limits)


def _program(request: Mapping[str, Any], isolation: layers.Isolation, limits: Mapping[str, Any]) -> dict[str, Any]:
    """What became of one program."""
    for path, text in request["files"].items():
        _write(path, text.encode(errors="surrogatepass"))
    for path, text in request.get("data", {}).items():
        _write(path, base64.b64decode(text))
    done: list[dict[str, Any]] = []
    for step in request["steps"]:
        done.append(Step(step, request["secret"], isolation, limits).run())
        if done[-1]["status"] != 0:
            break
    _kill_the_rest()
    made = _made(request["collect"], {*request["files"], *request["data"]}) if "collect" in request else {}
    return {"steps": done, **made}


def prepare(isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
    """A session, and a mount namespace with an empty scratch in memory."""
    os.setsid()
    linux.unshare(linux.NEWNS)
    _empty_scratch(isolation, limits)


def _empty_scratch(isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
    """A scratch that no program has seen, and to be in it."""
    size = f"size={limits['scratch_mb']}m,nr_inodes=16384,mode=777"
    linux.mount("tmpfs", isolation.scratch, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)
    os.chdir(isolation.scratch)


def _write(path: str, data: bytes) -> None:
    """A file below the scratch; names come from a language room or were checked by the caller, not by the program."""
    assert not path.startswith("/") and ".." not in path.split("/"), path
    if folder := os.path.dirname(path):
        os.makedirs(folder, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def _made(most: Mapping[str, int], given: set[str]) -> dict[str, Any]:
    """The regular files that a program left in the scratch, besides those it was given: {path: base64}, and how many
    others there were (links, too large, too many). Names that begin with a dot are a tool's own and not counted."""
    files: dict[str, str] = {}
    others, left = 0, most["bytes"]
    for folder, folders, names in os.walk("."):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(name for name in names if not name.startswith(".")):
            path = os.path.join(folder, name)[2:]
            if path in given:
                continue
            try:
                number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(number, "rb") as file:
                    regular = stat.S_ISREG(os.fstat(number).st_mode)
                    data = file.read(left + 1) if regular and len(files) < most["files"] else None
            except OSError:
                data = None
            if data is None or len(data) > left:
                others += 1
                continue
            left -= len(data)
            files[path.encode(errors="backslashreplace").decode()] = base64.b64encode(data).decode()
    return {"made": files, "others": others}


def _kill_the_rest() -> None:
    """Kill every other process of the namespace but its first, and reap our own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


class _Stream:
    """One output of a step: its beginning, its end, how much it was, and what stood behind the secret."""

    def __init__(self, number: int, secret: bytes, kept: int = KEPT) -> None:
        self.number, self.secret, self.kept = number, secret, kept
        self.head, self.tail, self.size, self.proof = b"", b"", 0, ""
        os.set_blocking(number, False)

    def read(self) -> bool:
        """Take what there is; False at the end of the stream."""
        try:
            data = os.read(self.number, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        self.size += len(data)
        seen = self.tail + data
        if self.secret and not self.proof and (place := seen.rfind(self.secret)) >= 0:
            line, end, _ = seen[place + len(self.secret) :].partition(b"\n")
            if end:  # else the rest of the line is still to come, and the secret is in the tail
                self.proof = line.decode(errors="replace").strip()[:20] or "-"
        self.head += data[: self.kept - len(self.head)]
        self.tail = seen[-self.kept :]
        return True

    def text(self) -> str:
        """The beginning, and the end where something was left out between them."""
        if self.size <= self.kept:
            data = self.head
        elif self.size <= 2 * self.kept:
            data = self.head + self.tail[self.kept - self.size :]
        else:
            data = self.head + b"\n...\n" + self.tail
        text = data.decode(errors="replace")
        return text.replace(self.secret.decode(), "") if self.secret else text


def _input(text: str) -> int:
    """The standard input of a step, to be read from its beginning: a pipe, or a file in memory for what is long."""
    data = text.encode(errors="surrogatepass")
    if len(data) <= 4096:
        read, write = os.pipe()
    else:
        read = write = os.memfd_create("input")
    while data:
        data = data[os.write(write, data) :]
    if read == write:
        os.lseek(read, 0, os.SEEK_SET)
    else:
        os.close(write)
    return read


class Step:
    """One process from fork to its end."""

    def __init__(
        self, step: Mapping[str, Any], secret: str, isolation: layers.Isolation, limits: Mapping[str, Any]
    ) -> None:
        self.step, self.isolation, self.limits = step, isolation, limits
        self.secret = secret if step["stdin"] else ""
        self.idle = False

    def run(self) -> dict[str, Any]:
        """Start it, drain it, end it in time; what the kernel and its outputs say."""
        pipes = [os.pipe() for _ in range(3)]
        (out, out_write), (err, err_write), (broken, broken_write) = pipes
        in_read = _input(self.step.get("stdin_text", self.secret and self.secret + "\n"))
        start, before_s = time.monotonic(), _children_s()
        child = os.fork()
        if child == 0:
            self.become(in_read, out_write, err_write, broken_write)
        for number in (in_read, out_write, err_write, broken_write):
            os.close(number)
        try:
            if why := os.read(broken, 500):
                raise OSError(f"{self.step['argv'][0]}: {why.decode(errors='replace')}")
            kept = self.step.get("kept", KEPT)
            streams = [_Stream(out, self.secret.encode(), kept), _Stream(err, b"", kept)]
            late, flooded = self._watch(child, streams, start)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
        _kill_the_rest()
        for stream in streams:
            for _ in range(32):  # what is left in the pipe: 64 KB at most, and nobody writes any more
                before = stream.size
                if not stream.read() or stream.size == before:
                    break
        for number in (out, err, broken):
            os.close(number)
        return {
            "status": status, "cpu_s": round(usage.ru_utime + usage.ru_stime, 4), "timed_out": late,
            "wall_s": round(time.monotonic() - start, 4), "flooded": flooded, "memory_mb": usage.ru_maxrss >> 10,
            "out": "" if self.step.get("quiet") else streams[0].text(), "err": streams[1].text(),
            "waited": late and self.idle and not (self.step["processes"] and _computed(before_s, start)),
            "proof": streams[0].proof, "printed": streams[0].size + streams[1].size, "out_bytes": streams[0].size,
        }  # fmt: skip

    def _watch(self, child: int, streams: list[_Stream], start: float) -> tuple[bool, bool]:
        """Drain until the process ends; whether it was late, whether it printed too much."""
        ended = os.pidfd_open(child)
        try:
            waiting = {stream.number: stream for stream in streams}
            windows, used = 1, 0.0
            while True:
                left = start + windows * self.step["wall_s"] - time.monotonic()
                if left <= 0:
                    before, used = used, cpu_s(child)
                    self.idle = used - before < LEAST_SHARE * self.step["wall_s"]
                    if self.step["processes"] or windows == STARVED or not starves(used - before, self.step["wall_s"]):
                        return True, False
                    windows += 1
                    continue
                ready, _, _ = select.select([ended, *waiting], [], [], left)
                for number in ready:
                    if number in waiting and not waiting[number].read():
                        del waiting[number]
                if sum(stream.size for stream in streams) > FLOOD_MB << 20:
                    return False, True
                if ended in ready:
                    return False, False
        finally:
            os.close(ended)

    def become(self, in_read: int, out_write: int, err_write: int, broken: int) -> NoReturn:
        """In the fork: give up everything and become the tool."""
        try:
            os.set_inheritable(broken, False)
            for number, target in ((in_read, 0), (out_write, 1), (err_write, 2)):
                os.dup2(number, target)
            os.closerange(3, broken)
            os.closerange(broken + 1, 4096)
            os.setsid()
            self._limits()
            if self.step.get("fixed_addresses"):
                linux.fix_addresses()
            if self.isolation.become is not None:
                layers.set_ids(self.isolation.become)
            linux.drop_capabilities()
            linux.no_new_privileges()
            if self.isolation.landlock:
                _landlock(self.isolation.scratch)
            if self.isolation.seccomp:
                mode = "processes" if self.step["processes"] else "exec"
                seccomp.install(os.getpid(), guard_files=False, mode=mode)
            os.execve(self.step["argv"][0], self.step["argv"], self.step["env"])
        except BaseException as error:
            os.write(broken, f"{type(error).__name__}: {error}".encode()[:500])
        os._exit(127)

    def _limits(self) -> None:
        unlimited = resource.RLIM_INFINITY
        step, size = self.step, self.limits["scratch_mb"] << 20
        seconds = max(1, round(step["cpu_s"]))
        wanted = [
            (resource.RLIMIT_AS, step["address_mb"] << 20 or unlimited), (resource.RLIMIT_DATA, step["data_mb"] << 20),
            (resource.RLIMIT_FSIZE, size), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_STACK, self.limits["stack_mb"] << 20), (resource.RLIMIT_NOFILE, self.limits["files"]),
        ]  # fmt: skip
        if "user-namespace" in self.isolation.layers:
            wanted.append((resource.RLIMIT_NPROC, self.limits["threads"]))
        for which, value in wanted:
            _, ceiling = resource.getrlimit(which)
            if ceiling != unlimited:
                value = ceiling if value == unlimited else min(value, ceiling)
            resource.setrlimit(which, (value, value))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def _landlock(scratch: str) -> None:
    rules = linux.Landlock()
    rules.allow("/", linux.READ_FILE | linux.READ_DIR | linux.EXECUTE)
    rules.allow("/dev/null", linux.READ_FILE | linux.WRITE_FILE)
    rules.allow(scratch, rules.handled)
    rules.enforce()


def _children_s() -> float:
    """CPU seconds of all processes that were reaped here."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _computed(before_s: float, start: float) -> bool:
    """Whether a step's processes together used 1 % of the time since it began; a shell only waits for them."""
    return _children_s() - before_s >= LEAST_SHARE * (time.monotonic() - start)


def cpu_s(process: int) -> float:
    """CPU seconds of a running child: its process clock, whose number Linux derives from the pid."""
    try:
        return time.clock_gettime((~process << 3) | 2)
    except OSError:
        return 0.0
