"""A training from its loaded base to its published result: `carry_out`, which sft.py's `train_sft` plans a job for.

open and agree -> load the base, attach what is trained, self-test -> steps (course.py) -> publish (outcome.py)
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

from codeup.errors import UserError
from codeup.train import base as base_model
from codeup.train import course, elementwise, loop, methods, outcome, selection, sharded, shortage
from codeup.train.attention import self_test, sliding_window, use_segment_attention
from codeup.train.identity import agree
from codeup.train.objective import Objective
from codeup.train.plan import Plan
from codeup.train.ranks import Ranks, contact
from codeup.train.saving import Saving, resume
from codeup.train.tokens import TokenStore, refuse_foreign
from codeup.train.trackers import Trackers
from codeup.types import Emit, Event

SELF_TEST_DOCUMENTS = 3
SELF_TEST_TOKENS = 512


@dataclass(frozen=True)
class Job:
    """A training that is opened and planned. `stores`: documents to train on, and held-out ones if there are any.

    `saving` and `trackers` are made when training begins; `note` is said then.
    """

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
    compile: elementwise.Wish
    saving: Callable[[], Saving]
    trackers: Callable[[], Trackers]
    keep_checkpoints: bool
    note: str
    ranks: Ranks
    emit: Emit
    step_name: str


def carry_out(job: Job) -> dict[str, Any]:
    """Load, train, publish; or the summary of a call that has done all that before."""
    ranks = job.ranks
    agree(ranks, job.facts)
    finished = ranks.from_first(lambda: outcome.begin(job.out, job.identity, job.keep_checkpoints))
    if finished is not None:
        return finished
    advise = functools.partial(shortage.advice, job.sizes, longest=int(job.plan.lengths.max()))
    with _borrowed_globals(), elementwise.compiling(job.compile), contact(), shortage.out_of_memory_explained(advise):
        ready = _load(job)
        account = _train(job, ready)
        facts = {**job.facts, **job.origin}
        summary = ranks.from_first(
            lambda: outcome.publish(ready.run, ready.trained, account, job.model, facts, job.identity)
        )
    if ranks.first:
        outcome.tidy(job.out, job.keep_checkpoints)
    return summary


@dataclass(frozen=True)
class Ready:
    """A run that has passed the self-test; `untrained` are template tokens that the base never learned."""

    run: loop.Run
    trained: methods.Trained
    untrained: dict[str, list[str]]
    difference: float


def _load(job: Job) -> Ready:
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
    if job.compile is True and not run.lean:
        text = "compile: true changes nothing: the layers of this stage are the library's, which are not compiled"
        job.emit(Event("note", job.step_name, text=text))
    documents = test_documents(job.stores[0], job.plan, sliding_window(loaded))
    return Ready(run, trained, untrained, self_test(loaded, run.forward, documents, reference="sdpa"))


def _load_base(job: Job) -> PreTrainedModel:
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
    _say_whether_compiled(job, loaded.device.type)
    use_segment_attention(loaded)
    return loaded


def _say_whether_compiled(job: Job, device: str) -> None:
    """A note where no kernels can be made; UserError where the recipe insists on them."""
    if not elementwise.wanted(device) or not (reason := elementwise.why_not_fused(device)):
        return
    if job.compile is True:
        raise UserError(
            f"nothing can be compiled for {device} here ({reason})", where="compile",
            mend="install a C++ compiler, or write compile: auto",
        )  # fmt: skip
    text = f"no kernels could be made for this GPU, training is slower ({reason})"
    job.emit(Event("note", job.step_name, text=text))


def _train(job: Job, ready: Ready) -> dict[str, Any]:
    """All steps that are left, from the last checkpoint on; what the summary says of them."""
    run, started = ready.run, time.perf_counter()
    job.objective.prepare(run, job.stores, key=job.identity, emit=job.emit, step_name=job.step_name)
    saving = job.saving()  # now: its clock begins
    resumed = resume(run, saving, job.emit, job.step_name)
    if job.note:
        job.emit(Event("note", job.step_name, text=job.note))
    course.train(run, job.evaluator, saving, course.Record(run, job.trackers(), job.emit, job.step_name))
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
