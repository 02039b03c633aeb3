"""Merge a stage's adapter into the model it was trained on; the result is a complete, ordinary model folder.

A stage that was trained in full is a model already and is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from codeup import models
from codeup.types import Context

CODE = ("train", "chat", "steps/merge.py")


class Spec(BaseModel):
    """The template saved with the model; `base` identifies the base model when this is the first stage."""

    model_config = ConfigDict(extra="forbid")

    template: str
    base: str
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write `model/`: merged weights, tokenizer, chat template and generation config."""
    from codeup.chat import load_renderer
    from codeup.train.merge import merge_adapter, pass_on

    trained = context.only("sft") or context.only("dpo")
    assert trained is not None
    start, out = model_before(context, spec.at), context.folder / "model"
    if trained.summary["method"] == "full":
        pass_on(Path(trained.folder) / "model", out)
        summary = {"trained_in_full": True}
    else:
        summary = merge_adapter(
            model=start, adapter=Path(trained.folder) / "adapter", out=out, emit=context.emit, step_name=context.step
        )
    load_renderer(start, spec.template).save(out)
    return summary


def model_before(context: Context, at: Mapping[str, Any]) -> Path:
    """The model folder that a step starts from: the merged model before it, or the base."""
    merged = context.only("merge")
    return Path(merged.folder) / "model" if merged else models.locate(at["base"], at["revision"])
