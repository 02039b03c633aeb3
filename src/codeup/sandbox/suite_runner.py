"""The hostile side of a suite: runs one program on many inputs and streams back what each call returned.

    referee -> child   {"suite": {"program", "entry_point", "limits", "digest_above", "guard", ...}}, then the inputs,
                       each a list of arguments, encoded with values.encode
    child -> referee   ["ready"], then frames ["answers", [answer, ...]], then ["done"]; or, instead of ready, what
                       program.py says about a program that does not load
    answer             ["v", encoded] | ["v", encoded, encoded arguments after the call] | ["r", type, message] | ["t"]
                       | ["n", digest of its normal form]
    child -> referee   ["returned"]: a call is over and left a long value, which is now prepared
    child -> referee   ["large", digest, type, length, rigid]; the referee replies "digest" (that settled it), "normal"
                       or "value", and the answer comes in the next frame

Answers are gathered for some milliseconds, so that a thousand small calls cost a few frames. A digest can only match if
the program computed the value: the expected one is not here. With `truth`, for programs of the benchmark itself, each
answer also carries its CPU seconds, and large ones both digests.

Two suites of one sample may share the process; the program is loaded anew for each. Everything said here is believed
only as far as it is a value.
"""

from __future__ import annotations

import io
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from codeup.sandbox import digests, program, values, wire

FLUSH_S = 0.005
LONG = 10_000  # elements, from which on sending a value may take a while


class TimeoutException(Exception):
    """A call used up its time. An Exception, as in EvalPlus: a program may catch it, and then the referee ends it."""


class _Stream(io.StringIO):
    """Standard input, output and error of a call, as in EvalPlus: text may be written, nothing can be read."""

    def _refuse(self, *_: Any) -> Any:
        raise OSError

    read = readline = readlines = _refuse


def run_suite(channel: socket.socket, asked: Mapping[str, Any], deepen: int = 0) -> None:
    """Serve one suite. `deepen` spends frames of the recursion limit, so that as few are left as in EvalPlus."""
    if deepen > 0:
        return run_suite(channel, asked, deepen - 1)
    inputs = [values.decode(item, -values.MAX_DEPTH) for item in wire.receive(channel)]
    if asked["guard"]:
        guard()
    timer = Timer()
    _fresh_streams()
    reply, function = _load(asked["program"], asked["entry_point"])
    wire.send(channel, reply)
    if reply[0] != "ready":
        return None
    answers = _Answers(channel, asked)
    smallest = min(asked["limits"], default=0.0)
    for arguments, limit in zip(inputs, asked["limits"], strict=True):
        if limit > smallest:
            answers.flush()  # so that the referee knows whose time is running
        start = time.process_time()
        try:
            _fresh_streams()
            timer.start(limit, asked["wall_factor"])
            output = function(*arguments)
            timer.stop()
        except BaseException as error:
            timer.stop()
            stop = answers.failure(error)
        else:
            stop = answers.value(output, arguments, time.process_time() - start)
            del output
        if stop:
            break
    answers.flush()
    wire.send(channel, ["done"])
    return None


def _fresh_streams() -> None:
    sys.stdin = sys.stdout = sys.stderr = _Stream()


def _load(source: str, entry_point: str) -> tuple[list[Any], Any]:
    """Execute the program in globals that hold nothing, not even a name of their own, as EvalPlus does."""
    code, reply = program.compiled(source)
    if code is None:
        return reply, None
    namespace: dict[str, Any] = {}
    try:
        exec(code, namespace)
    except BaseException as error:
        return program.failure(error, "while loading: "), None
    if entry_point not in namespace:
        return ["missing", f"the program defines no function {entry_point}"], None
    return ["ready"], namespace[entry_point]


class Timer:
    """Interrupts a call after its CPU seconds, or after several times as much wall time for one that waits."""

    def __init__(self) -> None:
        self.running = False
        signal.signal(signal.SIGPROF, self._late)
        signal.signal(signal.SIGALRM, self._late)

    def start(self, limit: float, wall_factor: float) -> None:
        """Let `limit` CPU seconds begin."""
        signal.setitimer(signal.ITIMER_PROF, limit)
        signal.setitimer(signal.ITIMER_REAL, limit * wall_factor)
        self.running = True

    def stop(self) -> None:
        """The call is over; a timer that fires later is not about it."""
        self.running = False

    def _late(self, number: int, frame: Any) -> None:
        if self.running:
            self.running = False
            raise TimeoutException("Timed out!")


class _Answers:
    """What the calls returned, on its way to the referee."""

    def __init__(self, channel: socket.socket, asked: Mapping[str, Any]) -> None:
        self.channel, self.asked = channel, asked
        self.waiting: list[Any] = []
        self.since = time.monotonic()
        self.urgent = False

    def value(self, output: Any, arguments: list[Any], seconds: float) -> bool:
        """Send a returned value; True if the suite should stop."""
        try:
            answer = self._answer(output)
            if self.asked["mutated"] and answer:
                answer.append([values.encode(argument, opaque=True) for argument in arguments])
        except BaseException as error:  # too large for this process, or an iterator that raised
            return self.failure(error)
        if not answer:
            return False
        if self.asked["truth"]:
            answer.append(seconds)
        self.waiting.append(answer)
        if self.urgent or self.asked["each"] or time.monotonic() - self.since > FLUSH_S:
            self.flush()
        return False

    def _answer(self, output: Any) -> list[Any]:
        if isinstance(output, list | tuple | set | frozenset | dict | str | bytes) and len(output) > LONG:
            self.flush()
            wire.send(self.channel, ["returned"])  # what follows is our own work, not the program's
        large = digests.scan(output, self.asked["digest_above"], check=self.asked["truth"])
        if large is None:
            return ["v", values.encode(output, opaque=True)]
        about = [large.digest, type(output).__name__, len(output), digests.rigid(output)]
        if self.asked["truth"]:
            return ["D", *about, large.digest if about[-1] else digests.normal(output), large.stable]
        self.flush()
        wire.send(self.channel, ["large", *about])
        wanted = wire.receive(self.channel)
        if wanted == "digest":
            return []
        self.urgent = True
        return ["v", values.encode(output, opaque=True)] if wanted == "value" else ["n", digests.normal(output)]

    def failure(self, error: BaseException) -> bool:
        """Send an exception; True if the suite stops at the first."""
        if isinstance(error, TimeoutException):
            self.waiting.append(["t"])
        else:
            kind, *words = program.failure(error)
            self.waiting.append(["r", *(["SystemExit", words[0]] if kind == "exited" else words)])
        stop = not self.asked["all_inputs"]
        if not stop and time.monotonic() - self.since > FLUSH_S:
            self.flush()
        return stop

    def flush(self) -> None:
        """Send what has been gathered."""
        if self.waiting:
            wire.send(self.channel, ["answers", self.waiting])
            self.waiting = []
        self.urgent = False
        self.since = time.monotonic()


GUARDED = {
    "builtins": ("exit", "quit", "open", "help"),
    "os": (
        "kill", "system", "putenv", "remove", "removedirs", "rmdir", "fchdir", "setuid", "fork", "forkpty", "killpg",
        "rename", "renames", "truncate", "replace", "unlink", "fchmod", "fchown", "chmod", "chown", "chroot",
        "lchflags", "lchmod", "lchown", "getcwd", "chdir",
    ),
    "shutil": ("rmtree", "move", "chown"),
    "subprocess": ("Popen",),
}  # fmt: skip
"""What evalplus.eval.utils.reliability_guard sets to None. Here it protects nothing; it only makes programs fail that
fail there."""


def guard() -> None:
    """Take away what EvalPlus takes away from a program."""
    for module, names in GUARDED.items():
        for name in names:
            setattr(sys.modules.get(module) or __import__(module), name, None)
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None  # type: ignore[assignment]
