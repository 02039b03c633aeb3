"""Cross entropy of the trained positions only, without ever holding all logits.

A Llama-3 logit row is 128,256 floats, 0.5 MB per token. So: hidden states (T, H) -> keep the positions that predict a
trained token (n, H) -> the head in chunks, its gradient computed on the spot, because the head is frozen:

    loss      = sum over n of  -log softmax(h W^T)[target]          / trained tokens of the whole effective batch
    dloss/dh  = (softmax(h W^T) - onehot(target)) W                 / the same

The divisor is that of the whole optimiser step, so the result does not depend on how the step is cut into micro-batches
(the bug of huggingface/transformers issue 34263).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from codeup.train.batch import Batch
from codeup.train.trained_head import chunk_rows, trained_head_loss, trains

Forward = Callable[[Batch, Any], torch.Tensor]
"""A batch and its segments -> (n, H): the last hidden states, before the head, of the positions in `batch.predicts`."""


def library_forward(model: PreTrainedModel) -> Forward:
    """The model's own layers. `segments` reaches our attention function as a keyword argument."""

    def forward(batch: Batch, segments: Any) -> torch.Tensor:
        output = model.get_decoder()(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=None, use_cache=False, segments=segments
        )
        hidden: torch.Tensor = output.last_hidden_state[0].index_select(0, batch.predicts)
        return hidden

    return forward


def loss_sum(model: PreTrainedModel, forward: Forward, batch: Batch, segments: Any) -> torch.Tensor:
    """Summed cross entropy of the batch's targets: divide by the trained tokens of the whole step, then backward."""
    return head_loss(model, forward(batch, segments), batch.targets)


def losses_by_document(
    model: PreTrainedModel, forward: Forward, batch: Batch, segments: Any, counts: Sequence[int]
) -> torch.Tensor:
    """(documents,): the summed cross entropy of each. `counts` are the targets of each document, none of them 0.

    Each can have a weight of its own in what is then made of it: the head's gradient is scaled on the way back.
    """
    hidden = forward(batch, segments)  # (n, H)
    pieces = zip(hidden.split(list(counts)), batch.targets.split(list(counts)), strict=True)
    return torch.stack([head_loss(model, piece, targets) for piece, targets in pieces])


def head_loss(model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed cross entropy of hidden states (n, H) that predict `targets` (n,)."""
    head = model.get_output_embeddings()
    if trains(head):
        return trained_head_loss(head, hidden, targets)
    return _FrozenHeadLoss.apply(hidden, head.weight, head.bias, targets)


class _FrozenHeadLoss(torch.autograd.Function):
    """Sum of cross entropies, chunk by chunk, with the gradient of `hidden` made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
    ) -> torch.Tensor:
        assert not weight.requires_grad, "the head is frozen"
        hidden = hidden.to(weight.dtype)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = chunk_rows(weight.shape[0], cuda=weight.is_cuda)
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            logits = torch.nn.functional.linear(hidden[piece], weight, bias).float()  # (rows, V)
            log_probabilities = torch.log_softmax(logits, -1)
            goal = targets[piece, None]
            total -= log_probabilities.gather(1, goal).sum()
            if gradient is not None:
                slope = log_probabilities.exp_()
                slope.scatter_add_(1, goal, slope.new_full((), -1.0).expand(goal.shape))
                torch.mm(slope.to(weight.dtype), weight, out=gradient[piece])
        ctx.gradient = gradient
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return ctx.gradient * upstream.to(ctx.gradient.dtype), None, None, None
