"""The written-out decoder layer against the library's, in value, gradient and memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from train_models import random_documents
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from codeup.train import attention, lora
from codeup.train.batch import Batch, collate
from codeup.train.decoder import Group, Product, lean_forward
from codeup.train.loss import library_forward, loss_sum
from codeup.train.neftune import with_noise

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
MODELS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama with biases": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
}


def make(name: str, dtype: torch.dtype = torch.float32, **settings: Any) -> tuple[Any, Any]:
    """A base with random biases too, and its adapter, whose B is not zero."""
    torch.manual_seed(0)
    base = MODELS[name]().to(dtype).requires_grad_(False)
    for key, parameter in base.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_()
    attention.use_segment_attention(base)
    adapter = lora.attach(base, r=4, alpha=8, **settings)
    for key, parameter in adapter.named_parameters():
        if "lora_B" in key:
            parameter.data.normal_(0, 0.1)
    return base, adapter.train()


def batch_of(count: int = 4) -> Batch:
    return collate([(np.array(d.ids, np.int32), np.array(d.trained, np.uint8)) for d in random_documents(count)])


def loss_and_gradients(base: Any, adapter: Any, forward: Any) -> list[torch.Tensor]:
    batch = batch_of()
    loss = loss_sum(base, forward, batch, attention.segments_of(batch)) / len(batch.targets)
    loss.backward()
    found = [p.grad for p in adapter.parameters() if p.requires_grad]
    adapter.zero_grad()
    return [loss.detach(), *found]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("targets", ["all-linear", ["k_proj", "up_proj"], ["o_proj", "down_proj"]])
def test_loss_and_gradients_are_those_of_the_librarys_layers(name: str, targets: Any) -> None:
    base, adapter = make(name, targets=targets)
    wanted = loss_and_gradients(base, adapter, library_forward(base))
    lean = lean_forward(base)
    assert lean is not None
    for got, expected in zip(loss_and_gradients(base, adapter, lean), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "llama, tied"])
def test_trained_token_rows_and_noise_on_them_have_the_librarys_loss_and_gradients(
    name: str, dtype: torch.dtype
) -> None:
    """The same seed draws the same noise; rows 3, 7 and 60 of the embedding, and of an untied head, are trained."""
    found, exact = [], dtype == torch.float32
    for make_forward in (library_forward, lean_forward):
        base, adapter = make(name, dtype, token_ids=[3, 7, 60])
        trained = [key for key, p in adapter.named_parameters() if p.requires_grad and "trainable_tokens" in key]
        assert len(trained) == (1 if "tied" in name else 2)
        layers = make_forward(base)
        assert layers is not None
        forward = with_noise(base, layers, 40.0)
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            found.append(loss_and_gradients(base, adapter, forward))
            adapter.eval()
            quiet = loss_and_gradients(base, adapter, forward)[0]
        assert abs(float(found[-1][0] - quiet)) > 0.05, "noise in training, none in evaluation"
    for got, wanted in zip(found[1], found[0], strict=True):
        if exact:
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
        else:
            assert float((got - wanted).norm()) < 0.1 * float(wanted.norm())


def test_in_bfloat16_it_is_as_near_to_the_exact_gradient_as_the_library() -> None:
    """The exact one: the same weights in fp64. bf16 has 8 bits, so both are off by percents; ours by no more."""
    base, adapter = make("llama", torch.bfloat16)
    exact_base, exact = copy.deepcopy((base, adapter))
    exact.double()
    wanted = loss_and_gradients(exact_base, exact, library_forward(exact_base))

    def distance(forward: Any) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            got = loss_and_gradients(base, adapter, forward)
        gaps = [float((g.double() - w).norm() / w.norm()) for g, w in zip(got[1:], wanted[1:], strict=True)]
        return sum(gaps) / len(gaps)

    library, lean = distance(library_forward(base)), distance(lean_forward(base))
    assert lean < 1.2 * library < 0.2


def test_in_bfloat16_a_step_of_the_optimiser_is_seen_by_the_next_batch() -> None:
    """16-bit copies of the adapter are kept between batches: they must follow it."""
    base, adapter = make("llama", torch.bfloat16)
    forward = lean_forward(base)
    before = loss_and_gradients(base, adapter, forward)
    for key, parameter in adapter.named_parameters():
        if "lora_" in key:
            parameter.data.mul_(1.5)
    after = loss_and_gradients(base, adapter, forward)
    fresh = loss_and_gradients(base, adapter, lean_forward(base))
    assert float(before[0]) != float(after[0])
    torch.testing.assert_close(after, fresh, rtol=0, atol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("low", [True, False])
def test_the_gradient_of_a_product_is_that_of_its_differences(dropout: float, low: bool) -> None:
    """fp64 finite differences, the dropout's mask drawn again alike in every call. `low`: as in 16 bits."""
    base, _ = make("llama", torch.float64, dropout=dropout)
    mlp = base.model.layers[0].mlp
    group = Group([mlp.gate_proj, mlp.up_proj])

    class Alone(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(3)
            ctx.product = Product(group, list(parameters))
            ctx.save_for_backward(x)
            return ctx.product.forward(x, dropout or (1e-12 if low else 0.0))

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            found = ctx.product.backward(gradient, *ctx.saved_tensors)
            return found[0], *(g.double() for g in found[1])

    inputs = [torch.randn(5, 32, dtype=torch.float64, requires_grad=True)]
    inputs += [p.detach().double().requires_grad_() for p in group.parameters()]
    assert torch.autograd.gradcheck(Alone.apply, inputs, atol=1e-5)


def test_dropout_leaves_the_expected_value_alone_and_is_off_in_evaluation() -> None:
    base, adapter = make("llama", dropout=0.5)
    lean, batch = lean_forward(base), batch_of()
    segments = attention.segments_of(batch)
    assert lean is not None
    with torch.no_grad():
        noisy = [lean(batch, segments) for _ in range(2)]
        adapter.eval()
        quiet = [lean(batch, segments) for _ in range(2)]
    assert not torch.equal(*noisy)
    torch.testing.assert_close(quiet[0], quiet[1], rtol=0, atol=0)
    torch.testing.assert_close(quiet[0], library_forward(base)(batch, segments), rtol=1e-4, atol=1e-5)
    group = Group([base.model.layers[0].self_attn.o_proj])
    x = torch.randn(1, 32).expand(20000, 32).contiguous()
    torch.manual_seed(0)
    with torch.no_grad():
        mean = Product(group, group.parameters()).forward(x, 0.5).mean(0)
        torch.testing.assert_close(mean, Product(group, group.parameters()).forward(x[:1], 0.0)[0], rtol=0, atol=0.05)


def test_recomputed_layers_have_the_same_gradients_with_dropout() -> None:
    base, adapter = make("llama", dropout=0.3)
    lean = lean_forward(base)
    found = []
    for recompute in (False, True):
        if recompute:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        torch.manual_seed(7)
        found.append(loss_and_gradients(base, adapter, lean))
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed, rtol=0, atol=0)


def test_with_the_adapter_disabled_it_is_the_base() -> None:
    base, adapter = make("llama")
    torch.manual_seed(0)
    plain = MODELS["llama"]().requires_grad_(False)
    attention.use_segment_attention(plain)
    batch = batch_of()
    lean = lean_forward(base)
    assert lean is not None
    with torch.no_grad(), adapter.disable_adapter():
        got = lean(batch, attention.segments_of(batch))
    torch.testing.assert_close(got, library_forward(plain)(batch, attention.segments_of(batch)), rtol=1e-4, atol=1e-5)


def test_other_shapes_are_left_to_the_library() -> None:
    torch.manual_seed(0)
    windowed = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)).requires_grad_(False)
    assert lean_forward(windowed) is None
    full = MODELS["llama"]()
    assert full.model.layers[0].mlp.up_proj.weight.requires_grad
    assert lean_forward(full) is None
    assert lean_forward(make("llama", use_dora=True)[0]) is None
    norms, _ = make("llama")
    norms.model.layers[2].input_layernorm.weight.requires_grad_(True)
    assert lean_forward(norms) is None


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {"init": "pissa"}, {"rank_pattern": {"v_proj": 2}}])
def test_other_ranks_scales_and_beginnings_are_of_this_shape(settings: dict[str, Any]) -> None:
    base, adapter = make("llama", **settings)
    wanted = loss_and_gradients(base, adapter, library_forward(base))
    for got, expected in zip(loss_and_gradients(base, adapter, lean_forward(base)), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_it_keeps_less_than_the_librarys_layers() -> None:
    """Bytes that autograd holds between the passes, counted through its own hooks, each storage once."""
    base, _ = make("llama")
    batch = batch_of(20)
    segments = attention.segments_of(batch)

    def kept(forward: Any) -> int:
        storages: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            result = forward(batch, segments)
        assert result.requires_grad
        return sum(storages.values())

    assert kept(lean_forward(base)) < 0.7 * kept(library_forward(base))
