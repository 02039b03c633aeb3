"""K-quants: which tensor gets how many bits, that they hold its values, and that llama.cpp reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader
from gguf.quants import dequantize
from test_gguf import SIZES, checked, save
from transformers import LlamaConfig, LlamaForCausalLM

from codeup.errors import UserError
from codeup.export.gguf_kquants import encode, kind_of, quantiser
from codeup.export.gguf_model import write_model
from codeup.nano import base_folder

pytest.importorskip("xllamacpp")
ROW = (4, 512)


def kind(name: str, shape: tuple[int, ...] = ROW, *, tied: bool = False, layers: int = 16, one: bool = False) -> str:
    return kind_of(name, shape, tied=tied, layers=layers, one_group=one).name


def test_the_head_and_half_of_the_values_and_of_the_down_projections_have_six_bits() -> None:
    """Counted by hand from llama.cpp's rule for 16 layers: the first and last two, and every third between."""
    for part in ("attn_v", "ffn_down"):
        fine = [layer for layer in range(16) if kind(f"blk.{layer}.{part}.weight") == "Q6_K"]
        assert fine == [0, 1, 4, 7, 10, 13, 14, 15]
    for part in ("attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"):
        assert {kind(f"blk.{layer}.{part}.weight") for layer in range(16)} == {"Q4_K"}
    assert (kind("output.weight"), kind("token_embd.weight")) == ("Q6_K", "Q4_K")
    assert kind("token_embd.weight", tied=True) == "Q6_K"
    assert kind("blk.10.attn_v.weight", layers=80) == kind("blk.11.attn_v.weight", layers=80) == "Q5_K"
    assert kind("blk.10.attn_v.weight", layers=80, one=True) == "Q4_K"


def test_rows_that_make_no_blocks_of_256_have_blocks_of_32_or_none() -> None:
    assert [kind(name, (4, 288)) for name in ("blk.5.ffn_up.weight", "output.weight")] == ["Q5_0", "Q8_0"]
    assert [kind(name, (4, 100)) for name in ("blk.5.ffn_up.weight", "output.weight")] == ["F16", "F16"]


@pytest.mark.parametrize(
    ("name", "bytes_a_row", "most"), [("Q4_K", 288, 0.09), ("Q5_K", 352, 0.045), ("Q6_K", 420, 0.025)]
)
def test_the_bytes_hold_the_values(name: str, bytes_a_row: int, most: float) -> None:
    """32 normal numbers span about four deviations: a step of 4 bits is 4/15 of one, its error 0.27 / √12 = 0.08."""
    values = np.random.default_rng(0).normal(size=(7, 512)).astype(np.float32)
    made = encode(values, Kind[name])
    assert made.shape == (7, bytes_a_row)
    assert np.array_equal(made, np.concatenate([encode(row[None], Kind[name]) for row in values])), (
        "whatever the threads"
    )
    error = float(np.sqrt(np.mean((dequantize(made, Kind[name]) - values) ** 2)))
    assert most / 3 < error < most


def test_llama_cpp_reads_a_file_whose_matrices_are_all_k_quants(tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide = {**SIZES, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3}
    folder = save(LlamaForCausalLM(LlamaConfig(**wide)), tmp_path / "model")
    check = checked(folder, tmp_path / "m.gguf", "q4_k_m")
    assert check.differences == [] and check.tokens_equal / check.tokens_compared > 0.05, "by chance: 1 of 2,048"
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert (kinds["blk.2.ffn_down.weight"], kinds["blk.1.ffn_down.weight"]) == ("Q6_K", "Q4_K")
    assert kinds["output_norm.weight"] == "F32"


def test_without_xllamacpp_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    quantiser.cache_clear()
    with pytest.raises(UserError, match=r"(?s)in the package xllamacpp.*--quant q4_0"):
        write_model(base_folder(), tmp_path / "m.gguf", quant="q4_k_m")
    quantiser.cache_clear()
