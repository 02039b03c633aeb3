"""Part of a benchmark, on request: its first problems or named ones, so that the score's n is what was asked for.

The reduced data say so in their version, and keep the ids that were not asked for: a sample for one of those is left
out and counted, a sample for a task the benchmark does not have stays an error.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

SHOWN = 5
"""Names spelled out in a version or a message."""


def first(data: BenchmarkData, limit: int | None) -> BenchmarkData:
    """The first `limit` problems, with a version that says so. Raises UserError for a limit below 1."""
    if limit is None or limit >= len(data.problems):
        return data
    if limit < 1:
        raise UserError(f"limit is {limit}", mend="ask for at least one problem")
    return _reduced(data, data.problems[:limit], f"the first {limit}")


def named(data: BenchmarkData, tasks: Sequence[str]) -> BenchmarkData:
    """The problems with these ids, in the benchmark's order. Raises UserError naming every id it does not have."""
    known = [problem.task_id for problem in data.problems]
    unknown = [task for task in dict.fromkeys(tasks) if task not in known]
    if unknown:
        raise UserError(
            f"{len(unknown)} tasks are not in {data.name}: " + ", ".join(_suggested(task, known) for task in unknown),
            mend=f"name ids as the benchmark does, such as {', '.join(known[:2])}",
        )
    if not tasks:
        raise UserError("no task is named", mend="name ids of the benchmark, separated by commas")
    wanted = set(tasks)
    chosen = tuple(problem for problem in data.problems if problem.task_id in wanted)
    if len(chosen) == len(known):
        return data
    names = [problem.task_id for problem in chosen]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return _reduced(data, chosen, f"{len(names)} named ({', '.join(names[:SHOWN])}{more})")


def reduced(data: BenchmarkData, *, tasks: Sequence[str] | None = None, limit: int | None = None) -> BenchmarkData:
    """`named` or `first`, whichever is asked for; the whole benchmark for neither."""
    if tasks is not None and limit is not None:
        raise UserError("both tasks and a limit are given", mend="give one of --tasks and --limit")
    return first(data, limit) if tasks is None else named(data, tasks)


def described(data: BenchmarkData) -> dict[str, Any] | None:
    """What a summary says about a subset: how many problems of how many, and which. None for a whole benchmark."""
    if not data.not_asked:
        return None
    tasks = [problem.task_id for problem in data.problems]
    return {"asked": len(tasks), "of": len(tasks) + len(data.not_asked), "tasks": tasks}


def tag(data: BenchmarkData) -> str:
    """A short name of the subset for a folder, so that the whole benchmark's verdicts stay where they are; or ""."""
    if not data.not_asked:
        return ""
    tasks = "\n".join(problem.task_id for problem in data.problems)
    return (
        f"{len(data.problems)}-of-{len(data.problems) + len(data.not_asked)}-"
        + (hashlib.sha256(tasks.encode()).hexdigest()[:6])
    )


def _reduced(data: BenchmarkData, problems: tuple[Problem, ...], how: str) -> BenchmarkData:
    kept = {problem.task_id for problem in problems}
    others = tuple(problem.task_id for problem in data.problems if problem.task_id not in kept)
    version = f"{data.version}; only {how} of {len(data.problems)}"
    return replace(data, version=version, problems=problems, not_asked=data.not_asked + others)


def _suggested(task: str, known: Sequence[str]) -> str:
    """The id, with the one that was probably meant: "7" is HumanEval/7, and so is "humanevla/7"."""
    same_number = [name for name in known if name.rpartition("/")[2] == task]
    by_lower = {name.lower(): name for name in reversed(known)}
    close = same_number or [by_lower[name] for name in difflib.get_close_matches(task.lower(), by_lower, n=1)]
    return repr(task) + (f" (did you mean {close[0]!r}?)" if close else "")
