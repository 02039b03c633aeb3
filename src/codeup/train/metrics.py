"""metrics.jsonl: one row per step and per evaluation, written at once, so that a chart can follow.

A checkpoint is written only after the rows up to its step are on the disk (`to_disk`), and what a killed run wrote
after its last checkpoint is dropped (`keep_to`): after any interruption no row is missing and none is there twice.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.train import disk


class Metrics:
    """Appends rows to a file, keeping those up to step `keep_to`. UserError where it cannot be written."""

    def __init__(self, path: Path, *, keep_to: int) -> None:
        self.path = path
        rows = [row for row in read_metrics(path) if row["step"] <= keep_to]
        artifacts.write_bytes(path, b"".join(_line(row) for row in rows))
        self._file = path.open("ab", buffering=0)

    def add(self, **row: Any) -> None:
        line = _line(row)
        with disk.explained(self.path):
            if self._file.write(line) != len(line):  # the rest did not fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def to_disk(self) -> None:
        with disk.explained(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole rows; a last line cut by a kill is left out."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
