"""The recipes of the published study against its own files, its logs, and what docs/published-study.md says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from codeup import planning, stats, study
from codeup import recipe as recipes
from codeup.chat import load_renderer
from codeup.interop import llamafactory
from codeup.nano import base_folder
from codeup.types import Conversation, Message

ROOT = Path(__file__).parent.parent
DOC = (ROOT / "docs" / "published-study.md").read_text(encoding="utf-8")
AS_PUBLISHED = "codeup-2024-as-published"
LOGGED_STEPS = {"instruct": 6033, "math": 16665, "code": 4695}
"""Optimiser steps in the logs that the study published."""


@cache
def load(name: str, *settings: str) -> recipes.Recipe:
    return recipes.load(ROOT / "recipes" / f"{name}.yaml", list(settings))


@cache
def plan(name: str, gpu: str, *settings: str) -> planning.StudyPlan:
    recipe = load(name, *settings)
    return planning.plan_study(recipe, study.compile_recipe(recipe), {}, gpu=gpu)


def test_the_as_published_recipe_says_what_the_studys_own_files_say() -> None:
    files = sorted(str(path) for path in (ROOT / "tests" / "llamafactory_study").glob("*.yaml"))
    theirs = recipes.parse(llamafactory.convert(files, name="study", devices=8, row_tokens=512).text)
    ours = load(AS_PUBLISHED)
    assert ours.model == theirs.model and ours.seed == theirs.seed
    assert [stage.name for stage in ours.stages] == [stage.name for stage in theirs.stages]
    for mine, their in zip(ours.stages, theirs.stages, strict=True):
        assert mine.model_copy(update={"batch_tokens": 0}) == their.model_copy(update={"batch_tokens": 0}), mine.name
        assert ours.data[mine.data].validation_rows == theirs.data[their.data].validation_rows
        assert ours.data[mine.data].cutoff == theirs.data[their.data].cutoff == 4096
    assert all(data.dedup == "none" and not data.decontaminate for data in ours.data.values())
    assert ours.chains() == {
        "code": ("code",), "instruct-code": ("instruct", "code"), "math-code": ("math", "code"),
        "instruct-math-code": ("instruct", "math", "code"),
    }  # fmt: skip


def test_its_plan_has_the_steps_and_the_adapter_of_the_published_logs() -> None:
    found = plan(AS_PUBLISHED, "h100")
    assert {stage.name: stage.steps for stage in found.stages} == LOGGED_STEPS
    assert {stage.trainable for stage in found.stages} == {65_011_712}
    mended = {stage.name: stage.steps for stage in plan("codeup-llama3-8b", "h100").stages}
    assert mended != LOGGED_STEPS, "a batch of 32,768 tokens is not 64 rows in every stage"
    for number in (*LOGGED_STEPS.values(), *mended.values(), 65_011_712, 83_886_080):
        assert f"{number:,}" in DOC


def test_its_evaluation_is_the_studys() -> None:
    evaluate = load(AS_PUBLISHED).evaluate
    assert evaluate is not None
    for benchmark in evaluate.benchmarks:
        asked: Any = benchmark
        assert (asked.prompt, asked.extract, asked.compat) == ("codeup-2024", "codeup-2024", "evalplus-0.3.1")
        assert (asked.temperature, asked.samples, asked.max_new_tokens) == (0.0, 1, 1024)
    judged = [step for step in study.compile_recipe(load(AS_PUBLISHED)) if step.kind == "judge"]
    assert {step.spec["benchmark"]["extract"] for step in judged} == {"codeup-2024"}
    answered = [step for step in study.compile_recipe(load(AS_PUBLISHED)) if step.kind == "generate"]
    assert not any("extract" in step.spec["benchmark"] for step in answered), "other rules need no other answers"


def test_the_mended_recipe_fits_24_gb_when_activations_are_recomputed() -> None:
    settings = [f"stages.{name}.activation_checkpointing=true" for name in ("instruct", "math", "code")]
    found = plan("codeup-llama3-8b", "rtx3090", *settings)
    assert "| codeup-llama3-8b, activations recomputed | 1×RTX 3090 24 GB | 21.5 | 280.61 h | 625.09 h |" in DOC
    assert f"{found.study_hours['RTX 3090 24 GB']:.2f}" == "625.09"
    assert found.stages[0].fits[0].verdict == "fits" and f"{found.stages[0].fits[0].needs / 2**30:.1f}" == "21.5"


def test_eight_cards_have_eight_pieces_when_micro_batches_are_packs() -> None:
    """11.16 hours with four pieces, and half of them with eight, but for exchange and waiting."""
    settings = [f"stages.{name}.micro_batch_tokens=4096" for name in ("instruct", "math", "code")]
    found = plan("codeup-llama3-8b", "8xa100-80", *settings)
    assert [stage.load.units for stage in found.stages] == [8, 8, 8]
    assert f"{found.hours['8 × A100 80 GB']['instruct-math-code']:.2f}" == "5.65"
    assert "takes\n5.65 hours of eight A100." in DOC


@pytest.mark.parametrize("name", [AS_PUBLISHED, "codeup-llama3-8b", "codeup-llama3-8b-24gb"])
@pytest.mark.parametrize(
    ("gpu", "label"), [("8xa100-80", "8×A100 80 GB"), ("h100", "1×H100 80 GB"), ("rtx3090", "1×RTX 3090 24 GB")]
)
def test_the_costs_in_the_page_are_those_of_the_plan(name: str, gpu: str, label: str) -> None:
    found = plan(name, gpu)
    if (name, gpu) == ("codeup-llama3-8b", "rtx3090"):
        assert found.stages[0].fits[0].verdict == "no", "the page has it with recomputed activations"
        return
    (machine,) = (each for each in found.hours if not each.startswith("here"))
    needs = found.stages[0].fits[0].needs / 2**30
    whole = f"{found.study_hours[machine]:,.2f} h" if len(found.hours[machine]) > 1 else "–"
    row = f"| {name} | {label} | {needs:.1f} | {found.hours[machine]['instruct-math-code']:,.2f} h | {whole} |"
    assert row in DOC
    assert all(stage.fits[0].verdict == "fits" for stage in found.stages)


@pytest.mark.parametrize("template", ["llama3", "alpaca"])
def test_the_training_prompts_in_the_page_are_what_the_renderer_writes(template: str) -> None:
    renderer = load_renderer(base_folder(), template)
    row = Conversation((Message("user", "Add 1 to x."), Message("assistant", "x + 1")), source="example")
    pieces = renderer.text_pieces(renderer.render(row))
    asked = "".join(text for text, learned in pieces if not learned)
    answer = "".join(text for text, learned in pieces if learned)
    assert f"{template}   {asked}[{answer}]".replace("\n", "⏎") in DOC


def test_the_interval_in_the_page_is_wilsons() -> None:
    low, high = stats.wilson(79, 164)
    assert f"0.482 is [{low:.2f}, {high:.2f}]" in DOC


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_is_read_without_a_complaint(path: Path) -> None:
    assert recipes.load(path).name
