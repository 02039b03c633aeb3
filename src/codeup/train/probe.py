"""A few real optimiser steps, to see how fast a stage runs here and how much memory it takes: `measure`.

The steps run in a process of their own, whose memory is compared with what it was before the model was loaded, so that
neither the caller nor libraries count. Nothing is kept: no checkpoint, no adapter. Not a benchmark: a handful of
steps, the first of which only warms up and is left out of the speed (unless it is the only one).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codeup.errors import UserError, WorkFailed

if TYPE_CHECKING:
    from codeup.train import loop
    from codeup.train.plan import Plan
    from codeup.train.tokens import TokenStore

MOST_STEPS = 5
USER, FAILED = "user", "failed"


@dataclass(frozen=True)
class Measured:
    """`peak` in bytes over what the process held before; `largest` tokens of a micro-batch, `trained` of them."""

    steps: int
    tokens: int
    tokens_per_s: float
    peak: int
    before: int
    largest: int
    trained: int
    device: str
    dtype: str


def measure(*, model: Path, tokens: Path, steps: int = MOST_STEPS, **settings: Any) -> Measured:
    """Run up to `steps` steps of a stage; `settings` as train_sft takes them. Raises what the training raises."""
    assert 1 <= steps <= MOST_STEPS
    with tempfile.TemporaryDirectory(prefix="codeup-plan-") as folder:
        order = {"model": str(model), "tokens": str(tokens), "steps": steps, "out": folder, **settings}
        done = subprocess.run(
            [sys.executable, "-m", "codeup.train.probe"], input=json.dumps(order), capture_output=True, text=True
        )
        answer = Path(folder) / "answer.json"
        if not answer.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise WorkFailed(f"the measured steps ended without a result (exit code {done.returncode}): {last}")
        result = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in result:
        raise (UserError if result["error"] == USER else WorkFailed)(result["text"])
    return Measured(**result)


def _child(order: Mapping[str, Any]) -> None:
    """What the other process does; its answer is a file."""
    from codeup.train import base, shortage

    names = ("lora", "pack_length", "micro_batch_tokens", "dtype", "quantization", "activation_checkpointing")
    settings = {name: order[name] for name in names}

    def advise() -> str:
        device = base.pick_device(order["device"])
        return shortage.advice(
            shortage.Sizes(Path(order["model"]), device=device, **settings), longest=order["pack_length"]
        )

    answer = Path(order["out"]) / "answer.json"
    try:
        with shortage.out_of_memory_explained(advise):
            result: dict[str, Any] = asdict(_measure_here(**order))
    except UserError as error:
        result = {"error": USER, "text": str(error)}
    except WorkFailed as error:
        result = {"error": FAILED, "text": str(error)}
    answer.write_text(json.dumps(result), encoding="utf-8")


def _measure_here(
    *,
    model: str,
    tokens: str,
    out: str,
    steps: int,
    lora: Mapping[str, Any],
    tokens_per_batch: int,
    pack_length: int,
    micro_batch_tokens: int,
    seed: int,
    dtype: str,
    device: str,
    quantization: str,
    activation_checkpointing: bool,
    compile: Literal["auto"] | bool = "auto",
) -> Measured:
    from codeup.train import base, elementwise
    from codeup.train.attention import use_segment_attention
    from codeup.train.plan import make_plan
    from codeup.train.tokens import open_tokens

    store = open_tokens(Path(tokens))
    plan = make_plan(store, capacity=pack_length, tokens_per_batch=tokens_per_batch, epochs=1, seed=seed)
    where = base.pick_device(device)
    _load_lazy_libraries()
    before = _memory_now()
    loaded = base.load_base(
        Path(model), dtype=dtype, device=where, quantization=quantization,
        activation_checkpointing=activation_checkpointing,
    )  # fmt: skip
    use_segment_attention(loaded)
    with elementwise.compiling(compile):
        run = _run(loaded, lora, store, plan, Path(out), micro_batch_tokens, seed)
        return _timed(run, min(steps, plan.total_steps), before)


def _run(
    loaded: Any, lora: Mapping[str, Any], store: TokenStore, plan: Plan, out: Path, micro_batch_tokens: int, seed: int
) -> loop.Run:
    from codeup.train import loop
    from codeup.train import lora as layers

    adapter = layers.attach(loaded, **lora, seed=seed)
    adapter.train()
    return loop.Run(
        loaded, adapter, store, plan, out, learning_rate=1e-4, warmup_ratio=0.0, schedule="constant",
        weight_decay=0.0, max_grad_norm=1.0, micro_batch_tokens=micro_batch_tokens, seed=seed,
    )  # fmt: skip


def _timed(run: loop.Run, count: int, before: int) -> Measured:
    """Train `count` steps. `before`: bytes of the process before the model was loaded."""
    import torch

    from codeup.train import loop, packing

    micros = [m for step in range(count) for m in packing.micro_batches(run.reader(step), run.micro_batch_tokens)]
    largest = max(micros, key=lambda packs: sum(item.length for item in packs))
    done = []
    for _ in range(count):
        started = time.perf_counter()
        result = loop.train_step(run)
        done.append((result.tokens, time.perf_counter() - started))
    timed, where = done[1:] or done, run.model.device
    cuda = where.type == "cuda"
    return Measured(
        steps=count,
        tokens=sum(tokens for tokens, _ in done),
        tokens_per_s=sum(tokens for tokens, _ in timed) / sum(seconds for _, seconds in timed),
        peak=torch.cuda.max_memory_reserved() if cuda else _highest_memory() - before,
        before=0 if cuda else before,
        largest=sum(item.length for item in largest),
        trained=run.reader.targets(largest),
        device=str(where),
        dtype=str(run.model.dtype).removeprefix("torch."),
    )


def _load_lazy_libraries() -> None:
    """One tiny step through the same code, so that libraries and thread pools are there before memory is read."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from codeup.train import lora as layers

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tiny = LlamaForCausalLM(LlamaConfig(vocab_size=16, num_key_value_heads=1, **sizes)).requires_grad_(False)
    adapter = layers.attach(tiny, r=2, alpha=2)
    optimizer = torch.optim.AdamW([p for p in adapter.parameters() if p.requires_grad], fused=True)
    adapter(input_ids=torch.zeros((1, 8), dtype=torch.int64)).logits.sum().backward()
    optimizer.step()


def _memory_now() -> int:
    return _status("VmRSS")


def _highest_memory() -> int:
    return _status("VmHWM")


def _status(field: str) -> int:
    """A line of /proc/self/status, in bytes. WorkFailed where there is none (not Linux)."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise WorkFailed("the memory of a process can be measured on Linux only") from error
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    _child(json.load(sys.stdin))
