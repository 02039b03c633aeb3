"""Benchmark files: what is read, what is refused, how each form is asked and assembled."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from codeup.benchmarks import _humaneval_shape as shape
from codeup.benchmarks import humaneval, nano
from codeup.errors import UserError

ROW = {
    "task_id": "T/0",
    "prompt": '\n\ndef add(a, b):\n    """Add."""\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "instruction": "Add two numbers.",
}


def write(path: Path, rows: list[Any]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_a_file_is_read_plain_or_compressed(tmp_path: Path, name: str) -> None:
    data = humaneval.load(write(tmp_path / name, [ROW, {**ROW, "task_id": "T/1"}]))
    assert [problem.task_id for problem in data.problems] == ["T/0", "T/1"]
    assert len(data.sha256) == 64 and data.version.startswith("not a known version")


def test_a_parquet_file_is_the_same_benchmark(tmp_path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]), tmp_path / "p.parquet")
    one, two = humaneval.load(tmp_path / "p.parquet"), humaneval.load(write(tmp_path / "p.jsonl", [ROW]))
    assert (one.problems, one.version) == (two.problems, two.version)


WRONG: dict[str, tuple[list[Any], str]] = {
    "no problems": ([], "holds no problems"),
    "other columns": (
        [{"question": "?", "answer": "!"}],
        "no text in task_id, prompt, .*its columns are question, answer",
    ),
    "a number for text": ([{**ROW, "prompt": 3}], "no text in prompt"),
    "a task twice": ([ROW, ROW], "task T/0 occurs twice"),
    "a line that is no JSON": ([ROW, '{"task_id": '], ":2: is not JSON"),
    "a line that is no object": (["[1]"], ":1: is not a JSON object"),
    "a line nested too deep": (["[" * 100_000], ":1: is not JSON: maximum recursion depth"),
    "tests without check": ([{**ROW, "test": "assert True"}], "define no check"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    rows, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        humaneval.load(write(tmp_path / "p.jsonl", rows))


def test_a_damaged_and_a_missing_file_are_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "p.jsonl.gz", [ROW])
    (tmp_path / "cut.gz").write_bytes(whole.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"cut\.gz: cannot be read"):
        humaneval.load(tmp_path / "cut.gz")
    with pytest.raises(UserError, match="no such benchmark file"):
        humaneval.load(tmp_path / "absent.jsonl")


def test_offline_without_a_copy_says_how_to_give_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="--data FILE"):
        humaneval.load()


def test_the_base_prompt_ends_in_one_newline_and_the_program_begins_with_it(tmp_path: Path) -> None:
    (problem,) = humaneval.load(write(tmp_path / "p.jsonl", [ROW])).problems
    assert humaneval.base_prompt(problem) == 'def add(a, b):\n    """Add."""\n'
    program = humaneval.program_from_completion(problem, "    return a + b\n\ndef next_one():\n    pass\n")
    assert program == 'def add(a, b):\n    """Add."""\n    return a + b\n\n'


@pytest.mark.parametrize("stop", humaneval.BASE_STOPS)
def test_a_completion_ends_at_each_stop(stop: str) -> None:
    assert shape.cut(f"    return 1\n{stop}tail") == "    return 1\n"


def test_the_earliest_stop_counts_and_a_clean_completion_stays() -> None:
    assert shape.cut("    x\n\nclass A\ndef b\n") == "    x\n"
    assert shape.cut("    return 'print('\n") == "    return 'print('\n"


def test_chat_instructions_are_the_documented_words(tmp_path: Path) -> None:
    (problem,) = humaneval.load(write(tmp_path / "p.jsonl", [ROW])).problems
    assert humaneval.chat_instruction(problem) == (
        'Write a Python function to solve the following task:\n```python\ndef add(a, b):\n    """Add."""\n```'
    )
    (small,) = nano.load(write(tmp_path / "n.jsonl", [ROW])).problems
    assert nano.chat_instruction(small) == "Add two numbers."


def test_nano_needs_its_instruction(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "instruction"}
    with pytest.raises(UserError, match="no text in instruction"):
        nano.load(write(tmp_path / "n.jsonl", [row]))


@pytest.mark.real_data
def test_the_original_humaneval_is_recognised(public_data: Path) -> None:
    data = humaneval.load(public_data / "benchmarks" / "HumanEval.jsonl.gz")
    assert len(data.problems) == 164
    assert data.version == "openai/human-eval, 164 problems, 2021"
