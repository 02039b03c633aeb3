"""Supervised fine-tuning of one stage with LoRA, starting from the model before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from codeup import models
from codeup.recipe import Stage
from codeup.types import Context

CODE = ("train", "steps/sft.py")


class Spec(BaseModel):
    """A stage of the recipe; `base` identifies the base model when no merge comes before; `select` are the problems
    that its step is chosen by (study.py), where it is chosen by pass@1."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    select: dict[str, Any] | None
    dtype: str
    quantization: str
    seed: int
    base: str
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Train the stage's adapter into `adapter/`; continues from its own checkpoints after an interruption."""
    from codeup.train.sft import train_sft

    data = context.only("prepare")
    assert data is not None
    summary = train_sft(**arguments(spec, context, Path(data.folder), data.summary["validation_rows"]))
    return {**summary, "selected_on": selected_on(spec.select)}


def arguments(spec: Spec, context: Context, data: Path, validation_rows: int) -> dict[str, Any]:
    """What every kind of stage hands to the training, flat."""
    stage, start, scorer = spec.stage, start_model(context, spec.at), None
    if spec.select is not None:
        from codeup.steps._scorer import make_scorer

        scorer = make_scorer(spec.select, start, context, seed=spec.seed, at=spec.at)
    return {
        "model": start,
        "tokens": data / "train",
        "validation": data / "validation" if validation_rows else None,
        "out": context.folder,
        "lora": {
            "r": stage.lora.r,
            "alpha": stage.lora.alpha,
            "dropout": stage.lora.dropout,
            "targets": stage.lora.targets,
            "use_rslora": stage.lora.rslora,
        },
        "epochs": stage.epochs,
        "learning_rate": stage.learning_rate,
        "schedule": stage.schedule,
        "warmup_ratio": stage.warmup_ratio,
        "tokens_per_batch": stage.batch_tokens,
        "pack_length": stage.pack_length,
        "micro_batch_tokens": stage.micro_batch_tokens,
        "weight_decay": stage.weight_decay,
        "max_grad_norm": stage.max_grad_norm,
        "seed": spec.seed,
        "dtype": spec.dtype,
        "device": spec.at["device"],
        "quantization": spec.quantization,
        "eval_rows": stage.eval_rows,
        "evals_per_epoch": stage.evals_per_epoch,
        "eval_share": stage.eval_share,
        "select_by": stage.select_by,
        "early_stop": stage.early_stop,
        "scorer": scorer,
        "checkpoint_every_s": stage.checkpoint_seconds,
        "keep_last": stage.keep_last,
        "activation_checkpointing": stage.activation_checkpointing,
        "report_to": spec.at["report_to"],
        "project": spec.at["project"],
        "emit": context.emit,
        "step_name": context.step,
    }


def selected_on(select: dict[str, Any] | None) -> str | None:
    """The problems of the choice, in words: a reader of a score must know that they are not the ones it counts."""
    if select is None:
        return None
    left_out = f" ({select['left_out']} that it asks were left out)" if select["left_out"] else ""
    return (
        f"{len(select['problems'])} of {select['offered']} problems of {select['benchmark']['name']}, "
        f"none of them in the final evaluation{left_out}"
    )


def start_model(context: Context, at: dict[str, Any]) -> Path:
    """The merged model before this stage, or the base."""
    merged = context.only("merge")
    return Path(merged.folder) / "model" if merged else models.locate(at["base"], at["revision"])
