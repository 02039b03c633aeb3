"""Practice problems: tested like those of the nano benchmark, but from the training side of the wall.

Answers to them can be judged and then trained on (preference pairs) without touching the benchmark: no program is that
of a benchmark problem, and no step uses what is_held_out names. Read them with the benchmark's own module:

    codeup generate --benchmark nano --data practice.jsonl.gz --samples 8 --temperature 0.8 ...
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from codeup.nano.benchmark import _checks, _row, benchmark_keys
from codeup.nano.tasks import Task, training_task


def write_practice(path: Path, count: int, *, seed: int = 0) -> None:
    """Writes `count` problems as gzipped JSON lines in the benchmark's shape; the same bytes for the same seed."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in practice_rows(count, seed=seed))
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(lines.encode())


def practice_rows(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Different problems of one and two steps by turns."""
    rng = random.Random(f"nano practice {seed}")
    taken = set(benchmark_keys())
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        task = training_task(rng, steps=1 + len(rows) % 2)
        if task.key in taken or not _is_testable(task):
            continue
        taken.add(task.key)
        row = _row(rng, len(rows), task)
        del row["held_out"]
        rows.append({**row, "task_id": f"practice/{len(rows)}"})
    return rows


def _is_testable(task: Task) -> bool:
    """Enough checks, at least three different values, and not the identity."""
    checks = _checks(task)
    return (
        len(checks) >= 8
        and len({repr(value) for _, value in checks}) >= 3
        and any(argument != value for argument, value in checks)
    )
