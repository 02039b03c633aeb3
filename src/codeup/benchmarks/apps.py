"""APPS: competition problems whose programs read and print or are called (Hendrycks et al. 2021, arXiv 2105.09938).

Rows of codeparrot/apps or of the original: `question`, `input_output` and `solutions` (JSON as text), `starter_code`.
With `fn_name` in `input_output` a function (or a method of `Solution`) is called, else a program reads standard input.
Outputs are compared strictly; `--compat apps` takes the original's lenient comparison, under which a wrong order can
pass. Not the original's rule: `sys.exit` with an error code is a failure, and time is counted per input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeup.benchmarks import _stdin
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "apps"
STDIN = True
BASE_STOPS = _stdin.STOPS
MEND = "it holds inputs and outputs, and fn_name where a function is called"

base_prompt = _stdin.base_prompt
chat_instruction = _stdin.chat_instruction
program_from_completion = _stdin.program_from_completion


def load(path: Path | None = None) -> BenchmarkData:
    """Read a JSONL(.gz) or Parquet file. Problems without tests are left out, and the version says how many."""
    where = "the Hub has test.jsonl as codeparrot/apps"
    rows = _stdin.read(path, NAME, ("question",), where, parsed=("input_output",))
    assert path is not None
    problems, without, too_long = [], [], []
    for number, row in enumerate(rows, 1):
        try:
            problem = _problem(row, number, f"{path}:{number}")
        except _stdin.TooLong:
            too_long.append(_task(row, number))
            continue
        if problem is None:
            without.append(_task(row, number))
        else:
            problems.append(problem)
    return _stdin.data(path, NAME, problems, without, too_long)


def _task(row: dict[str, Any], number: int) -> str:
    return f"APPS/{row.get('problem_id', row.get('id', number))}"


def _problem(row: dict[str, Any], number: int, where: str) -> Problem | None:
    tests = _stdin.parsed(row["input_output"] or {}, where=where, what="input_output")
    if not isinstance(tests, dict):
        raise UserError(f"input_output is {type(tests).__name__}, not an object", where=where, mend=MEND)
    inputs, outputs = (_stdin.listed(tests.get(key), where=where, what=key) for key in ("inputs", "outputs"))
    if len(inputs) != len(outputs):
        raise UserError(f"input_output has {len(inputs)} inputs and {len(outputs)} outputs", where=where)
    if not inputs:
        return None
    solutions = _stdin.parsed(row.get("solutions") or [], where=where, what="solutions")
    solutions = _stdin.listed(solutions, where=where, what="solutions")
    canonical, starter = (str(solutions[0]) if solutions else ""), str(row.get("starter_code") or "")
    if name := tests.get("fn_name"):
        if not str(name).isidentifier():
            raise UserError(f"fn_name is {name!r}, not the name of a function", where=where)
        cases = [(_arguments(given), expected) for given, expected in zip(inputs, outputs, strict=True)]
        return _stdin.call_problem(
            _task(row, number), row["question"], name, cases, comparison="same_value", given=NAME, canonical=canonical,
            starter=starter,
        )  # fmt: skip
    pairs = [(_text(given), _text(expected)) for given, expected in zip(inputs, outputs, strict=True)]
    return _stdin.stdin_problem(
        _task(row, number), row["question"], pairs, comparison="strict", given=NAME, canonical=canonical,
        starter=starter, compat={"apps": "lenient"},
    )  # fmt: skip


def _text(value: Any) -> str:
    """An input or output, which may be a list of lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _arguments(given: Any) -> list[Any]:
    """The arguments of a call. JSON makes text of a dict's keys; as in the original, numbers are made of them again."""
    return [_keys(value) for value in (given if isinstance(given, list) else [given])]


def _keys(value: Any) -> Any:
    if isinstance(value, dict) and value and all(str(key).lstrip("-").isdigit() for key in value):
        return {int(key): part for key, part in value.items()}
    return value
