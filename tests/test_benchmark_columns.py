"""A column of a benchmark's file that holds another kind of value is an error of the file, never one of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeup import plugins
from codeup.errors import UserError

TEST = {"input": "1", "output": "1", "testtype": "stdin"}
ROWS: dict[str, dict[str, Any]] = {
    "apps": {"question": "Twice.", "solutions": "[]", "starter_code": "",
             "input_output": json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [2]})},
    "livecodebench": {"question_content": "Print.", "question_id": "1", "starter_code": "", "metadata": "{}",
                      "public_test_cases": json.dumps([TEST]), "private_test_cases": json.dumps([TEST])},
    "humaneval": {"task_id": "T/0", "prompt": "def f():\n", "entry_point": "f", "canonical_solution": "    return 1\n",
                  "test": "def check(candidate):\n    assert candidate() == 1\n"},
    "multipl_e": {"name": "HumanEval_0_f", "language": "rs", "prompt": "fn f() {", "tests": "fn main() {}",
                  "stop_tokens": ["\n}"]},
    "ds1000": {"prompt": "Make x.", "reference_code": "x = 1", "metadata": {"problem_id": 0, "library": "Numpy"},
               "code_context": "exec_context = '[insert]'\ndef test_execution(code):\n    pass\n"},
    "codexglue_text_to_code": {"nl": "f", "code": "int f ( ) { }", "id": 0},
    "codexglue_code_to_text": {"code": "def f(): pass", "language": "python", "docstring_tokens": ["Do", "."]},
}  # fmt: skip
STRANGE: list[Any] = [
    None, True, 1, 1.5, "", "x", "\ud800", [], [1], [None], ["a"], {}, {"a": 1}, [[]], [{}], "1", "null", "[1]",
    "[" * 9000, "1" * 5000, {"library": [], "problem_id": 1}, '[{"testtype": "stdin"}]', '{"inputs": 1, "outputs": 2}',
    '{"inputs": {"a": 1}, "outputs": [1]}', '{"inputs": [null], "outputs": [null]}',
]  # fmt: skip


@pytest.mark.parametrize(("name", "column"), [(name, column) for name, row in ROWS.items() for column in row])
def test_a_column_of_another_kind_is_read_or_named(tmp_path: Path, name: str, column: str) -> None:
    path, module = tmp_path / "rows.jsonl", plugins.load("benchmarks", name)
    path.write_text(json.dumps(ROWS[name]))
    assert len(module.load(path).problems) == 1
    for value in STRANGE:
        path.write_text(json.dumps({**ROWS[name], column: value}))
        try:
            assert len(module.load(path).problems) == 1
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017  (some values may be read)
