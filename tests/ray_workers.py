"""Workers that Ray's workers import in tests/test_ray.py: small ones, and real ones under changed conditions."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

from codeup.errors import UserError
from codeup.evaluate import elsewhere


class Square:
    """n -> n * n, after `seconds`. The piece `fatal` ends the process; `once` names a file that lets it happen once."""

    def __init__(self, seconds: float = 0.0, fatal: int = -1, once: str = "", bug: int = -1, wrong: int = -1) -> None:
        self.seconds, self.fatal, self.once, self.bug, self.wrong = seconds, fatal, once, bug, wrong
        self.about: dict[str, Any] = {"pid": os.getpid()}

    def work(self, piece: int) -> int:
        time.sleep(self.seconds)
        if piece == self.fatal and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os._exit(1)
        if piece == self.bug:
            raise ZeroDivisionError("a bug")
        if piece == self.wrong:
            raise UserError("is wrong", where="the piece", mend="mend it")
        return piece * piece

    def close(self) -> None:
        """Nothing to close."""


def weak_sandbox(**arguments: Any) -> elsewhere.Sandbox:
    """The sandbox of a node whose kernel isolates nothing."""
    off = ("namespaces", "landlock")
    elsewhere.Pool = functools.partial(elsewhere.Pool, off=off)  # type: ignore[misc, assignment]
    return elsewhere.Sandbox(**arguments)
