"""A preference stage: `train_dpo`, the loop of sft.py with the objective of preference.py.

    tokens     document 2 i is the chosen, 2 i + 1 the rejected answer of pair i, each behind the whole prompt
    packs      both answers of a pair stand in one pack, so a pair may have at most pack_length tokens
    out/       as train_sft leaves it; metrics.jsonl also has margin, accuracy, chosen_logp and rejected_logp per step,
               the same with eval_ in front per evaluation
    out/reference-*.npy     the log-probabilities of the model that the stage starts from, until the adapter is final

Packing, isolation, resumption, checkpoints and evaluation are those of supervised fine-tuning: there is one loop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeup.train.metrics import read_metrics
from codeup.train.preference import Preference
from codeup.train.ranks import ALONE
from codeup.train.sft import train_sft

REPORTED = ("margin", "accuracy", "chosen_logp", "rejected_logp")


def train_dpo(
    *, out: Path, beta: float = 0.1, label_smoothing: float = 0.0, loss: str = "sigmoid", **training: Any
) -> dict[str, Any]:
    """Train an adapter on pairs; `training` is what `train_sft` takes. Returns its summary and the last figures.

    `train_loss` and `eval_loss` are means over pairs. `margin`, `accuracy` (share of pairs with a positive margin) and
    the log-probabilities are means over the last epoch's steps, `eval_margin` ... those of the last evaluation.
    Raises what `train_sft` raises.
    """
    objective = Preference(beta=beta, label_smoothing=label_smoothing, loss=loss)
    summary = train_sft(out=out, objective=objective, **training)
    if not training.get("ranks", ALONE).first:
        return summary
    for scores in out.glob("reference-*.npy"):
        scores.unlink()
    return {**summary, **last_figures(out / "metrics.jsonl", summary["epochs"])}


def last_figures(metrics: Path, epochs: int) -> dict[str, float]:
    """The figures of the last epoch (mean over its steps) and of the last evaluation."""
    rows = read_metrics(metrics)
    steps = [row for row in rows if "margin" in row and row["epoch"] > epochs - 1]
    figures = {name: sum(row[name] for row in steps) / len(steps) for name in REPORTED}
    evaluations = [row for row in rows if "eval_margin" in row]
    return figures | {f"eval_{name}": evaluations[-1][f"eval_{name}"] for name in REPORTED if evaluations}
