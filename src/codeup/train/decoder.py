"""A Llama decoder layer written out, forward and backward, for adapters on frozen weights.

The library's layer is some forty operations, each of which reads and writes all activations and keeps its input for the
backward pass. Here a layer is two functions with the attention between them, and every product is shared:

    x ──norm──[q k v]──rotate──► attention ──o──(+ x)──norm──[gate up]──silu·mul──down──(+)──► y
      └──────── Before ───────┘            └──────────────────── After ────────────────────┘

- Layers that read the same input share its norm, its dropout and the product with their A matrices.
- Kept for the backward pass: x, the inverse norms, q, k, v, the attention's output, the sum before the second norm,
  gate and up. Normed inputs and the MLP's product are made again, one pass each. Frozen weights have no gradient.
- Plain LoRA (arXiv 2106.09685) in two exact forms. In fp32 without dropout: one product with W + s B A, built per call.
  Otherwise, because W + s B A rounded to 16 bits would lose small updates: x W^T, then s (x A^T) B^T added into it.
- Dropout has one mask for each input, shared by the adapters that read it (PEFT draws one per adapter).
- Positions that predict nothing trained stop before the last layer's MLP: nobody reads their output.

`lean_forward` says None where a model is not of this shape (other decoders, 4-bit weights, DoRA, sliding windows,
trained layers); training then takes the library's. Embedding and head may be trained in some rows (token_rows.py) and
the embedding may be noisy (neftune.py): both are outside these layers. Sources of the formulas: RMSNorm, arXiv
1910.07467; rotary embedding, arXiv 2104.09864; SwiGLU, arXiv 2002.05202.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from codeup.train import elementwise
from codeup.train.attention import Segments, segment_attention
from codeup.train.batch import Batch
from codeup.train.loss import Forward
from codeup.train.products import MergedLinear, plain_lora

FAMILIES = ("llama", "mistral", "qwen2")


class Norm(Protocol):
    """What is used of the library's RMSNorm."""

    weight: torch.Tensor
    variance_epsilon: float


@dataclass(frozen=True)
class Part:
    """One layer of a group: its frozen weight (out, in), its bias, and which columns of the group's output it makes."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    rows: slice


@dataclass(frozen=True)
class Adapter:
    """One adapter of a group: which columns of the output it adds to, and which of x A^T are its own."""

    module: MergedLinear
    name: str
    rows: slice
    ranks: slice

    @property
    def scale(self) -> float:
        return self.module.scaling[self.name]


class Group:
    """Linear layers that read the same input: (T, in) -> (T, out_1 + out_2 + ...)."""

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        bases: list[Any] = [m.get_base_layer() if isinstance(m, MergedLinear) else m for m in modules]
        self.sizes: list[int] = [base.weight.shape[0] for base in bases]
        self.parts: list[Part] = []
        self.adapters: list[Adapter] = []
        row = rank = 0
        for module, base, size in zip(modules, bases, self.sizes, strict=True):
            rows = slice(row, row + size)
            self.parts.append(Part(base.weight, base.bias, rows))
            if isinstance(module, MergedLinear):
                name = module.active_adapters[0]
                r = module.lora_A[name].weight.shape[0]
                self.adapters.append(Adapter(module, name, rows, slice(rank, rank + r)))
                rank += r
            row += size
        self.copies: list[torch.Tensor] = []
        self.stacked: torch.Tensor | None = None

    def parameters(self) -> list[torch.Tensor]:
        """A and B of each adapter in turn; none while adapters are disabled."""
        on = [each for each in self.adapters if not each.module.disable_adapters]
        return [w for each in on for w in (each.module.lora_A[each.name].weight, each.module.lora_B[each.name].weight)]

    def room(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """Where copies of the parameters in this dtype go: B's, and A's as rows of one matrix, `stacked`."""
        if self.stacked is None or self.stacked.dtype != dtype:
            weights = [
                (each.module.lora_A[each.name].weight, each.module.lora_B[each.name].weight) for each in self.adapters
            ]
            self.stacked = torch.cat([a.detach() for a, _ in weights]).to(dtype)
            pairs = zip(self.adapters, weights, strict=True)
            self.copies = [t for each, (_, b) in pairs for t in (self.stacked[each.ranks], b.detach().to(dtype))]
        return self.copies

    def product(self, parameters: Sequence[torch.Tensor], dtype: torch.dtype) -> Product:
        """With these parameters, or their copies where activations have another dtype."""
        if not parameters or parameters[0].dtype == dtype:
            return Product(self, list(parameters))
        return Product(self, self.copies, self.stacked)

    def dropout(self) -> float:
        """Probability with which an adapter's input is dropped now."""
        drops = (each.module.lora_dropout[each.name] for each in self.adapters)
        return max((d.p for d in drops if d.training and isinstance(d, torch.nn.Dropout)), default=0.0)

    def frozen(self, x: torch.Tensor, onto: torch.Tensor | None = None) -> torch.Tensor:
        """x W^T + bias (+ onto), without adapters."""
        if onto is not None and len(self.parts) == 1 and self.parts[0].bias is None:
            return torch.addmm(onto, x, self.parts[0].weight.t())
        y = x.new_empty(x.shape[0], sum(self.sizes))
        for part in self.parts:
            torch.mm(x, part.weight.t(), out=y[:, part.rows])
            if part.bias is not None:
                y[:, part.rows] += part.bias
        return y if onto is None else y.add_(onto)

    def frozen_backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """gradient W, the sum over the layers."""
        first, *rest = self.parts
        result = gradient[:, first.rows] @ first.weight
        for part in rest:
            result.addmm_(gradient[:, part.rows], part.weight)
        return result

    def merged(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        """W + s B A of all layers, (out, in)."""
        adapters = {each.rows.start: each for each in self.adapters}
        pairs = iter(zip(parameters[::2], parameters[1::2], strict=True))
        weight = self.parts[0].weight.new_empty(sum(self.sizes), self.parts[0].weight.shape[1])
        for part in self.parts:
            if (adapter := adapters.get(part.rows.start)) is None:
                weight[part.rows] = part.weight
            else:
                a, b = next(pairs)
                torch.addmm(part.weight, b, a, alpha=adapter.scale, out=weight[part.rows])
        return weight

    def bias(self) -> torch.Tensor | None:
        """Those of all layers end to end; None where there is none."""
        if all(part.bias is None for part in self.parts):
            return None
        zeros = (part.weight.new_zeros(part.weight.shape[0]) for part in self.parts)
        return torch.cat([z if part.bias is None else part.bias for z, part in zip(zeros, self.parts, strict=True)])


@dataclass
class Product:
    """What one product leaves for its backward pass: `low` = dropped x A^T (T, ranks); both None in the merged form.

    `stacked` is all A's as one matrix (ranks, in), where there is one already.
    """

    group: Group
    parameters: list[torch.Tensor]
    stacked: torch.Tensor | None = None
    low: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    kept: float = 1.0

    def forward(self, x: torch.Tensor, dropout: float, onto: torch.Tensor | None = None) -> torch.Tensor:
        """(T, in) -> (T, out), with `onto` (T, out) added."""
        group = self.group
        if not self.parameters:
            return group.frozen(x, onto)
        if dropout == 0.0 and x.dtype in (torch.float32, torch.float64):
            y = F.linear(x, group.merged(self.parameters), group.bias())
            return y if onto is None else y.add_(onto)
        y = group.frozen(x, onto)
        if dropout:
            x, self.mask = torch.native_dropout(x, dropout, True)
            self.kept = 1.0 - dropout
        self.low = x @ self._all_a().t()
        for each, b in zip(group.adapters, self.parameters[1::2], strict=True):
            y[:, each.rows].addmm_(self.low[:, each.ranks], b.t(), alpha=each.scale)
        return y

    def backward(
        self, gradient: torch.Tensor, x: torch.Tensor, need_x: bool = True
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """(T, out), (T, in) -> the gradient of x, and those of A and B in turn (fp32)."""
        group, found = self.group, list[torch.Tensor]()
        if not self.parameters:
            return (group.frozen_backward(gradient) if need_x else None), found
        a = self._all_a()
        dropped = x if self.mask is None else elementwise.dropped(x, self.mask, self.kept)
        low = dropped @ a.t() if self.low is None else self.low
        low_gradient, nothing = torch.empty_like(low), low.new_empty(())  # `nothing` stands where beta is 0
        for each, b in zip(group.adapters, self.parameters[1::2], strict=True):
            out, part = low_gradient[:, each.ranks], gradient[:, each.rows]
            torch.addmm(nothing, part, b, beta=0, alpha=each.scale, out=out)  # (T, r)
        of_a = (low_gradient.t() @ dropped).float()
        for each in group.adapters:
            mine, part = low[:, each.ranks], gradient[:, each.rows]
            if x.is_cuda:
                of_b = torch.addmm(nothing, part.t(), mine, beta=0, alpha=each.scale)
            else:  # (r, T) (T, out), transposed: faster there
                of_b = torch.addmm(nothing, mine.t(), part, beta=0, alpha=each.scale).t()
            found += [of_a[each.ranks], of_b.float()]
        if not need_x:
            return None, found
        if self.low is None:
            return gradient @ group.merged(self.parameters), found
        if self.mask is None:
            return group.frozen_backward(gradient).addmm_(low_gradient, a), found
        through = low_gradient @ a
        return elementwise.add_dropped(group.frozen_backward(gradient), through, self.mask, self.kept), found

    def _all_a(self) -> torch.Tensor:
        return torch.cat(self.parameters[::2]) if self.stacked is None else self.stacked


@dataclass(frozen=True)
class Layer:
    """The frozen weights of a decoder layer and where its adapters are."""

    before: Group
    o: Group
    gate_up: Group
    down: Group
    norm_before: Norm
    norm_after: Norm
    head_dim: int
    scaling: float
    rotated: int
    """columns of q and k together, the first of q k v"""
    keys: int
    """columns of k, and of v"""


class Before(torch.autograd.Function):
    """x (T, H) -> q (T, Q), k (T, KV), v (T, KV): norm, products, rotation."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, layer: Layer, cos: torch.Tensor, sin: torch.Tensor, *parameters: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        normed, inverse = elementwise.norm(x, layer.norm_before.weight, layer.norm_before.variance_epsilon)
        product = layer.before.product(parameters, x.dtype)
        qkv = product.forward(normed, layer.before.dropout())
        ctx.save_for_backward(x, inverse, cos, sin)
        ctx.layer, ctx.product = layer, product
        qk = elementwise.rotate(qkv[:, : layer.rotated], cos, sin)
        queries = layer.rotated - layer.keys
        return qk[:, :queries], qk[:, queries:], qkv[:, layer.rotated :].contiguous()  # else v would hold all of qkv

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, inverse, cos, sin = ctx.saved_tensors
        qk, v = torch.cat(gradients[:2], 1), gradients[2]
        gradient = torch.cat([elementwise.rotate(qk, cos, -sin), v], 1)
        weight = ctx.layer.norm_before.weight
        normed = elementwise.normed(x, inverse, weight)
        of_normed, found = ctx.product.backward(gradient, normed, ctx.needs_input_grad[0])
        of_x = None if of_normed is None else elementwise.norm_backward(of_normed, x, inverse, weight, None)
        return of_x, None, None, None, *found


class After(torch.autograd.Function):
    """x (T, H), attention's output (T, Q) -> y (T, H): o, residual, norm, MLP, residual."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, heads: torch.Tensor, layer: Layer, *parameters: torch.Tensor
    ) -> torch.Tensor:
        o, gate_up, down = _products((layer.o, layer.gate_up, layer.down), parameters, x.dtype)
        between = o.forward(heads, layer.o.dropout(), onto=x)
        normed, inverse = elementwise.norm(between, layer.norm_after.weight, layer.norm_after.variance_epsilon)
        both = gate_up.forward(normed, layer.gate_up.dropout())  # (T, 2 I)
        y = down.forward(elementwise.swiglu(both), layer.down.dropout(), onto=between)
        ctx.save_for_backward(heads, between, inverse, both)
        ctx.layer, ctx.products = layer, (o, gate_up, down)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        heads, between, inverse, both = ctx.saved_tensors
        o, gate_up, down = ctx.products
        weight = ctx.layer.norm_after.weight
        inner, of_down = down.backward(gradient, elementwise.swiglu(both))
        of_both = elementwise.swiglu_backward(inner, both)
        del inner
        of_normed, of_gate_up = gate_up.backward(of_both, elementwise.normed(between, inverse, weight))
        of_x = elementwise.norm_backward(of_normed, between, inverse, weight, beside=gradient)
        of_heads, of_o = o.backward(of_x, heads)
        return of_x, of_heads, None, *of_o, *of_gate_up, *of_down


def _products(groups: Sequence[Group], parameters: Sequence[torch.Tensor], dtype: torch.dtype) -> list[Product]:
    """Deal the parameters of several groups out, in order."""
    products = []
    for group in groups:
        count = len(group.parameters())
        products.append(group.product(parameters[:count], dtype))
        parameters = parameters[count:]
    return products


def _copy_adapters(layers: Sequence[Layer], dtype: torch.dtype) -> None:
    """All adapters in the dtype of the activations, once per batch and in a few kernels for all layers together."""
    places, parameters = list[torch.Tensor](), list[torch.Tensor]()
    for group in (group for layer in layers for group in (layer.before, layer.o, layer.gate_up, layer.down)):
        own = group.parameters()
        if own and own[0].dtype != dtype:
            places += group.room(dtype)
            parameters += own
    if places:
        with torch.no_grad():
            torch._foreach_copy_(places, parameters)


def lean_forward(model: PreTrainedModel) -> Forward | None:
    """The forward pass of training for this model and its adapter, or None where it is not of this shape.

    Call it after the adapter is attached; its weights are read anew in every call.
    """
    decoder = model.get_decoder()
    config = model.config
    if config.model_type not in FAMILIES or not all(_fits(layer) for layer in decoder.layers):
        return None
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return None
    layers = [_layer(layer) for layer in decoder.layers]

    def forward(batch: Batch, segments: Segments) -> torch.Tensor:
        with torch.autocast(batch.ids.device.type, enabled=False):
            recompute = decoder.layers[0].gradient_checkpointing and torch.is_grad_enabled()
            run = functools.partial(checkpoint, _layer_forward, use_reentrant=False) if recompute else _layer_forward
            x = decoder.embed_tokens(batch.ids)  # (1, T, H)
            _copy_adapters(layers, x.dtype)
            cos, sin = _half_angles(decoder.rotary_emb, x, batch.positions)
            x = x[0]
            for layer in layers[:-1]:
                x = run(layer, x, cos, sin, segments, None)
            return decoder.norm(run(layers[-1], x, cos, sin, segments, batch.predicts))

    return forward


def _layer_forward(
    layer: Layer, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, segments: Segments, only: torch.Tensor | None
) -> torch.Tensor:
    """(T, H) -> (T, H), or (n, H) for the positions `only`."""
    q, k, v = Before.apply(x, layer, cos, sin, *layer.before.parameters())
    q, k, v = (t.unflatten(1, (-1, layer.head_dim)).transpose(0, 1)[None] for t in (q, k, v))  # (1, heads, T, D)
    mixed, _ = segment_attention(torch.nn.Identity(), q, k, v, None, scaling=layer.scaling, segments=segments)
    mixed = mixed.squeeze(0).flatten(1)  # (T, Q)
    if only is not None:
        x, mixed = x.index_select(0, only), mixed.index_select(0, only)
    parameters = [p for group in (layer.o, layer.gate_up, layer.down) for p in group.parameters()]
    result: torch.Tensor = After.apply(x, mixed, layer, *parameters)
    return result


def _half_angles(rotary: Any, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's own cosines and sines, (T, 1, D / 2): both halves of a head have the same."""
    cos, sin = rotary(x, positions)
    half = cos.shape[-1] // 2
    return cos[0, :, None, :half], sin[0, :, None, :half]


def _fits(layer: Any) -> bool:
    """Linear layers, plain or with plain LoRA, and nothing trained but LoRA's matrices."""
    if any(p.requires_grad and ".lora_" not in name for name, p in layer.named_parameters()):
        return False
    attention, mlp = layer.self_attn, layer.mlp
    modules = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    for module in (*modules, mlp.gate_proj, mlp.up_proj, mlp.down_proj):
        base = module.get_base_layer() if isinstance(module, MergedLinear) else module
        if type(base) is not torch.nn.Linear:
            return False
        if isinstance(module, MergedLinear) and not plain_lora(module):
            return False
    return True


def _layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    before = Group([attention.q_proj, attention.k_proj, attention.v_proj])
    queries, keys, _ = before.sizes
    return Layer(
        before=before,
        o=Group([attention.o_proj]),
        gate_up=Group([mlp.gate_proj, mlp.up_proj]),
        down=Group([mlp.down_proj]),
        norm_before=layer.input_layernorm,
        norm_after=layer.post_attention_layernorm,
        head_dim=attention.head_dim,
        scaling=attention.scaling,
        rotated=queries + keys,
        keys=keys,
    )
