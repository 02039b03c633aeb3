"""What a stage minimises: the seam between the loop and a loss. Here fine-tuning; preference.py has the other.

    step    packs p1 p2 in two micro-batches -> sums(p1) + sums(p2) -> / divisor(p1, p2) -> loss and the other figures

The divisor is that of the whole step, so no result depends on how a step is cut into micro-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from codeup.train.attention import segments_of
from codeup.train.batch import Batch
from codeup.train.loss import Forward, loss_sum
from codeup.train.ranks import Ranks
from codeup.train.tokens import TokenStore
from codeup.types import Emit, Pack


class Scorer(Protocol):
    """What an objective may look at before the first step: the run, with its model as the stage starts."""

    adapter: PeftModel
    model: PreTrainedModel
    forward: Forward
    out: Path
    micro_batch_tokens: int
    ranks: Ranks

    @property
    def device(self) -> torch.device: ...

    def precision(self) -> Any: ...


class Objective(Protocol):
    """`group` documents belong together (2: a pair) and share a pack; `figures` names the sums, "loss" first."""

    group: int
    figures: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What two trainings must share for one to continue the other."""

    def prepare(self, run: Scorer, stores: Sequence[TokenStore], *, key: str, emit: Emit, step_name: str) -> None:
        """Called once, before a checkpoint is restored: the model is still what the stage starts from."""

    def divisor(self, packs: Sequence[Pack], trained: int) -> int:
        """What the sums over `packs`, with `trained` trained tokens, are divided by."""

    def sums(self, run: Scorer, batch: Batch, store: TokenStore, packs: Sequence[Pack]) -> torch.Tensor:
        """(figures,) summed over a micro-batch; `batch` is `packs` of `store` laid out."""


class Supervised:
    """Cross entropy, mean over the trained tokens."""

    group: int = 1
    figures: tuple[str, ...] = ("loss",)

    def facts(self) -> dict[str, Any]:
        return {"kind": "sft"}

    def prepare(self, run: Scorer, stores: Sequence[TokenStore], *, key: str, emit: Emit, step_name: str) -> None:
        """Nothing to do."""

    def divisor(self, packs: Sequence[Pack], trained: int) -> int:
        return trained

    def sums(self, run: Scorer, batch: Batch, store: TokenStore, packs: Sequence[Pack]) -> torch.Tensor:
        return loss_sum(run.model, run.forward, batch, segments_of(batch))[None]
