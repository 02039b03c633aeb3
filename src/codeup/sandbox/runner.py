"""The hostile side: runs one program in a child that is already isolated, and answers calls with plain data.

    child -> referee   ["isolated"]                             before anything of the program was read
    referee -> child   {"program": source, "entry_point": name}
    child -> referee   ["ready"] | ["compile", why] | ["missing", why] | ["raised", type, message] | ["exited", why]
    referee -> child   {"call": [arguments, keywords]}          encoded with values.encode
    child -> referee   ["value", encoded] | ["odd", why] | ["raised", type, message] | ["exited", why]

Nothing said after the first frame is believed beyond being a value: the program shares this process and may write to
the channel itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from codeup.sandbox import program, suite_runner, values, wire


def serve(channel: socket.socket) -> None:
    """Load the program, then answer calls until the referee hangs up; or run suites (suite_runner.py)."""
    request = wire.receive(channel)
    while "suite" in request:
        suite_runner.run_suite(channel, request["suite"], request["suite"]["deepen"])
        request = wire.receive(channel)
    reply, function = program.load(request["program"], request["entry_point"])
    wire.send(channel, reply)
    while function is not None:
        arguments, keywords = (values.decode(part, -values.MAX_DEPTH) for part in wire.receive(channel)["call"])
        reply = program.call(function, arguments, keywords)
        try:
            wire.send(channel, reply)
        except MemoryError:
            wire.send(channel, ["raised", "MemoryError", ""])


def silence() -> None:
    """Standard input, output and error lead nowhere. (A program that prints without end fills no pipe.)"""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    if nowhere > 2:
        os.close(nowhere)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
