"""GPUs by name: what they hold, how fast they are, and whether something fits."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeup.errors import UserError

GIB = 2**30
MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """`memory`: bytes that the driver reports; `flops`: dense bf16 operations per second with fp32 sums."""

    label: str
    memory: int
    flops: float


GPUS = {
    "rtx3090": Gpu("RTX 3090 24 GB", 24576 * MIB, 71e12),
    "rtx4090": Gpu("RTX 4090 24 GB", 24564 * MIB, 165.2e12),
    "a100-40": Gpu("A100 40 GB", 40960 * MIB, 312e12),
    "a100-80": Gpu("A100 80 GB", 81920 * MIB, 312e12),
    "h100": Gpu("H100 80 GB", 81559 * MIB, 989.4e12),
    "h200": Gpu("H200 141 GB", 143771 * MIB, 989.4e12),
}
"""Peaks without sparsity: NVIDIA's GA102 and Ada whitepapers (appendix tables, fp16 with fp32 accumulate) and the data
sheets of A100, H100 SXM and H200 SXM."""
ROOM = 0.95
"""A stage fits when it needs at most this share of the memory, and is tight up to all of it."""


def find_gpu(name: str) -> str:
    """The key in GPUS that a person means: `H100`, `RTX 4090`, `a100-80`. UserError lists the names."""
    plain = "".join(c for c in name.lower().removesuffix("gb") if c.isalnum())
    for key in GPUS:
        if plain in (key.replace("-", ""), key.removeprefix("rtx")):
            return key
    raise UserError(f"no GPU {name!r} is known", where="--gpu", mend=f"use one of {', '.join(GPUS)}")


def find_gpus(text: str) -> tuple[str, int]:
    """The key in GPUS and how many of them: `8xA100-80` and `a100-80x8` are eight, `rtx4090` is one.

    >>> find_gpus("8xA100-80"), find_gpus("rtx4090")
    (('a100-80', 8), ('rtx4090', 1))
    """
    before = re.fullmatch(r"(\d{1,4})\s*[xX×*]\s*(\D.*)", text.strip())
    after = re.fullmatch(r"(.*\w)\s*[xX×*]\s*(\d{1,4})", text.strip())
    name, count = text, 1
    if before:
        name, count = before[2], int(before[1])
    elif after and not text.lower().replace(" ", "").startswith("rtx" + after[2]):
        name, count = after[1], int(after[2])
    if count < 1:
        raise UserError(f"{text!r} is no number of cards", where="--gpu", mend="give for example 8xa100-80")
    return find_gpu(name), count


def verdict(needed: float, there: float) -> str:
    """fits, tight or no."""
    return "fits" if needed <= ROOM * there else "tight" if needed <= there else "no"
