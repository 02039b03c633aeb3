"""Interrupted training ends with the same bytes: killed, stopped by Ctrl-C, or with a damaged checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from train_models import random_documents, save_tiny_llama

from codeup.errors import UserError
from codeup.train import loop
from codeup.train.metrics import read_metrics
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Event

SETTINGS: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
    "epochs": 2,
    "tokens_per_batch": 128,
    "pack_length": 64,
    "micro_batch_tokens": 64,
    "learning_rate": 1e-2,
    "eval_share": 1.0,
    "evals_per_epoch": 2,
    "checkpoint_every_steps": 3,
}
STEPS = 10


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("resume")
    write_tokens(folder / "tokens", random_documents(45))
    write_tokens(folder / "validation", random_documents(8, seed=1))
    save_tiny_llama(folder / "model")
    return {name: folder / name for name in ("model", "tokens", "validation")}


@pytest.fixture(scope="module")
def uninterrupted(inputs: dict[str, Any]) -> Path:
    out = inputs["model"].parent / "uninterrupted"
    assert train_sft(**inputs, out=out, **SETTINGS)["steps"] == STEPS
    return out


def adapter_bytes(out: Path) -> bytes:
    return (out / "adapter" / "adapter_model.safetensors").read_bytes()


def losses(out: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss" if "loss" in row else "eval_loss"]) for row in read_metrics(out / "metrics.jsonl")]


@pytest.fixture(scope="module")
def killed(inputs: dict[str, Any]) -> Path:
    """Folders left behind by four processes that died of SIGKILL."""
    folder = inputs["model"].parent
    arguments = json.dumps({name: str(path) for name, path in inputs.items()} | SETTINGS)
    points = ["step:2", "step:8", "checkpoint:2", "publish:1"]
    command = [sys.executable, str(Path(__file__).with_name("train_kill_driver.py")), str(folder), arguments, *points]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split("\n")[:4] == [f"{point} 9" for point in points], done.stderr
    return folder


@pytest.mark.parametrize(
    ("point", "resumed_from"), [("step-2", None), ("step-8", 6), ("checkpoint-2", 3), ("publish-1", STEPS)]
)
def test_a_killed_training_ends_with_the_same_bytes(
    point: str, resumed_from: int | None, killed: Path, inputs: dict[str, Any], uninterrupted: Path
) -> None:
    out = killed / point
    assert not (out / "train.json").exists()
    summary = train_sft(**inputs, out=out, **SETTINGS)
    assert summary["resumed_from"] == resumed_from
    assert adapter_bytes(out) == adapter_bytes(uninterrupted)
    assert losses(out) == losses(uninterrupted), "every row once, with the same loss"


def test_another_seed_gives_other_bytes(tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path) -> None:
    train_sft(**inputs, out=tmp_path, **SETTINGS, seed=1)
    assert adapter_bytes(tmp_path) != adapter_bytes(uninterrupted)


def stop_in_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in step `number`, when gradients are there and no weight has changed."""
    steps = iter(range(1, number))
    original = loop.accumulate

    def interrupted(*arguments: Any) -> Any:
        total = original(*arguments)
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return total

    monkeypatch.setattr(loop, "accumulate", interrupted)


def test_ctrl_c_saves_the_last_finished_step(
    tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_in_step(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=tmp_path, **SETTINGS | {"checkpoint_every_steps": None})
    notes: list[Event] = []
    summary = train_sft(**inputs, out=tmp_path, **SETTINGS, emit=notes.append)
    assert summary["resumed_from"] == 4
    assert notes[0].text == "continuing after step 4"
    assert adapter_bytes(tmp_path) == adapter_bytes(uninterrupted)


@pytest.mark.parametrize("harm", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    with monkeypatch.context() as patched:
        stop_in_step(patched, 9)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=tmp_path, **SETTINGS)
    kept = sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir())
    assert len(kept) == 2
    path = tmp_path / "checkpoints" / kept[-1] / harm
    path.write_bytes(path.read_bytes()[:-3])
    notes: list[Event] = []
    summary = train_sft(**inputs, out=tmp_path, **SETTINGS, emit=notes.append)
    assert summary["resumed_from"] == int(kept[0].removeprefix("step-"))
    assert f"damaged and passed over: {kept[-1]}" in notes[0].text
    assert adapter_bytes(tmp_path) == adapter_bytes(uninterrupted)


def test_checkpoints_of_another_training_are_refused(
    tmp_path: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_in_step(patched, 4)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=tmp_path, **SETTINGS)
    with pytest.raises(UserError, match="belong to a training with other data, another base model or other settings"):
        train_sft(**inputs, out=tmp_path, **SETTINGS | {"learning_rate": 3e-3})


def test_a_finished_training_is_not_done_again(
    inputs: dict[str, Any], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(loop, "train_step", never)
    assert train_sft(**inputs, out=uninterrupted, **SETTINGS)["steps"] == STEPS
    assert not (uninterrupted / "checkpoints").exists()
