"""How long the rows are, and what each cutoff would cost, for the report.

lengths 300 700 5000, cutoff 512      2 rows are longer: dropping them loses 5,700 tokens, cutting them 4,676
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CUTOFFS = (512, 1024, 2048, 4096, 8192)
BARS = 24
"""Bars of the length histogram."""


def histogram(lengths: NDArray[np.integer], cutoff: int) -> list[tuple[int, int, int]]:
    """[low, high, count] of document lengths in tokens, from 0 to the cutoff."""
    edges = np.unique(np.linspace(0, cutoff, BARS + 1).astype(int))
    counts, _ = np.histogram(lengths, bins=edges)
    return [(int(low), int(high), int(count)) for low, high, count in zip(edges, edges[1:], counts, strict=False)]


def quantiles(lengths: NDArray[np.integer]) -> dict[str, float]:
    """Mean, quartiles and the long end, in tokens."""
    if not len(lengths):
        return {}
    shares = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    some = {name: int(np.quantile(lengths, share, method="lower")) for name, share in shares.items()}
    return {"mean": round(float(lengths.mean()), 1), **some, "longest": int(lengths.max())}


def truncation(lengths: NDArray[np.integer], cutoff: int) -> list[dict[str, Any]]:
    """For each cutoff: rows that are longer, the tokens in them (lost where they are dropped), and those beyond it."""
    tokens = lengths.astype(np.int64)
    found = []
    for each in sorted({*CUTOFFS, cutoff}):
        longer = tokens[tokens > each]
        found.append({
            "cutoff": each, "rows": len(longer), "tokens_in_them": int(longer.sum()),
            "tokens_beyond": int((longer - each).sum()), "chosen": each == cutoff,
        })  # fmt: skip
    return found
