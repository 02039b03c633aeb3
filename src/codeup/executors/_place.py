"""A worker where it stands: made, checked against the machine that asks, and its failures turned into plain words.

    ("done", value)  |  ("user", (what, where, mend))  |  ("failed", (what,))       with the node's name in what

A node with another codeup, Python or numpy could reach other results, so it is refused before it has any piece.
"""

from __future__ import annotations

import pickle
import platform
import traceback
from collections.abc import Callable
from importlib import metadata
from typing import Any

from codeup import __version__, artifacts
from codeup.errors import UserError, WorkFailed
from codeup.executors import made

CODE = (".",)
"""The whole package: any other source could work differently."""


def versions() -> dict[str, str]:
    """What must be the same on every node for results to be the same."""
    code = f"{__version__} (sources {artifacts.code_version(CODE)[:10]})"
    return {"codeup": code, "Python": platform.python_version(), "numpy": metadata.version("numpy")}


class Bench:
    """Where one worker stands."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.worker: Any = None

    def stand(self, make: str, arguments: bytes, expected: dict[str, str]) -> tuple[str, Any]:
        """Make the worker; its `about` with the node's name."""
        return self._plainly(lambda: self._stand(make, arguments, expected))

    def _stand(self, make: str, arguments: bytes, expected: dict[str, str]) -> dict[str, Any]:
        here = versions()
        for name in expected:
            if here[name] != expected[name]:
                raise UserError(
                    f"has {name} {here[name]}, and {expected[name]} is asked for", mend="install the same on every node"
                )
        self.worker = made(make, pickle.loads(arguments))
        return {**self.worker.about, "node": self.node}

    def work(self, piece: bytes) -> tuple[str, Any]:
        """The result of one piece, as bytes."""
        return self._plainly(lambda: pickle.dumps(self.worker.work(pickle.loads(piece))))

    def _plainly(self, act: Callable[[], Any]) -> tuple[str, Any]:
        try:
            return "done", act()
        except UserError as error:
            where = f", {error.where}" if error.where else ""
            return "user", (error.what, f"node {self.node}{where}", error.mend)
        except WorkFailed as error:
            return "failed", (f"node {self.node}: {error}",)
        except Exception:
            return "failed", (f"node {self.node}: {traceback.format_exc(limit=-3).strip()}",)
