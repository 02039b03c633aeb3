"""What benchmarks of competition problems share: a program that reads and prints, or a function that is called.

    stdin        extra["stdin"] = [["3\\n1 2 3\\n", "6\\n"], ...]      run once per input (sandbox/stdin_judge.py)
    call-based   tests = check(candidate) over all cases            called one at a time, as HumanEval's

In both, what is expected stays out of the program's process. The question is prose and no beginning of a program, so
`Problem.prompt` is empty and the text stands in `extra["text"]`. A function may be a method of a class `Solution`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup.benchmarks import _humaneval_shape as shape
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

Pairs = list[tuple[str, str]]
STOPS = ("\n```", "\nQUESTION:", "\n---")


def stdin_problem(
    task_id: str, text: str, pairs: Pairs, *, comparison: str, given: str = "", canonical: str = "", starter: str = "",
    compat: Mapping[str, str] | None = None,
) -> Problem:  # fmt: skip
    """A problem whose program prints; `comparison` and the values of `compat` name functions of _outputs.py.

    `given` names the imports that stand before every program (_imports.py), "" none.
    """
    extra: dict[str, Any] = {
        "text": text, "starter": starter, "given": given, "stdin": [list(pair) for pair in pairs],
        "comparison": _named(comparison),
        "compat": {name: _named(function) for name, function in (compat or {}).items()},
    }  # fmt: skip
    return Problem(task_id, "", "", "", canonical, "python", extra)


def call_problem(
    task_id: str, text: str, name: str, cases: Sequence[tuple[list[Any], Any]], *, comparison: str, given: str = "",
    canonical: str = "", starter: str = "",
) -> Problem:  # fmt: skip
    """A problem whose function is called with plain values."""
    written = json.dumps(json.dumps([[arguments, expected] for arguments, expected in cases]))
    tests = (
        f"import json\nfrom codeup.benchmarks._outputs import {comparison} as same\n\nCASES = json.loads({written})\n"
        "\n\ndef check(candidate):\n    for arguments, expected in CASES:\n"
        "        assert same(candidate(*arguments), expected)\n"
    )
    epilogue = f"\n\nif {name!r} not in globals() and 'Solution' in globals():\n    {name} = Solution().{name}\n"
    extra = {
        "text": text, "starter": starter, "given": given, "reference": "", "epilogue": epilogue,
        "defines": "Solution" if "class Solution" in starter else name,
    }  # fmt: skip
    return Problem(task_id, "", name, tests, canonical, "python", extra)


def _named(function: str) -> str:
    return f"codeup.benchmarks._outputs:{function}"


class TooLong(UserError):
    """A number with more digits than Python reads (sys.int_info.default_max_str_digits)."""


def read(
    path: Path | None, name: str, columns: Sequence[str], where: str, parsed: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of a file, each with text in `columns`, and with `parsed` columns of any kind. Raises UserError."""
    if path is None:
        raise UserError(f"{name} needs its data file", mend=f"name it with --data; {where}")
    rows = list(shape.rows_of(path))
    if not rows:
        raise UserError("holds no problems", where=str(path))
    for number, row in enumerate(rows, 1):
        wrong = [column for column in columns if not isinstance(row.get(column), str)]
        wrong += [column for column in parsed if column not in row]
        if wrong:
            mend = f"name the benchmark this file belongs to; {name} needs {', '.join([*columns, *parsed])}"
            what = f"problem {number} has no text in {', '.join(wrong)}; its columns are {', '.join(row)}"
            raise UserError(what, where=str(path), mend=mend)
    return rows


def data(
    path: Path, name: str, problems: Sequence[Problem], without_tests: Sequence[str], too_long: Sequence[str] = ()
) -> BenchmarkData:  # fmt: skip
    """The benchmark; its version counts problems by kind, and those that have no tests and are left out."""
    tasks = [problem.task_id for problem in problems]
    if twice := next((task for task in tasks if tasks.count(task) > 1), None) if len(set(tasks)) < len(tasks) else None:
        raise UserError(f"task {twice} occurs twice", where=str(path))
    if not problems:
        raise UserError("none of its problems has tests", where=str(path))
    printing = sum("stdin" in problem.extra for problem in problems)
    version = f"{printing} problems that print, {len(problems) - printing} that are called"
    if without_tests:
        version += f"; {len(without_tests)} without tests left out"
    if too_long:
        version += f"; {len(too_long)} with numbers of more digits than Python reads left out"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return BenchmarkData(name, version, digest, tuple(problems), (*without_tests, *too_long))


def parsed(value: Any, *, where: str, what: str) -> Any:
    """A JSON value kept as text in a row, or already read. Raises UserError, and TooLong for a very long number."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        if "integer string conversion" in str(error):
            raise TooLong(f"{what} holds a number of more digits than Python reads", where=where) from None
        raise UserError(f"{what} is not JSON: {error}", where=where, mend="fetch the file again") from None


def listed(value: Any, *, where: str, what: str) -> list[Any]:
    """A list, or an empty one for nothing. Raises UserError for anything else."""
    if value and not isinstance(value, list):
        raise UserError(f"{what} is {type(value).__name__}, not a list", where=where, mend="fetch the file again")
    return value or []


def base_prompt(problem: Problem) -> str:
    """The question and the starter code, as APPS words it (hendrycks/apps, README)."""
    kind = "Use Standard Input format" if "stdin" in problem.extra else "Use Call-Based format"
    starter = f"{problem.extra['starter']}\n" if problem.extra["starter"] else ""
    return f"\nQUESTION:\n{problem.extra['text']}\n{starter}{kind}\nANSWER:\n"


def chat_instruction(problem: Problem) -> str:
    """The question, and what the answer has to be."""
    text, starter = str(problem.extra["text"]).strip(), str(problem.extra["starter"]).strip()
    if "stdin" in problem.extra:
        ask = "Write a Python program that reads the input from standard input and prints the answer."
    else:
        ask = f"Write a Python function {problem.entry_point} that returns the answer."
    begin = f"\n\nBegin with:\n```python\n{starter}\n```" if starter else ""
    return f"{text}\n\n{ask} Answer with the whole code in one Markdown block.{begin}"


def program_from_completion(problem: Problem, completion: str) -> str:
    """The program of a base model: what it wrote, up to where it began something else."""
    return shape.cut(completion, STOPS) + "\n"
