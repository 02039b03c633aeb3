"""What a training leaves in its folder, written once it has ended and found again by the next call.

adapter/ or model/   of the chosen step     train.json   the summary, written last: a folder that has it is finished
"""

from __future__ import annotations

import json
import platform
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from codeup import artifacts
from codeup.errors import UserError
from codeup.train import loop, methods, packing, selection, zero
from codeup.train.saving import take_weights
from codeup.train.strategies import ZERO3


def begin(out: Path, identity: str, keep_checkpoints: bool) -> dict[str, Any] | None:
    """Make the folder; the summary of a training that has already reached its end there."""
    artifacts.make_folder(out)
    finished = _finished(out, identity)
    if finished is not None:
        tidy(out, keep_checkpoints)
    return finished


def _finished(out: Path, identity: str) -> dict[str, Any] | None:
    """The summary of an earlier call with the same arguments that reached its end."""
    path = out / "train.json"
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        same, summary = saved["identity"] == identity, saved["summary"]
    except (ValueError, KeyError, TypeError) as error:
        mend = "delete that file; the training then goes on from its last checkpoint"
        raise UserError(f"damaged summary ({error})", where=str(path), mend=mend) from None
    if not same:
        raise UserError(
            "holds a finished training with other settings, data or base",
            where=str(out),
            mend="name another folder; this one is left as it is",
        )
    return dict(summary)


def publish(
    run: loop.Run,
    trained: methods.Trained,
    summary: dict[str, Any],
    model: Path,
    facts: Mapping[str, Any],
    identity: str,
) -> dict[str, Any]:
    """Write the adapter of the chosen step, then the summary, which is returned."""
    out, step = run.out, summary["selected_step"]
    take_weights(run, step)
    whole = summary | methods.publish(trained, model, out, {**facts, "steps": step})
    artifacts.write_json(out / "train.json", {"identity": identity, "summary": whole})
    return whole


def summarise(
    run: loop.Run, evaluator: selection.Evaluator, difference: float, resumed: int | None, wall: float
) -> dict[str, Any]:
    """What was trained, of how much, how fast, with which result. `resumed`: the step it went on after."""
    progress, plan = run.progress, run.plan
    last_packs = plan.packs(plan.epochs - 1)
    return {
        "steps": progress.step,
        "epochs": plan.epochs,
        "tokens": progress.tokens,
        "trained_tokens": progress.trained_tokens,
        "train_loss": progress.train_loss,
        **selection.account(run, evaluator),
        "trainable_parameters": sum(p.numel() for p in run.parameters),
        "total_parameters": _parameters(run),
        "tokens_per_s": round(progress.tokens / progress.seconds, 1) if progress.seconds else 0.0,
        "seconds": round(wall, 3),
        "training_seconds": round(progress.seconds, 3),
        "peak_rss_mb": _peak_rss_mb(),
        "peak_gpu_mb": round(torch.cuda.max_memory_allocated() / 2**20) if run.device.type == "cuda" else None,
        "packing_efficiency": packing.efficiency(last_packs, plan.capacity),
        "untrained_documents": plan.untrained_documents,
        "packed_logit_difference": difference,
        "resumed_from": resumed,
        "dtype": str(run.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "device": str(run.device),
        "processes": run.ranks.count,
    }


def _peak_rss_mb() -> int:
    """The kernel counts kilobytes on Linux and bytes on macOS."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def _parameters(run: loop.Run) -> int:
    """Of the whole model, also where this rank has only some of them."""
    if run.ranks.strategy == ZERO3:
        return sum(zero.numbers_of(p) for p in run.model.parameters())
    return int(run.model.num_parameters())


def tidy(out: Path, keep_checkpoints: bool) -> None:
    """Leave nothing but results: checkpoints, and files that an interrupted call had begun to write."""
    if not keep_checkpoints:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    methods.tidy(out)
    for begun in (*out.glob(".*.tmp"), *out.glob(".probe.*")):
        begun.unlink(missing_ok=True)
