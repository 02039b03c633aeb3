"""From losses to changed weights: gradients, their sum over ranks, the clip, AdamW. Here: every rank has all of it.

begin   add(loss) add(loss) ...   sum   norm   step          zero.Divided does the same with 1/n on each rank
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from codeup.train.ranks import Ranks, one_piece

MOMENTS = ("exp_avg", "exp_avg_sq")


class Gradients(Protocol):
    """`by_all`: its moments can only be read by all ranks together."""

    by_all: bool

    def begin(self) -> None:
        """Before the first loss of a step."""

    def add(self, loss: torch.Tensor, *, last: bool) -> None:
        """The backward pass of a micro-batch; `last` of this rank's in the step."""

    def sum(self) -> None:
        """After the last loss: what was added by all ranks."""

    def norm(self) -> torch.Tensor:
        """The norm before clipping, which it may do; not finite where a gradient is not."""

    def step(self) -> None:
        """Change the weights, by the clipped gradients, and forget them."""

    def moment(self, parameter: torch.nn.Parameter, name: str) -> torch.Tensor:
        """One of MOMENTS, whole."""


class Whole:
    """All gradients and moments on every rank, which make the same step."""

    by_all = False

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], optimizer: torch.optim.AdamW, ranks: Ranks, clip: float
    ) -> None:
        self.parameters, self.optimizer, self.ranks, self.clip = parameters, optimizer, ranks, clip
        self.pieces: list[torch.Tensor] = []

    def begin(self) -> None:
        self.pieces = one_piece(self.parameters) if self.ranks.count > 1 else []

    def add(self, loss: torch.Tensor, *, last: bool) -> None:
        loss.backward()

    def sum(self) -> None:
        for piece in self.pieces:
            self.ranks.sum(piece)

    def norm(self) -> torch.Tensor:
        return torch.nn.utils.clip_grad_norm_(self.parameters, self.clip or math.inf)

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.pieces = []

    def moment(self, parameter: torch.nn.Parameter, name: str) -> torch.Tensor:
        found: torch.Tensor = self.optimizer.state[parameter][name]
        return found
