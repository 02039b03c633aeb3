"""Which documents each step sees, and its learning rate: pure functions of (settings, step).

Nothing is carried from step to step, so a run that starts again at step 1200 sees exactly what it would have seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codeup.errors import UserError
from codeup.train import packing
from codeup.train.tokens import TokenStore
from codeup.types import Pack


@dataclass(frozen=True)
class Plan:
    """`step` counts finished steps: step 0 is the first one of epoch 0."""

    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    useful: NDArray[np.int64]
    capacity: int
    tokens_per_batch: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return packing.steps_per_epoch(self.tokens_per_epoch, self.tokens_per_batch)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def tokens_per_epoch(self) -> int:
        return int(self.lengths[self.useful].sum())

    @property
    def untrained_documents(self) -> int:
        return len(self.lengths) - len(self.useful)

    def packs(self, epoch: int) -> list[Pack]:
        packed = packing.pack(self.lengths[self.useful], self.capacity, seed=self.seed, epoch=epoch)
        return [Pack(tuple(self.useful[list(item.documents)].tolist()), item.length) for item in packed]

    def reader(self) -> StepReader:
        return StepReader(self)


class StepReader:
    """The packs of any step. Remembers the packs of one epoch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._epoch = lru_cache(maxsize=1)(lambda epoch: packing.steps(plan.packs(epoch), plan.steps_per_epoch))

    def __call__(self, step: int) -> list[Pack]:
        epoch, within = divmod(step, self.plan.steps_per_epoch)
        return self._epoch(epoch)[within]

    def targets(self, packs: list[Pack]) -> int:
        """Trained tokens of a step: the divisor of its loss."""
        return int(sum(self.plan.targets[list(item.documents)].sum() for item in packs))


def make_plan(store: TokenStore, *, capacity: int, tokens_per_batch: int, epochs: int, seed: int) -> Plan:
    """UserError where there is nothing to learn from or the sizes do not fit.

    Documents without a trained token teach nothing and are left out; `untrained_documents` counts them.
    """
    if tokens_per_batch < capacity:
        raise UserError(
            f"tokens_per_batch {tokens_per_batch} is smaller than pack_length {capacity}",
            mend=f"raise tokens_per_batch to {capacity} or more, or lower pack_length",
        )
    targets = store.targets_per_document()
    useful = np.flatnonzero(targets > 0)
    if not len(useful):
        raise UserError(
            f"none of the {len(store)} documents has a trained token: every loss would be 0",
            where=str(store.folder),
            mend="look at the data with `codeup data inspect`; the answers must be marked as trained",
        )
    packing.refuse_too_long(np.where(targets > 0, store.lengths, 0), capacity)
    return Plan(store.lengths, targets, useful, capacity, tokens_per_batch, epochs, seed)


def learning_rate(step: int, *, peak: float, total: int, warmup_ratio: float, schedule: str) -> float:
    """Linear warm-up, then cosine (or linear) towards 0, or constant.

    With 10 steps and warmup_ratio 0.2:   0.5 1.0 | 1.0 0.96 0.85 0.69 0.5 0.31 0.15 0.04   times `peak`
    """
    warmup = math.ceil(total * warmup_ratio)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    match schedule:
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            return peak * (1 - done)
        case "constant":
            return peak
    raise UserError(f"unknown schedule {schedule!r}", mend="choose cosine, linear or constant")
