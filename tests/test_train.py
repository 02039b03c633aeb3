"""The whole loop on a random tiny Llama: it learns, measures rightly, and fails with a reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from train_models import plain_loss, random_documents, save_tiny_llama, tiny_llama

from codeup.errors import UserError, WorkFailed
from codeup.train import objective
from codeup.train.metrics import read_metrics
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Event, Tokens

SMALL: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8},
    "tokens_per_batch": 128,
    "pack_length": 64,
    "learning_rate": 1e-2,
    "eval_share": 1.0,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("train")
    write_tokens(folder / "tokens", random_documents(30))
    write_tokens(folder / "validation", random_documents(12, seed=1))
    save_tiny_llama(folder / "model")
    return {name: folder / name for name in ("model", "tokens", "validation")}


def test_an_answer_is_learned(tmp_path: Path) -> None:
    """Random question tokens 10..59, always the answer 7 8 9 3: from far off to nearly certain."""
    marks = (False, False, False, True, True, True, True)
    documents = [Tokens((1, q, 2, 7, 8, 9, 3), marks) for q in range(10, 60)]
    write_tokens(tmp_path / "tokens", documents)
    summary = train_sft(
        model=save_tiny_llama(tmp_path / "model"),
        tokens=tmp_path / "tokens",
        validation=None,
        out=tmp_path / "out",
        lora={"r": 4, "alpha": 8},
        epochs=6,
        learning_rate=3e-2,
        tokens_per_batch=70,
        pack_length=35,
    )
    assert read_metrics(tmp_path / "out" / "metrics.jsonl")[0]["loss"] > 3
    assert summary["train_loss"] < 0.4
    assert summary["eval_loss"] is None


@pytest.fixture(scope="module")
def trained(inputs: dict[str, Any]) -> tuple[dict[str, Any], Path, list[Event]]:
    out = inputs["model"].parent / "out"
    events: list[Event] = []
    summary = train_sft(**inputs, out=out, **SMALL, epochs=3, evals_per_epoch=2, emit=events.append, step_name="code")
    return summary, out, events


def test_the_evaluation_loss_is_that_of_the_saved_adapter(trained: tuple[dict[str, Any], Path, list[Event]]) -> None:
    summary, out, _ = trained
    model = PeftModel.from_pretrained(tiny_llama(), out / "adapter").eval()
    assert summary["eval_loss"] == pytest.approx(plain_loss(random_documents(12, seed=1), model), rel=1e-5)


def test_the_first_loss_is_that_of_the_base_model(inputs: dict[str, Any], tmp_path: Path) -> None:
    train_sft(**inputs, out=tmp_path, **SMALL | {"tokens_per_batch": 4096})
    row = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert row["loss"] == pytest.approx(plain_loss(random_documents(30), tiny_llama()), rel=1e-5)


def test_every_token_is_counted_once_per_epoch(trained: tuple[dict[str, Any], Path, list[Event]]) -> None:
    summary, _, events = trained
    documents = random_documents(30)
    assert summary["tokens"] == 3 * sum(len(d.ids) for d in documents)
    assert summary["trained_tokens"] == 3 * sum(sum(d.trained) for d in documents)
    progress = [event for event in events if event.kind == "progress"]
    assert progress[-1].done == progress[-1].total == summary["tokens"]
    assert {event.step for event in events} == {"code"} and set(progress[0].values) == {"loss", "tokens/s", "lr"}


def test_metrics_have_a_row_per_step_and_per_evaluation(trained: tuple[dict[str, Any], Path, list[Event]]) -> None:
    summary, out, _ = trained
    rows = read_metrics(out / "metrics.jsonl")
    steps = [row for row in rows if "loss" in row]
    evaluations = [row for row in rows if "eval_loss" in row]
    assert [row["step"] for row in steps] == list(range(1, summary["steps"] + 1))
    assert len(evaluations) == 6 and evaluations[-1]["epoch"] == 3.0
    assert summary["best_eval_loss"] == min(row["eval_loss"] for row in evaluations)
    keys = {
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "grad_norm",
        "tokens",
        "trained_tokens",
        "seconds",
        "tokens_per_s",
    }
    assert set(steps[0]) == keys


def test_the_loss_of_an_epoch_is_the_mean_over_its_trained_tokens(
    trained: tuple[dict[str, Any], Path, list[Event]],
) -> None:
    summary, out, _ = trained
    rows = [row for row in read_metrics(out / "metrics.jsonl") if "loss" in row]
    counts = np.diff([0] + [row["trained_tokens"] for row in rows])
    last = [i for i, row in enumerate(rows) if row["epoch"] > 2]
    mean = sum(rows[i]["loss"] * counts[i] for i in last) / counts[last].sum()
    assert summary["train_loss"] == pytest.approx(mean)


def test_only_the_requested_rows_are_evaluated(inputs: dict[str, Any], tmp_path: Path) -> None:
    first = train_sft(**inputs, out=tmp_path / "a", **SMALL | {"learning_rate": 0.0}, eval_rows=3, evals_per_epoch=4)
    rows = [row for row in read_metrics(tmp_path / "a" / "metrics.jsonl") if "eval_loss" in row]
    assert len({row["eval_loss"] for row in rows}) == 1, "the subset is fixed"
    every = train_sft(**inputs, out=tmp_path / "b", **SMALL | {"learning_rate": 0.0}, eval_rows=12)
    assert first["eval_loss"] != every["eval_loss"]


def test_activation_checkpointing_changes_nothing_but_memory(
    inputs: dict[str, Any], tmp_path: Path, trained: tuple[dict[str, Any], Path, list[Event]]
) -> None:
    summary = train_sft(**inputs, out=tmp_path, **SMALL, epochs=3, evals_per_epoch=2, activation_checkpointing=True)
    assert summary["train_loss"] == pytest.approx(trained[0]["train_loss"], rel=1e-5)


def test_bfloat16_trains_to_a_similar_loss(
    inputs: dict[str, Any], tmp_path: Path, trained: tuple[dict[str, Any], Path, list[Event]]
) -> None:
    summary = train_sft(**inputs, out=tmp_path, **SMALL, epochs=3, evals_per_epoch=2, dtype="bfloat16")
    assert summary["dtype"] == "bfloat16"
    assert summary["train_loss"] == pytest.approx(trained[0]["train_loss"], rel=0.03)


def test_the_callers_random_state_and_threads_are_given_back(inputs: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train_sft(**inputs, out=tmp_path, **SMALL)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_a_loss_that_is_not_a_number_names_the_step_and_keeps_the_batch(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = objective.loss_sum
    calls = iter([1.0, 1.0, 1.0, 1.0, 1.0, float("nan")])
    monkeypatch.setattr(objective, "loss_sum", lambda *a: original(*a) * next(calls, 1.0))
    with pytest.raises(WorkFailed, match=r"step [23]: loss nan"):
        train_sft(**inputs, out=tmp_path, **SMALL)
    saved = np.load(tmp_path / "nan_batch.npz")
    assert saved["ids"].shape[1] == saved["lengths"].sum()
    assert not (tmp_path / "adapter").exists()


def test_running_out_of_memory_says_what_to_change(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(objective, "loss_sum", exhausted)
    with pytest.raises(WorkFailed, match="with activation_checkpointing: true"):
        train_sft(**inputs, out=tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora": {"rank": 4}}, "lora: unknown setting rank"),
        ({"tokens_per_batch": 32}, "tokens_per_batch 32 is smaller than pack_length 64"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"quantization": "nf5"}, "unknown quantization 'nf5'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'"),
    ],
)
def test_a_wrong_setting_is_refused(
    inputs: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train_sft(**inputs, out=tmp_path, **SMALL | change)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_nf4_without_its_package_says_what_to_install(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pip install 'codeup\[qlora\]'"):
        train_sft(**inputs, out=tmp_path, **SMALL, quantization="nf4")


def test_a_truncated_base_is_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    broken = save_tiny_llama(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"broken/model\.safetensors: damaged weight file"):
        train_sft(**inputs | {"model": broken}, out=tmp_path / "out", **SMALL)
