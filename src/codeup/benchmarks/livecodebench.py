"""LiveCodeBench-shaped files: dated competition problems with public and hidden tests (Jain et al. 2024).

arXiv 2403.07974. Rows of livecodebench/code_generation_lite: `question_content`, `question_id`, `starter_code`,
`public_test_cases` and `private_test_cases` (JSON as text; the hidden ones may be a compressed pickle of it, which is
read without running anything it names), `metadata` with `func_name`. Numbers are compared exactly as decimals. The
files hold no solutions, so nothing is calibrated.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from pathlib import Path
from typing import Any

from codeup.benchmarks import _stdin
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "livecodebench"
STDIN = True
BASE_STOPS = _stdin.STOPS
MOST_BYTES = 1 << 30
TEXTS = ("UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE")
AROUND_TEXT = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP")
"""What a pickle of one text is made of (pickletools)."""


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
    public = _stdin.parsed(row["public_test_cases"] or [], where=where, what="public_test_cases")
    hidden = _hidden(row.get("private_test_cases") or [], where)
    tests = [*_tests(public, "public_test_cases", where), *_tests(hidden, "private_test_cases", where)]
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
    metadata = _stdin.parsed(row.get("metadata") or {}, where=where, what="metadata")
    name = metadata.get("func_name", "") if isinstance(metadata, dict) else ""
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


def _tests(value: Any, column: str, where: str) -> list[dict[str, Any]]:
    """Tests as they are. Raises UserError for what is no list of `{"input", "output", "testtype"}`."""
    for test in _stdin.listed(value, where=where, what=column):
        if not isinstance(test, dict) or not all(
            isinstance(test.get(key), str) for key in ("input", "output", "testtype")
        ):
            raise UserError(f"a test of {column} has no text in input, output and testtype", where=where)
    return value or []


def _hidden(text: Any, where: str) -> Any:
    """The hidden tests: read already, JSON, or JSON in a pickle in zlib in base64."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        packed = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MOST_BYTES)
        return json.loads(_text_of(packed))
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UserError(f"private_test_cases cannot be read: {error}", where=where) from None


def _text_of(pickled: bytes) -> str:
    """The one text of a pickle, whose steps are looked at, never executed. Raises ValueError for any other pickle."""
    steps = [(step.name, value) for step, value, _ in pickletools.genops(pickled)]
    texts = [value for name, value in steps if name in TEXTS]
    others = [name for name, _ in steps if name not in TEXTS and name not in AROUND_TEXT]
    if others or len(texts) != 1:
        raise ValueError(f"it is not one text: {', '.join(dict.fromkeys(others)) or f'{len(texts)} texts'}")
    return str(texts[0])
