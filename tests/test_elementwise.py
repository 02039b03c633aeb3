"""The passes over activations, as a CPU runs them; on CUDA they are compared with these lines when training begins."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from train_models import random_documents, save_tiny_llama

from codeup import recipe as recipes
from codeup.errors import UserError
from codeup.study import running_settings
from codeup.train import elementwise
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Emit, ignore_event


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


def a_training(
    folder: Path, compile: elementwise.Wish, *, out: str = "", dora: bool = False, emit: Emit = ignore_event
) -> list[dict[str, Any]]:
    """The rows of two epochs, in fp32."""
    if not (folder / "tokens").exists():
        save_tiny_llama(folder / "model")
        write_tokens(folder / "tokens", random_documents(40))
    place = folder / (out or f"out-{compile}")
    train_sft(
        model=folder / "model", tokens=folder / "tokens", validation=None, out=place, epochs=2, emit=emit,
        lora={"r": 4, "alpha": 8, "use_dora": dora}, tokens_per_batch=256, pack_length=64, device="cpu",
        dtype="float32", compile=compile,
    )  # fmt: skip
    return [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing can be compiled for a CPU without g++")
def test_compiled_on_a_cpu_the_losses_are_the_same_and_kernels_were_made(tmp_path: Path) -> None:
    graphs = torch._dynamo.utils.counters["stats"]
    lines, before = a_training(tmp_path, False), graphs["unique_graphs"]
    compiled = a_training(tmp_path, True)
    assert graphs["unique_graphs"] > before
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in compiled] == pytest.approx([row[key] for row in lines], rel=1e-5)


@pytest.mark.parametrize("compile", [False, "auto"])
def test_a_cpu_compiles_nothing_unless_it_is_asked_to(
    compile: elementwise.Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.compile was called")

    monkeypatch.setattr(torch, "compile", refuse)
    assert a_training(tmp_path, compile)


def test_what_was_asked_for_ends_with_the_training(tmp_path: Path) -> None:
    with elementwise.compiling(True):
        assert elementwise.wanted("cpu")
        with elementwise.compiling(False):
            assert not elementwise.wanted("cuda") and not elementwise.wanted("cpu")
    assert elementwise.wanted("cuda") and not elementwise.wanted("cpu")


def test_compiling_where_nothing_can_be_compiled_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "why_not_fused", lambda device: f"no compiler for {device}")
    with pytest.raises(UserError, match=r"no compiler for cpu(.|\n)*compile: auto"):
        a_training(tmp_path, True)


def test_a_stage_whose_layers_are_the_librarys_is_told_that_nothing_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elementwise, "why_not_fused", lambda device: "")
    monkeypatch.setattr(elementwise, "_compiled", lambda function, device: function)
    said: list[str] = []
    for name, dora in (("lean", False), ("dora", True)):
        a_training(tmp_path, True, out=name, dora=dora, emit=lambda event: said.append(event.text or ""))
        assert any("compile: true changes nothing" in text for text in said) is dora


def test_a_compiled_training_is_another_one(tmp_path: Path) -> None:
    """Its last digits differ, so it does not go on from the checkpoints of one that is not compiled."""
    assert "compile" not in running_settings(recipes.Stage(name="a", data="d", compile=True))
    a_training(tmp_path, False)
    plain = json.loads((tmp_path / "out-False" / "adapter" / "codeup_adapter.json").read_text())
    assert plain["compiled"] is False
