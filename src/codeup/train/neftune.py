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


def noise(lengths: Sequence[int], width: int, alpha: float, device: torch.device) -> torch.Tensor:
    """(T, width) for documents of these lengths laid end to end."""
    each = torch.tensor(lengths, device=device)
    reach = (alpha / (each * width).sqrt()).repeat_interleave(each)  # (T,)
    return (2 * torch.rand(int(each.sum()), width, device=device) - 1) * reach[:, None]


def add_noise(model: PreTrainedModel, alpha: float) -> None:
    """From now on, in training mode, the embeddings of `model` are noisy. Call it after adapters are attached."""
    lengths: list[Sequence[int]] = []

    def note_lengths(_: torch.nn.Module, __: Any, arguments: dict[str, Any]) -> None:
        lengths[:] = [arguments["segments"].lengths]

    def disturb(module: torch.nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        return output + noise(lengths[0], output.shape[-1], alpha, output.device).to(output.dtype)  # (1, T, d)

    model.get_decoder().register_forward_pre_hook(note_lengths, with_kwargs=True)
    model.get_input_embeddings().register_forward_hook(disturb)
