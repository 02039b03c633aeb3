"""A preference stage (direct preference optimisation) with LoRA, starting from the model before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeup.steps import _crew, sft
from codeup.steps.sft import Spec
from codeup.types import Context

CODE = (*sft.CODE, "steps/dpo.py")
__all__ = ["CODE", "Spec", "run", "work"]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Train the stage's adapter into `adapter/`; continues from its own checkpoints after an interruption."""
    return _crew.run_stage("dpo", spec, context, work, count=sft.processes(spec))


def work(spec: Spec, context: Context) -> dict[str, Any]:
    """The training itself, alone or as one of several processes."""
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
