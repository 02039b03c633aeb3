"""A preference stage (direct preference optimisation) with LoRA, starting from the model before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeup.steps import sft
from codeup.steps.sft import Spec
from codeup.types import Context

CODE = (*sft.CODE, "steps/dpo.py")
__all__ = ["CODE", "Spec", "run"]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Train the stage's adapter into `adapter/`; continues from its own checkpoints after an interruption."""
    from codeup.train.dpo import train_dpo

    data, settings = context.only("pairs"), sft.stage_of(spec).dpo
    assert data is not None
    summary = train_dpo(
        beta=settings.beta,
        label_smoothing=settings.label_smoothing,
        loss=settings.loss,
        **sft.arguments(spec, context, Path(data.folder), data.summary["validation_rows"]),
    )
    return {**summary, "selected_on": sft.selected_on(spec.select)}
