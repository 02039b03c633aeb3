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
    """A stage of the recipe; `base` identifies the base model when no merge comes before."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
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
    return train_sft(**arguments(spec, context, Path(data.folder), data.summary["validation_rows"]))


def arguments(spec: Spec, context: Context, data: Path, validation_rows: int) -> dict[str, Any]:
    """What every kind of stage hands to the training, flat."""
    stage = spec.stage
    return {
        "model": start_model(context, spec.at),
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
        "checkpoint_every_s": stage.checkpoint_seconds,
        "activation_checkpointing": stage.activation_checkpointing,
        "report_to": spec.at["report_to"],
        "project": spec.at["project"],
        "emit": context.emit,
        "step_name": context.step,
    }


def start_model(context: Context, at: dict[str, Any]) -> Path:
    """The merged model before this stage, or the base."""
    merged = context.only("merge")
    return Path(merged.folder) / "model" if merged else models.locate(at["base"], at["revision"])
