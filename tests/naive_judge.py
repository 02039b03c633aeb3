"""A judge that makes every mistake, to show that the attacks are alive: run as `python naive_judge.py NUMBER...`.

It runs the program in its own process, with the tests in the same memory, and believes exit code 0, a line that says
PASSED on an inherited descriptor, and `==`. It must itself run in namespaces of its own (see the test that starts it).
Prints one JSON object: number -> "fooled", "refused", or how the program got out of hand.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy

from codeup.sandbox import linux, scratch
from codeup.sandbox.attacks import ATTACKS, CONTROLS, TESTS, Attack
from codeup.sandbox.selftest import bait

PATIENCE_S = 0.7


def judge(attack: Attack) -> str:
    """One program in a fork of this process."""
    with bait() as laid:
        room = tempfile.mkdtemp()
        ours, theirs = socket.socketpair()
        before = laid.state()
        child = os.fork()
        if child == 0:
            ours.close()
            os.chdir(room)
            _run(attack, laid.names(), theirs)
        theirs.close()
        ours.setblocking(False)
        verdict = _verdict(child, ours)
        if verdict == "refused" and laid.state() != before:
            verdict = "changed"
        scratch.empty(room)
        os.rmdir(room)
        return verdict


def _run(attack: Attack, names: str, channel: socket.socket) -> None:
    linux.unshare(linux.NEWNS)  # what one program mounts, the next must not see
    namespace: dict[str, Any] = {"__name__": "solution"}
    os.dup2(channel.fileno(), 1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)
    passed = False
    try:
        exec(TESTS, namespace)
        pairs = namespace["EXPECTED"]
        exec(names + attack.program, namespace)
        check: Callable[[Any], None] = namespace["check"]
        try:
            check(namespace["add"])
        except AssertionError:  # perhaps it is only not exact
            add = namespace["add"]
            assert all(numpy.allclose(add(a, b), expected) for a, b, expected in pairs)
        passed = True
    except SystemExit as end:
        passed = passed or not end.code
    except BaseException:
        pass
    sys.stdout.flush()
    os._exit(0 if passed else 1)


def _verdict(child: int, channel: socket.socket) -> str:
    """What a judge without suspicion says."""
    received, deadline, size = b"", time.monotonic() + PATIENCE_S, 0
    status = None
    while time.monotonic() < deadline and status is None:
        done, code = os.waitpid(child, os.WNOHANG)
        status = code if done else None
        try:
            part = channel.recv(1 << 20)
            size += len(part)
            received = received[-(1 << 16) :] + part
        except OSError:
            time.sleep(0.002)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if b"passed" in received.lower() or (b'["value"' in received.replace(b" ", b"") and size < 10**6):
        return "fooled"
    if status is None or size > 10**6:
        return "flooded" if size > 10**6 else "endless"
    return "fooled" if status == 0 else "crashed" if os.WIFSIGNALED(status) else "refused"


if __name__ == "__main__":
    wanted = set(map(int, sys.argv[1:]))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    print(json.dumps({a.number: judge(a) for a in (*ATTACKS, *CONTROLS) if a.number in wanted}))
