"""What benchmarks share whose answers are compared with a reference text: nothing is run.

    Problem(canonical_solution=the reference, extra={"text": what is asked, "compared": "code" or "words"})

Their module names its `METRICS` (evaluate/similarity.py). Such a score says how alike two texts are, not whether a
program is right: it is no pass@1 and stands in no table with one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codeup.benchmarks import _humaneval_shape as shape
from codeup.benchmarks import _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem


def rows(path: Path | None, name: str, where: str) -> tuple[Path, list[dict[str, Any]]]:
    """The file and its rows. Raises UserError for a file that is not named, or empty."""
    path = _whole.needed(path, name, where)
    found = list(shape.rows_of(path))
    if not found:
        raise UserError("holds no problems", where=str(path))
    return path, found


def problem(task: str, text: str, reference: str, language: str, compared: str, *, where: str) -> Problem:
    """One row as a problem. Raises UserError where its reference is empty: the test file of a contest has none."""
    if not reference.strip():
        mend = "give the development file, or one with its answers: without a reference there is nothing to compare"
        raise UserError(f"{task} has no reference", where=where, mend=mend)
    return Problem(task, "", "", "", reference, language, {"text": text, "compared": compared})


def data(path: Path, name: str, problems: Sequence[Problem], more: str = "") -> BenchmarkData:
    """The benchmark; its version counts problems and names their content, for no published hash is known here."""
    content = _whole.digest(problems)
    version = f"{len(problems)} problems{more}, content {content[:12]}"
    return BenchmarkData(name, version, hashlib.sha256(path.read_bytes()).hexdigest(), tuple(problems))
