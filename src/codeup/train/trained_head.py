"""The loss where the head itself is trained: all of it (full fine-tuning), or some of its rows (trainable tokens).

As in loss.py, logits exist for a chunk at a time and gradients are made on the spot. With W the head, R (k, H) its
trained rows at `places`, d = softmax - onehot (n, V):

    logits = h W^T, columns `places` from R instead        dh = d W, with R in those rows
    dW = d^T h                                             dR = d[:, places]^T h
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from peft.utils.other import TrainableTokensWrapper

CHUNK_LOGITS = 1 << 24
"""Logits held at once on a CPU (fp32: 64 MB, twice for the gradient)."""
CHUNK_LOGITS_CUDA = 1 << 26
"""On CUDA, where a product of fewer rows than some 500 reads all of the head for too little work."""


def chunk_rows(vocabulary: int, *, cuda: bool) -> int:
    """Positions whose logits are held at once, here and in loss.py."""
    return max(1, (CHUNK_LOGITS_CUDA if cuda else CHUNK_LOGITS) // vocabulary)


def trains(head: torch.nn.Module) -> bool:
    """Whether something of the head is trained, so that the loss of loss.py does not apply."""
    if isinstance(head, TrainableTokensWrapper):
        return not head.disable_adapters
    return bool(head.weight.requires_grad)


def trained_head_loss(head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed cross entropy of hidden states (n, H) against targets (n,)."""
    if not isinstance(head, TrainableTokensWrapper):
        return _HeadLoss.apply(hidden, head.weight, head.bias, None, None, targets)
    layer = head.token_adapter
    places = torch.tensor(layer.token_indices["default"], device=hidden.device)
    rows = layer.trainable_tokens_delta["default"]
    return _HeadLoss.apply(hidden, layer.base_layer.weight, layer.base_layer.bias, rows, places, targets)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        rows: torch.Tensor | None,
        places: torch.Tensor | None,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        learned = [t if ctx.needs_input_grad[at] else None for at, t in enumerate((hidden, weight, bias, rows))]
        grads = [None if t is None else torch.zeros_like(t, dtype=torch.float32) for t in learned]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden, rows = hidden.to(weight.dtype), None if rows is None else rows.to(weight.dtype)
        size = chunk_rows(weight.shape[0], cuda=weight.is_cuda)
        for start in range(0, len(targets), size):
            piece = slice(start, start + size)
            h, goal = hidden[piece], targets[piece, None]
            logits = F.linear(h, weight, bias).float()  # (size, V)
            if rows is not None:
                logits[:, places] = F.linear(h, rows, None if bias is None else bias[places]).float()
            log_probabilities = torch.log_softmax(logits, -1)
            total -= log_probabilities.gather(1, goal).sum()
            if not any(ctx.needs_input_grad):
                continue
            slope = log_probabilities.exp_()
            slope.scatter_add_(1, goal, slope.new_full((), -1.0).expand(goal.shape))
            _add_gradients(grads, piece, slope.to(weight.dtype), h, weight, rows, places)
        ctx.grads = [None if g is None or t is None else g.to(t.dtype) for g, t in zip(grads, learned, strict=True)]
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*(None if g is None else g * upstream.to(g.dtype) for g in ctx.grads), None, None)


def _add_gradients(
    grads: list[torch.Tensor | None],
    piece: slice,
    slope: torch.Tensor,
    hidden: torch.Tensor,
    weight: torch.Tensor,
    rows: torch.Tensor | None,
    places: torch.Tensor | None,
) -> None:
    """Of hidden, weight, bias and rows, where wanted. `slope` (size, V)."""
    of_hidden, of_weight, of_bias, of_rows = grads
    if of_weight is not None:
        of_weight += slope.t() @ hidden
    if of_bias is not None:
        of_bias += slope.sum(0, dtype=torch.float32)
    if rows is not None:
        mine = slope[:, places]  # (size, k)
        slope[:, places] = 0
        if of_rows is not None:
            of_rows += mine.t() @ hidden
        if of_hidden is not None:
            of_hidden[piece] += mine @ rows
    if of_hidden is not None:
        of_hidden[piece] += slope @ weight
