"""LiveCodeBench-shaped files: dated competition problems with public and hidden tests (Jain et al. 2024).

arXiv 2403.07974. Rows of livecodebench/code_generation_lite: `question_content`, `question_id`, `starter_code`,
`public_test_cases` and `private_test_cases` (JSON as text; the hidden ones may be a compressed pickle of it, which is
read without running anything it names), `metadata` with `func_name`. Numbers are compared exactly as decimals. The
files hold no solutions, so nothing is calibrated.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from pathlib import Path
from typing import Any, NoReturn

from codeup.benchmarks import _stdin
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "livecodebench"
STDIN = True
BASE_STOPS = _stdin.STOPS
MOST_BYTES = 1 << 30

base_prompt = _stdin.base_prompt
chat_instruction = _stdin.chat_instruction
program_from_completion = _stdin.program_from_completion


def load(path: Path | None = None) -> BenchmarkData:
    """Read a JSONL(.gz) file. Problems without tests are left out, and the version says how many."""
    where = "the Hub has test*.jsonl as livecodebench/code_generation_lite"
    rows = _stdin.read(path, NAME, ("question_content", "question_id"), where, parsed=("public_test_cases",))
    assert path is not None
    found: dict[str, Problem | None] = {}
    too_long = []
    for number, row in enumerate(rows, 1):
        try:
            found[row["question_id"]] = _problem(row, f"{path}:{number}")
        except _stdin.TooLong:
            too_long.append(row["question_id"])
    if len(found) + len(too_long) < len(rows):
        raise UserError("a question_id occurs twice", where=str(path))
    without = [task for task, problem in found.items() if problem is None]
    return _stdin.data(path, NAME, [problem for problem in found.values() if problem], without, too_long)


def _problem(row: dict[str, Any], where: str) -> Problem | None:
    tests = _stdin.parsed(row["public_test_cases"] or "[]", where=where, what="public_test_cases")
    tests = [*tests, *_hidden(row.get("private_test_cases") or [], where)]
    if not tests:
        return None
    kinds = {test["testtype"] for test in tests}
    starter = str(row.get("starter_code") or "")
    if kinds == {"stdin"}:
        pairs = [(str(test["input"]), str(test["output"])) for test in tests]
        return _stdin.stdin_problem(
            row["question_id"], row["question_content"], pairs, comparison="decimals", given=NAME, starter=starter
        )
    if kinds != {"functional"}:
        raise UserError(f"its tests are of the types {', '.join(sorted(map(str, kinds)))}", where=where)
    name = _stdin.parsed(row.get("metadata") or "{}", where=where, what="metadata").get("func_name", "")
    if not str(name).isidentifier():
        raise UserError(f"func_name of its metadata is {name!r}, not the name of a function", where=where)
    cases = [(_arguments(test["input"], where), _value(test["output"], where)) for test in tests]
    return _stdin.call_problem(
        row["question_id"], row["question_content"], name, cases, comparison="same_json", given=NAME, starter=starter
    )


def _arguments(text: str, where: str) -> list[Any]:
    """One JSON value a line, one line an argument."""
    return [_value(line, where) for line in text.split("\n") if line.strip()]


def _value(text: str, where: str) -> Any:
    return _stdin.parsed(text, where=where, what="a test")


def _hidden(text: Any, where: str) -> list[dict[str, Any]]:
    """The hidden tests: read already, JSON, or JSON in a pickle in zlib in base64."""
    if not isinstance(text, str):
        return list(text)
    try:
        found = json.loads(text)
    except ValueError:
        try:
            packed = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MOST_BYTES)
            plain = _OnlyText(io.BytesIO(packed)).load()
            found = json.loads(plain)
        except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError, TypeError) as error:
            raise UserError(f"private_test_cases cannot be read: {error}", where=where) from None
    return list(found)


class _OnlyText(pickle.Unpickler):
    """Plain values only: a pickle that names anything to import is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
