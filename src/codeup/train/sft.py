"""Supervised fine-tuning of an adapter, or of all weights: `train_sft`.

    tokens -> plan (which documents in which step) -> steps, evaluations, checkpoints -> the chosen step's adapter

    out/adapter/          PEFT files and codeup_adapter.json (which base it belongs to); method full: out/model/
    out/metrics.jsonl     one row per step, one per evaluation
    out/checkpoints/      while training; removed when the adapter is final
    out/train.json        the summary, written last: a run that finds it has nothing to do

Interrupted by Ctrl-C, kill -9 or power loss, the next call with the same arguments goes on from the last checkpoint;
on a CPU the final adapter has the same bytes as an uninterrupted one. A full disk ends a run with a message, never with
a loss: make room and call again. Which step is published: selection.py; what happens between: course.py. Several
processes that make this call with their `ranks` train together (ranks.py): the first writes, all return its summary.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from codeup import artifacts
from codeup.train import base as base_model
from codeup.train import course, elementwise, loop, methods, outcome, selection, sharded, shortage
from codeup.train.attention import self_test, sliding_window, use_segment_attention
from codeup.train.identity import agree, identity, of_the_result
from codeup.train.objective import Objective, Supervised
from codeup.train.plan import Plan, make_plan
from codeup.train.ranks import ALONE, Ranks, contact
from codeup.train.saving import Saving, resume
from codeup.train.strategies import ZERO2
from codeup.train.tokens import TokenStore, open_tokens, refuse_foreign
from codeup.train.trackers import Trackers
from codeup.types import Emit, Event, ignore_event

SELF_TEST_DOCUMENTS = 3
SELF_TEST_TOKENS = 512


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
    stores = [open_tokens(tokens), *([open_tokens(validation)] if validation is not None and evals_per_epoch else [])]
    plan = make_plan(
        stores[0], capacity=pack_length, tokens_per_batch=tokens_per_batch, epochs=epochs, seed=seed,
        group=objective.group,
    )  # fmt: skip
    evaluator = selection.make_evaluator(
        plan, stores[1] if len(stores) > 1 else None, rows=eval_rows, per_epoch=evals_per_epoch, share=eval_share,
        seed=seed, scorer=scorer, select_by=select_by, early_stop=early_stop, group=objective.group,
    )  # fmt: skip
    where = base_model.pick_device(device)
    optimiser: dict[str, Any] = {
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warmup_ratio": warmup_ratio,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "micro_batch_tokens": micro_batch_tokens or pack_length,
    }
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
        "evaluation": [eval_rows, evals_per_epoch, eval_share, stores[1].digest() if len(stores) > 1 else None],
        "selection": [select_by, early_stop, scorer.identity if scorer else None],
    }
    drawn = neftune_alpha > 0 or (method == "lora" and settings["dropout"] > 0)
    watched = select_by != selection.LAST or early_stop > 0
    job = _Job(
        model, out, stores, plan, evaluator, objective, settings, optimiser, facts, seed=seed, drawn=drawn,
        identity=identity(of_the_result(facts, drawn=drawn, watched=watched)),
        origin={"base": str(model), "base_name": base_name or str(model), "base_hub_id": base_hub_id,
                "base_revision": base_revision},
        sizes=shortage.Sizes(
            model, settings, pack_length, optimiser["micro_batch_tokens"], dtype, where, quantization,
            activation_checkpointing, method, ranks.count if ranks.shares_base else 1,
            ranks.count if ranks.strategy == ZERO2 else 1,
        ),
        neftune_alpha=neftune_alpha, template_tokens=template_tokens or {}, ranks=ranks,
        emit=emit if ranks.first else ignore_event, step_name=step_name,
    )  # fmt: skip
    saving = functools.partial(Saving, job.identity, checkpoint_every_s, checkpoint_every_steps, keep_last)
    trackers = functools.partial(
        Trackers, report_to, out, project=project, identity=job.identity, emit=job.emit, step_name=step_name
    )
    train = functools.partial(_train, job, saving, trackers, evaluator.schedule.note(eval_share))
    return _carry_out(job, train, keep_checkpoints)


@dataclass(frozen=True)
class _Job:
    """A training that is opened and planned. `stores`: documents to train on, and held-out ones if there are any."""

    model: Path
    out: Path
    stores: Sequence[TokenStore]
    plan: Plan
    evaluator: selection.Evaluator
    objective: Objective
    settings: Mapping[str, Any]
    optimiser: Mapping[str, Any]
    facts: Mapping[str, Any]
    identity: str
    origin: Mapping[str, Any]
    sizes: shortage.Sizes
    seed: int
    drawn: bool
    neftune_alpha: float
    template_tokens: Mapping[str, int]
    ranks: Ranks
    emit: Emit
    step_name: str


def _carry_out(job: _Job, train: Callable[[_Ready], dict[str, Any]], keep_checkpoints: bool) -> dict[str, Any]:
    """Load, train, publish; or the summary of a call that has done all that before."""
    ranks = job.ranks
    agree(ranks, job.facts)
    finished = ranks.from_first(lambda: outcome.begin(job.out, job.identity, keep_checkpoints))
    if finished is not None:
        return finished
    advise = functools.partial(shortage.advice, job.sizes, longest=int(job.plan.lengths.max()))
    with _borrowed_globals(), contact(), shortage.out_of_memory_explained(advise):
        ready = _load(job)
        account = train(ready)
        facts = {**job.facts, **job.origin}
        summary = ranks.from_first(
            lambda: outcome.publish(ready.run, ready.trained, account, job.model, facts, job.identity)
        )
    if ranks.first:
        outcome.tidy(job.out, keep_checkpoints)
    return summary


@dataclass(frozen=True)
class _Ready:
    """A run that has passed the self-test; `untrained` are template tokens that the base never learned."""

    run: loop.Run
    trained: methods.Trained
    untrained: dict[str, list[str]]
    difference: float


def _load(job: _Job) -> _Ready:
    """Load the base, attach what is trained, and prove that packed documents stay apart."""
    loaded = _load_base(job)
    untrained = methods.untrained_tokens(loaded, job.template_tokens, job.emit, job.step_name)
    with job.ranks.first_before_others():
        trained = methods.begin(loaded, job.sizes.method, job.settings, job.out, job.identity, job.seed)
    methods.say_what_is_left_out(trained, job.settings["targets"], job.emit, job.step_name)
    run = loop.Run(
        loaded, trained.module, job.stores[0], job.plan, job.out, seed=job.seed, objective=job.objective,
        plus_ratio=job.settings["plus_ratio"], neftune_alpha=job.neftune_alpha, drawn=job.drawn, ranks=job.ranks,
        compute=base_model.training_dtype(job.model, job.sizes.dtype, loaded.device), **job.optimiser,
    )  # fmt: skip
    documents = test_documents(job.stores[0], job.plan, sliding_window(loaded))
    return _Ready(run, trained, untrained, self_test(loaded, run.forward, documents, reference="sdpa"))


def _load_base(job: _Job) -> PreTrainedModel:
    """The base, whole or in shares, with an attention that keeps documents apart."""
    sizes = job.sizes
    common: dict[str, Any] = {name: getattr(sizes, name) for name in ("dtype", "device", "activation_checkpointing")}
    if job.ranks.shares_base:
        loaded = sharded.load_sharded(job.model, ranks=job.ranks, **common)
    else:
        whole = sizes.method == "full"
        loaded = base_model.load_base(job.model, quantization=sizes.quantization, whole=whole, **common)
    for ids in job.stores:
        refuse_foreign(ids, loaded.get_input_embeddings().num_embeddings)
    if loaded.device.type == "cuda" and (reason := elementwise.why_not_fused()):
        text = f"no kernels could be made for this GPU, training is slower ({reason})"
        job.emit(Event("note", job.step_name, text=text))
    use_segment_attention(loaded)
    return loaded


def _train(
    job: _Job, make_saving: Callable[[], Saving], make_trackers: Callable[[], Trackers], note: str, ready: _Ready
) -> dict[str, Any]:
    """All steps that are left, from the last checkpoint on; what the summary says of them."""
    run, started = ready.run, time.perf_counter()
    job.objective.prepare(run, job.stores, key=job.identity, emit=job.emit, step_name=job.step_name)
    saving = make_saving()  # now: its clock begins
    resumed = resume(run, saving, job.emit, job.step_name)
    if note:
        job.emit(Event("note", job.step_name, text=note))
    course.train(run, job.evaluator, saving, course.Record(run, make_trackers(), job.emit, job.step_name))
    return outcome.summarise(run, job.evaluator, ready.difference, resumed, time.perf_counter() - started) | {
        "method": job.sizes.method,
        "planned_memory_mb": shortage.planned_mb(job.sizes),
        "untrained_tokens": ready.untrained,
        "rows_set_to_mean": ready.trained.rows_set_to_mean,
    }


def test_documents(store: TokenStore, plan: Plan, window: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """The heads of a few documents of different content for the self-test.

    Where documents are longer than the model's sliding window, the longest is among them and goes beyond it.
    """
    chosen = plan.useful[np.linspace(0, len(plan.useful) - 1, SELF_TEST_DOCUMENTS).astype(int)].tolist()
    heads = [SELF_TEST_TOKENS] * len(chosen)
    longest = int(plan.useful[np.argmax(store.lengths[plan.useful])])
    if window is not None and store.lengths[longest] > max(window, SELF_TEST_TOKENS):
        chosen, heads = [*chosen, longest], [*heads, window + SELF_TEST_TOKENS]
    return [
        (ids[:head], marks[:head]) for head, (ids, marks) in zip(heads, map(store.__getitem__, chosen), strict=True)
    ]


@contextlib.contextmanager
def _borrowed_globals() -> Iterator[None]:
    """Give the caller its random state and thread count back."""
    threads = torch.get_num_threads()
    devices = (
        [torch.cuda.current_device()] if torch.cuda.is_available() else []
    )  # one: others have contexts of their own
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
