"""Adapters over a base held in 4 or 8 bits by bitsandbytes, on a CPU: trained, saved, merged into the exact weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from peft.utils.integrations import dequantize_module_weight
from train_models import random_documents, save_tiny_llama, tiny_llama
from transformers import AutoModelForCausalLM

from codeup.errors import WorkFailed
from codeup.nano import base_folder
from codeup.train import attention, lora
from codeup.train.base import load_base
from codeup.train.decoder import lean_forward
from codeup.train.loss import library_forward
from codeup.train.merge import merge_adapter
from codeup.train.metrics import read_metrics
from codeup.train.products import MergedLinear
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Event

bnb = pytest.importorskip("bitsandbytes")

WIDE: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.1}
"""4-bit blocks hold 64 numbers."""
BYTES_PER_WEIGHT = {"nf4": 0.5, "int8": 1.0}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("quantised")
    write_tokens(folder / "tokens", random_documents(30))
    save_tiny_llama(folder / "model", dtype=torch.bfloat16, **WIDE)
    return {"model": folder / "model", "tokens": folder / "tokens", "validation": None}


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_the_linear_layers_are_held_in_few_bits_and_adapted_by_peft(quantization: str, inputs: dict[str, Any]) -> None:
    base = load_base(inputs["model"], dtype="float32", device=torch.device("cpu"), quantization=quantization)
    layer = base.model.layers[0].mlp.down_proj
    assert layer.weight.untyped_storage().nbytes() == 64 * 128 * BYTES_PER_WEIGHT[quantization]
    assert base.lm_head.weight.dtype == base.model.embed_tokens.weight.dtype == torch.float32
    adapted = lora.attach(base, r=4, alpha=8)
    assert not any(isinstance(module, MergedLinear) for module in adapted.modules())
    assert sum("lora_A" in name for name, _ in adapted.named_parameters()) == 14
    assert lean_forward(base) is None


@pytest.mark.parametrize(
    ("quantization", "settings"), [("nf4", {}), ("nf4", {"use_dora": True, "token_ids": [3, 7]}), ("int8", {})]
)
def test_an_adapter_over_a_quantised_base_learns_and_merges_into_the_exact_weights(
    quantization: str, settings: dict[str, Any], inputs: dict[str, Any], tmp_path: Path
) -> None:
    summary = train_sft(
        **inputs,
        out=tmp_path / "out",
        lora={"r": 4, "alpha": 8, **settings},
        quantization=quantization,
        tokens_per_batch=128,
        pack_length=64,
        learning_rate=1e-2,
        epochs=4,
    )
    rows = [row["loss"] for row in read_metrics(tmp_path / "out" / "metrics.jsonl")]
    assert summary["train_loss"] < rows[0]

    notes: list[Event] = []
    adapter = tmp_path / "out" / "adapter"
    facts = merge_adapter(model=inputs["model"], adapter=adapter, out=tmp_path / "merged", emit=notes.append)
    assert facts["trained_on"] == quantization and facts["base_verified"] is True
    assert facts["quantised_logit_difference"] > 2 * facts["logit_difference"] > 0
    note = next(event.text for event in notes if event.kind == "note")
    assert f"base held in {quantization}" in note and f"{facts['quantised_logit_difference']:.3g}" in note
    ids = torch.randint(61, (1, 20))
    exact = PeftModel.from_pretrained(tiny_llama(**WIDE).bfloat16().float(), adapter).merge_and_unload()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(merged(ids).logits, exact(ids).logits, rtol=0.02, atol=0.05)


@pytest.mark.parametrize(
    ("quantization", "dora", "allowed"), [("nf4", False, 1e-4), ("nf4", True, 1e-4), ("int8", False, 0.1)]
)
def test_after_a_pass_without_gradients_they_are_still_those_over_the_dequantised_weights(
    quantization: str, dora: bool, allowed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-test and every evaluation are such passes. On a processor with AVX-512 BF16 bitsandbytes reorders 4-bit
    weights in them, and no gradient goes through the reordered ones. int8 rounds activations too, exact ones do not."""
    monkeypatch.setattr(bnb.nn.modules, "has_avx512bf16", lambda: True)
    few_bits = load_base(base_folder(), dtype="float32", device=torch.device("cpu"), quantization=quantization)
    exact = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.float32)
    for layer, plain in zip(few_bits.modules(), exact.modules(), strict=True):
        if isinstance(layer, bnb.nn.Linear4bit | bnb.nn.Linear8bitLt):
            plain.weight.data = dequantize_module_weight(layer).float().clone()
    ids = torch.randint(2048, (1, 40), generator=torch.Generator().manual_seed(0))
    found = []
    for model in (few_bits, exact):
        adapted = lora.attach(model, r=4, alpha=8, use_dora=dora)
        noise = torch.Generator().manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05, generator=noise)
        with torch.no_grad():
            adapted.eval()(input_ids=ids)
        adapted.train()(input_ids=ids, labels=ids).loss.backward()
        found.append({name: p.grad for name, p in adapted.named_parameters() if p.grad is not None})
    assert len(found[0]) == len(found[1]) == (126 if dora else 84)
    for name, gradient in found[1].items():
        assert float((found[0][name] - gradient).norm()) < allowed * float(gradient.norm()), name


def test_packing_is_checked_on_an_8_bit_base_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded activations move its logits more than exact arithmetic would; documents that see each other, further."""

    def one_document(lengths: tuple[int, ...], device: torch.device) -> attention.Segments:
        return attention.Segments((sum(lengths),))

    base = load_base(base_folder(), dtype="float32", device=torch.device("cpu"), quantization="int8")
    attention.use_segment_attention(base)
    documents = [(np.array(d.ids, np.int32), np.array(d.trained, np.uint8)) for d in random_documents(3, shortest=25)]
    assert attention.self_test(base, library_forward(base), documents, reference="sdpa") > 1e-3
    monkeypatch.setattr(attention.Segments, "of", one_document)
    with pytest.raises(WorkFailed, match="does not keep documents apart"):
        attention.self_test(base, library_forward(base), documents, reference="sdpa")
