"""SwiGLU and its gradient as Triton kernels, for CUDA: `forward`, `backward`. Import it only where Triton is installed.

A program handles BLOCK columns of one row, so that no index is divided. torch.compile, which divides a 64-bit index
wherever the number of rows is not fixed, took 2.3 times as long on an H200 (docs/log.md). Triton reads the annotations
of a kernel as its own code, so pointers have none.

    both (T, 2 I) = [gate | up] -> silu(gate) * up (T, I)                          arXiv 2002.05202
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 2048


@triton.jit
def _forward(both, out, width: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    there = column < width
    gate = tl.load(both + row * 2 * width + column, there).to(tl.float32)
    up = tl.load(both + row * 2 * width + width + column, there).to(tl.float32)
    tl.store(out + row * width + column, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), there)


@triton.jit
def _backward(gradient, both, out, width: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    there = column < width
    gate = tl.load(both + row * 2 * width + column, there).to(tl.float32)
    up = tl.load(both + row * 2 * width + width + column, there).to(tl.float32)
    g = tl.load(gradient + row * width + column, there).to(tl.float32)
    share = tl.sigmoid(gate)
    of_gate, of_up = g * up * share * (1 + gate * (1 - share)), g * gate * share
    tl.store(out + row * 2 * width + column, of_gate.to(out.dtype.element_ty), there)
    tl.store(out + row * 2 * width + width + column, of_up.to(out.dtype.element_ty), there)


def forward(both: torch.Tensor) -> torch.Tensor:
    """(T, 2 I) -> (T, I). Rows must lie one after the other."""
    width = both.shape[1] // 2
    assert both.is_contiguous()
    out = both.new_empty(both.shape[0], width)
    _forward[both.shape[0], triton.cdiv(width, BLOCK)](both, out, width, BLOCK)
    return out


def backward(gradient: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
    """(T, I), (T, 2 I) -> the gradient of both, (T, 2 I)."""
    width = both.shape[1] // 2
    assert both.is_contiguous() and gradient.is_contiguous()
    out = torch.empty_like(both)
    _backward[both.shape[0], triton.cdiv(width, BLOCK)](gradient, both, out, width, BLOCK)
    return out
