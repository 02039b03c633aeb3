"""Train 20 steps on the nano base and write what they were to tests/golden/nano-loss-curve.json.

    python tests/golden_curve.py

Everything on the way takes part: nano tasks -> rows -> renderer -> token arrays -> packs -> steps -> evaluation. The
rows' digest is recorded, so that a change of the tasks is told from a change of the training.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from codeup import nano
from codeup.chat import load_renderer
from codeup.nano.datasets import code_rows
from codeup.train.metrics import read_metrics
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Conversation, Message

GOLDEN = Path(__file__).parent / "golden" / "nano-loss-curve.json"
ROWS, HELD_OUT = 48, 8


def train(folder: Path, **changes: Any) -> dict[str, Any]:
    """Two epochs of ten steps: warm-up, cosine, clipping, weight decay, an evaluation after each epoch."""
    renderer = load_renderer(nano.base_folder(), "alpaca")
    turns = [(Message("user", row["instruction"]), Message("assistant", row["output"])) for row in code_rows(ROWS, 7)]
    rendered = renderer.render_many([Conversation(pair) for pair in turns])
    store = write_tokens(folder / "tokens", rendered[HELD_OUT:])
    write_tokens(folder / "validation", rendered[:HELD_OUT])
    settings: dict[str, Any] = {
        "lora": {"r": 8, "alpha": 16},
        "epochs": 2,
        "learning_rate": 2e-3,
        "warmup_ratio": 0.1,
        "tokens_per_batch": 500,
        "pack_length": 256,
        "weight_decay": 0.5,
        "max_grad_norm": 1.0,
        "dtype": "float32",
        "device": "cpu",
    }
    train_sft(
        model=nano.base_folder(),
        tokens=folder / "tokens",
        validation=folder / "validation",
        out=folder / "out",
        **settings | changes,
    )
    rows = read_metrics(folder / "out" / "metrics.jsonl")
    steps = [row for row in rows if "loss" in row]
    return {
        "tokens_sha256": store.digest(),
        "tokens": [row["tokens"] for row in steps],
        "loss": [row["loss"] for row in steps],
        "grad_norm": [row["grad_norm"] for row in steps],
        "learning_rate": [row["learning_rate"] for row in steps],
        "eval_loss": [row["eval_loss"] for row in rows if "eval_loss" in row],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(json.dumps(train(Path(scratch)), indent=1) + "\n", encoding="utf-8")
