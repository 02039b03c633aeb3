"""Packs -> one flat row (1, T). No padding exists, so none is computed, counted or masked.

Two documents [7 4 9 2] and [7 5 2], of which the last two tokens each are trained:

    index        0 1 2 3   4 5 6
    ids          7 4 9 2   7 5 2
    positions    0 1 2 3   0 1 2        restart: rotary embedding sees each document alone
    lengths      4         3            attention stays inside (attention.py)
    predicts       1 2       5 -> here: [1, 2, 4, 5]: positions whose NEXT token is trained
    targets      [9, 2, 5, 2]           labels are already shifted: targets[j] follows ids[predicts[j]]

The first token of a document is never a target: position 3 belongs to another document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeup.train.tokens import TokenStore
from codeup.types import Pack


@dataclass(frozen=True)
class Batch:
    """One flat row. `ids`, `positions` (1, T) int64; `predicts`, `targets` (n,) int64; `lengths` of the documents."""

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    predicts: torch.Tensor
    targets: torch.Tensor

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        moved = (t.to(device, non_blocking=True) for t in (self.ids, self.positions, self.predicts, self.targets))
        ids, positions, predicts, targets = moved
        return Batch(ids, positions, self.lengths, predicts, targets)

    def save(self, path: Path, **more: np.ndarray) -> None:
        """As .npz, with other arrays beside it, for looking at a batch that broke the training."""
        names = ("ids", "positions", "predicts", "targets")
        arrays: dict[str, Any] = {name: getattr(self, name).cpu().numpy() for name in names} | more
        np.savez_compressed(path, lengths=np.asarray(self.lengths), **arrays)


def collate(documents: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Lay documents (ids, trained) end to end."""
    ids = np.concatenate([ids for ids, _ in documents]).astype(np.int64)
    trained = np.concatenate([marks for _, marks in documents]).astype(bool)
    lengths = tuple(len(ids) for ids, _ in documents)
    starts = np.cumsum((0, *lengths[:-1]))
    trained[starts] = False
    targets_at = np.flatnonzero(trained)
    positions = np.arange(len(ids)) - np.repeat(starts, lengths)
    return Batch(
        ids=torch.from_numpy(ids)[None],
        positions=torch.from_numpy(positions)[None],
        lengths=lengths,
        predicts=torch.from_numpy(targets_at - 1),
        targets=torch.from_numpy(ids[targets_at]),
    )


def collate_packs(store: TokenStore, packs: Sequence[Pack]) -> Batch:
    """All documents of the packs, in order, as one row."""
    return collate([store[document] for item in packs for document in item.documents])
