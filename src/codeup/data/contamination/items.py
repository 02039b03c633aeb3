"""Benchmark files as items to look for: a prompt, a solution, tests, and how a Python function is put to the test.

    HumanEval, MBXP      task_id, prompt, canonical_solution, test, entry_point        tests run
    HumanEval-X          the same without entry_point, in several languages            tests run
    HumanEval+, MBPP+    task_id, prompt, canonical_solution, base_input, plus_input   inputs run, against the solution
    MBPP                 task_id, text, code, test_list                                tests run
    GSM8K                question, answer                                              text only
    APPS, LiveCodeBench  question, solutions; question_content                         text only
    any other            one of the columns below, or a mapping                        tests run if there are any

Covers reading only. The file decides the shape, the user's name for it is only a label.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup.data.code import parse
from codeup.data.contamination.other_functions import LANGUAGES, Source
from codeup.data.files import read_rows
from codeup.errors import UserError

PROMPT = (
    "prompt", "complete_prompt", "question_content", "question", "problem", "instruction", "text", "description",
    "content", "query", "nl", "docstring",
)  # fmt: skip
SOLUTION = (
    "canonical_solution", "reference_code", "solution", "solutions", "code", "answer", "output", "response",
    "completion",
)  # fmt: skip
TESTS = ("test", "tests", "test_list", "test_code", "assertion")
COLUMNS = {
    "prompt": PROMPT, "solution": SOLUTION, "test": TESTS, "entry_point": ("entry_point",),
    "task_id": ("task_id", "question_id", "problem_id", "id", "name"),
}  # fmt: skip
"""Names of a column in benchmark files, the first that is there."""
_PYTHON = ("python", "py")
_PREFIXES = {"CPP": "cpp", "Java": "java", "JavaScript": "javascript", "Go": "go", "Rust": "rust"}
"""What ids of HumanEval-X begin with where a file says no language otherwise."""


@dataclass(frozen=True, slots=True)
class Item:
    """One problem of a benchmark. `program` is its whole solution as Python, empty where it is not Python.

    Of other languages `source` is that, `language` says which, and `setup` stands before the tests. `tests` is source
    that defines `check(candidate)` or asserts about the entry point; `inputs` are argument lists to be compared with
    what `program` returns. Without either the item is found by its text only.
    """

    benchmark: str
    task_id: str
    prompt: str
    solution: str = ""
    tests: str = ""
    entry_point: str = ""
    program: str = ""
    inputs: Sequence[Sequence[Any]] = field(default_factory=tuple)
    language: str = ""
    source: str = ""
    setup: str = ""

    @property
    def name(self) -> str:
        """`humaneval:HumanEval/7`"""
        return f"{self.benchmark}:{self.task_id}"

    @property
    def runnable(self) -> bool:
        """Whether a Python function can be tried on it."""
        return bool(self.program) and bool(self.entry_point) and bool(self.tests or self.inputs)

    @property
    def runnable_elsewhere(self) -> bool:
        """Whether a function of its own language, which is not Python, can be."""
        return bool(self.language and self.entry_point and self.tests)


def read_items(name: str, path: Path, columns: Mapping[str, str] | None = None) -> list[Item]:
    """The items of a benchmark file. Raises `UserError` for files that cannot be read or hold no text."""
    found: list[Item] = []
    mapping: dict[str, str] | None = None
    for row in read_rows(path):
        if row.value is None:
            raise UserError(f"row {row.number} is {row.error}", where=str(path), mend="one JSON object per problem")
        if mapping is None:
            mapping = _mapping(row.value, columns or {}, path)
        item = _item(name, row.number, row.value, mapping)
        if not (item.prompt.strip() or item.solution.strip()):
            raise UserError(
                f"problem {row.number} has no text in {', '.join(map(repr, mapping.values()))}", where=str(path),
                mend="take it out, or map the columns",
            )  # fmt: skip
        found.append(item)
    if not found:
        raise UserError("holds no problems", where=str(path))
    return found


def _mapping(row: Mapping[str, Any], columns: Mapping[str, str], path: Path) -> dict[str, str]:
    """Our name for a column -> the file's."""
    there = ", ".join(map(repr, row))
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            raise UserError(f"there is no {ours!r} to map", where=str(path), mend=f"map one of {', '.join(COLUMNS)}")
        if theirs not in row:
            close = difflib.get_close_matches(theirs, list(row), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UserError(f"no column {theirs!r}{hint}; the columns are: {there}", where=str(path))
    mapping = dict(columns)
    for ours, names in COLUMNS.items():
        known = next((name for name in names if name in row), None)
        if ours not in mapping and known:
            mapping[ours] = known
    if not {"prompt", "solution"} & mapping.keys():
        wanted = [name for names in (PROMPT, SOLUTION) for name in names]
        close = [name for name in row if difflib.get_close_matches(name, wanted, n=1)]
        texts = [name for name, value in row.items() if isinstance(value, str)]
        guess = next(iter([*close, *texts]), "COLUMN")
        raise UserError(
            f"no column that holds a problem's text; the columns are: {there}", where=str(path),
            mend=f"say which one does: --benchmark-columns prompt={guess} (in a recipe: columns: {{prompt: {guess}}})",
        )  # fmt: skip
    return mapping


def _item(name: str, number: int, row: Mapping[str, Any], mapping: Mapping[str, str]) -> Item:
    texts = {ours: _text(row.get(theirs)) for ours, theirs in mapping.items()}
    if mapping.get("solution") == "solutions":
        texts["solution"] = _first(row.get("solutions"))
    prompt, solution = texts.get("prompt", ""), texts.get("solution", "")
    tests = texts.get("test", "")
    program, entry = "", texts.get("entry_point", "")
    language = _language(row, texts.get("task_id", ""))
    if language in _PYTHON:
        program = next((p for p in (prompt + solution, solution) if parse(p) is not None and "def " in p), "")
        entry = entry or _entry_point(program, tests)
    inputs = _inputs(row) if program else ()
    runnable = bool(program) and entry in _defined(program)
    if language in LANGUAGES:
        before = str(row.get("declaration", "")) if language == "rust" else ""
        source, entry = _elsewhere(language, f"{before}{prompt}", solution, entry, tests)
        return Item(
            name, texts.get("task_id") or str(number), prompt, solution, tests, entry, language=language,
            source=source, setup=_text(row.get("test_setup")),
        )  # fmt: skip
    return Item(
        benchmark=name,
        task_id=texts.get("task_id") or str(number),
        prompt=prompt,
        solution=solution,
        tests=tests,
        entry_point=entry if runnable else "",
        program=program if runnable else "",
        inputs=inputs if runnable else (),
    )


def _language(row: Mapping[str, Any], task_id: str) -> str:
    """What a row says of itself, or its id does; Python where nothing does."""
    said = row.get("language") or _PREFIXES.get(task_id.partition("/")[0] if "declaration" in row else "", "python")
    return str(said).lower()


def _elsewhere(language: str, prompt: str, solution: str, entry: str, tests: str) -> tuple[str, str]:
    """A solution in another language, and its function that the tests call: the named one, or the last that is in them.

    Where a solution never ends (a model wrote MBXP's), it is the prompt with an empty body. The function is '' where it
    is not found, or the language's grammar is not installed: then the item is found by its text only.
    """
    for whole in (prompt + solution, f"{prompt}\n}}\n"):
        try:
            names = [each.name for each in Source(language, whole).functions()]
        except UserError:
            break
        in_tests = [each for each in names if re.search(rf"\b{re.escape(each)}\b", tests)]
        called = [entry] if entry in names else [] if entry else in_tests
        if called:
            return whole, called[-1]
    return prompt + solution, ""


def _text(value: Any) -> str:
    """A column as text; a list of assertions as lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else "" if value is None else str(value)


def _first(solutions: Any) -> str:
    """The first of several solutions, a list or the JSON text of one, as in APPS."""
    with suppress(ValueError):
        solutions = json.loads(solutions) if isinstance(solutions, str) and solutions else solutions
    return _text(solutions[0]) if isinstance(solutions, list) and solutions else _text(solutions)


def _inputs(row: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """EvalPlus's inputs: all of the base, then the plus ones."""
    found = []
    for column in ("base_input", "plus_input"):
        value = row.get(column)
        if isinstance(value, list) and all(isinstance(item, list) for item in value):
            found += value
    return found


def _defined(program: str) -> list[str]:
    tree = parse(program)
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []


def _entry_point(program: str, tests: str) -> str:
    """The function that the tests call: the parameter of HumanEval-X's check, or the first defined one in asserts."""
    names = _defined(program)
    called = re.findall(r"\bdef check\(\s*(\w+)", tests) + re.findall(r"\b([A-Za-z_]\w*)\s*\(", tests)
    return next((name for name in called if name in names), names[-1] if names else "")
