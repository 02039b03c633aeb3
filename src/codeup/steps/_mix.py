"""Fourth part of preparing: how much of each source is trained on, and how often.

    kept rows       instruct 9,000     math 4,000     code 1,000
    cap                                     2,000
    epochs                                                    2
    there is             9,000              2,000         2,000      rows, repeats counted
    weight                   2                  1             1
    taken                4,000              2,000         2,000      the most in which the weights hold
    rows dropped         5,000              2,000             0      reason "mix"

Which rows of a source: those with the smallest hashes of (seed, source, number), so a larger share holds the smaller
one, and memory is 8 bytes a row. Rows keep their order; the repeats come behind them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIX = "mix"
"""The reason of rows that a mix has no use for."""


@dataclass(frozen=True, slots=True)
class Share:
    """One source of the mix: rows that could be used, rows taken, and documents they make with their repeats."""

    rows_before: int
    rows_after: int
    documents: int


def shares(rows: Sequence[int], sources: Sequence[dict[str, Any]]) -> list[Share]:
    """How much is taken of each source; `rows` of them can be used.

    >>> shares([9000, 4000, 1000], [{"weight": 2}, {"weight": 1, "cap": 2000}, {"weight": 1, "epochs": 2}])
    [Share(rows_before=9000, rows_after=4000, documents=4000), Share(rows_before=4000, rows_after=2000, documents=2000),
    Share(rows_before=1000, rows_after=1000, documents=2000)]
    """
    capped = [min(count, each.get("cap") or count) for count, each in zip(rows, sources, strict=True)]
    epochs = [float(each.get("epochs") or 1) for each in sources]
    weights = [float(each.get("weight") or 0) for each in sources]
    taken = list(capped)
    if all(weights):
        there = [count * times / weight for count, times, weight in zip(capped, epochs, weights, strict=True) if count]
        most = min(there, default=0.0)
        wanted = [round(most * weight / times) for weight, times in zip(weights, epochs, strict=True)]
        taken = [min(count, max(1, want)) for count, want in zip(capped, wanted, strict=True)]
    found = zip(rows, taken, epochs, strict=True)
    return [Share(before, after, round(after * times)) for before, after, times in found]


def choose(
    entries: NDArray[np.integer], parts: Sequence[Share], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(rows,) whether each row is taken, and how often. `entries` (rows,) is each row's source."""
    taken = np.zeros(len(entries), dtype=bool)
    times = np.zeros(len(entries), dtype=np.int64)
    for entry, part in enumerate(parts):
        own = np.flatnonzero(entries == entry)
        best_first = own[np.argsort(_hashes(len(own), entry, seed), kind="stable")][: part.rows_after]
        taken[best_first] = True
        if part.rows_after:
            whole, rest = divmod(part.documents, part.rows_after)
            times[best_first] = whole
            times[best_first[:rest]] += 1
    return taken, times


def repeated(chosen: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows once in their order, then those that come a second time, and so on."""
    rounds = [chosen[times[chosen] > number] for number in range(int(times[chosen].max(initial=0)))]
    return np.concatenate([np.zeros(0, np.int64), *rounds])


def _hashes(count: int, entry: int, seed: int) -> NDArray[np.uint64]:
    """(count,) splitmix64 (Steele, Lea and Flood 2014) of the numbers from 0, salted."""
    salt = int.from_bytes(hashlib.blake2b(f"{seed}:{entry}".encode(), digest_size=8).digest(), "big")
    values = (np.arange(count, dtype=np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
