"""How many parameters a stage trains, by arithmetic alone.

For each adapted matrix (out, in) of rank r:

    LoRA, rsLoRA, PiSSA      r (in + out)                A and B
    DoRA                     r (in + out) + out          and the length of each row
    trainable tokens         H for each row of the embedding, and as many of a head that is not tied to it
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from codeup.train.shapes import Linear, Shape, targeted


def adapter_ranks(
    shape: Shape, r: int, targets: str | Sequence[str] = "all-linear", rank_pattern: Mapping[str, int] | None = None
) -> tuple[dict[Linear, int], ...]:
    """Of each decoder layer, which linear layers have adapters, and of what rank. Patterns are found as PEFT does: each
    is the end of a layer's name or a regular expression for it, and the first that matches counts.

    r 2, {layers.0.self_attn.q_proj: 8} -> ({q_proj: 8, k_proj: 2, ...}, {q_proj: 2, k_proj: 2, ...}, ...)
    """
    patterns = {re.compile(rf"(.*\.)?({pattern})"): rank for pattern, rank in (rank_pattern or {}).items()}

    def rank_of(layer: int, linear: Linear) -> int:
        name = f"model.layers.{layer}.{linear.block}.{linear.name}"
        return next((rank for pattern, rank in patterns.items() if pattern.fullmatch(name)), r)

    adapted = targeted(shape, targets)
    return tuple({linear: rank_of(layer, linear) for linear in adapted} for layer in range(shape.layers))


def lora_parameters(
    shape: Shape,
    r: int,
    targets: str | Sequence[str] = "all-linear",
    rank_pattern: Mapping[str, int] | None = None,
    *,
    dora: bool = False,
) -> int:
    """A (r, in) and B (out, r) for each target: r (in + out); with `dora` the lengths of its rows, out, too."""
    return sum(
        rank * (linear.inputs + linear.outputs) + (linear.outputs if dora else 0)
        for ranks in adapter_ranks(shape, r, targets, rank_pattern)
        for linear, rank in ranks.items()
    )


def token_row_parameters(shape: Shape, rows: int) -> int:
    """So many trained rows of the embedding, and of a head that is not tied to it."""
    return rows * shape.hidden * (1 if shape.tied else 2)
