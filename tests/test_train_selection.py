"""Which step is published: chosen by what was measured, never by a clock, and within the work that was allowed."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_train import plain_loss
from test_train_resume import adapter_bytes
from train_models import random_documents, save_tiny_llama, tiny_llama

from codeup import models, run, study
from codeup import recipe as recipes
from codeup.engines.hf import Engine
from codeup.errors import UserError, WorkFailed
from codeup.train import checkpoint, loop, selection
from codeup.train.metrics import read_metrics
from codeup.train.plan import Plan, make_plan
from codeup.train.sft import train_sft
from codeup.train.tokens import open_tokens, write_tokens
from codeup.types import Event

SETTINGS: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8, "dropout": 0.3},
    "epochs": 4,
    "tokens_per_batch": 100,
    "pack_length": 64,
    "learning_rate": 1.5,
    "evals_per_epoch": 1,
    "eval_share": 1.0,
}
"""Four epochs of four steps at so coarse a rate that the held-out loss goes up and down."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("selection")
    write_tokens(folder / "tokens", random_documents(30))
    write_tokens(folder / "validation", random_documents(12, seed=1))
    save_tiny_llama(folder / "model")
    return {name: folder / name for name in ("model", "tokens", "validation")}


def plan_of(inputs: dict[str, Any], epochs: int) -> Plan:
    store = open_tokens(inputs["tokens"])
    return make_plan(store, capacity=64, tokens_per_batch=100, epochs=epochs, seed=0)


def found(metric: str, *values: float) -> list[dict[str, Any]]:
    return [{"step": 10 * (i + 1), metric: value} for i, value in enumerate(values)]


# ------------------------------------------------------------------------------------------------------------- rules


def test_of_equal_scores_the_one_with_the_lowest_loss_is_best() -> None:
    pairs = [(0.0, 0.9), (0.5, 0.7), (0.25, 0.5), (0.5, 0.6), (0.5, 0.6)]
    evaluations = [{"step": i, "pass@1": score, "eval_loss": loss} for i, (score, loss) in enumerate(pairs)]
    best = selection.best(evaluations, "pass@1")
    assert best is not None and best["step"] == 3


def test_the_lowest_loss_and_the_highest_score_are_best_and_the_earliest_of_equals() -> None:
    nan = float("nan")
    for metric, values, step in [
        ("eval_loss", (0.7, 0.5, 0.5, 0.6), 20),
        ("pass@1", (0.1, 0.3, 0.2, 0.3), 20),
        ("eval_loss", (nan, 0.9, nan), 20),
    ]:
        best = selection.best(found(metric, *values), metric)
        assert best is not None and best["step"] == step
    assert selection.best([], "eval_loss") is None


def test_evaluations_after_the_best_are_counted() -> None:
    assert selection.since_best(found("eval_loss", 0.7, 0.5, 0.5, 0.6), "eval_loss") == 2
    assert selection.since_best(found("pass@1", 0.1, 0.2), "pass@1") == 0
    assert selection.since_best([], "pass@1") == 0


def test_evaluations_are_spaced_out_to_the_allowed_share_of_the_work(inputs: dict[str, Any]) -> None:
    """4 epochs of 4 steps, two evaluations wanted in each; then each costs 5 %, and 12 % or 4 % are allowed."""
    plan = plan_of(inputs, epochs=4)
    work = 0.05 * plan.tokens_per_epoch * 4
    assert plan.steps_per_epoch == 4
    wanted = selection.make_schedule(plan, 2, work, 1.0)
    assert sorted(wanted.after) == [2, 4, 6, 8, 10, 12, 14, 16] and wanted.note(1.0) == ""
    fewer = selection.make_schedule(plan, 2, work, 0.12)
    assert sorted(fewer.after) == [8, 16] and fewer.share == pytest.approx(0.10)
    assert "eval_share 12.00% allows 2 of 8, after steps [8, 16]" in fewer.note(0.12)
    once = selection.make_schedule(plan, 2, work, 0.04)
    assert sorted(once.after) == [16] and "made once, at the end" in once.note(0.04)


def test_the_subset_is_packed_once_without_loss(inputs: dict[str, Any]) -> None:
    store = open_tokens(inputs["validation"])
    packs = selection.pack_subset(store, 2000, 0, 64, 1)
    assert sorted(document for pack in packs for document in pack.documents) == list(range(12))
    assert len(packs) < 12 and all(pack.length == sum(store.lengths[list(pack.documents)]) for pack in packs)
    some = [document for pack in selection.pack_subset(store, 5, 0, 64, 1) for document in pack.documents]
    assert len(some) == 5 and some != [document for pack in selection.pack_subset(store, 5, 1, 64, 1) for document in
                                       pack.documents]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"select_by": "loss"}, "unknown select_by 'loss'"),
        ({"select_by": "eval_loss", "validation": None}, "select_by: eval_loss needs held-out rows"),
        ({"early_stop": 2, "validation": None}, "early_stop: 2 needs held-out rows"),
        ({"select_by": "eval_loss", "evals_per_epoch": 0}, "select_by: eval_loss needs evaluations"),
        ({"select_by": "pass@1"}, "select_by: pass@1 needs problems"),
    ],
)
def test_a_choice_without_a_measure_is_refused(
    change: dict[str, Any], message: str, inputs: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train_sft(**{**inputs, **SETTINGS, **change}, out=tmp_path)


# ---------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def settings(inputs: dict[str, Any]) -> dict[str, Any]:
    """With the first seed by which the second of four evaluations has the lowest loss: each processor's own."""
    for seed in range(30):
        settings = {**SETTINGS, "seed": seed}
        summary = train_sft(**inputs, out=inputs["model"].parent / f"seed-{seed}", **settings)
        if summary["steps"] == 16 and summary["best_eval_step"] == 8:
            return settings
    raise AssertionError("no seed has its lowest loss in the middle")


@pytest.fixture(scope="module")
def by_loss(inputs: dict[str, Any], settings: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    out = inputs["model"].parent / "by-loss"
    return train_sft(**inputs, out=out, **settings, select_by="eval_loss"), out


def test_the_published_adapter_is_the_one_with_the_lowest_loss(by_loss: tuple[dict[str, Any], Path]) -> None:
    summary, out = by_loss
    assert summary["selected_step"] == summary["best_eval_step"] < summary["steps"] == 16
    assert summary["selected_because"] == f"lowest eval_loss, {summary['best_eval_loss']:.4f}, of 4 evaluations"
    model = PeftModel.from_pretrained(tiny_llama(), out / "adapter").eval()
    assert plain_loss(random_documents(12, seed=1), model) == pytest.approx(summary["best_eval_loss"], rel=1e-5)


def test_training_stops_after_so_many_evaluations_without_a_better_one(
    by_loss: tuple[dict[str, Any], Path], inputs: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    whole, out = by_loss
    assert whole["best_eval_step"] == 8
    summary = train_sft(**inputs, out=tmp_path, **settings, select_by="eval_loss", early_stop=1)
    assert (summary["steps"], summary["planned_steps"], summary["selected_step"]) == (12, 16, 8)
    assert summary["selected_because"].endswith("stopped early: 1 evaluations without a better eval_loss")
    assert adapter_bytes(tmp_path) == adapter_bytes(out)


def test_no_decision_is_taken_by_the_clock(
    by_loss: tuple[dict[str, Any], Path],
    inputs: dict[str, Any],
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that jumps by an hour at every look, evaluations are at the same steps and the choice is the same."""
    clock = itertools.count(0, 3600)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    summary = train_sft(**inputs, out=tmp_path, **settings, select_by="eval_loss")
    assert summary["evaluations"] == by_loss[0]["evaluations"]
    assert adapter_bytes(tmp_path) == adapter_bytes(by_loss[1])
    assert summary["evaluation_seconds"] == 4 * 3600


def test_the_time_of_evaluations_is_shown(inputs: dict[str, Any], tmp_path: Path) -> None:
    events: list[Event] = []
    summary = train_sft(**inputs, out=tmp_path, **SETTINGS | {"eval_share": 0.2}, emit=events.append)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "eval_loss" in row]
    assert [row["step"] for row in rows] == [8, 16] and summary["evaluation_share_planned"] <= 0.2
    assert summary["evaluation_seconds"] == pytest.approx(sum(row["eval_seconds"] for row in rows), abs=2e-3)
    assert [event.text for event in events if event.kind == "note"] == [
        "an evaluation costs 6.90% of the training's work; eval_share 20.00% allows 2 of 4, after steps [8, 16]"
    ]
    shown = [event.values for event in events if "evaluating" in event.values]
    assert len(shown) == 2 and str(shown[0]["evaluating"]).endswith("% of training")


# ------------------------------------------------------------------------------------------------------------- score


class Scores:
    """Given scores in turn; draws random numbers and runs the model as generation does, padded on the left."""

    def __init__(self, *values: float) -> None:
        self.values, self.asked = values, list[int]()

    def __call__(self, model: Any, step: int) -> float:
        self.asked.append(step)
        torch.manual_seed(0)
        ids, mask = torch.tensor([[0, 5, 6], [7, 8, 9]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
        with torch.no_grad():
            padded = model(input_ids=ids, attention_mask=mask, position_ids=torch.tensor([[0, 0, 1], [0, 1, 2]])).logits
            alone = model(input_ids=ids[:1, 1:]).logits
        assert torch.allclose(padded[0, 1:], alone[0], atol=1e-5) and not model.training
        return self.values[step // 4 - 1]

    def scorer(self, identity: str = "", work: float = 0.0) -> selection.Scorer:
        return selection.Scorer("pass@1", identity, work, self)


def test_the_step_with_the_highest_score_is_published_and_scoring_leaves_training_alone(
    by_loss: tuple[dict[str, Any], Path], inputs: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    scores = Scores(0.25, 0.5, 0.25, 0.5)
    summary = train_sft(**inputs, out=tmp_path, **settings, select_by="pass@1", scorer=scores.scorer())
    assert scores.asked == [4, 8, 12, 16] and summary["selected_step"] == 8
    why = "highest pass@1, 0.5000, of 4 evaluations (of 2 equal ones by eval_loss)"
    assert summary["selected_because"] == why
    losses = [row["eval_loss"] for row in summary["evaluations"]]
    assert losses == [row["eval_loss"] for row in by_loss[0]["evaluations"]]
    assert adapter_bytes(tmp_path) == adapter_bytes(by_loss[1])
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "pass@1" in row]
    assert [row["pass@1"] for row in rows] == [0.25, 0.5, 0.25, 0.5]


def test_scores_are_restored_and_not_measured_again(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, wanted = Scores(0.25, 0.5, 0.0, 0.0), {**SETTINGS, "select_by": "pass@1"}
    train_sft(**inputs, out=tmp_path / "whole", **wanted, scorer=scores.scorer())
    step = loop.train_step

    def until_ten(run: loop.Run) -> loop.StepResult:
        if run.progress.step == 10:
            raise MemoryError
        return step(run)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", until_ten)
        with pytest.raises(WorkFailed, match="out of memory"):
            train_sft(**inputs, out=tmp_path / "out", **wanted, scorer=scores.scorer())
    assert checkpoint.steps(tmp_path / "out" / "checkpoints") == [4, 8]
    scores.asked.clear()
    with pytest.raises(UserError, match="other settings"):
        train_sft(**inputs, out=tmp_path / "out", **wanted, scorer=scores.scorer(identity="other problems"))
    summary = train_sft(**inputs, out=tmp_path / "out", **wanted, scorer=scores.scorer())
    assert scores.asked == [12, 16] and summary["resumed_from"] == summary["selected_step"] == 8
    assert [row["pass@1"] for row in summary["evaluations"]] == [0.25, 0.5, 0.0, 0.0]
    assert adapter_bytes(tmp_path / "out") == adapter_bytes(tmp_path / "whole")


def test_a_dear_score_is_measured_once(inputs: dict[str, Any], tmp_path: Path) -> None:
    scores = Scores(0.0, 0.0, 0.0, 0.25)
    dear = scores.scorer(work=2000.0)
    summary = train_sft(**inputs, out=tmp_path, **SETTINGS | {"eval_share": 0.05}, select_by="pass@1", scorer=dear)
    assert scores.asked == [16] and summary["evaluation_share_planned"] > 0.05


# ------------------------------------------------------------------------------------------------------------ recipe

RECIPE = """\
name: choosing
model: {base: nano-base}
data:
  rows: {sources: [{source: evol_codealpaca_v1, path: "nano:code", rows: 30}], cutoff: 256, validation_rows: 4}
stages:
  - {name: code, data: rows, epochs: 1, batch_tokens: 1024, pack_length: 1024, lora: {r: 4, alpha: 8},
     evals_per_epoch: 2, eval_share: 1.0, select_by: pass@1,
     select_on: {name: nano_dev, limit: 3, max_new_tokens: 4, timeout_s: 3, memory_mb: 512}}
evaluate:
  benchmarks: [{name: nano, limit: 5}]
"""


def selected(*overrides: str) -> dict[str, Any]:
    steps = study.compile_recipe(recipes.parse(RECIPE, overrides=list(overrides)))
    return next(dict(step.spec) for step in steps if step.kind == "sft")["select"]


def test_problems_of_the_final_evaluation_are_left_out_of_the_choice() -> None:
    other = selected()
    assert (other["problems"], other["left_out"]) == (["nano_dev/0", "nano_dev/1", "nano_dev/2"], 0)
    same = selected("stages.code.select_on.name=nano", "stages.code.select_on.limit=4")
    assert (same["problems"], same["left_out"]) == (["nano/5", "nano/6", "nano/7", "nano/8"], 5)
    everything = ["stages.code.select_on.name=nano", "evaluate.benchmarks.nano.limit=164"]
    with pytest.raises(UserError, match=r"stages\.code\.select_on: all 164 problems of nano are asked"):
        selected(*everything)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.code.select_on=null", "select_by: needs problems to run; name a benchmark"),
        ("stages.code.select_on.name=nano_dve", "select_on.name: .*did you mean 'nano_dev'"),
        ("stages.code.evals_per_epoch=0", "select_by: needs evaluations, and evals_per_epoch is 0"),
        ("stages.code.eval_rows=2001", "eval_rows: .*less than or equal to 2000"),
    ],
)
def test_a_recipe_whose_choice_lacks_something_is_refused(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipes.parse(RECIPE, overrides=[change])


def test_a_choice_by_programs_needs_no_held_out_rows() -> None:
    stage = recipes.parse(RECIPE, overrides=["data.rows.validation_rows=0"]).stage("code")
    assert (stage.select_by, stage.evals_per_epoch) == ("pass@1", 2)


@pytest.mark.parametrize("wish", ["select_by=eval_loss", "early_stop=3"])
def test_a_choice_by_held_out_loss_needs_held_out_rows(wish: str) -> None:
    changes = ["stages.code.select_by=last", f"stages.code.{wish}", "data.rows.validation_rows=0"]
    with pytest.raises(UserError, match=f"{wish.partition('=')[0]}: needs held-out rows"):
        recipes.parse(RECIPE, overrides=changes)


def test_a_stage_is_chosen_by_programs_that_the_live_model_wrote(tmp_path: Path) -> None:
    steps = study.compile_recipe(recipes.parse(RECIPE))
    done = run.run(steps, tmp_path, only="train-code")["train-code"]
    summary = done.summary
    assert [row["pass@1"] for row in summary["evaluations"]] == [0.0] * len(summary["evaluations"])
    assert summary["selected_on"] == "3 of 116 problems of nano_dev, none of them in the final evaluation"
    folders = sorted((Path(done.folder) / "selection").iterdir())
    assert [int(folder.name.removeprefix("step-")) for folder in folders] == [
        row["step"] for row in summary["evaluations"]
    ]
    for folder in folders:
        assert len((folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_an_engine_around_a_model_answers_as_one_that_loaded_it() -> None:
    folder = models.locate("nano-base", None)
    loaded = Engine(folder)
    around = Engine.around(loaded.model, folder)
    prompt = [loaded.tokenizer.encode("def add(a, b):\n")]
    asked: dict[str, Any] = {"max_new_tokens": 8, "end_ids": []}
    assert around.generate(prompt, **asked) == loaded.generate(prompt, **asked)
    assert around.description == loaded.description
