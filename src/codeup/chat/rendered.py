"""Many rendered conversations as arrays: what training reads, without a Python object per token.

    two conversations, of which the last two tokens each are trained

    ids          7 4 9 2     7 5 2          (tokens,)         end to end
    offsets      0           4      7       (documents + 1,)  document i is ids[offsets[i] : offsets[i + 1]]
    runs         [2 2]       [1 2]          (runs, 2)         so many tokens not trained, then so many trained
    run_offsets  0           1      2       (documents + 1,)  a conversation of two answers has two runs

Runs say in 8 bytes what a mark per token says in hundreds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeup.types import Tokens


@dataclass(frozen=True, slots=True)
class Rendered:
    """Documents end to end; shapes above. `ids` int32, `runs` int32, both offsets int64."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    runs: NDArray[np.int32]
    run_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> Tokens:
        """One document as plain values."""
        ids = self.ids[self.offsets[index] : self.offsets[index + 1]]
        runs = self.runs[self.run_offsets[index] : self.run_offsets[index + 1]]
        return Tokens(tuple(ids.tolist()), tuple(marks(runs).astype(bool).tolist()))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.diff(self.offsets)

    @property
    def trained(self) -> NDArray[np.int64]:
        """Trained tokens of each document, the first token of one included."""
        return trained_in(self.runs, self.run_offsets)

    def take(self, documents: NDArray[np.int64]) -> Rendered:
        """These documents, in this order; one may be taken twice."""
        return Rendered(*_taken(self.ids, self.offsets, documents), *_taken(self.runs, self.run_offsets, documents))


def join(parts: Iterable[Rendered]) -> Rendered:
    """All documents of all parts."""
    some = list(parts)
    if len(some) == 1:
        return some[0]
    ids = np.concatenate([np.zeros(0, np.int32), *(part.ids for part in some)])
    runs = np.concatenate([np.zeros((0, 2), np.int32), *(part.runs for part in some)])
    lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.offsets) for part in some)])
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.run_offsets) for part in some)])
    return Rendered(ids, np.cumsum(lengths), runs, np.cumsum(counts))


def from_tokens(documents: Iterable[Tokens]) -> Rendered:
    """Documents of plain values as arrays."""
    ids: list[int] = []
    runs: list[list[int]] = []
    offsets, run_offsets = [0], [0]
    for document in documents:
        assert len(document.ids) == len(document.trained)
        ids.extend(document.ids)
        runs.extend(runs_of(document.trained))
        offsets.append(len(ids))
        run_offsets.append(len(runs))
    return Rendered(
        np.array(ids, np.int32), np.array(offsets, np.int64),
        np.array(runs, np.int32).reshape(-1, 2), np.array(run_offsets, np.int64),
    )  # fmt: skip


def runs_of(trained: Iterable[bool]) -> list[list[int]]:
    """Marks as runs.

    >>> runs_of((False, True, True, False, True))
    [[1, 2], [1, 1]]
    >>> runs_of((True,))
    [[0, 1]]
    """
    runs: list[list[int]] = []
    before = True
    for mark in trained:
        if (before and not mark) or not runs:
            runs.append([0, 0])
        runs[-1][1 if mark else 0] += 1
        before = mark
    return runs


def marks(runs: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Runs (n, 2) of one document, or of several, as one mark a token."""
    return np.repeat(np.tile(np.array([0, 1], np.uint8), len(runs)), runs.ravel())


def trained_in(runs: NDArray[np.int32], run_offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """(documents,): trained tokens of each."""
    total = np.concatenate([[0], np.cumsum(runs[:, 1], dtype=np.int64)])
    return np.asarray(total[run_offsets[1:]] - total[run_offsets[:-1]])


def _taken(values: NDArray, offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray, NDArray[np.int64]]:
    """The pieces of `values` that `offsets` cut, chosen and laid end to end."""
    begins, lengths = offsets[chosen], offsets[chosen + 1] - offsets[chosen]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places = np.arange(total) + np.repeat(begins - (ends - lengths), lengths)
    return values[places], np.concatenate([np.zeros(1, np.int64), ends])
