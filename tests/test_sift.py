"""Repeated and contaminated rows leave a dataset while it is prepared, each with its reason and its witness."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from prepared_fixture import BENCHMARK, LEAK

from codeup import recipe as recipes
from codeup import study
from codeup.errors import UserError
from codeup.steps import prepare
from codeup.types import Context, Event

LONG = " ".join(f"word{number}" for number in range(60))


def row(instruction: str, output: str) -> dict[str, str]:
    return {"instruction": instruction, "output": output}


FIRST = [row("Say hi", "Hi!"), row(LONG, "short"), row("Grow weights along a list", LEAK), row("Say hi", "Hi! ")]
SECOND = [row("Say hi", "Hi!"), row(LONG, "short and longer"), row("Say bye", "Bye!"), row("No answer", "")]


def prepared(folder: Path, settings: str) -> tuple[dict[str, Any], Path]:
    """The summary and the folder of a prepare step over two files."""
    for name, rows in (("a.jsonl", FIRST), ("b.jsonl", SECOND), ("bench.jsonl", [BENCHMARK])):
        (folder / name).write_text("".join(json.dumps(each) + "\n" for each in rows))
    text = (
        f"{{name: x, data_root: {folder}, model: {{base: nano-base}}, stages: [{{name: s, data: d}}], data: {{d: "
        f"{{sources: [{{source: alpaca, path: a.jsonl}}, {{source: alpaca, path: b.jsonl}}], validation_rows: 0, "
        f"{settings}}}}}}}"
    )
    step = next(each for each in study.compile_recipe(recipes.parse(text)) if each.kind == "prepare")
    out = folder / "step"
    out.mkdir(exist_ok=True)
    heard: list[Event] = []
    summary = prepare.run(prepare.Spec.model_validate(step.spec), Context(out, step.name, {}, heard.append))
    assert not list(out.glob("*.part"))
    return summary, out


def dropped(out: Path) -> list[tuple[str, int, str, str]]:
    rows = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    return sorted((each["source"], each["row"], each["reason"], each.get("detail", "")) for each in rows)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_was_loaded_is_out_of_the_collectors_sight_while_rows_are_prepared_and_not_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, read = list[int](), prepare.read

    def counted(*asked: Any) -> Any:
        hidden.append(gc.get_freeze_count())
        return read(*asked)

    monkeypatch.setattr(prepare, "read", counted)
    prepared(tmp_path, "dedup: exact")
    assert hidden[0] > 10_000 and gc.get_freeze_count() == 0


def test_equal_rows_go_by_default_also_those_of_another_source(tmp_path: Path) -> None:
    summary, out = prepared(tmp_path, "dedup: exact")
    assert dropped(out) == [
        ("alpaca:a.jsonl", 3, "exact duplicate", "alpaca:a.jsonl row 0, similarity 1.000"),
        ("alpaca:b.jsonl", 0, "exact duplicate", "alpaca:a.jsonl row 0, similarity 1.000"),
        ("alpaca:b.jsonl", 3, "empty answer", ""),
    ]
    assert (summary["rows_in"], summary["rows_kept"], summary["train_rows"]) == (8, 5, 5)
    assert summary["dedup"]["duplicates"] == {"exact duplicate": 2}
    assert summary["dedup"]["examples"][0]["dropped"]["row"] == 3
    assert prepared(tmp_path, "cutoff: 2048")[0] == summary


def test_near_rows_and_contamination_go_where_asked(tmp_path: Path) -> None:
    settings = "dedup: near, near_threshold: 0.7, decontaminate: [{name: bench, path: bench.jsonl}]"
    summary, out = prepared(tmp_path, settings)
    reasons = {(source, number): reason for source, number, reason, _ in dropped(out)}
    assert reasons["alpaca:a.jsonl", 1] == "near duplicate"
    assert reasons["alpaca:a.jsonl", 2] == "contamination"
    assert summary["dropped"] == {
        "exact duplicate": 2, "contamination": 1, "empty answer": 1, "near duplicate": 1,
    }  # fmt: skip
    detail = next(each[3] for each in dropped(out) if each[2] == "contamination")
    assert detail.startswith("bench:B/0: execution, a function of the row gives 2 of 2 expected values")
    assert summary["contamination"]["by_source"][0]["before"]["contaminated"] == 1
    assert json.loads((out / "contamination.jsonl").read_text().splitlines()[0])["action"] == "dropped"
    kept = [
        json.loads(line)["messages"][0]["content"] for line in (out / "conversations.jsonl").read_text().splitlines()
    ]
    assert kept == ["Say hi", LONG, "Say bye"]


def test_nothing_is_taken_out_where_nothing_is_asked_for_or_only_a_report(tmp_path: Path) -> None:
    assert prepared(tmp_path, "dedup: none")[0]["rows_kept"] == 7
    settings = "dedup: none, contaminated: report, decontaminate: [{name: bench, path: bench.jsonl}]"
    summary, out = prepared(tmp_path, settings)
    assert summary["rows_kept"] == 7
    assert json.loads((out / "contamination.jsonl").read_text().splitlines()[0])["action"] == "reported"


def test_another_benchmark_file_is_another_step_and_a_missing_one_an_error(tmp_path: Path) -> None:
    prepared(tmp_path, "dedup: none")
    text = (
        f"{{name: x, data_root: {tmp_path}, model: {{base: nano-base}}, stages: [{{name: s, data: d}}], data: {{d: {{"
        "sources: [{source: alpaca, path: a.jsonl}], decontaminate: [{name: bench, path: bench.jsonl}]}}}"
    )

    def spec() -> Any:
        step = next(each for each in study.compile_recipe(recipes.parse(text)) if each.kind == "prepare")
        return step.spec["decontaminate"]

    before = spec()
    (tmp_path / "bench.jsonl").write_text(json.dumps({**BENCHMARK, "task_id": "B/1"}) + "\n")
    assert spec() != before
    (tmp_path / "bench.jsonl").unlink()
    with pytest.raises(UserError, match=r"bench\.jsonl"):
        spec()
