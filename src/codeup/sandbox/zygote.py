"""The process that is isolated once and forks a fresh child for every sample.

Started by the referee as `python -S -s -P` with an environment of its own. Its orders come over one Unix socket:

    one byte + a socket          fork a child that talks over that socket: a runner; "w": a supervisor, "c": a companion
    {"cpu": true}                reply {"cpu_s"}: what the child has used so far
    {"end": true}                kill whatever is left of the sample; reply what it used and how it ended
    {"gone": true}               the same for a child whose channel has closed: it is given a moment to end by itself

When that socket closes, because the referee ended or was killed, everything here ends. What a child says is
never read here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from codeup.sandbox import companion, layers, root, runner, scratch, supervisor, wire

WARM = (
    "abc", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "operator", "os", "queue", "random", "re",
    "shutil", "statistics", "string", "subprocess", "sys", "textwrap", "threading", "time", "traceback", "types",
    "typing", "unicodedata",
)  # fmt: skip
"""Modules that programs ask for most; imported once here so that no child has to."""


TOOLS = {b"w": supervisor.serve, b"c": companion.serve}
"""Orders for a whole program and for a tool that stays; any other byte is for Python, whose function is called."""

Serve = Callable[[socket.socket, layers.Isolation, Mapping[str, Any]], None]

WATCH_S = 0.02
ENDING_S = 0.5  # what a child may take from closing its channel to being gone; only one that closed it early uses it up


def main(number: int, source: str) -> None:
    """Isolate this process, say what was reached, then serve samples until the control socket closes."""
    control = socket.socket(fileno=number)
    control.set_inheritable(False)
    try:
        config = wire.receive(control)
        sys.path[:] = [path for path in sys.path if path != source]
        for name in () if config["show"] and not config["packages"] else WARM:
            __import__(name)
        isolation = layers.isolate_zygote(config, lambda: _ask_for_ids(control))
        packages = root.PACKAGES if isolation.scratch_is_private else os.path.join(config["folder"], "packages")
        sys.path.append(packages)
        sys.path_importer_cache.clear()
        with contextlib.suppress(ImportError):
            __import__("numpy")
    except wire.Closed:
        return
    except Exception as error:
        wire.send(control, {"error": f"{type(error).__name__}: {error}"})
        return
    _quiet()
    wire.send(control, {"layers": isolation.layers})
    with contextlib.suppress(wire.Closed):
        while True:
            _one_sample(control, isolation, config["limits"])


def _ask_for_ids(control: socket.socket) -> None:
    wire.send(control, {"map": True})
    if not wire.receive(control).get("mapped"):
        raise OSError("the parent could not map user ids")


def _quiet() -> None:
    runner.silence()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would let a child interrupt process 1
    sys.argv, sys.orig_argv = [""], [""]
    gc.collect()
    gc.freeze()


def _one_sample(control: socket.socket, isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
    kind, channel = _begin(control)
    child = os.fork()
    if child == 0:
        _child(control, channel, isolation, limits, serve=TOOLS.get(kind))
    channel.close()
    alive, watch = False, Watch(child, isolation, limits)
    try:
        control.settimeout(None if isolation.scratch_is_private else WATCH_S)
        while "cpu" in (order := wire.receive(control, on_timeout=watch.look)):
            wire.send(control, {"cpu_s": _cpu_s(child)})
        alive = _still_alive(child, ENDING_S if "gone" in order else 0.0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
        _no_survivors(isolation)
    control.settimeout(None)
    if not isolation.scratch_is_private:
        watch.look()
        scratch.empty(isolation.scratch)
    used = usage.ru_utime + usage.ru_stime
    reply = {"status": status, "alive": alive, "cpu_s": round(used, 4), "memory_mb": usage.ru_maxrss >> 10}
    wire.send(control, {**reply, "overflow": watch.overflow})


def _still_alive(child: int, patience_s: float) -> bool:
    """Whether the child runs on; one that is ending has closed its channel a moment before it can be waited for."""
    deadline = time.monotonic() + patience_s
    if patience_s and sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel without pidfd: looked at again and again, below
            ended = os.pidfd_open(child)
            select.select([ended], [], [], patience_s)
            os.close(ended)
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.001)
    return False


class Watch:
    """The size limit of a scratch that is a real folder: looked at every WATCH_S; too much in it ends the sample.

    A scratch in memory has its size from the kernel and needs no watching.
    """

    def __init__(self, child: int, isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
        self.child, self.folder, self.most = child, isolation.scratch, limits["scratch_mb"] << 20
        self.overflow = False

    def look(self) -> None:
        """Kill the child if its files are too large together, or too many."""
        if not self.overflow and scratch.size(self.folder, self.child) > self.most:
            self.overflow = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGKILL)


def _cpu_s(child: int) -> float:
    """CPU seconds of a running child: its process clock, whose number Linux derives from the pid."""
    try:
        return time.clock_gettime((~child << 3) | 2)
    except (OSError, AttributeError):
        return 0.0


def _begin(control: socket.socket) -> tuple[bytes, socket.socket]:
    """Wait for a sample's kind and socket. The order is one byte, so that it and the socket arrive together."""
    data, numbers, _, _ = socket.recv_fds(control, 1, 1)
    if not data or not numbers:
        raise wire.Closed
    return data, socket.socket(fileno=numbers[0])


def _child(
    control: socket.socket, channel: socket.socket, isolation: layers.Isolation, limits: Mapping[str, Any], *,
    serve: Serve | None,
) -> None:  # fmt: skip
    """Everything the forked child does; never returns."""
    code = 0
    try:
        control.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if serve is not None:
            _supervise(serve, channel, isolation, limits)
        try:
            layers.isolate_child(isolation, limits)
        except BaseException as error:
            wire.send(channel, ["broken", f"{type(error).__name__}: {error}"])
            os._exit(70)
        wire.send(channel, ["isolated"])  # before the program is read: this one frame can be believed
        runner.serve(channel)
    except wire.Closed:
        pass
    except BaseException:
        code = 71
    finally:
        os._exit(code)


def _supervise(
    serve: Serve, channel: socket.socket, isolation: layers.Isolation, limits: Mapping[str, Any]
) -> NoReturn:  # fmt: skip
    """Programs with other tools. The one who serves is ours: what goes wrong in it is no verdict."""
    try:
        serve(channel, isolation, limits)
    except wire.Closed:
        pass
    except BaseException as error:
        wire.send(channel, ["broken", f"{type(error).__name__}: {error}"])
        os._exit(70)
    os._exit(0)


def _no_survivors(isolation: layers.Isolation) -> None:
    """Kill and reap every process the sample left behind.

    Process 1 of a pid namespace can say so in one call. Elsewhere seccomp has refused every fork, and there is no one.
    """
    if "pid-namespace" in isolation.layers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if "pid-namespace" in isolation.layers else os.WNOHANG)[0]:
            pass
