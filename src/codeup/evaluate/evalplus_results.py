"""eval_results.json: verdicts in the shape that EvalPlus writes, for tools that read that.

    {"date", "hash", "eval": {task_id: [{"task_id", "solution", "base_status", "plus_status", "base_fail_tests",
                                         "plus_fail_tests"}, ...]}, "pass_at_k": {"base": {...}, "plus": {...}}}

`date` is that of the samples, so that the same samples give the same file. `hash` is the md5 of the data without its
compression, as EvalPlus has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup import artifacts, stats
from codeup.benchmarks._evalplus import shown_inputs
from codeup.evaluate.samples import Answer
from codeup.types import BenchmarkData, Problem

KS = (1, 10, 100)


def write(
    path: Path, samples: Path, answers: Sequence[Answer], rows: Sequence[Mapping[str, Any]],
    problems: Mapping[str, Problem], data: BenchmarkData,
) -> None:  # fmt: skip
    """Write the file from answers and their verdict rows, which are in the same order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for answer, row in zip(answers, rows, strict=True):
        problem = problems[row["task_id"]]
        found.setdefault(row["task_id"], []).append(_entry(answer.program.code, row, problem))
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(samples.stat().st_mtime))
    md5 = data.version.rpartition("md5 ")[2]
    results = {"date": date, "hash": md5, "eval": found, "pass_at_k": _pass_at_k(found)}
    artifacts.write_bytes(path, json.dumps(results).encode())


def _entry(solution: str, row: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    suites = {suite["name"]: suite for suite in row["suites"]}
    entry: dict[str, Any] = {"task_id": row["task_id"], "solution": solution}
    tests = {}
    for name in ("base", "plus"):
        entry[f"{name}_status"] = row.get(f"{name}_status")
        tests[f"{name}_fail_tests"] = _failed(suites.get(name), problem.extra["suites"][name], row["all_inputs"])
    if problem.extra["dataset"] == "mbpp":
        tests = {name: shown_inputs(row["task_id"], inputs) for name, inputs in tests.items()}
    return {**entry, **tests}


def _failed(suite: Mapping[str, Any] | None, inputs: Sequence[Any], all_inputs: bool) -> list[Any]:
    """The inputs that failed; unless all were asked for, the last that has a result, whether it failed or not."""
    if suite is None or suite["status"] == "pass" or suite["checks"] == 0:
        return []
    return [inputs[place] for place in suite["failed"]] if all_inputs else [inputs[suite["checks"] - 1]]


def _pass_at_k(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    rates: dict[str, dict[str, float]] = {}
    for suite, statuses in (("base", ("base_status",)), ("plus", ("base_status", "plus_status"))):
        passed = [[all(entry[key] == "pass" for key in statuses) for entry in entries] for entries in found.values()]
        if suite == "plus" and any(entry["plus_status"] is None for entries in found.values() for entry in entries):
            continue
        fewest = min(map(len, passed))
        rates[suite] = {
            f"pass@{k}": sum(stats.pass_at_k(len(each), sum(each), k) for each in passed) / len(passed)
            for k in KS
            if k <= fewest
        }
    return rates
