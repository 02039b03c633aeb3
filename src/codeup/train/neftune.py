"""NEFTune: uniform noise on the embeddings while training (Jain et al. 2023, arXiv 2310.05914, algorithm 1).

    e + u * alpha / sqrt(L d)        u uniform in [-1, 1], L length of the document, d width; alpha 5 in the paper

L is that of each document, not of the row it is packed in. The noise comes from PyTorch's generator, which every
step seeds from its own number, so that a resumed training sees the same noise. Evaluation sees none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from codeup.train.batch import Batch
from codeup.train.loss import Forward


def noise(lengths: Sequence[int], width: int, alpha: float, device: torch.device) -> torch.Tensor:
    """(T, width) for documents of these lengths laid end to end."""
    each = torch.tensor(lengths, device=device)
    reach = (alpha / (each * width).sqrt()).repeat_interleave(each)  # (T,)
    return (2 * torch.rand(int(each.sum()), width, device=device) - 1) * reach[:, None]


def with_noise(model: PreTrainedModel, forward: Forward, alpha: float) -> Forward:
    """`forward` with noisy embeddings while `model` is in training mode. Call it after adapters are attached."""
    lengths: list[Sequence[int]] = []

    def disturb(module: torch.nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        return output + noise(lengths[-1], output.shape[-1], alpha, output.device).to(output.dtype)  # (1, T, d)

    def noisy(batch: Batch, segments: Any) -> torch.Tensor:
        lengths[:] = [batch.lengths]
        return forward(batch, segments)

    model.get_input_embeddings().register_forward_hook(disturb)
    return noisy
