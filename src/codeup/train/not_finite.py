"""A step whose loss or gradient is not a number: which documents are to blame, kept in a file and said in words.

    nan_batch.npz    ids, positions, lengths, predicts, targets    the batch as the model saw it (batch.py)
                     documents        the number of each document in the token folder, in the order of `lengths`
                     document_loss    the mean loss of each alone, without dropout

Costs a forward pass for each document, once: the training is over. A gradient can overflow where every loss is finite;
then no document is to blame alone, and the message says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from codeup.train.attention import segments_of
from codeup.train.batch import collate
from codeup.train.loss import Forward, loss_sum
from codeup.train.tokens import TokenStore

SHOWN = 5


def keep_batch(
    path: Path | None,
    model: PreTrainedModel,
    forward: Forward,
    store: TokenStore,
    documents: Sequence[int],
    precision: Callable[[], AbstractContextManager[Any]],
) -> str:
    """Write the batch to `path`, if there is one, and return a sentence about its documents."""
    losses = document_losses(model, forward, store, documents, precision)
    if path is not None:
        collate([store[i] for i in documents]).save(path, documents=np.asarray(documents), document_loss=losses)
    bad = [number for number, loss in zip(documents, losses, strict=True) if not np.isfinite(loss)]
    if not bad:
        return f"Each of its {len(documents)} documents has a finite loss when alone."
    if len(bad) == len(documents):
        return (
            f"None of its {len(documents)} documents has a finite loss when alone: it is the weights, not one of them."
        )
    shown = ", ".join(map(str, bad[:SHOWN])) + (f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else "")
    return f"Of its {len(documents)} documents these have no finite loss when alone: {shown} of {store.folder}."


@torch.no_grad()
def document_losses(
    model: PreTrainedModel,
    forward: Forward,
    store: TokenStore,
    documents: Sequence[int],
    precision: Callable[[], AbstractContextManager[Any]],
) -> np.ndarray:
    """Mean loss of each document in a row of its own, dropout off; (n,) float64."""
    training, losses = model.training, []
    model.eval()
    for number in documents:
        batch = collate([store[number]]).to(model.device)
        with precision():
            losses.append(float(loss_sum(model, forward, batch, segments_of(batch))) / max(1, len(batch.targets)))
    model.train(training)
    return np.array(losses)
