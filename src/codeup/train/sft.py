"""Supervised fine-tuning of an adapter, or of all weights: `train_sft`.

    tokens -> plan (which documents in which step) -> steps -> evaluation on a fixed subset -> adapter

    out/adapter/          PEFT files and codeup_adapter.json (which base it belongs to); method full: out/model/
    out/metrics.jsonl     one row per step, one per evaluation
    out/checkpoints/      while training; removed when the adapter is final
    out/train.json        the summary, written last: a run that finds it has nothing to do

Interrupted by Ctrl-C, kill -9 or power loss, the next call with the same arguments goes on from the last checkpoint;
on a CPU the final adapter has the same bytes as an uninterrupted one. Not covered: several devices.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import resource
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeup.errors import WorkFailed
from codeup.train import base as base_model
from codeup.train import checkpoint, loop, methods, packing
from codeup.train.attention import self_test, use_segment_attention
from codeup.train.metrics import Metrics
from codeup.train.neftune import add_noise
from codeup.train.plan import Plan, make_plan
from codeup.train.tokens import TokenStore, open_tokens
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
    checkpoint_every_s: float = 600.0,
    checkpoint_every_steps: int | None = None,
    keep_checkpoints: bool = False,
    quantization: str = "none",
    activation_checkpointing: bool = False,
    neftune_alpha: float = 0.0,
    template_tokens: Mapping[str, int] | None = None,
    base_name: str | None = None,
    base_hub_id: str | None = None,
    base_revision: str | None = None,
    emit: Emit = ignore_event,
    step_name: str = "train",
) -> dict[str, Any]:
    """Train an adapter for `model` on a token store and return the summary.

    `tokens_per_batch` is the whole optimiser step, cut into rows of `micro_batch_tokens` (default: pack_length) that
    change memory and speed but not the result. `lora` takes the names of lora.SETTINGS; method full does not read it.
    `max_grad_norm` 0 switches clipping off. `checkpoint_every_steps` is besides `checkpoint_every_s`.
    `template_tokens` {text: id} are looked up in the base: a note says which of them it never learned. `base_name`,
    `base_hub_id` and `base_revision` are what the adapter records of its base besides its hash.

    Raises UserError (damaged or wrong input, unknown layer, checkpoints of another training) and WorkFailed (self-test,
    loss not a number, out of memory).
    """
    settings = methods.settings_for(method, lora, quantization)
    store = open_tokens(tokens)
    held_out = open_tokens(validation) if validation is not None and evals_per_epoch else None
    plan = make_plan(store, capacity=pack_length, tokens_per_batch=tokens_per_batch, epochs=epochs, seed=seed)
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
        "base_sha256": base_model.fingerprint(model),
        "tokens_sha256": store.digest(),
        "method": method,
        "lora": settings,
        "neftune_alpha": neftune_alpha,
        "optimiser": optimiser,
        "plan": [epochs, tokens_per_batch, pack_length, seed],
        "precision": [dtype, device, quantization],
        "evaluation": [eval_rows, evals_per_epoch, held_out.digest() if held_out else None],
    }
    identity = _identity(facts)
    finished = _finished(out, identity)
    if finished is not None:
        return finished
    out.mkdir(parents=True, exist_ok=True)
    with _borrowed_globals(), _out_of_memory_explained():
        loaded = base_model.load_base(
            model,
            dtype=dtype,
            device=base_model.pick_device(device),
            quantization=quantization,
            activation_checkpointing=activation_checkpointing,
            whole=method == "full",
        )
        use_segment_attention(loaded)
        difference = self_test(loaded, _test_documents(store, plan), reference="sdpa")
        untrained = methods.untrained_tokens(loaded, template_tokens or {}, emit, step_name)
        trained = methods.begin(loaded, method, settings, out, identity, seed)
        if neftune_alpha:
            add_noise(loaded, neftune_alpha)
        compute = base_model.training_dtype(model, dtype, loaded.device)
        ratio = settings["plus_ratio"]
        run = loop.Run(
            loaded, trained.module, store, plan, out, seed=seed, plus_ratio=ratio, compute=compute, **optimiser
        )
        started = time.perf_counter()
        resumed = _resume(run, identity, emit, step_name)
        saving = Saving(identity, checkpoint_every_s, checkpoint_every_steps)
        subset = _fixed_subset(held_out, eval_rows, seed)
        _train(run, held_out, subset, evals_per_epoch=evals_per_epoch, saving=saving, emit=emit, step_name=step_name)
        drift = methods.publish(trained, model, out, {**facts, **named, "steps": run.progress.step})
        summary = _summary(run, difference, resumed, time.perf_counter() - started) | {
            "method": method,
            "untrained_tokens": untrained,
            "rows_set_to_mean": trained.rows_set_to_mean,
            **drift,
        }
        _publish_summary(out, summary, identity)
    (out / methods.INITIAL).unlink(missing_ok=True)
    if not keep_checkpoints:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return summary


@dataclass
class Saving:
    """When to write a checkpoint: after so many seconds or steps, and at the end."""

    identity: str
    every_s: float
    every_steps: int | None
    at: float = field(default_factory=time.monotonic)
    step: int = -1

    def due(self, step: int, total: int) -> bool:
        enough = self.every_steps is not None and step - self.step >= self.every_steps
        return enough or step == total or time.monotonic() - self.at >= self.every_s

    def save(self, run: loop.Run) -> None:
        loop.save_state(run, run.out / "checkpoints", self.identity)
        self.at, self.step = time.monotonic(), run.progress.step


def _identity(facts: Mapping[str, Any]) -> str:
    """What two calls must share for one to continue the other; the base's folder and name are not part of it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _train(
    run: loop.Run,
    held_out: TokenStore | None,
    subset: list[int],
    *,
    evals_per_epoch: int,
    saving: Saving,
    emit: Emit,
    step_name: str,
) -> None:
    """All remaining steps. Ctrl-C saves a checkpoint first, unless it came while the weights were being changed."""
    plan, progress = run.plan, run.progress
    evaluate_after = loop.evaluation_steps(plan, evals_per_epoch if subset else 0)
    metrics = Metrics(run.out / "metrics.jsonl", keep_to=progress.step)
    saving.step = progress.step
    try:
        while progress.step < plan.total_steps:
            result = loop.train_step(run)
            _report(run, result, metrics, emit, step_name)
            if held_out is not None and progress.step in evaluate_after:
                loss = loop.evaluate(run, held_out, subset)
                loop.note_evaluation(progress, loss)
                metrics.add(step=progress.step, epoch=progress.step / plan.steps_per_epoch, eval_loss=loss)
            run.clean = True
            if saving.due(progress.step, plan.total_steps):
                saving.save(run)
    except KeyboardInterrupt:
        if run.clean and progress.step > saving.step:
            saving.save(run)
        raise
    finally:
        metrics.close()


def _report(run: loop.Run, result: loop.StepResult, metrics: Metrics, emit: Emit, step_name: str) -> None:
    progress, plan = run.progress, run.plan
    speed = result.tokens / result.seconds
    metrics.add(
        step=progress.step,
        epoch=progress.step / plan.steps_per_epoch,
        loss=result.loss,
        learning_rate=result.learning_rate,
        grad_norm=result.grad_norm,
        tokens=progress.tokens,
        trained_tokens=progress.trained_tokens,
        seconds=round(progress.seconds, 3),
        tokens_per_s=round(speed, 1),
    )
    values = {"loss": result.loss, "tokens/s": speed, "lr": result.learning_rate}
    total = plan.tokens_per_epoch * plan.epochs
    emit(Event("progress", step_name, done=progress.tokens, total=total, unit="tokens", values=values))


def _resume(run: loop.Run, identity: str, emit: Emit, step_name: str) -> int | None:
    folder = run.out / "checkpoints"
    saved = checkpoint.load_latest(folder)
    if saved is None:
        return None
    loop.restore_state(run, saved, identity, folder)
    passed_over = f" (damaged and passed over: {', '.join(saved.damaged)})" if saved.damaged else ""
    emit(Event("note", step_name, text=f"continuing after step {saved.step}{passed_over}"))
    return saved.step


def _test_documents(store: TokenStore, plan: Plan) -> list[tuple[np.ndarray, np.ndarray]]:
    """The heads of a few documents of different content for the self-test."""
    chosen = plan.useful[np.linspace(0, len(plan.useful) - 1, SELF_TEST_DOCUMENTS).astype(int)]
    return [(ids[:SELF_TEST_TOKENS], marks[:SELF_TEST_TOKENS]) for ids, marks in (store[int(i)] for i in chosen)]


def _fixed_subset(store: TokenStore | None, rows: int, seed: int) -> list[int]:
    """The same validation documents in every evaluation: at most `rows`, each with something to predict."""
    if store is None:
        return []
    useful = np.flatnonzero(store.targets_per_document() > 0)
    return sorted(np.random.default_rng(seed).permutation(useful)[:rows].tolist())


def _summary(run: loop.Run, difference: float, resumed: int | None, wall: float) -> dict[str, Any]:
    progress, plan = run.progress, run.plan
    last_packs = plan.packs(plan.epochs - 1)
    return {
        "steps": progress.step,
        "epochs": plan.epochs,
        "tokens": progress.tokens,
        "trained_tokens": progress.trained_tokens,
        "train_loss": progress.last_epoch_loss,
        "eval_loss": progress.eval_loss,
        "best_eval_loss": progress.best_eval_loss,
        "best_eval_step": progress.best_eval_step,
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
    }


def _peak_rss_mb() -> int:
    """The kernel counts kilobytes on Linux and bytes on macOS."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def _publish_summary(out: Path, summary: dict[str, Any], identity: str) -> None:
    """train.json, whole or absent, after everything else is in place."""
    text = json.dumps({"identity": identity, "summary": summary}, indent=2)
    temporary = out / ".train.json.partial"
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, out / "train.json")


def _finished(out: Path, identity: str) -> dict[str, Any] | None:
    """The summary of an earlier call with the same arguments that reached its end."""
    path = out / "train.json"
    if not path.exists():
        return None
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["identity"] != identity:
        path.unlink()
        return None
    return saved["summary"]


@contextlib.contextmanager
def _borrowed_globals() -> Iterator[None]:
    """Give the caller its random state and thread count back."""
    threads = torch.get_num_threads()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _out_of_memory_explained() -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        words = str(error).lower()
        if isinstance(error, RuntimeError) and "out of memory" not in words and "not enough memory" not in words:
            raise
        raise WorkFailed(
            "out of memory while training. In this order: lower micro_batch_tokens (the result stays the same), set "
            f"activation_checkpointing: true, set quantization: nf4. ({words.partition(chr(10))[0] or 'no detail'})"
        ) from error
