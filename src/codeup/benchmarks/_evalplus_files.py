"""EvalPlus's released files: found, fetched, checked, and made into problems with two suites of inputs, base and plus.

A problem keeps its suites in `extra["suites"]`; expected values are not in the file, the canonical solution makes them
(evaluate/truth.py).
"""

from __future__ import annotations

import gzip
import hashlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.benchmarks import _evalplus as rules
from codeup.benchmarks import _humaneval_shape as shape
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

TEXTS = ("task_id", "prompt", "entry_point", "canonical_solution")
LISTS = ("base_input", "plus_input")
RELEASES = "https://github.com/evalplus"
COMPARISON = "codeup.benchmarks._evalplus:Comparison"


def load(path: Path | None, *, name: str, dataset: str, release: str, version: str, md5: str) -> BenchmarkData:
    """The problems of a file, or of the release when no path is given. `md5` is that of the uncompressed release."""
    path = path or fetch(release, version)
    rows = list(shape.rows_of(path))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    problems = tuple(_problem(row, dataset, path, number, sha256) for number, row in enumerate(rows, 1))
    if not problems:
        raise UserError("holds no problems", where=str(path))
    if len({problem.task_id for problem in problems}) != len(problems):
        raise UserError("holds a task twice", where=str(path))
    found = uncompressed_md5(path)
    known = f"{release} {version}" if found == md5 else "not a known version"
    return BenchmarkData(name, f"{known}, md5 {found}", sha256, problems)


def uncompressed_md5(path: Path) -> str:
    """What EvalPlus prints and stores as the dataset's hash: the md5 of the file without its compression."""
    data = path.read_bytes()
    return hashlib.md5(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data, usedforsecurity=False).hexdigest()


def _problem(row: Mapping[str, Any], dataset: str, path: Path, number: int, sha256: str) -> Problem:
    wrong = [column for column in TEXTS if not isinstance(row.get(column), str) or not row[column]]
    wrong += [column for column in LISTS if not _is_inputs(row.get(column))]
    wrong += [] if isinstance(row.get("atol"), int | float) else ["atol"]
    prefix = {"humaneval": "HumanEval/", "mbpp": "Mbpp/"}[dataset]
    if wrong or not row["task_id"].startswith(prefix):
        raise UserError(
            f"problem {number} " + (f"lacks {', '.join(wrong)}" if wrong else f"is {row['task_id']}, not {prefix}…")
            + f"; its columns are {', '.join(row)}",
            where=str(path),
            mend="give EvalPlus's released file of this benchmark, e.g. HumanEvalPlus.jsonl.gz or MbppPlus.jsonl.gz",
        )  # fmt: skip
    restore = rules.mbpp_inputs if dataset == "mbpp" else lambda task, inputs: inputs
    try:
        suites = {column[:4]: restore(row["task_id"], list(row[column])) for column in LISTS}
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"problem {number} ({row['task_id']}) has inputs of another shape: {error}", where=str(path),
                        mend="fetch the released file again") from None  # fmt: skip
    return Problem(
        task_id=row["task_id"],
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        tests="",
        canonical_solution=row["canonical_solution"],
        extra={
            "suites": suites,
            "comparison": COMPARISON,
            "dataset": dataset,
            "atol": row["atol"],
            "not_none": dataset == "mbpp" and row["entry_point"] in rules.NOT_NONE,
            "rules": rules.RULES,
            "deepen": rules.DEEPEN,
            "data_sha256": sha256,
        },
    )  # fmt: skip


def _is_inputs(value: Any) -> bool:
    """A list of lists of arguments; Mbpp/793 has no inputs beyond its base and says so with {}."""
    return value == {} or (isinstance(value, list) and all(isinstance(item, list) for item in value))


def fetch(release: str, version: str) -> Path:
    """The released file from the cache, CodeUp's or EvalPlus's own, or from GitHub into ours."""
    ours = artifacts.cache_folder() / "benchmarks" / f"{release}-{version}.jsonl.gz"
    theirs = artifacts.cache_home() / "evalplus" / f"{release}-{version}.jsonl"
    for path in (ours, theirs):
        if path.is_file():
            return path
    url = f"{RELEASES}/{release.lower()}_release/releases/download/{version}/{release}.jsonl.gz"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data: bytes = answer.read()
        gzip.decompress(data)
    except (OSError, urllib.error.URLError, EOFError, ValueError) as error:
        raise UserError(
            f"{release} {version} is not in the cache and could not be fetched ({error})",
            where=url,
            mend=f"go online, or name a local {release}.jsonl.gz: `path:` of the benchmark in a recipe, or --data FILE",
        ) from None
    ours.parent.mkdir(parents=True, exist_ok=True)
    artifacts.write_bytes(ours, data)
    return ours
