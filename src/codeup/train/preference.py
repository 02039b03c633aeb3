"""Direct preference optimisation as an objective: Rafailov et al. 2023 (arXiv 2305.18290, equation 7).

A pair is two documents with one prompt; only the answers are trained tokens. With log p summed over an answer:

    gain(answer) = log p_now(answer) - log p_start(answer)
    margin       = beta (gain(chosen) - gain(rejected))                         beta 0.1; the difference of the rewards
    sigmoid      -log sigmoid(margin)                                           0.693 at the start, both gains being 0
      smoothed   -(1 - e) log sigmoid(margin) - e log sigmoid(-margin)          e of the labels taken to be wrong (cDPO)
    ipo          (gain(chosen) / n_chosen - gain(rejected) / n_rejected - 1 / (2 beta))^2

ipo is equation 17 of Azar et al. 2023 (arXiv 2310.12036), with the gains per token as TRL's DPOTrainer has them.

The reference p_start is the model the stage starts from: adapters change nothing before the first step, so it needs no
second model. It is scored once per pair, before the first step, and kept on disk: an interrupted scoring goes on, and
later epochs and evaluations find it there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import PreTrainedModel

from codeup.errors import UserError
from codeup.train import packing
from codeup.train.attention import segments_of
from codeup.train.batch import Batch, collate_packs
from codeup.train.loss import Forward, losses_by_document
from codeup.train.objective import Scorer
from codeup.train.plan import useful_items
from codeup.train.tokens import TokenStore
from codeup.types import Emit, Event, Pack

LOSSES = ("sigmoid", "ipo")
SAVE_EVERY_S = 60.0


class Preference:
    """The objective of a preference stage. `prepare` fills `reference`: (pairs, 2) log-probabilities of each store."""

    group: int = 2
    figures: tuple[str, ...] = ("loss", "margin", "accuracy", "chosen_logp", "rejected_logp")

    def __init__(self, *, beta: float = 0.1, label_smoothing: float = 0.0, loss: str = "sigmoid") -> None:
        if loss not in LOSSES:
            raise UserError(f"unknown loss {loss!r}", where="dpo", mend=f"choose from: {', '.join(LOSSES)}")
        if beta <= 0 or not 0 <= label_smoothing < 0.5:
            raise UserError(
                f"beta {beta} must be above 0, label_smoothing {label_smoothing} from 0 to below 0.5", where="dpo"
            )
        if label_smoothing and loss != "sigmoid":
            raise UserError(f"label_smoothing has no meaning for the loss {loss}", where="dpo", mend="leave it out")
        self.beta, self.label_smoothing, self.loss = beta, label_smoothing, loss
        self.reference: dict[Path, torch.Tensor] = {}

    def facts(self) -> dict[str, Any]:
        return {"kind": "dpo", "beta": self.beta, "label_smoothing": self.label_smoothing, "loss": self.loss}

    def prepare(self, run: Scorer, stores: Sequence[TokenStore], *, key: str, emit: Emit, step_name: str) -> None:
        """Score every pair with the model as it is now, or read the scores an earlier call kept."""
        for store in stores:
            name = hashlib.sha256(f"{key}/{store.digest()}".encode()).hexdigest()[:16]
            scores = _score_all(run, store, run.out / f"reference-{name}.npy", emit, step_name)
            self.reference[store.folder] = torch.from_numpy(scores)

    def divisor(self, packs: Sequence[Pack], trained: int) -> int:
        return sum(len(item.documents) for item in packs) // 2

    def sums(self, run: Scorer, batch: Batch, store: TokenStore, packs: Sequence[Pack]) -> torch.Tensor:
        documents = _documents(packs)
        counts = _targets(store, documents)
        now = log_probabilities(run.model, run.forward, batch, counts)  # (pairs, 2)
        pairs = torch.tensor(documents[::2]) // 2
        start = self.reference[store.folder][pairs].to(now.device, now.dtype)
        lengths = torch.tensor(counts, device=now.device).view(-1, 2)
        margin = self.beta * (now - start).diff(dim=1).neg()[:, 0]
        with torch.no_grad():
            figures = [margin, (margin > 0).to(now.dtype), *now.unbind(1)]
        return torch.stack([self._losses(now - start, lengths, margin), *figures]).sum(1)

    def _losses(self, gains: torch.Tensor, lengths: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
        """(pairs,), from gains (pairs, 2), chosen first."""
        if self.loss == "ipo":
            per_token = gains / lengths
            return (per_token[:, 0] - per_token[:, 1] - 1 / (2 * self.beta)) ** 2
        e = self.label_smoothing
        return -(1 - e) * F.logsigmoid(margin) - e * F.logsigmoid(-margin)


def log_probabilities(model: PreTrainedModel, forward: Forward, batch: Batch, counts: Sequence[int]) -> torch.Tensor:
    """(pairs, 2): log p of the trained tokens of each document, chosen first, through the chunked head."""
    return -losses_by_document(model, forward, batch, segments_of(batch), counts).view(-1, 2)


def _documents(packs: Sequence[Pack]) -> list[int]:
    return [document for item in packs for document in item.documents]


def _targets(store: TokenStore, documents: Sequence[int]) -> list[int]:
    """Targets per document; a first token never is one."""
    return [int(store[document][1][1:].sum()) for document in documents]


@torch.no_grad()
def _score_all(run: Scorer, store: TokenStore, path: Path, emit: Emit, step_name: str) -> NDArray[np.float64]:
    """(pairs, 2) log-probabilities; pairs with nothing to learn stay NaN. Goes on where an earlier call was stopped.

    Micro-batches are those of the whole list whatever is done already, so that every score has the same bytes. Ranks
    take one each in turn, and the last one once more where there are fewer left than ranks.
    """
    useful = useful_items(store.targets_per_document(), 2).tolist()
    scores = run.ranks.from_first(lambda: np.load(path) if path.exists() else np.full((len(store) // 2, 2), np.nan))
    packs = [Pack((2 * i, 2 * i + 1), int(store.lengths[2 * i : 2 * i + 2].sum())) for i in useful]
    micros = packing.micro_batches(packs, run.micro_batch_tokens)
    left = [micro for micro in micros if np.isnan(scores[_pairs(micro)]).any()]
    run.adapter.eval()
    saved = time.monotonic()
    for start in range(0, len(left), run.ranks.count):
        together = left[start : start + run.ranks.count]
        _score_together(run, store, together, scores)
        done = sum(map(len, micros)) - sum(map(len, left[start + len(together) :]))
        emit(Event("progress", step_name, done=done, total=len(useful), unit="pairs scored by the reference"))
        if run.ranks.first and (time.monotonic() - saved >= SAVE_EVERY_S or done == len(useful)):
            _save(path, scores)
            saved = time.monotonic()
    run.adapter.train()
    return scores


def _score_together(
    run: Scorer, store: TokenStore, together: Sequence[Sequence[Pack]], scores: NDArray[np.float64]
) -> None:
    """Each rank scores one of `together`; all get the scores of all."""
    mine = together[min(run.ranks.rank, len(together) - 1)]
    batch = collate_packs(store, mine).to(run.device)
    with run.precision():
        found = log_probabilities(run.model, run.forward, batch, _targets(store, _documents(mine)))
    pairs = [_pairs(micro) for micro in together]
    scored = np.zeros((sum(map(len, pairs)), 2))
    if run.ranks.rank < len(together):
        begin = sum(map(len, pairs[: run.ranks.rank]))
        scored[begin : begin + len(found)] = found.double().cpu().numpy()
    run.ranks.sum(torch.from_numpy(scored))
    scores[[pair for of_one in pairs for pair in of_one]] = scored


def _pairs(packs: Sequence[Pack]) -> list[int]:
    return [document // 2 for document in _documents(packs)[::2]]


def _save(path: Path, scores: NDArray[np.float64]) -> None:
    partial = path.with_suffix(".partial.npy")
    np.save(partial, scores)
    os.replace(partial, path)
