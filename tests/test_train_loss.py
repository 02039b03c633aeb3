"""Batches, isolation of packed documents, the loss and the LoRA layer, each against an independent oracle."""

from __future__ import annotations

import copy
import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from train_models import random_documents, tiny_llama
from transformers import GraniteConfig, GraniteForCausalLM, MistralConfig, MistralForCausalLM

from codeup.errors import UserError, WorkFailed
from codeup.train import attention, job, lora, loss, trained_head
from codeup.train.batch import Batch, collate
from codeup.train.decoder import Product, lean_forward
from codeup.train.loop import Run, accumulate
from codeup.train.loss import library_forward
from codeup.train.plan import make_plan
from codeup.train.tokens import write_tokens
from codeup.types import Tokens

Arrays = tuple[np.ndarray, np.ndarray]


def arrays(documents: list[Tokens]) -> list[Arrays]:
    return [(np.array(d.ids, np.int32), np.array(d.trained, np.uint8)) for d in documents]


def with_random_b(model: PeftModel, seed: int = 1) -> PeftModel:
    """B starts at zero, which would hide half of every LoRA bug."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return model


def test_a_batch_by_hand() -> None:
    batch = collate(arrays([Tokens((7, 4, 9, 2), (False, False, True, True)), Tokens((7, 5, 2), (True, True, True))]))
    assert batch.ids.tolist() == [[7, 4, 9, 2, 7, 5, 2]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2]]
    assert batch.lengths == (4, 3)
    assert batch.predicts.tolist() == [1, 2, 4, 5]
    assert batch.targets.tolist() == [9, 2, 5, 2]


def test_packed_documents_have_the_logits_of_single_ones() -> None:
    model = tiny_llama()
    attention.use_segment_attention(model)
    assert attention.self_test(model, library_forward(model), arrays(random_documents(3)), reference="eager") < 1e-5


def test_the_self_test_fails_when_documents_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_document(lengths: tuple[int, ...], device: torch.device) -> attention.Segments:
        return attention.Segments((sum(lengths),))

    model = tiny_llama()
    attention.use_segment_attention(model)
    monkeypatch.setattr(attention.Segments, "of", one_document)
    with pytest.raises(WorkFailed, match="does not keep documents apart"):
        attention.self_test(model, library_forward(model), arrays(random_documents(3)), reference="sdpa")


def test_the_self_test_fails_when_positions_do_not_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    def running(documents: list[Arrays]) -> Batch:
        good = collate(documents)
        return Batch(good.ids, torch.arange(good.tokens)[None] * 7, good.lengths, good.predicts, good.targets)

    model = tiny_llama()
    attention.use_segment_attention(model)
    monkeypatch.setattr(attention, "collate", running)
    with pytest.raises(WorkFailed, match="packing self-test"):
        attention.self_test(model, library_forward(model), arrays(random_documents(3)), reference="sdpa")


def test_a_model_with_scaled_logits_is_refused_for_what_it_is() -> None:
    torch.manual_seed(0)
    settings = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = GraniteConfig(**settings, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.5)
    for scaling, refused in ((1.0, False), (8.0, True)):
        config.logits_scaling = scaling
        model = GraniteForCausalLM(config).eval()
        attention.use_segment_attention(model)
        documents = arrays(random_documents(3))
        if refused:
            with pytest.raises(WorkFailed, match="otherwise than by its last hidden states and its head"):
                attention.self_test(model, library_forward(model), documents, reference="sdpa")
        else:
            attention.self_test(model, library_forward(model), documents, reference="sdpa")


def test_the_self_test_looks_beyond_a_sliding_window_where_documents_do(tmp_path: Path) -> None:
    written = write_tokens(tmp_path / "tokens", random_documents(4, shortest=550, longest=560))
    plan = make_plan(written, capacity=600, tokens_per_batch=600, epochs=1, seed=0)
    longest = int(written.lengths.max())
    lengths = [len(ids) for ids, _ in job.test_documents(written, plan, 530)]
    assert lengths == [512, 512, 512, longest]
    assert [len(ids) for ids, _ in job.test_documents(written, plan, 600)] == [512] * 3  # no document is longer
    assert [len(ids) for ids, _ in job.test_documents(written, plan, None)] == [512] * 3


def test_a_sliding_window_is_kept_inside_each_document() -> None:
    torch.manual_seed(0)
    settings = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = MistralConfig(
        **settings, num_attention_heads=4, num_key_value_heads=2, sliding_window=5, initializer_range=0.2
    )
    model = MistralForCausalLM(config).eval()
    attention.use_segment_attention(model)
    documents = arrays(random_documents(3, shortest=15))
    assert attention.self_test(model, library_forward(model), documents, reference="eager") < 1e-5


def test_soft_capped_attention_is_refused() -> None:
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(UserError, match="softcap"):
        attention.segment_attention(torch.nn.Identity(), q, q, q, None, segments=attention.Segments((2,)), softcap=30.0)


def test_loss_and_gradients_equal_those_of_transformers() -> None:
    base = tiny_llama()
    torch.manual_seed(0)  # the A matrices of `attach` come from this seed
    plain = with_random_b(get_peft_model(copy.deepcopy(base), lora_config()))
    document = random_documents(1, shortest=20)[0]
    ids = torch.tensor([document.ids])
    labels = torch.where(torch.tensor([document.trained]), ids, -100)
    expected = plain(input_ids=ids, labels=labels, use_cache=False).loss
    expected.backward()

    ours = with_random_b(lora.attach(base, r=4, alpha=8))
    attention.use_segment_attention(base)
    batch = collate(arrays([document]))
    forward = lean_forward(base) or library_forward(base)
    value = loss.loss_sum(base, forward, batch, attention.segments_of(batch)) / len(batch.targets)
    value.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-5)


def test_a_micro_batch_leaves_none_of_its_masks_to_the_next_one(tmp_path: Path) -> None:
    """They would be half of what a layer with dropout keeps: 3 GiB for 4,096 tokens of an 8B model."""
    run = make_run(tmp_path, 60)
    left = []

    def held() -> int:
        return sum(isinstance(each, Product) for each in gc.get_objects())

    def forward(batch: Batch, segments: attention.Segments) -> torch.Tensor:
        left.append(held() - before)
        return inner(batch, segments)

    inner, run.forward = run.forward, forward
    gc.collect()
    before = held()  # what other tests of this process still hold
    accumulate(run, run.reader(0), 100)
    assert left == [0] * len(left) and len(left) > 2


def test_the_loss_does_not_depend_on_the_chunks_of_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(23, 8, requires_grad=True), torch.randn(61, 8)
    targets = torch.randint(61, (23,))
    reference = torch.nn.functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
    (wanted,) = torch.autograd.grad(reference, hidden)
    monkeypatch.setattr(trained_head, "CHUNK_LOGITS", 61 * 5)
    value = loss._FrozenHeadLoss.apply(hidden, weight, None, targets)
    (gradient,) = torch.autograd.grad(value * 3, hidden)
    torch.testing.assert_close(value, reference)
    torch.testing.assert_close(gradient, wanted * 3)


def make_run(folder: Path, micro_batch_tokens: int) -> Run:
    store = write_tokens(folder / "tokens", random_documents(24))
    plan = make_plan(store, capacity=32, tokens_per_batch=4096, epochs=1, seed=0)
    base = tiny_llama()
    adapter = with_random_b(lora.attach(base, r=4, alpha=8))
    attention.use_segment_attention(base)
    return Run(base, adapter, store, plan, folder, 1e-3, 0.0, "cosine", 0.0, 0.0, micro_batch_tokens, 0)


@pytest.mark.parametrize(("micro", "reverse"), [(32, False), (70, True), (4096, True)])
def test_loss_and_gradient_do_not_depend_on_micro_batches_or_pack_order(
    tmp_path: Path, micro: int, reverse: bool
) -> None:
    results = []
    for size, turned in ((4096, False), (micro, reverse)):
        run = make_run(tmp_path, size)
        packs = run.reader(0)
        total = accumulate(run, packs[::-1] if turned else packs, run.reader.targets(packs))
        results.append((total, [p.grad for p in run.parameters]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-6, atol=0)
    for left, right in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def lora_config(**changes: object) -> LoraConfig:
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | changes
    return LoraConfig(**settings)


@pytest.mark.parametrize("rslora", [False, True])
def test_the_lean_layer_equals_that_of_peft(rslora: bool) -> None:
    theirs = with_random_b(get_peft_model(tiny_llama(), lora_config(use_rslora=rslora)))
    ours = with_random_b(lora.attach(tiny_llama(), r=4, alpha=8, use_rslora=rslora))
    path = "base_model.model.model.layers.0.mlp.down_proj"
    layer, oracle = ours.get_submodule(path), theirs.get_submodule(path)
    for name in ("lora_A.default.weight", "lora_B.default.weight"):
        layer.get_parameter(name).data.copy_(oracle.get_parameter(name).data)
    torch.manual_seed(5)
    x, upstream = torch.randn(1, 7, 48), torch.randn(1, 7, 32)
    results = []
    for module in (layer, oracle):
        entry = x.clone().requires_grad_()
        y = module(entry)
        y.backward(upstream)
        grads = [module.get_parameter(f"lora_{half}.default.weight").grad for half in "AB"]
        results.append((y, entry.grad, *grads))
    assert results[0][0].grad_fn.name() == "_MergedProductBackward"
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_with_dropout_training_takes_the_layer_of_peft_and_evaluation_the_lean_one() -> None:
    layer = lora.attach(tiny_llama(), r=4, alpha=8, dropout=0.5).get_submodule(
        "base_model.model.model.layers.0.mlp.down_proj"
    )
    x = torch.randn(1, 7, 48)
    assert layer.train()._lean(x) is False
    assert layer.eval()._lean(x) is True


def test_all_linear_includes_gate_proj_and_leaves_the_head_out() -> None:
    adapter = lora.attach(tiny_llama(), r=2, alpha=4)
    trained = {name.split(".")[-4] for name, p in adapter.named_parameters() if p.requires_grad}
    assert trained == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_an_unknown_target_lists_the_layers_there_are() -> None:
    with pytest.raises(UserError, match=r"'query'(.|\n)*all-linear, down_proj, gate_proj, k_proj"):
        lora.attach(tiny_llama(), r=2, alpha=4, targets=["q_proj", "query"])


def test_a_saved_adapter_loads_in_peft_with_the_same_logits(tmp_path: Path) -> None:
    ours = with_random_b(lora.attach(tiny_llama(), r=4, alpha=8, targets=["q_proj", "gate_proj"])).eval()
    lora.save_adapter(ours, tmp_path, facts={"base": "somewhere"})
    theirs = PeftModel.from_pretrained(tiny_llama(), tmp_path).eval()
    ids = torch.randint(61, (1, 20))
    torch.testing.assert_close(theirs(input_ids=ids).logits, ours(input_ids=ids).logits, rtol=1e-4, atol=1e-5)
