"""The passes over activations, as a CPU runs them; on CUDA they are compared with these lines when training begins."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from codeup.train import elementwise


def test_swiglu_and_its_gradient_are_autograds_where_gradients_are_off_too() -> None:
    torch.manual_seed(0)
    both, gradient = torch.randn(5, 12, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        product, of_both = elementwise.swiglu_by_autograd(both, gradient)
        torch.testing.assert_close(elementwise.swiglu(both), product)
        torch.testing.assert_close(elementwise.swiglu_backward(gradient.clone(), both), of_both)


def test_the_way_back_of_the_norm_is_autograds_and_adds_what_came_past_it() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    weight, gradient, beside = (torch.randn(size, dtype=torch.float64) for size in ((8,), (5, 8), (5, 8)))
    out, inverse = elementwise.norm(x, weight, 1e-5)
    (known,) = torch.autograd.grad(x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight, x, gradient)
    detached = x.detach()
    torch.testing.assert_close(elementwise.normed(detached, inverse.detach(), weight), out.detach())
    found = elementwise.norm_backward(gradient, detached, inverse.detach(), weight, None)
    torch.testing.assert_close(found, known)
    more = elementwise.norm_backward(gradient, detached, inverse.detach(), weight, beside)
    torch.testing.assert_close(more, known + beside)


def test_the_rotation_for_one_kernel_is_the_rotation_in_place_and_minus_the_angle_undoes_it() -> None:
    torch.manual_seed(0)
    x, angle = torch.randn(5, 2 * 6, dtype=torch.float64), torch.randn(5, 1, 3, dtype=torch.float64)
    turned = elementwise.rotate(x, angle.cos(), angle.sin())
    torch.testing.assert_close(elementwise._rotate_whole(x, angle.cos(), angle.sin()), turned)
    torch.testing.assert_close(elementwise.rotate(turned, angle.cos(), -angle.sin()), x)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton comes with PyTorch for CUDA")
def test_the_kernels_compile_for_a_gpu_that_need_not_be_here() -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from codeup.train import swiglu_kernels as kernels

    sizes = {"width": 48, "block": kernels.BLOCK}
    for kernel in (kernels._forward, kernels._backward):
        kinds = {name: "constexpr" if name in sizes else "*bf16" for name in kernel.arg_names}
        assert triton.compile(ASTSource(kernel, kinds, sizes), target=GPUTarget("cuda", 90, 32)).asm["cubin"]
