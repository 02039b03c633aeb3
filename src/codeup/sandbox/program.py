"""One program inside the child: compiling it, loading it, calling its function, and saying what went wrong.

Runs on the hostile side: the program shares this process, so nothing decided here is trusted.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from codeup.sandbox import values

MODULE = "solution"


def load(source: str, entry_point: str) -> tuple[list[Any], Any]:
    """Compile and execute the program as a module; the reply and the function it defines, if it does.

    `__name__` is not "__main__": like human-eval and EvalPlus, a script's own main part does not run.
    """
    code, reply = compiled(source)
    if code is None:
        return reply, None
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        return failure(error, "while loading: "), None
    function = module.__dict__.get(entry_point)
    if not callable(function):
        return ["missing", f"the program defines no function {entry_point}"], None
    return ["ready"], function


def compiled(source: str) -> tuple[types.CodeType | None, list[Any]]:
    """The program's code, or what to say about one that Python cannot read."""
    try:
        return compile(source, f"<{MODULE}>", "exec", dont_inherit=True), []
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        return None, ["compile", one_line(error)]
    except MemoryError as error:  # the parser says so for expressions nested too deep
        return None, ["compile", f"MemoryError while compiling {one_line(error)}"]


def call(function: Any, arguments: list[Any], keywords: dict[str, Any]) -> list[Any]:
    """One call of the function under test."""
    try:
        return ["value", values.encode(function(*arguments, **keywords))]
    except values.Unencodable as error:
        return ["odd", str(error)]
    except BaseException as error:
        return failure(error)


def failure(error: BaseException, when: str = "") -> list[Any]:
    """What to say about an exception: nothing of it is called but `str`."""
    if isinstance(error, SystemExit):
        return ["exited", f"{when}sys.exit({one_line(error)})"]
    if isinstance(error, MemoryError):
        return ["raised", "MemoryError", ""]
    return ["raised", type(error).__name__[:100], when + one_line(error)]


def one_line(error: BaseException) -> str:
    """The message of an exception as one line, if it has one."""
    try:
        return " ".join(str(error).split())[:300]
    except BaseException:
        return ""
