"""One token per row out of logits: the likeliest, or drawn by inverting the cumulative distribution.

Sampling takes the row's own uniform draw, so that a row's token depends on nothing but its logits and that draw:

    probabilities  0.5  0.3  0.2      draw 0.6 -> 0.5 <= 0.6 < 0.8 -> token 1

Nucleus (top_p): Holtzman et al. 2020, arXiv 1904.09751. Not covered: top_k, min_p, repetition penalties.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch


def draws(seed: int, key: int, count: int, temperature: float) -> torch.Tensor:
    """The uniform random numbers of one row, (count,); none when greedy."""
    if temperature == 0:
        return torch.empty(0)
    digest = hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).digest()
    stream = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.rand(count, generator=stream)


def sample(logits: torch.Tensor, drawn: torch.Tensor, temperature: Any, top_p: Any) -> torch.Tensor:
    """One token per row: (B, V) logits and (B, 1) uniform draws -> (B,).

    temperature (above 0) and top_p are numbers or (B, 1), top_p all 1 or all below.
    """
    probabilities = torch.softmax(logits / temperature, -1)
    indices = None
    if top_p.max() < 1 if isinstance(top_p, torch.Tensor) else top_p < 1:
        probabilities, indices = probabilities.sort(dim=-1, descending=True, stable=True)
        outside = probabilities.cumsum(-1) - probabilities >= top_p
        outside[:, 0] = False
        probabilities = probabilities.masked_fill(outside, 0.0)
    total = probabilities.cumsum(-1)
    last = total[:, -1:].contiguous()
    target = torch.minimum(drawn * last, torch.nextafter(last, torch.zeros_like(last)))
    place = torch.searchsorted(total, target, right=True)  # the first token whose cumulative probability exceeds it
    return (place if indices is None else indices.gather(-1, place)).squeeze(-1)


def choose_each(logits: torch.Tensor, drawn: list[float], temperatures: list[float], top_ps: list[float]) -> list[int]:
    """One token per row, each by its own rules: (B, V) float logits -> B ids."""
    chosen = logits.argmax(-1)
    for nucleus in (False, True):
        rows = [row for row, t in enumerate(temperatures) if t > 0 and (top_ps[row] < 1) == nucleus]
        if rows:

            def column(values: list[float], rows: list[int] = rows) -> torch.Tensor:
                return torch.tensor([[values[row]] for row in rows], device=logits.device)

            chosen[rows] = sample(logits[rows], column(drawn), column(temperatures), column(top_ps) if nucleus else 1.0)
    tokens: list[int] = chosen.tolist()
    return tokens
