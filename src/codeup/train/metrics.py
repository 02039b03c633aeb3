"""metrics.jsonl: one row per step, flushed, so that a chart can follow; after a resume no row is there twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Metrics:
    """Appends rows to a file. `keep_to` drops what a killed run wrote after its last checkpoint.

    `also` is handed each row once it is written.
    """

    def __init__(self, path: Path, *, keep_to: int, also: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.path, self.also = path, also
        rows = [row for row in read_metrics(path) if row["step"] <= keep_to]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(partial, path)
        self._file = path.open("a", encoding="utf-8")

    def add(self, **row: Any) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self.also is not None:
            self.also(row)

    def close(self) -> None:
        self._file.close()


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
