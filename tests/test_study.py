"""A recipe compiles to steps that share what variants have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeup import artifacts, models, study
from codeup import recipe as recipes
from codeup.errors import UserError

RECIPE = """\
name: study
model: {base: nano-base}
data:
  rows: {sources: [{source: alpaca, path: rows.json}]}
stages:
  - {name: a, data: rows}
  - {name: b, data: rows}
  - {name: c, data: rows}
variants: {c: [c], a-c: [a, c], a-b-c: [a, b, c]}
evaluate:
  benchmarks: [{name: nano}]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> recipes.Recipe:
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "x", "input": "", "output": "y"}]))
    return recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}"])


def test_common_prefixes_are_trained_once(recipe: recipes.Recipe) -> None:
    trained = [step.name for step in study.compile_recipe(recipe) if step.kind == "sft"]
    assert trained == ["train-c", "train-a", "train-a-c", "train-a-b", "train-a-b-c"]


def test_steps_come_after_what_they_build_on(recipe: recipes.Recipe) -> None:
    seen: set[str] = set()
    for step in study.compile_recipe(recipe):
        assert set(step.inputs) <= seen, step.name
        seen.add(step.name)


def test_a_stage_starts_from_the_merged_model_before_it(recipe: recipes.Recipe) -> None:
    steps = {step.name: step for step in study.compile_recipe(recipe)}
    assert steps["train-a-b-c"].inputs == ("data-rows", "merge-a-b")
    assert steps["merge-a-b-c"].inputs == ("train-a-b-c", "merge-a-b")
    assert steps["generate-a-b-c-nano-chat"].inputs == ("merge-a-b-c",)


def test_the_base_is_asked_in_both_forms_and_tuned_models_in_chat(recipe: recipes.Recipe) -> None:
    asked = [step.name for step in study.compile_recipe(recipe) if step.kind == "generate"]
    assert asked == [
        "generate-base-nano-base",
        "generate-base-nano-chat",
        "generate-c-nano-chat",
        "generate-a-c-nano-chat",
        "generate-a-b-c-nano-chat",
    ]


def fingerprints(recipe: recipes.Recipe) -> dict[str, str]:
    return {step.name: artifacts.step_fingerprint(step, list(step.inputs), "") for step in study.compile_recipe(recipe)}


def test_other_bytes_of_data_are_another_step_and_a_moved_folder_is_not(recipe: recipes.Recipe, tmp_path: Path) -> None:
    before = fingerprints(recipe)["data-rows"]
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "rows.json").write_bytes((tmp_path / "rows.json").read_bytes())
    moved = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path / 'moved'}"])
    assert fingerprints(moved)["data-rows"] == before
    (tmp_path / "rows.json").write_text('[{"instruction": "x", "input": "", "output": "z"}]')
    assert fingerprints(recipe)["data-rows"] != before


def test_a_missing_data_file_is_found_before_anything_runs(recipe: recipes.Recipe, tmp_path: Path) -> None:
    (tmp_path / "rows.json").unlink()
    with pytest.raises(UserError, match=r"rows\.json"):
        study.compile_recipe(recipe)


def test_an_unknown_nano_set_or_a_missing_row_count_is_an_error() -> None:
    text = RECIPE.replace("path: rows.json", "path: 'nano:poetry', rows: 5")
    with pytest.raises(UserError, match="nano:poetry"):
        study.compile_recipe(recipes.parse(text))


@pytest.mark.parametrize("name", ["no-such-model", "./nowhere", "a/b/c"])
def test_a_model_that_is_nowhere_is_a_clear_error(name: str) -> None:
    with pytest.raises(UserError, match="no model"):
        models.locate(name)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        models.locate(str(tmp_path))


def test_a_model_is_known_by_its_contents_not_its_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.json").write_text("{}")
        (tmp_path / place / "model.safetensors").write_bytes(b"weights")
    one, two = (models.identity(str(tmp_path / place)) for place in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weighty")
    assert models.identity(str(tmp_path / "two")) != one
