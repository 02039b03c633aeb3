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
import hashlib
import json
import platform
import resource
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeup import artifacts
from codeup.errors import UserError
from codeup.train import base as base_model
from codeup.train import course, elementwise, loop, methods, packing, selection, sharded, shortage
from codeup.train.attention import self_test, sliding_window, use_segment_attention
from codeup.train.objective import Objective, Supervised
from codeup.train.plan import Plan, make_plan
from codeup.train.ranks import ALONE, Ranks, contact
from codeup.train.saving import Saving, resume, take_weights
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
    store = open_tokens(tokens)
    held_out = open_tokens(validation) if validation is not None and evals_per_epoch else None
    plan = make_plan(
        store, capacity=pack_length, tokens_per_batch=tokens_per_batch, epochs=epochs, seed=seed, group=objective.group
    )
    optimiser: dict[str, Any] = {
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warmup_ratio": warmup_ratio,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "micro_batch_tokens": micro_batch_tokens or pack_length,
    }
    named = {
        "base": str(model),
        "base_name": base_name or str(model),
        "base_hub_id": base_hub_id,
        "base_revision": base_revision,
    }
    facts: dict[str, Any] = {
        "base_sha256": artifacts.weights_sha256(model),
        "tokens_sha256": store.digest(),
        "objective": objective.facts(),
        "method": method,
        "lora": settings,
        "neftune_alpha": neftune_alpha,
        "optimiser": optimiser,
        "plan": [epochs, tokens_per_batch, pack_length, seed],
        "precision": [dtype, base_model.pick_device(device).type, quantization],
        "evaluation": [eval_rows, evals_per_epoch, eval_share, held_out.digest() if held_out else None],
        "selection": [select_by, early_stop, scorer.identity if scorer else None],
    }
    evaluator = selection.make_evaluator(
        plan, held_out, rows=eval_rows, per_epoch=evals_per_epoch, share=eval_share, seed=seed, scorer=scorer,
        select_by=select_by, early_stop=early_stop, group=objective.group,
    )  # fmt: skip
    drawn = neftune_alpha > 0 or (method == "lora" and settings["dropout"] > 0)
    identity = _identity(_of_the_result(facts, drawn=drawn, watched=select_by != selection.LAST or early_stop > 0))
    _agree(ranks, facts)
    finished = ranks.from_first(lambda: _begin(out, identity, keep_checkpoints))
    if finished is not None:
        return finished
    emit = emit if ranks.first else ignore_event
    sizes = shortage.Sizes(
        model, settings, pack_length, optimiser["micro_batch_tokens"], dtype, base_model.pick_device(device),
        quantization, activation_checkpointing, method, ranks.count if ranks.shares_base else 1,
    )  # fmt: skip
    stores = [store, *([held_out] if held_out is not None else [])]
    advise = functools.partial(shortage.advice, sizes, longest=int(plan.lengths.max()))
    with _borrowed_globals(), contact(), shortage.out_of_memory_explained(advise):
        ready = _load(
            model, stores, plan, out, objective=objective, settings=settings, optimiser=optimiser, sizes=sizes,
            identity=identity, seed=seed, neftune_alpha=neftune_alpha, template_tokens=template_tokens or {},
            drawn=drawn, ranks=ranks, emit=emit, step_name=step_name,
        )  # fmt: skip
        run = ready.run
        started = time.perf_counter()
        objective.prepare(run, stores, key=identity, emit=emit, step_name=step_name)
        saving = Saving(identity, checkpoint_every_s, checkpoint_every_steps, keep_last)
        resumed = resume(run, saving, emit, step_name)
        if spaced_out := evaluator.schedule.note(eval_share):
            emit(Event("note", step_name, text=spaced_out))
        trackers = Trackers(report_to, out, project=project, identity=identity, emit=emit, step_name=step_name)
        course.train(run, evaluator, saving, course.Record(run, trackers, emit, step_name))
        summary = _summary(run, evaluator, ready.difference, resumed, time.perf_counter() - started) | {
            "method": method,
            "planned_memory_mb": shortage.planned_mb(sizes),
            "untrained_tokens": ready.untrained,
            "rows_set_to_mean": ready.trained.rows_set_to_mean,
        }
        publish = functools.partial(_publish, ready, summary, model, {**facts, **named}, identity)
        summary = ranks.from_first(publish)
    if ranks.first:
        _tidy(out, keep_checkpoints)
    return summary


@dataclass(frozen=True)
class _Ready:
    """A run that has passed the self-test; `untrained` are template tokens that the base never learned."""

    run: loop.Run
    trained: methods.Trained
    untrained: dict[str, list[str]]
    difference: float


def _load(
    model: Path, stores: Sequence[TokenStore], plan: Plan, out: Path, *, objective: Objective,
    settings: Mapping[str, Any], optimiser: Mapping[str, Any], sizes: shortage.Sizes, identity: str, seed: int,
    neftune_alpha: float, template_tokens: Mapping[str, int], drawn: bool, ranks: Ranks, emit: Emit, step_name: str,
) -> _Ready:  # fmt: skip
    """Load the base, attach what is trained, and prove that packed documents stay apart."""
    method = sizes.method
    common: dict[str, Any] = {name: getattr(sizes, name) for name in ("dtype", "device", "activation_checkpointing")}
    if ranks.shares_base:
        loaded = sharded.load_sharded(model, ranks=ranks, **common)
    else:
        whole = method == "full"
        loaded = base_model.load_base(model, quantization=sizes.quantization, whole=whole, **common)
    for ids in stores:
        refuse_foreign(ids, loaded.get_input_embeddings().num_embeddings)
    if loaded.device.type == "cuda" and (reason := elementwise.why_not_fused()):
        emit(Event("note", step_name, text=f"no kernels could be made for this GPU, training is slower ({reason})"))
    use_segment_attention(loaded)
    untrained = methods.untrained_tokens(loaded, template_tokens, emit, step_name)
    with ranks.first_before_others():
        trained = methods.begin(loaded, method, settings, out, identity, seed)
    methods.say_what_is_left_out(trained, settings["targets"], emit, step_name)
    run = loop.Run(
        loaded, trained.module, stores[0], plan, out, seed=seed, objective=objective,
        plus_ratio=settings["plus_ratio"], neftune_alpha=neftune_alpha, drawn=drawn, ranks=ranks,
        compute=base_model.training_dtype(model, sizes.dtype, loaded.device), **optimiser,
    )  # fmt: skip
    documents = test_documents(stores[0], plan, sliding_window(loaded))
    return _Ready(run, trained, untrained, self_test(loaded, run.forward, documents, reference="sdpa"))


def _of_the_result(facts: Mapping[str, Any], *, drawn: bool, watched: bool) -> dict[str, Any]:
    """Facts that what is learned depends on: not how many tokens go through at a time, unless something is `drawn` at
    random in each pass; not what is evaluated on the way, unless a step is chosen or the training stopped by it."""
    kept = dict(facts)
    if not drawn:
        kept["optimiser"] = {key: value for key, value in facts["optimiser"].items() if key != "micro_batch_tokens"}
    if not watched:
        del kept["evaluation"]
    return kept


def _identity(facts: Mapping[str, Any]) -> str:
    """What two calls must share for one to continue the other; the base's folder and name are not part of it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _agree(ranks: Ranks, facts: Mapping[str, Any]) -> None:
    """All ranks must mean the same training, and compute it with the same code."""
    apart = {"base model": facts["base_sha256"], "training data": facts["tokens_sha256"]}
    others = {key: value for key, value in facts.items() if key not in ("base_sha256", "tokens_sha256")}
    versions = [artifacts.code_version(("train",)), torch.__version__.partition("+")[0]]
    ranks.agree({**apart, "recipe": _identity(others), "version of CodeUp or PyTorch": str(versions)})


def _begin(out: Path, identity: str, keep_checkpoints: bool) -> dict[str, Any] | None:
    """Make the folder; the summary of a training that has already reached its end there."""
    artifacts.make_folder(out)
    finished = _finished(out, identity)
    if finished is not None:
        _tidy(out, keep_checkpoints)
    return finished


def _publish(
    ready: _Ready, summary: dict[str, Any], model: Path, facts: Mapping[str, Any], identity: str
) -> dict[str, Any]:
    """Write the adapter of the chosen step, then the summary, which is returned."""
    out, step = ready.run.out, summary["selected_step"]
    take_weights(ready.run, step)
    whole = summary | methods.publish(ready.trained, model, out, {**facts, "steps": step})
    artifacts.write_json(out / "train.json", {"identity": identity, "summary": whole})
    return whole


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


def _summary(
    run: loop.Run, evaluator: selection.Evaluator, difference: float, resumed: int | None, wall: float
) -> dict[str, Any]:
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
        "total_parameters": run.model.num_parameters(),
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


def _tidy(out: Path, keep_checkpoints: bool) -> None:
    """Leave nothing but results: checkpoints, and files that an interrupted call had begun to write."""
    if not keep_checkpoints:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    methods.tidy(out)
    for begun in (*out.glob(".*.tmp"), *out.glob(".probe.*")):
        begun.unlink(missing_ok=True)


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
