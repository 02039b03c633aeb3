"""Supervised fine-tuning of one stage, starting from the model before it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from codeup import models
from codeup.recipe import Lora, Stage
from codeup.steps import _crew
from codeup.steps.merge import model_before
from codeup.types import Context

if TYPE_CHECKING:
    from codeup.chat import Renderer

CODE = ("train", "chat", "steps/sft.py")


class Spec(BaseModel):
    """A stage of the recipe, with the settings that do not change what is learned apart, in `at.running` (study.py);
    `base` identifies the base model when no merge comes before; `select` are the problems that its step is chosen by,
    where it is chosen by pass@1."""

    model_config = ConfigDict(extra="forbid")

    stage: dict[str, Any]
    template: str
    select: dict[str, Any] | None
    dtype: str
    quantization: str
    seed: int
    base: str
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Train an adapter into `adapter/`, or all weights into `model/`; continues from checkpoints when interrupted."""
    return _crew.run_stage("sft", spec, context, work, count=processes(spec))


def work(spec: Spec, context: Context) -> dict[str, Any]:
    """The training itself, alone or as one of several processes."""
    from codeup.train.sft import train_sft

    data = context.only("prepare")
    assert data is not None
    summary = train_sft(**arguments(spec, context, Path(data.folder), data.summary["validation_rows"]))
    return {**summary, "selected_on": selected_on(spec.select)}


def processes(spec: Spec) -> int:
    """How many processes train a stage on this machine: `devices`, or one for each GPU, where a step has packs for all.

    UserError where more GPUs are asked for than there are.
    """
    import torch

    from codeup.train.ranks import refuse_missing_gpus

    asked, device, stage = spec.at["processes"], spec.at["device"], stage_of(spec)
    gpus = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if asked is None:
        return max(1, min(gpus, stage.batch_tokens // stage.pack_length)) if device == "auto" else 1
    if gpus:
        refuse_missing_gpus(asked)
    return int(asked)


def stage_of(spec: Spec) -> Stage:
    """The recipe's stage, whole again."""
    return Stage.model_validate({**spec.stage, **spec.at["running"]})


def arguments(spec: Spec, context: Context, data: Path, validation_rows: int) -> dict[str, Any]:
    """What every kind of stage hands to the training, flat."""
    from codeup.chat import load_renderer
    from codeup.train import ranks

    stage, start, scorer = stage_of(spec), model_before(context, spec.at), None
    renderer = load_renderer(start, spec.template)
    if spec.select is not None:
        from codeup.steps._scorer import make_scorer

        scorer = make_scorer(spec.select, start, context, seed=spec.seed, at=spec.at)
    return {
        "model": start,
        "tokens": data / "train",
        "validation": data / "validation" if validation_rows else None,
        "out": context.folder,
        "lora": lora_settings(stage.lora, renderer),
        "method": stage.method,
        "neftune_alpha": stage.neftune_alpha,
        "template_tokens": renderer.special_tokens,
        **origin(context, spec.at, start),
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
        "compile": stage.compile,
        "activation_checkpointing": stage.activation_checkpointing,
        "report_to": spec.at["report_to"],
        "project": spec.at["project"],
        "ranks": ranks.join(spec.at["device"], spec.at["strategy"]),
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


def lora_settings(lora: Lora, renderer: Renderer) -> dict[str, Any]:
    """A stage's adapter settings in the names that training has for them."""
    from codeup.train.token_rows import token_ids

    return {
        "r": lora.r,
        "alpha": lora.alpha,
        "dropout": lora.dropout,
        "targets": lora.targets,
        "use_rslora": lora.rslora,
        "use_dora": lora.dora,
        "init": lora.init,
        "rank_pattern": lora.rank_pattern,
        "alpha_pattern": lora.alpha_pattern,
        "plus_ratio": lora.plus_ratio,
        "token_ids": token_ids(lora.trainable_tokens, renderer),
        "token_init": lora.token_init,
    }


def origin(context: Context, at: dict[str, Any], start: Path) -> dict[str, Any]:
    """What an adapter records of the model before it, besides its hash."""
    merged = context.only("merge")
    if merged is not None:
        return {"base_name": f"{merged.step} of this run, {merged.fingerprint}"}
    hub = None if models.is_local(at["base"]) else at["base"]
    commit = start.name if start.parent.name == "snapshots" else None  # how the Hub's cache names its folders
    return {"base_name": at["base"], "base_hub_id": hub, "base_revision": commit or at["revision"]}
