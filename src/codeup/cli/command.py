"""What every command shares: options that many have, and how an error becomes one message and an exit code.

    UserError("no such file", where="x.jsonl", mend="…")  ->  "error: x.jsonl: no such file", exit code 2
    WorkFailed -> 1    Ctrl-C -> 130    SIGTERM -> 143    a place that cannot be written -> 2    a bug -> its traceback

Not here: exit code 3, which a command with a threshold raises itself.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from codeup.errors import CodeUpError, UserError

Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]
Tokenizer = Annotated[
    str, typer.Option(metavar="FOLDER", help="for a GGUF file: the model it was made of; default: what lies beside it")
]
Executor = Annotated[
    str, typer.Option(metavar="WHO", help="local, ray (RAY_ADDRESS, or one started here), ray://HOST:PORT or HOST:PORT")
]
RecipeFile = Annotated[str, typer.Argument(metavar="RECIPE", help="a recipe, e.g. recipes/nano.yaml")]
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[key=value …]", help="settings that override the recipe")
]

MISSED, INTERRUPTED, TERMINATED = 3, 130, 143
ELSEWHERE = "name another place, or change who may use this one"
FULL = "free disk space and run the same command again, or name another place"
PLACES = {
    errno.EACCES: ELSEWHERE,
    errno.EPERM: ELSEWHERE,
    errno.EROFS: ELSEWHERE,
    errno.ENOTDIR: "a part of this path is a file: name another place",
    errno.EISDIR: "this is a folder: name a file",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOENT: "a part of this path is missing: make the folder, or name another place",
    errno.EEXIST: "something else is there: name another place",
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
}
"""Errors of the file system that a person can mend, with how; BrokenPipeError and bugs are none of them."""
LEAST_LEFT = 1 << 20
"""Bytes: a disk with fewer is full."""
F = TypeVar("F", bound=Callable[..., Any])


def numbers(text: str, option: str) -> tuple[int, ...]:
    """The whole numbers of an option: "1,5" -> (1, 5). Raises UserError for anything else."""
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise UserError(f"{text!r} are no whole numbers", where=option, mend=f"for example {option} 5,20") from None


def end_in_order() -> None:
    """SIGTERM unwinds what is running, as Ctrl-C does: temporary folders go, sandboxes end. A second one kills."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, leave)


def _full(given: Iterable[Any]) -> str:
    """The first of a command's paths, or the temporary folder, on whose disk nothing is left; "" where none is full."""
    import shutil
    import tempfile

    for place in (*(each for each in given if isinstance(each, Path)), Path.cwd(), Path(tempfile.gettempdir())):
        there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
        if shutil.disk_usage(there).free < LEAST_LEFT:
            return str(place)
    return ""


def guarded(command: F) -> F:
    """Turn our errors into one message and an exit code; bugs keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except CodeUpError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, UserError) else 1) from None
        except KeyboardInterrupt:
            print("\ninterrupted; the same command continues where this one stopped", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except SystemExit as leaving:  # so leaves rich when nobody reads any more, with exit code 1
            if not isinstance(leaving.__context__, BrokenPipeError):
                if leaving.code == TERMINATED:
                    print("\nended by SIGTERM; the same command continues where this one stopped", file=sys.stderr)
                raise
            raise typer.Exit(0) from None
        except OSError as error:
            mend = PLACES.get(error.errno or 0)
            if mend is None or not (error.filename or mend is FULL):
                raise
            place = error.filename or _full(kwargs.values())  # writing to an open file names none
            where = f"{place}: " if place else ""
            print(f"error: {where}{error.strerror}\n  to mend: {mend}", file=sys.stderr)
            raise typer.Exit(2) from None

    return wrapped  # type: ignore[return-value]
