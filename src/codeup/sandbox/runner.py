"""The hostile side: runs one program in a child that is already isolated, and answers calls with plain data.

    child -> referee   ["isolated"]                             before anything of the program was read
    referee -> child   {"program": source, "entry_point": name}
    child -> referee   ["ready"] | ["compile", why] | ["missing", why] | ["raised", type, message] | ["exited", why]
    referee -> child   {"call": [arguments, keywords]}          encoded with wire.encode
    child -> referee   ["value", encoded] | ["odd", why] | ["raised", type, message] | ["exited", why]

Nothing said after the first frame is believed beyond being a value: the program shares this process and may write to
the channel itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import types
from typing import Any

from codeup.sandbox import wire

MODULE = "solution"


def serve(channel: socket.socket) -> None:
    """Load the program, then answer calls until the referee hangs up."""
    request = wire.receive(channel)
    reply, function = load(request["program"], request["entry_point"])
    wire.send(channel, reply)
    while function is not None:
        arguments, keywords = (wire.decode(part, -wire.MAX_DEPTH) for part in wire.receive(channel)["call"])
        reply = call(function, arguments, keywords)
        try:
            wire.send(channel, reply)
        except MemoryError:
            wire.send(channel, ["raised", "MemoryError", ""])


def load(source: str, entry_point: str) -> tuple[list[Any], Any]:
    """Compile and execute the program as a module; the reply and the function it defines, if it does.

    `__name__` is not "__main__": like human-eval and EvalPlus, a script's own main part does not run.
    """
    try:
        code = compile(source, f"<{MODULE}>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        return ["compile", _one_line(error)], None
    except MemoryError as error:  # the parser says so for expressions nested too deep
        return ["compile", f"MemoryError while compiling {_one_line(error)}"], None
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        return _failure(error, "while loading: "), None
    function = module.__dict__.get(entry_point)
    if not callable(function):
        return ["missing", f"the program defines no function {entry_point}"], None
    return ["ready"], function


def call(function: Any, arguments: list[Any], keywords: dict[str, Any]) -> list[Any]:
    """One call of the function under test."""
    try:
        return ["value", wire.encode(function(*arguments, **keywords))]
    except wire.Unencodable as error:
        return ["odd", str(error)]
    except BaseException as error:
        return _failure(error)


def _failure(error: BaseException, when: str = "") -> list[Any]:
    if isinstance(error, SystemExit):
        return ["exited", f"{when}sys.exit({_one_line(error)})"]
    if isinstance(error, MemoryError):
        return ["raised", "MemoryError", ""]
    return ["raised", type(error).__name__[:100], when + _one_line(error)]


def _one_line(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except BaseException:
        return ""


def silence() -> None:
    """Standard input, output and error lead nowhere. (A program that prints without end fills no pipe.)"""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    if nowhere > 2:
        os.close(nowhere)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
