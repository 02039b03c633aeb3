"""Supervised fine-tuning of an adapter, or of all weights: `train_sft`.

    tokens -> plan (which documents in which step) -> steps, evaluations, checkpoints -> the chosen step's adapter

    out/adapter/          PEFT files and codeup_adapter.json (which base it belongs to); method full: out/model/
    out/metrics.jsonl     one row per step, one per evaluation
    out/checkpoints/      while training; removed when the adapter is final
    out/train.json        the summary, written last: a run that finds it has nothing to do

Interrupted by Ctrl-C, kill -9 or power loss, the next call with the same arguments goes on from the last checkpoint;
on a CPU the final adapter has the same bytes as an uninterrupted one. A full disk ends a run with a message, never with
a loss: make room and call again. What is done between: job.py,
course.py; which step is published: selection.py. Several
processes that make this call with their `ranks` train together (ranks.py): the first writes, all return its summary.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.train import base as base_model
from codeup.train import elementwise, methods, selection, shapes, shortage
from codeup.train.identity import identity, of_the_result
from codeup.train.job import Job, carry_out
from codeup.train.objective import Objective, Supervised
from codeup.train.plan import make_plan
from codeup.train.ranks import ALONE, Ranks
from codeup.train.saving import Saving
from codeup.train.strategies import ZERO2
from codeup.train.tokens import open_tokens
from codeup.train.trackers import Trackers
from codeup.types import Emit, ignore_event


def train_sft(
    *,
    model: Path,
    tokens: Path,
    validation: Path | None,
    out: Path,
    lora: Mapping[str, Any],
    method: str = "lora",
    epochs: int = 1,
    learning_rate: float = 1e-4,
    schedule: str = "cosine",
    warmup_ratio: float = 0.1,
    tokens_per_batch: int = 65536,
    pack_length: int = 4096,
    micro_batch_tokens: int | None = None,
    weight_decay: float = 0.0,
    max_grad_norm: float = 1.0,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    eval_rows: int = 1000,
    evals_per_epoch: int = 1,
    eval_share: float = 0.05,
    select_by: str = selection.LAST,
    early_stop: int = 0,
    scorer: selection.Scorer | None = None,
    checkpoint_every_s: float = 600.0,
    checkpoint_every_steps: int | None = None,
    keep_last: int = 2,
    keep_checkpoints: bool = False,
    quantization: str = "none",
    activation_checkpointing: bool = False,
    compile: elementwise.Wish = "auto",
    objective: Objective | None = None,
    report_to: Sequence[str] = (),
    project: str = "codeup",
    neftune_alpha: float = 0.0,
    template_tokens: Mapping[str, int] | None = None,
    base_name: str | None = None,
    base_hub_id: str | None = None,
    base_revision: str | None = None,
    ranks: Ranks = ALONE,
    emit: Emit = ignore_event,
    step_name: str = "train",
) -> dict[str, Any]:
    """Train an adapter for `model` on a token store and return the summary.

    `tokens_per_batch` is the whole optimiser step, cut into rows of `micro_batch_tokens` (default: pack_length) that
    change memory and speed but not the result. `lora` takes the names of lora.SETTINGS; method full does not read it.
    `compile` makes kernels of what is no product (elementwise.py): on CUDA (auto), always, or never.
    `max_grad_norm` 0 switches clipping off. `checkpoint_every_steps` is besides `checkpoint_every_s`; the last
    `keep_last` checkpoints are kept, and the best one where `select_by` asks for it (selection.py).
    `objective` is what is minimised, cross entropy unless given. `report_to` names trackers (trackers.py) that get the
    rows of metrics.jsonl too, under `project`.
    `template_tokens` {text: id} are looked up in the base: a note says which of them it never learned. `base_name`,
    `base_hub_id` and `base_revision` are what the adapter records of its base besides its hash.

    Raises UserError (damaged or wrong input, unknown layer, checkpoints of another training, a full disk) and
    WorkFailed (self-test, loss not a number, out of memory).
    """
    objective = objective if objective is not None else Supervised()
    settings = methods.settings_for(method, lora, quantization, strategy=ranks.strategy)
    if method == "lora":
        shapes.check_targets(base_model.read_config(model).to_dict(), settings["targets"])
    stores = [open_tokens(tokens), *([open_tokens(validation)] if validation is not None and evals_per_epoch else [])]
    held_out = stores[1] if len(stores) > 1 else None
    plan = make_plan(
        stores[0], capacity=pack_length, tokens_per_batch=tokens_per_batch, epochs=epochs, seed=seed,
        group=objective.group,
    )  # fmt: skip
    evaluator = selection.make_evaluator(
        plan, held_out, rows=eval_rows, per_epoch=evals_per_epoch, share=eval_share, seed=seed, scorer=scorer,
        select_by=select_by, early_stop=early_stop, group=objective.group,
    )  # fmt: skip
    where = base_model.pick_device(device)
    optimiser: dict[str, Any] = {
        "learning_rate": learning_rate, "schedule": schedule, "warmup_ratio": warmup_ratio,
        "weight_decay": weight_decay, "max_grad_norm": max_grad_norm,
        "micro_batch_tokens": micro_batch_tokens or pack_length,
    }  # fmt: skip
    facts: dict[str, Any] = {
        "base_sha256": artifacts.weights_sha256(model),
        "tokens_sha256": stores[0].digest(),
        "objective": objective.facts(),
        "method": method,
        "lora": settings,
        "neftune_alpha": neftune_alpha,
        "optimiser": optimiser,
        "plan": [epochs, tokens_per_batch, pack_length, seed],
        "precision": [dtype, where.type, quantization],
        "compiled": where.type == "cuda" if compile == "auto" else compile,
        "evaluation": [eval_rows, evals_per_epoch, eval_share, held_out.digest() if held_out is not None else None],
        "selection": [select_by, early_stop, scorer.identity if scorer else None],
    }
    drawn = neftune_alpha > 0 or (method == "lora" and settings["dropout"] > 0)
    watched = select_by != selection.LAST or early_stop > 0
    known_as = identity(of_the_result(facts, drawn=drawn, watched=watched))
    emit = emit if ranks.first else ignore_event
    job = Job(
        model, out, stores, plan, evaluator, objective, settings, optimiser, facts, known_as,
        origin={"base": str(model), "base_name": base_name or str(model), "base_hub_id": base_hub_id,
                "base_revision": base_revision},
        sizes=shortage.Sizes(
            model, settings, pack_length, optimiser["micro_batch_tokens"], dtype, where, quantization,
            activation_checkpointing, method, ranks.count if ranks.shares_base else 1,
            ranks.count if ranks.strategy == ZERO2 else 1,
        ),
        seed=seed, drawn=drawn, neftune_alpha=neftune_alpha, template_tokens=template_tokens or {}, compile=compile,
        saving=functools.partial(Saving, known_as, checkpoint_every_s, checkpoint_every_steps, keep_last),
        trackers=functools.partial(
            Trackers, report_to, out, project=project, identity=known_as, emit=emit, step_name=step_name
        ),
        keep_checkpoints=keep_checkpoints, note=evaluator.schedule.note(eval_share), ranks=ranks, emit=emit,
        step_name=step_name,
    )  # fmt: skip
    return carry_out(job)
