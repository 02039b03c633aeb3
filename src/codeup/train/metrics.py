"""metrics.jsonl: one row per step and per evaluation, written at once, so that a chart can follow.

A checkpoint is written only after the rows up to its step are on the disk (`to_disk`), and what a killed run wrote
after its last checkpoint is dropped (`keep_to`): after any interruption no row is missing and none is there twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.train import disk


class Metrics:
    """Appends rows to a file, keeping those up to step `keep_to`. UserError where it cannot be written.

    `also` is handed each row once it is written. `lacking`: steps up to `keep_to` that have no row, because the file
    was damaged or removed.
    """

    def __init__(self, path: Path, *, keep_to: int, also: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.path, self.also = path, also
        rows = [row for row in read_metrics(path) if row["step"] <= keep_to]
        self.lacking = keep_to - len({row["step"] for row in rows if "loss" in row})
        artifacts.write_bytes(path, b"".join(_line(row) for row in rows))
        self._file = path.open("ab", buffering=0)

    def add(self, **row: Any) -> None:
        line = _line(row)
        with disk.explained(self.path):
            if self._file.write(line) != len(line):  # the rest did not fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.also is not None:
            self.also(row)

    def to_disk(self) -> None:
        with disk.explained(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole rows; a last line cut by a kill, or one that was damaged, is left out."""
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows
