"""When memory ran out: was it that, how much is needed here and there, and what to change, in numbers.

    out of memory while training (CUDA out of memory. Tried to allocate 2.00 GiB).
    It needs about 23.1 GiB (weights 15.0 GiB, activations 5.2 GiB, ...) and 22.0 GiB are there. It would need
      20.4 GiB with micro_batch_tokens: 2048 (now 4096; the result stays the same)
      18.9 GiB with activation_checkpointing: true (a third more time)
       8.7 GiB with quantization: nf4

The numbers are those of `codeup plan` (needs.py), for the settings of the call that failed; they are an estimate.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from codeup.errors import UserError, WorkFailed
from codeup.train import gpus, needs, shapes
from codeup.train.base import pick_dtype, read_config

WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
"""In messages of CUDA's and the CPU's allocator, of the kernel (through safetensors' mmap) and of C++."""

WORTH = 0.98
"""A change that leaves more than this share of the need is not proposed."""


@contextlib.contextmanager
def out_of_memory_explained(advise: Callable[[], str]) -> Iterator[None]:
    """Where memory runs out, raise WorkFailed with the allocator's words and `advise()`; every other error passes."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_shortage(error):
            raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WorkFailed(f"out of memory while training ({first}).\n{advise()}") from error


def is_shortage(error: BaseException) -> bool:
    """Whether an exception says that there was no memory. Allocators raise plain RuntimeErrors."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in WORDS)


@dataclass(frozen=True)
class Sizes:
    """What of a training decides its memory, by the names of train_sft; `shards` devices share out the base, `divided`
    what AdamW has of the adapter."""

    model: Path
    lora: Mapping[str, Any]
    pack_length: int
    micro_batch_tokens: int
    dtype: str
    device: torch.device
    quantization: str
    activation_checkpointing: bool
    method: str = "lora"
    shards: int = 1
    divided: int = 1


def advice(sizes: Sizes, *, longest: int) -> str:
    """What training needs with these settings, and with each setting changed that saves memory.

    `longest` is the longest document in tokens: no pack can be shorter.
    """
    device, counted = sizes.device, _counted(sizes)
    if isinstance(counted, str):
        return _without_numbers(counted, sizes)
    shape, now = counted
    cuda = device.type == "cuda"
    parts = asdict(needs.memory(shape, **now))
    training, process = sum(parts.values()), 0 if cuda else needs.PROCESS_BYTES
    total, there = training + process, _there(device)
    named = (parts | {"process": process}).items()
    shown = ", ".join(f"{name} {_size(size)}" for name, size in named if size > total / 100)
    doubt = " By this estimate it fits: look for other programs, and for limits of this one." if total < there else ""
    first = f"It needs about {_size(total)} ({shown}) and {_size(there)} are there.{doubt}"
    lines = [
        f"  {_size(need + process):>9} with {words}"
        for need, words in _proposals(shape, now, longest, sizes.pack_length)
    ]
    return "\n".join([first + (" It would need" if lines else ""), *lines])


def planned_mb(sizes: Sizes) -> int | None:
    """MiB that the plan expects of this training, on a CPU with the process itself; None for what it does not count."""
    counted = _counted(sizes)
    if isinstance(counted, str):
        return None
    shape, now = counted
    process = 0 if sizes.device.type == "cuda" else needs.PROCESS_BYTES
    return round((needs.memory(shape, **now).total + process) / gpus.MIB)


def _counted(sizes: Sizes) -> tuple[shapes.Shape, dict[str, Any]] | str:
    """The model's shape and the settings as needs.memory takes them; or why the arithmetic does not hold for these."""
    if uncounted := _uncounted(sizes):
        return f"{uncounted} is not counted"
    try:
        shape = shapes.shape_of(read_config(sizes.model).to_dict(), where=str(sizes.model / "config.json"))
    except UserError as error:
        return f"the {error.what}"
    return shape, {
        "r": sizes.lora["r"],
        "targets": sizes.lora["targets"],
        "rank_pattern": sizes.lora.get("rank_pattern"),
        "dora": bool(sizes.lora.get("use_dora")),
        "token_rows": len(sizes.lora.get("token_ids") or ()),
        "dropout": sizes.lora["dropout"],
        "tokens": max(sizes.micro_batch_tokens, sizes.pack_length),
        "bytes_per_weight": pick_dtype(sizes.dtype, sizes.device, shape.hidden).itemsize,
        "quantization": sizes.quantization,
        "checkpointing": sizes.activation_checkpointing,
        "cuda": sizes.device.type == "cuda",
        "shards": sizes.shards,
        "divided": sizes.divided,
    }


def _uncounted(sizes: Sizes) -> str:
    """What of these settings the arithmetic of needs.py leaves out; "" for nothing."""
    if sizes.method != "lora":
        return f"method: {sizes.method}"
    if sizes.quantization == "int8":
        return "quantization: int8"
    return "the beginning of PiSSA" if sizes.lora.get("init", "zero") != "zero" else ""


def _without_numbers(why: str, sizes: Sizes) -> str:
    """The settings that save memory, as far as they go with the others."""
    smaller = sizes.quantization != "nf4" and sizes.lora.get("init", "zero") == "zero"
    last = "method: lora" if sizes.method != "lora" else "quantization: nf4" if smaller else ""
    return (
        "To mend, in this order: lower micro_batch_tokens and pack_length, set activation_checkpointing: true"
        f"{last and f', set {last}'}. Without numbers, because {why}."
    )


def _proposals(shape: shapes.Shape, now: dict[str, Any], longest: int, pack_length: int) -> list[tuple[int, str]]:
    """The changes that are worth something, and all of them together: what training needs with each, and its words."""

    def need(change: dict[str, Any]) -> int:
        return needs.memory(shape, **(now | change)).total

    found = [
        (change, words)
        for change, words in _changes(now, pack_length=pack_length, longest=longest)
        if need(change) < WORTH * need({})
    ]
    if len(found) > 1:
        found.append(({key: value for change, _ in found for key, value in change.items()}, "all of these"))
    return [(need(change), words) for change, words in found]


def _changes(now: Mapping[str, Any], *, pack_length: int, longest: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Settings of needs.memory that save something, and the words of a recipe for them; gentlest first."""
    tokens = now["tokens"]
    fewer = max(pack_length, tokens // 2)
    shorter = max(longest, pack_length // 2)
    if fewer < tokens:
        yield {"tokens": fewer}, f"micro_batch_tokens: {fewer} (now {tokens}; the result stays the same)"
    elif shorter < pack_length:
        yield {"tokens": shorter}, f"pack_length and micro_batch_tokens: {shorter} (now {tokens}; other packs)"
    if not now["checkpointing"]:
        yield {"checkpointing": True}, "activation_checkpointing: true (a third more time)"
    if now["cuda"] and now["bytes_per_weight"] == 4:
        yield {"bytes_per_weight": 2}, "dtype: bfloat16"
    if now["quantization"] == "none" and now["shards"] == 1:
        yield {"quantization": "nf4"}, "quantization: nf4 (the base in 4 bits; needs codeup[qlora])"


def _there(device: torch.device) -> int:
    """Bytes this process could have: what it holds and what is free, within its own limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    import psutil

    have = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    return min(have, _limit())


def _limit() -> int:
    """The limit of address space that `ulimit -v` sets."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _size(size: int) -> str:
    """
    >>> _size(3 << 30), _size(412 << 20)
    ('3.0 GiB', '412 MiB')
    """
    return f"{size / gpus.GIB:.1f} GiB" if size >= gpus.GIB else f"{size / gpus.MIB:.0f} MiB"
