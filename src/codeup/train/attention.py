"""Attention in which each document of a row sees only itself, and the self-test that proves it at start-up.

    document      a a a b b
    a  may see    x . .
    a             x x .
    a             x x x . .
    b             . . . x .        the usual way is this (T, T) mask: all of T^2 is computed, then most thrown away.
    b             . . . x x        Here: one small causal call per document. No mask exists.

Registered under "codeup_segments" with transformers' public AttentionInterface; the document lengths travel through the
model as a keyword argument, `segments`. On CUDA the same thing is one call of `torch.nn.attention.varlen`.

Why a self-test: this goes wrong silently (an all-ones mask, a cache that switches itself on, a model that ignores the
interface), and the loss still falls. Measured contamination was 0.13 in the logits; isolated packing differs by 1e-6.
Not supported: soft-capped scores and attention sinks (refused); sliding windows work, through a mask per document.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface, PreTrainedModel

from codeup.errors import UserError, WorkFailed
from codeup.train.batch import Batch, collate
from codeup.train.loss import Forward

NAME = "codeup_segments"
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.35, torch.float16: 0.1}
"""Largest allowed |logit difference| per unit of logit scale (below 1: of 1). bfloat16 has 8 bits of mantissa."""
INT8_TOLERANCE = 0.05
"""At least, for a base in 8 bits: it rounds activations too, and takes out columns that are large in any document of
the row (LLM.int8, arXiv 2208.07339, section 3.2). Measured on nano-base: 0.009."""


@dataclass(frozen=True)
class Segments:
    """Document lengths of a flat row; on CUDA also their edges as a tensor, made once per batch and not per layer."""

    lengths: tuple[int, ...]
    edges: torch.Tensor | None = None

    @staticmethod
    def of(lengths: Sequence[int], device: torch.device) -> Segments:
        if device.type != "cuda":
            return Segments(tuple(lengths))
        edges = torch.from_numpy(np.cumsum((0, *lengths), dtype=np.int32))
        return Segments(tuple(lengths), edges.to(device, non_blocking=True))


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """(1, H, T, D) query and (1, KV, T, D) key, value -> (1, T, H, D). Each document attends to itself, causally."""
    for unsupported in ("softcap", "s_aux"):
        if kwargs.get(unsupported) is not None:
            raise UserError(f"this model's attention uses {unsupported}, which training here does not support")
    assert segments is not None, "the model was called without segments"
    lengths = segments.lengths
    grouped = query.shape[1] != key.shape[1]
    window = sliding_window if sliding_window is not None and max(lengths) > sliding_window else None
    if segments.edges is not None and window is None and dropout == 0.0 and _varlen_fits(query):
        return _varlen(query, key, value, segments, scaling), None
    pieces = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    outputs = [
        F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if window is None else _window_mask(q.shape[2], window, q.device),
            is_causal=window is None,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=grouped,
        )
        for q, k, v in pieces
    ]
    return torch.cat([output.transpose(1, 2) for output in outputs], 1), None  # (1, T, H, D)


def _window_mask(length: int, window: int, device: torch.device) -> torch.Tensor:
    """(L, L), True where position i may see j: i - window < j <= i."""
    at = torch.arange(length, device=device)
    distance = at[:, None] - at[None]
    return (distance >= 0) & (distance < window)


def _varlen_fits(query: torch.Tensor) -> bool:
    """The CUDA kernel takes half precision and heads up to 256."""
    return query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= 256


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments, scaling: float | None
) -> torch.Tensor:
    """One kernel for all documents. It wants (T, H, D); returns (1, T, H, D)."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (t.squeeze(0).transpose(0, 1) for t in (query, key, value))  # not t[0]: its backward pass is a copy
    assert segments.edges is not None
    longest = max(segments.lengths)
    known = inspect.signature(varlen_attn).parameters
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    if q.shape[1] != k.shape[1]:
        if "enable_gqa" in known:
            causal["enable_gqa"] = True
        else:
            k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], 1) for t in (k, v))
    out = varlen_attn(q, k, v, segments.edges, segments.edges, longest, longest, scale=scaling, **causal)
    assert isinstance(out, torch.Tensor)
    return out[None]


def use_segment_attention(model: PreTrainedModel) -> None:
    """Switch a loaded model to `segment_attention`."""
    AttentionInterface.register(NAME, segment_attention)
    model.set_attn_implementation(NAME)


def sliding_window(model: PreTrainedModel) -> int | None:
    """How many positions back a token sees, in the layers that do not see all; None where all do."""
    config = model.config.get_text_config()
    used = getattr(config, "use_sliding_window", True)
    return getattr(config, "sliding_window", None) if used else None


def self_test(
    model: PreTrainedModel, forward: Forward, documents: Sequence[tuple[np.ndarray, np.ndarray]], reference: str
) -> float:
    """Largest |logit difference| between documents packed in one row and each one alone. Raises WorkFailed if too big.

    The packed logits come through `forward`, the path that training uses, and the head; the single ones through the
    model as everybody calls it, with its own `reference` attention. Every position is compared.
    """
    batch = collate([(ids, np.ones_like(marks)) for ids, marks in documents]).to(model.device)
    singles = [collate([(ids, np.ones_like(marks))]).to(model.device) for ids, marks in documents]
    head, training = model.get_output_embeddings(), model.training
    model.eval()
    try:
        with torch.no_grad():
            packed = head(forward(batch, segments_of(batch)))
            model.set_attn_implementation(reference)
            single = torch.cat([model(input_ids=one.ids, use_cache=False).logits[0, :-1] for one in singles]).float()
            tolerance = _tolerance(model) * max(1.0, float(single.abs().max()))
            difference = float((packed.float() - single).abs().max())
            if difference <= tolerance:
                return difference
            model.set_attn_implementation(NAME)
            alone = torch.cat([head(forward(one, segments_of(one))) for one in singles]).float()
    finally:
        model.set_attn_implementation(NAME)
        model.train(training)
    unlike = float((alone - single).abs().max())
    why = "does not keep documents apart here"
    if not unlike <= tolerance:  # a scaled or soft-capped head, say: Granite, Cohere, Gemma 2
        why = (
            f"makes its logits otherwise than by its last hidden states and its head (a single document differs by "
            f"{unlike:.3g}), which training here relies on"
        )
    raise WorkFailed(
        f"packing self-test: logits of packed documents differ from those of single ones by {difference:.3g} "
        f"(allowed {tolerance:.3g}). {type(model).__name__} {why}; nothing was trained."
    )


def _tolerance(model: PreTrainedModel) -> float:
    """Per unit of logit scale."""
    return max(TOLERANCE[model.dtype], INT8_TOLERANCE if getattr(model, "is_loaded_in_8bit", False) else 0.0)


def segments_of(batch: Batch) -> Segments:
    return Segments.of(batch.lengths, batch.ids.device)
