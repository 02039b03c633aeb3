"""The work of training, in floating-point operations per token, by arithmetic alone.

Sources: Kaplan et al. 2020 (arXiv 2001.08361, section 2.1) without the weight gradients of frozen layers; the division
by a share of the peak, PaLM (arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass

from codeup.train.shapes import Shape


@dataclass(frozen=True)
class Work:
    """Floating-point operations per token. `executed` adds the second forward pass of activation checkpointing."""

    forward: float
    useful: float
    executed: float


def work(
    shape: Shape,
    adapter_parameters: int,
    *,
    attended: float,
    trained_share: float = 1.0,
    checkpointing: bool = False,
) -> Work:
    """4 N + 6 N_lora + attention, not 6 N: no gradient is made for frozen weights.

    N counts the decoder's matrices for every token and the head for trained tokens only. A token in a document of n
    tokens attends to n / 2 on average, with 2 products of 2 operations in each of `heads * head_dim` columns:
    2 n Q forward, twice that backward. `attended` is n averaged over tokens, so long documents count more.
    """
    body, head = shape.linear_weights, shape.head_weights * trained_share
    attention = 2.0 * attended * shape.heads * shape.head_dim * shape.layers
    forward = 2.0 * (body + head + adapter_parameters) + attention
    useful = 4.0 * (body + head) + 6.0 * adapter_parameters + 3 * attention
    again = 2.0 * (body + adapter_parameters) + attention if checkpointing else 0.0
    return Work(forward, useful, useful + again)
