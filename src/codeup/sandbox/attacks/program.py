"""What an attack is, and the few ways to write one.

A program may use these names, which the self-test puts before its first line:

    SECRET     a file that only the caller may read        OUTSIDE  a folder where nothing may change; holds `kept`
    HOME       the caller's home folder                    MAILBOX  a datagram socket of the caller, by its path
    BENCHMARK  a packaged benchmark with its answers       MEMORY   bytes of memory allowed
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Literal

Kind = Literal["escape", "forge", "exhaust", "linger", "control"]

ENTRY_POINT = "add"
REFERENCE = "def add(a, b):\n    return a + b\n"
TESTS = """
EXPECTED = [(1, 2, 3), (1017, -4, 1013), (0, 0, 0), (2**70, 1, 2**70 + 1)]


def check(candidate):
    for a, b, expected in EXPECTED:
        assert candidate(a, b) == expected
    assert candidate("x", "y") == "xy"
"""

SYSTEM_CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def reached(x86_64, aarch64, *arguments):
    'Whether the kernel did anything but refuse: EPERM, EACCES and ENOSYS are refusals.'
    number = {'x86_64': x86_64, 'aarch64': aarch64}[os.uname().machine]
    ctypes.set_errno(0)
    return libc.syscall(number, *arguments) >= 0 or ctypes.get_errno() not in (1, 13, 38)
"""
"""For programs that make system calls by number; the unified numbers, 424 and above, are the same everywhere."""

CHANNELS = """
import json, os, socket, stat, sys
def channels():
    found = []
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                found.append(number)
        except OSError:
            pass
    return found
def frame(message):
    'A frame exactly as the sandbox itself writes it, by its own code where that can be reached.'
    wire = sys.modules.get('codeup.sandbox.wire')
    if wire is None:
        data = json.dumps(message).encode()
        return len(data).to_bytes(4, 'big') + data
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, message)
        return theirs.recv(1 << 16)
def say(*messages, everywhere=False):
    for number in range(64) if everywhere else channels():
        try:
            os.write(number, b''.join(map(frame, messages)))
        except OSError:
            pass
def say_raw(body):
    'One frame of any bytes, written piece by piece.'
    for number in channels():
        try:
            rest = memoryview(len(body).to_bytes(4, 'big') + body)
            while rest:
                rest = rest[os.write(number, rest[:1 << 16]):]
        except OSError:
            pass
"""
"""For programs that talk to the judge themselves."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One program. `number` is stable: reports and bug reports refer to it."""

    number: int
    kind: Kind
    name: str
    program: str


def if_worked(number: int, kind: Kind, name: str, attempt: str, before: str = "") -> Attack:
    """An attack whose `attempt` is statements that must get through without an exception for the answer to be right."""
    body = indent(dedent(attempt).strip(), "    ")
    attempting = "worked = False\ntry:\n    worked = attack()\nexcept BaseException:\n    pass\n"
    answering = "def add(a, b):\n    return a + b if worked else None\n"
    return Attack(number, kind, name, f"{before}def attack():\n{body}\n    return True\n\n{attempting}\n{answering}")


def plain(number: int, kind: Kind, name: str, program: str, before: str = "") -> Attack:
    """An attack written out whole: it defines `add` itself."""
    return Attack(number, kind, name, before + dedent(program).strip() + "\n")
