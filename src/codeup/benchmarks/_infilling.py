"""Gaps in the solutions of HumanEval-shaped problems: prefix and suffix are given, the middle is asked for.

    solution          gap (single line, L1)        prompt (prefix)               suffix
    def f(x):                                      def f(x):⏎    y = x + 1⏎      ⏎
        y = x + 1
        return y      "    return y"

Single-line: every line of a solution that is not blank is a gap once (1,033 in HumanEval, the number of Fried et al.
2022, arXiv 2204.05999). Random span: ten gaps a problem between two characters drawn at random (Bavarian et al. 2022,
arXiv 2207.14255). The draw depends on the task's id alone, so the same file gives the same gaps everywhere; they are
not the published ones. A published file (rows with `suffix`) is read as it is. A line's end belongs to the suffix here,
so an answer may or may not bring one of its own.

The program of an answer is prefix + answer + suffix, uncut: the model has to know where to end. Judged by the problem's
own tests; an answer that differs from the original passes if they do.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeup.benchmarks import _humaneval_shape as shape
from codeup.benchmarks import humaneval
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

SPANS = 10
"""Random spans of a problem (1,640 in HumanEval), as published."""

Gap = tuple[str, int, int]
"""A name within its problem, and where it begins and ends in the solution, in characters."""


def load(path: Path | None, *, name: str, what: str, gaps: Callable[[Problem], Sequence[Gap]]) -> BenchmarkData:
    """Gaps of a HumanEval-shaped file (without a path, of HumanEval), or the rows of a published infilling file."""
    if path is not None and any("suffix" in row for row in _first(path)):
        return _published(path, name)
    data = humaneval.load(path)
    problems = tuple(_problem(each, gap) for each in data.problems for gap in gaps(each))
    if not problems:
        raise UserError("its solutions have no lines to leave out", where=str(path))
    return replace(data, name=name, version=f"{data.version}; {what}, {len(problems)} gaps", problems=problems)


def _first(path: Path) -> Iterator[dict[str, Any]]:
    for row in shape.rows_of(path):
        yield row
        return


def _problem(problem: Problem, gap: Gap) -> Problem:
    """One gap as a problem of its own; its canonical solution is all that follows the prefix."""
    name, begin, end = gap
    solution = problem.canonical_solution
    extra = {
        "suffix": solution[end:],
        "middle": solution[begin:end],
        "question": problem.prompt,
        "problem": problem.task_id,
    }
    return replace(
        problem,
        task_id=f"{problem.task_id}/{name}",
        prompt=problem.prompt + solution[:begin],
        canonical_solution=solution[begin:],
        extra=extra,
    )


def _published(path: Path, name: str) -> BenchmarkData:
    """A file of human-eval-infilling: `canonical_solution` is the middle, and the id's last part names the gap."""
    data = shape.read(path, name=name, version={}, more=("suffix",))
    problems = tuple(
        replace(
            each,
            canonical_solution=each.canonical_solution + each.extra["suffix"],
            extra={
                **each.extra,
                "middle": each.canonical_solution,
                "question": each.prompt,
                "problem": each.task_id.rpartition("/")[0] or each.task_id,
            },
        )
        for each in data.problems
    )
    return replace(data, version=f"{data.version}; gaps as published, {len(problems)}", problems=problems)


def lines(problem: Problem) -> list[Gap]:
    """Every line that is not blank, without its line end.

    >>> lines(Problem("T/0", "def f():\\n", "f", "", "    x = 1\\n\\n    return x\\n"))
    [('L0', 0, 9), ('L2', 11, 23)]
    """
    found, place = [], 0
    for number, line in enumerate(problem.canonical_solution.split("\n")):
        if line.strip():
            found.append((f"L{number}", place, place + len(line)))
        place += len(line) + 1
    return found


def spans(problem: Problem) -> list[Gap]:
    """Up to ten different spans between two characters, none of them blank; fewer where a solution has no more."""
    solution = problem.canonical_solution
    draw = random.Random(int.from_bytes(hashlib.sha256(problem.task_id.encode()).digest(), "big"))
    seen: set[tuple[int, int]] = set()
    for _ in range(20 * SPANS):
        begin, end = sorted((draw.randint(0, len(solution)), draw.randint(0, len(solution))))
        if solution[begin:end].strip():
            seen.add((begin, end))
        if len(seen) == SPANS:
            break
    return [(f"S{number}", begin, end) for number, (begin, end) in enumerate(sorted(seen))]


def base_prompt(problem: Problem) -> str:
    """The prefix, to the character."""
    return problem.prompt


def chat_instruction(problem: Problem) -> str:
    """The same for a model that is chatted to: it writes the function anew, its gap filled."""
    code = f"{problem.prompt}<GAP>{problem.extra['suffix']}"
    return (
        "Part of this Python code was replaced by <GAP>. Fill the gap and answer with the whole code:\n"
        f"```python\n{code}\n```"
    )


def program_from_completion(problem: Problem, completion: str) -> str:
    """Prefix, what was written, suffix."""
    return f"{problem.prompt}{completion}{problem.extra['suffix']}"
