"""What the tests of several training processes share: a small training, how to run it, and what "the same" means."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codeup.train.metrics import read_metrics

SETTINGS: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
    "epochs": 2,
    "tokens_per_batch": 256,
    "pack_length": 32,
    "micro_batch_tokens": 64,
    "learning_rate": 1e-2,
    "neftune_alpha": 5.0,
    "eval_share": 1.0,
    "evals_per_epoch": 2,
    "checkpoint_every_steps": 2,
}
STEPS = 10
PLAIN = {"lora": {"r": 4, "alpha": 8}, "neftune_alpha": 0.0}
"""Nothing is drawn at random: packs are dealt one by one."""
RECOMPUTED = {**PLAIN, "activation_checkpointing": True}
PAIRS = {"beta": 0.1, "pack_length": 64, "epochs": 1, **PLAIN}
TOLERANCE = 1e-5

Trained = dict[str, tuple[Path, list[dict[str, Any]]]]


def drive(inputs: dict[str, Path], *runs: dict[str, Any]) -> list[list[dict[str, Any]]]:
    arguments = {name: str(path) for name, path in inputs.items()} | SETTINGS
    order = json.dumps({"arguments": arguments, "runs": [run | {"out": str(run["out"])} for run in runs]})
    driver = [sys.executable, str(Path(__file__).with_name("train_ranks_driver.py")), order]
    done = subprocess.run(driver, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_same(out: Path, other: Path) -> None:
    """Every figure of every step and evaluation, and what was trained."""
    left, right = (read_metrics(folder / "metrics.jsonl") for folder in (out, other))
    assert [row["step"] for row in left] == [row["step"] for row in right] != []
    timed = {"seconds", "tokens_per_s", "eval_seconds"}
    for one, two in zip(left, right, strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - timed:
            assert one[name] == pytest.approx(two[name], rel=TOLERANCE, abs=TOLERANCE), (name, one["step"])
    weights = [load_file(next(folder.glob("*/*.safetensors"))) for folder in (out, other)]  # of an adapter, or a model
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=TOLERANCE, atol=TOLERANCE)
