"""The passes over activations of a decoder layer that are no products: norms, rotation, SwiGLU, dropout's way back.

Each is written here line by line, which is how a CPU runs it. On CUDA each is one kernel, so that an activation is read
and written once and not five times: torch.compile makes it of the same lines, except SwiGLU's (swiglu_kernels.py).
Where no compiler works, the lines run one by one there too. `compiling` chooses, for CUDA and for a CPU; `fused` says
which of the two it is. A kernel rounds in other places than the lines, so the last digits differ.

    norm       n = x / rms(x) * weight, rms in fp32 at least             RMSNorm, arXiv 1910.07467
    rotate     each head's halves (a, b) -> (a cos - b sin, b cos + a sin)  rotary embedding, arXiv 2104.09864
    swiglu     silu(gate) * up                                          arXiv 2002.05202

T tokens, H the model's width, I the MLP's.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F

Wish = Literal["auto"] | bool
"""Whether kernels are made: where the device is CUDA (auto), always, or never."""
_wish: Wish = "auto"
"""Of the training under way in this process. A variable of the context would not be seen by autograd's threads."""


@contextlib.contextmanager
def compiling(wish: Wish) -> Iterator[None]:
    """Until the end of the block, make kernels as it says."""
    global _wish
    before, _wish = _wish, wish
    try:
        yield
    finally:
        _wish = before


def norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """RMSNorm of (T, H): the normed rows and 1 / rms (T, 1)."""
    return _run(_norm, x, weight, epsilon)


def normed(x: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The normed rows again, from 1 / rms."""
    return _run(_normed, x, inverse, weight)


def norm_backward(
    gradient: torch.Tensor, x: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor, beside: torch.Tensor | None
) -> torch.Tensor:
    """With g = gradient * weight:   dx = g / rms - x (g . x) / (H rms^3), plus `beside`, what came past the norm."""
    return _run(_norm_backward, gradient, x, inverse, weight, beside)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(T, heads * D), (T, 1, D / 2) -> (T, heads * D). The inverse, and so the backward pass, is the same with -sin."""
    return _run(_rotate_whole, x, cos, sin) if x.is_cuda or fused(x.device.type) else _rotate_halves(x, cos, sin)


def swiglu(both: torch.Tensor) -> torch.Tensor:
    """(T, 2 I), gate and up -> (T, I)."""
    if fused(both.device.type):
        return _kernels().forward(both) if both.is_cuda else _compiled(_swiglu, "cpu")(both)
    gate, up = both.chunk(2, 1)
    return F.silu(gate).mul_(up)


def swiglu_backward(gradient: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
    """(T, I), (T, 2 I) -> the gradients of gate and up, (T, 2 I). May destroy `gradient`."""
    if fused(both.device.type):
        backward = _kernels().backward if both.is_cuda else _compiled(_swiglu_backward, "cpu")
        return backward(gradient, both)
    gate, up = both.chunk(2, 1)
    result = torch.empty_like(both)
    torch.mul(gradient, F.silu(gate), out=result[:, up.shape[1] :])
    torch.ops.aten.silu_backward.grad_input(gradient.mul_(up), gate, grad_input=result[:, : up.shape[1]])
    return result


def dropped(x: torch.Tensor, mask: torch.Tensor, kept: float) -> torch.Tensor:
    """Dropout with a known mask: x / kept where it is 1, else 0."""
    return _run(_dropped, x, mask, kept)


def add_dropped(x: torch.Tensor, more: torch.Tensor, mask: torch.Tensor, kept: float) -> torch.Tensor:
    """x + dropped(more). May destroy x and `more`."""
    return _run(_add_dropped, x, more, mask, kept)


def _norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(epsilon))
    return _normed(x, inverse, weight), inverse


def _normed(x: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (x * inverse).mul_(weight).to(x.dtype)


def _norm_backward(
    gradient: torch.Tensor, x: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor, beside: torch.Tensor | None
) -> torch.Tensor:
    g = gradient * weight
    along = (g * x).sum(-1, keepdim=True, dtype=inverse.dtype) / x.shape[-1]  # (T, 1)
    of_x = (g * inverse).addcmul_(x.to(inverse.dtype), along * inverse**3, value=-1).to(x.dtype)
    return of_x if beside is None else of_x.add_(beside)


def _rotate_halves(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Written into its place: two passes on a CPU instead of six."""
    heads = x.unflatten(1, (-1, 2 * cos.shape[-1]))
    turned = torch.empty(heads.shape, dtype=x.dtype, device=x.device)
    (a, b), (to_a, to_b) = heads.chunk(2, -1), turned.chunk(2, -1)
    torch.mul(a, cos, out=to_a).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=to_b).addcmul_(a, sin)
    return turned.flatten(1)


def _rotate_whole(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.unflatten(1, (-1, 2 * cos.shape[-1])).chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype).flatten(1)


def _swiglu(both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, 1)
    return F.silu(gate) * up


def _swiglu_backward(gradient: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, 1)
    of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
    return torch.cat([of_gate, gradient * F.silu(gate)], 1)


def _dropped(x: torch.Tensor, mask: torch.Tensor, kept: float) -> torch.Tensor:
    return x * mask / kept


def _add_dropped(x: torch.Tensor, more: torch.Tensor, mask: torch.Tensor, kept: float) -> torch.Tensor:
    return more.mul_(mask).div_(kept).add_(x)


def _run(function: Callable[..., Any], x: torch.Tensor, *others: Any) -> Any:
    if fused(x.device.type):
        return _compiled(function, x.device.type)(x, *others)
    return function(x, *others)


@functools.cache
def _compiled(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """On a CPU one kernel for all numbers of rows, since making one takes seconds; on CUDA first one for a number."""
    return torch.compile(function, dynamic=True if device == "cpu" else None)


def _kernels() -> Any:
    from codeup.train import swiglu_kernels

    return swiglu_kernels


def wanted(device: str) -> bool:
    """Whether kernels are to be made on cpu or cuda."""
    return device == "cuda" if _wish == "auto" else _wish


def fused(device: str) -> bool:
    """Whether one kernel is made of several operations on cpu or cuda."""
    return wanted(device) and not why_not_fused(device)


@functools.cache
def why_not_fused(device: str) -> str:
    """Tried once, on a few numbers, and compared: what went wrong, or nothing.

    It needs a C compiler (a CPU: g++) and, for CUDA, Triton; without them training is slower and otherwise the same.
    """
    both, gradient = torch.randn(4, 16, device=device), torch.randn(4, 8, device=device)
    known = (*swiglu_by_autograd(both, gradient), _normed(both, both, both[0]))
    cuda = device == "cuda"
    forward, backward = (_kernels().forward, _kernels().backward) if cuda else (_swiglu, _swiglu_backward)
    if not cuda:
        forward, backward = _compiled(forward, device), _compiled(backward, device)
    try:
        found = (forward(both), backward(gradient, both), _compiled(_normed, device)(both, both, both[0]))
    except Exception as error:  # what a missing compiler raises is named differently in each release
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[-1]}"
    same = all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, known, strict=True))
    return "" if same else "the kernels that were made compute something else"


def swiglu_by_autograd(both: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What swiglu and swiglu_backward should give. Works where gradients are switched off, too: inside a Function."""
    with torch.enable_grad():
        leaf = both.detach().clone().requires_grad_()
        gate, up = leaf.chunk(2, 1)
        product = F.silu(gate) * up
        (of_both,) = torch.autograd.grad(product, leaf, gradient)
    return product.detach(), of_both
