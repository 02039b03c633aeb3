"""The report of a study with seeds: from the steps' folders to the table, the claims, the page and the threshold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codeup import recipe as recipes
from codeup import study
from codeup.cli import study as commands
from codeup.errors import UserError
from codeup.steps import report
from codeup.types import Artifact, Context

RECIPE = """\
name: seeded
seeds: [1, 2]
model: {base: nano-base}
data:
  rows: {sources: [{source: alpaca, path: rows.json}]}
stages:
  - {name: math, data: rows}
  - {name: code, data: rows}
ablate: stages
evaluate:
  benchmarks: [{name: nano}]
report: {compare_to: code}
"""
TASKS = 40
SOLVED = {"base": 2, "code@1": 12, "code@2": 14, "full@1": 30, "full@2": 28}


@pytest.fixture
def recipe(tmp_path: Path) -> recipes.Recipe:
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "x", "input": "", "output": "y"}]))
    return recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}"])


def judged(folder: Path, step: str, model: str, form: str, solved: int) -> Artifact:
    """A judge step's folder in which the first `solved` problems passed."""
    folder.mkdir(parents=True)
    rows = [
        {"task_id": f"nano/{i}", "index": 0, "outcome": "PASSED" if i < solved else "FAILED", "detail": ""}
        for i in range(TASKS)
    ]
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "examples.jsonl").write_text("")
    answers = [{"task_id": row["task_id"], "index": 0, "raw": "r", "code": "c", "prompt": "p"} for row in rows]
    (folder / "answers.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(a) + "\n" for a in answers).encode()))
    score = {
        "model": model, "benchmark": "nano", "form": form, "metric": "pass@1", "value": solved / TASKS,
        "low": 0.0, "high": 1.0, "n": TASKS, "passed": solved, "samples": TASKS,
    }  # fmt: skip
    return Artifact(step, "judge", str(folder), "0" * 64, {"scores": [score]}, 1.0)


def trained(folder: Path, step: str) -> Artifact:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    summary = {
        "training_seconds": 50.0, "evaluation_seconds": 10.0, "threads": 2, "device": "cpu", "tokens": 1000,
        "trained_tokens": 400, "steps": 2,
    }  # fmt: skip
    return Artifact(step, "sft", str(folder), "0" * 64, summary, 60.0)


@pytest.fixture
def context(recipe: recipes.Recipe, tmp_path: Path) -> Context:
    inputs: dict[str, Artifact] = {}
    for step in study.compile_recipe(recipe):
        if step.kind == "sft":
            inputs[step.name] = trained(tmp_path / "run" / step.name, step.name)
        if step.kind == "judge":
            model, form = str(step.spec["model"]), str(step.spec["form"])
            solved = 0 if form == "base" else SOLVED[model]
            inputs[step.name] = judged(tmp_path / "run" / step.name, step.name, model, form, solved)
    (tmp_path / "report").mkdir()
    return Context(folder=tmp_path / "report", step="report", inputs=inputs)


def made(recipe: recipes.Recipe, context: Context) -> dict[str, Any]:
    step = study.compile_recipe(recipe)[-1]
    report.run(report.Spec.model_validate(dict(step.spec)), context)
    return dict(json.loads((context.folder / "table.json").read_text()))


def test_the_table_of_a_seeded_study(recipe: recipes.Recipe, context: Context) -> None:
    found = made(recipe, context)
    rows = {row["name"]: row for row in found["table"]["rows"]}
    assert list(rows) == ["base", "code", "full"]
    assert found["table"]["seeds"] == [1, 2]
    code, full = rows["code"]["cells"]["nano"], rows["full"]["cells"]["nano"]
    assert (code["value"], full["value"]) == pytest.approx((13 / 40, 29 / 40))
    assert full["by_model"] == {"full@1": 30 / 40, "full@2": 28 / 40}
    assert full["against"] == "code" and full["difference"] == pytest.approx(16 / 40)
    assert rows["base"]["cells"]["nano"]["form"] == "chat", "the form in which the base does better"
    # two seeds of 60 s on 2 threads each: code one training, full two; nothing is shared
    assert rows["code"]["cost"]["compute_alone"] == rows["code"]["cost"]["compute_share"] == 4
    assert rows["full"]["cost"]["compute_alone"] == 8
    assert [claim["claim"] for claim in found["claims"]] == [
        "code is better than base",
        "full is better than base",
        "math before code helps",
        "full is the best row",
    ]
    assert {claim["verdict"] for claim in found["claims"]} == {"supported"}


def test_the_page_has_the_table_and_its_headline_is_the_mean_of_the_seeds(
    recipe: recipes.Recipe, context: Context
) -> None:
    made(recipe, context)
    page = (context.folder / "report.html").read_text()
    assert "nano pass@1 rises from 0.050 to 0.725" in page
    keys = page[page.index('<dl class="keys">') : page.index("</dl>")]
    assert "0.725" in keys and "0.700" not in keys, "the first figure is the mean too, not the last seed"
    assert "math before code helps on nano: supported at n = 40 with 2 seeds" in page
    text = (context.folder / "table.txt").read_text()
    assert text.splitlines()[3].startswith("full")
    study_json = json.loads((context.folder / "report.json").read_text())
    assert {c["b"] for c in study_json["comparisons"]} == {"base"}, "seeds are compared by the table's tests only"


@pytest.mark.parametrize(
    ("model", "at_least", "missed"),
    [
        ("full", 0.7, []),
        ("full", 0.74, ["pass@1 of full on nano is 0.725 (mean of 2 seeds), required 0.74"]),
        ("full@1", 0.74, []),
        ("full@2", 0.74, ["pass@1 of full@2 on nano is 0.700 (95 % [0.000, 1.000], n=40), required 0.74"]),
        ("base", 0.05, []),
    ],
)
def test_a_threshold_holds_a_variant_to_the_mean_of_its_seeds(
    tmp_path: Path, context: Context, model: str, at_least: float, missed: Sequence[str]
) -> None:
    need = f"evaluate.require=[{{model: {model}, benchmark: nano, at_least: {at_least}}}]"
    asked = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}", need])
    scores = [score for artifact in context.inputs.values() for score in artifact.summary.get("scores", [])]
    assert commands._missed(asked, scores) == missed


def test_a_recipe_does_not_run_in_the_folder_of_another(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "study.json").write_text('{"name": "other", "recipe_file": "recipes/other.yaml"}')
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("path: rows.json", 'path: "nano:code", rows: 5'))
    for dry_run in (True, False):
        with pytest.raises(UserError, match=r"study 'other' \(recipes/other.yaml\), and this recipe is 'seeded'"):
            commands.run(str(path), [f"run_dir={tmp_path / 'run'}"], dry_run=dry_run)
    with pytest.raises(UserError, match="study 'other'"):
        commands.train_stage(str(path), [f"run_dir={tmp_path / 'run'}"], "code", json=False)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["study.json"]
