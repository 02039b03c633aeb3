"""A model folder as one GGUF file, for llama.cpp and what is built on it: CPU, laptop, no Python.

    model.safetensors, config.json, tokenizer.json, chat_template.jinja   ->   model-q8_0.gguf

Weights pass through one tensor at a time, so that a model of any size takes little memory. Llama's query and key rows
change places: transformers rotates halves of a head (i, i + d/2), llama.cpp pairs of neighbours (2i, 2i + 1). Norms,
biases and rows whose length is no multiple of 32 stay float32 or half precision, as llama.cpp wants them.
Architectures: Llama, Mistral, Qwen2, Qwen3. The end token written is the one the template ends answers with, because a
GGUF file has room for one. Not covered: mixtures of experts, SentencePiece tokenizers, importance matrices.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

from codeup.errors import UserError
from codeup.export import gguf_kquants
from codeup.export.gguf_quants import check
from codeup.export.gguf_tokens import read_vocabulary
from codeup.export.weights import files_of, opened

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""config.json's model_type -> GGUF's general.architecture."""
WRITTEN = {"f32": "F32", "bf16": "BF16", "f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
"""The kind of most matrices; q4_k_m has several (gguf_kquants.py)."""
FILE_TYPES = {
    "f32": "ALL_F32",
    "bf16": "MOSTLY_BF16",
    "f16": "MOSTLY_F16",
    "q8_0": "MOSTLY_Q8_0",
    "q4_0": "MOSTLY_Q4_0",
    "q4_k_m": "MOSTLY_Q4_K_M",
}
BLOCK = 32
"""Weights per block of q8_0 and q4_0."""

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor on its way: its name there and here, its shape, and what is done with its values."""

    source: str
    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    change: Callable[[torch.Tensor], torch.Tensor]


def write_model(
    folder: Path, out: Path, *, quant: str = "f16", end_id: int | None = None, name: str = ""
) -> dict[str, Any]:
    """Write `out` and return what is in it: architecture, parameters, bytes, tensors by type, split rule, end token.

    `end_id` is the token that ends an answer (default: the tokenizer's). The file appears whole or not at all.
    Raises UserError for a model or tokenizer of another kind, and for q4_k_m without xllamacpp.
    """
    check(quant, out)
    config = read_config(folder)
    partial = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        account = _write(folder, partial, config, quant, end_id, name or out.stem)
        partial.replace(out)
    except OSError as error:
        raise UserError(
            f"cannot write ({error.strerror or error})", where=str(out), mend="free disk space or name another file"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return {**account, "quant": quant, "bytes": out.stat().st_size, "file": str(out)}


def read_config(folder: Path) -> PreTrainedConfig:
    """config.json, if it is of an architecture that is known here."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        first = str(error).strip().split("\n")[0]
        where = str(folder / "config.json")
        raise UserError(f"not a model that can be read ({first})", where=where, mend="give a model folder") from None
    if config.model_type not in ARCHITECTURES:
        raise UserError(
            f"a {config.model_type} cannot be exported to GGUF here", where=str(folder / "config.json"),
            mend=f"these can: {', '.join(ARCHITECTURES)}",
        )  # fmt: skip
    if config.model_type.startswith("qwen") and getattr(config, "use_sliding_window", False):
        raise UserError(
            "llama.cpp has no sliding window for Qwen", where=str(folder / "config.json"),
            mend="set use_sliding_window to false, if texts stay shorter than the window",
        )  # fmt: skip
    return config


def _write(
    folder: Path, path: Path, config: PreTrainedConfig, quant: str, end_id: int | None, name: str
) -> dict[str, Any]:
    import gguf

    writer = gguf.GGUFWriter(path, ARCHITECTURES[config.model_type])
    with opened(files_of(folder)) as files:
        tensors = list(plan(files, config, quant))
        _metadata(writer, config, quant, name, folder)
        pre, end = _tokenizer(writer, folder, tensors, end_id)
        freqs = rope_factors(config)
        for tensor in tensors:
            _announce(writer, tensor)
        if freqs is not None:
            writer.add_tensor_info("rope_freqs.weight", freqs.shape, freqs.dtype, freqs.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            values = tensor.change(files[tensor.source].get_tensor(tensor.source).float())
            writer.write_tensor_data(encode(values.contiguous().numpy(), tensor.kind, tensor.name))
        if freqs is not None:
            writer.write_tensor_data(freqs)
        writer.close()
    return {
        "architecture": ARCHITECTURES[config.model_type],
        "parameters": sum(math.prod(tensor.shape) for tensor in tensors),
        "tensors": dict(Counter(tensor.kind.name for tensor in tensors)),
        "pre_tokenizer": pre,
        "end_id": end,
    }


def plan(files: Mapping[str, Any], config: PreTrainedConfig, quant: str) -> Iterator[Tensor]:
    """Every tensor of the folder in the order of its files; one without a name in GGUF is an error, never left out."""
    tied = config.tie_word_embeddings
    for source, weights in files.items():
        if source.endswith("rotary_emb.inv_freq") or (tied and source == "lm_head.weight"):
            continue
        name = gguf_name(source)
        shape = tuple(weights.get_slice(source).get_shape())
        yield Tensor(source, name, shape, _kind(name, shape, quant, config), rotation(name, config))


def gguf_name(source: str) -> str:
    """The name of a weight in GGUF. Raises UserError for one that has none.

    >>> gguf_name("model.layers.7.self_attn.q_proj.weight"), gguf_name("model.norm.weight")
    ('blk.7.attn_q.weight', 'output_norm.weight')
    """
    if source in NAMES:
        return NAMES[source]
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", source)
    if not found or found[2] not in LAYER_NAMES:
        raise UserError(f"the weight {source!r} has no place in a GGUF file of this architecture")
    return f"blk.{found[1]}.{LAYER_NAMES[found[2]]}.{found[3]}"


def _kind(name: str, shape: tuple[int, ...], quant: str, config: PreTrainedConfig) -> GGMLQuantizationType:
    """How a tensor is held: vectors in float32; head, and rows that make no blocks, finer than the rest."""
    from gguf import GGMLQuantizationType as Kind

    if len(shape) == 1:
        return Kind.F32
    tied = config.tie_word_embeddings
    if quant == "q4_k_m":
        one_group = config.num_attention_heads == config.num_key_value_heads
        return gguf_kquants.kind_of(name, shape, tied=tied, layers=config.num_hidden_layers, one_group=one_group)
    kind = Kind[WRITTEN[quant]]
    if quant == "q4_0" and (name == "output.weight" or (tied and name == "token_embd.weight")):
        kind = Kind.Q8_0  # the head decides between tokens; llama.cpp's own quantiser keeps it finer too
    if kind in (Kind.Q8_0, Kind.Q4_0) and shape[-1] % BLOCK:
        return Kind.F16
    return kind


def rotation(name: str, config: PreTrainedConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """What happens to the rows of a tensor (out, ...) on its way: queries and keys of a Llama change places.

    One head of 4 rows: transformers has [x0 x1 y0 y1], pairs (x, y) half a head apart; llama.cpp [x0 y0 x1 y1].
    """
    part = name.rsplit(".", 2)[-2] if name.startswith("blk.") else ""
    if ARCHITECTURES[config.model_type] != "llama" or part not in ("attn_q", "attn_k"):
        return lambda values: values
    heads = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads

    def interleave(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)

    return interleave


def _announce(writer: GGUFWriter, tensor: Tensor) -> None:
    from gguf import GGMLQuantizationType as Kind
    from gguf.quants import quant_shape_to_byte_shape

    if tensor.kind in (Kind.F32, Kind.F16):
        dtype = np.dtype(np.float32 if tensor.kind == Kind.F32 else np.float16)
        writer.add_tensor_info(tensor.name, tensor.shape, dtype, math.prod(tensor.shape) * dtype.itemsize)
        return
    shape = quant_shape_to_byte_shape(tensor.shape, tensor.kind)
    writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), math.prod(shape), raw_dtype=tensor.kind)


def encode(values: np.ndarray, kind: GGMLQuantizationType, name: str) -> np.ndarray:
    """float32 values as the bytes of a kind. UserError where half precision would make infinity of a weight."""
    from gguf import GGMLQuantizationType as Kind
    from gguf.quants import quantize

    if kind == Kind.F16 and float(np.abs(values).max(initial=0)) > float(np.finfo(np.float16).max):
        raise UserError(f"{name} holds values beyond float16's largest", mend="use --quant bf16, f32 or q8_0")
    return gguf_kquants.encode(values, kind) if kind.name in gguf_kquants.CODED else quantize(values, kind)


def _metadata(writer: GGUFWriter, config: PreTrainedConfig, quant: str, name: str, folder: Path) -> None:
    import gguf

    writer.add_name(name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[quant]])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    window = getattr(config, "sliding_window", None) if config.model_type == "mistral" else None
    writer.add_context_length(min(config.max_position_embeddings, window or config.max_position_embeddings))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(head_dim)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    _rope(writer, config, str(folder / "config.json"))


def _rope(writer: GGUFWriter, config: PreTrainedConfig, where: str) -> None:
    import gguf

    rope: Mapping[str, Any] = config.rope_parameters
    kind = rope.get("rope_type", "default")
    writer.add_rope_freq_base(rope["rope_theta"])
    if kind in ("default", "llama3"):  # llama3's factors are a tensor
        return
    scaling = {"linear": gguf.RopeScalingType.LINEAR, "yarn": gguf.RopeScalingType.YARN}
    if kind not in scaling:
        raise UserError(
            f"positions scaled by {kind!r} cannot be exported", where=where,
            mend=f"export a model without, or with one of: llama3, {', '.join(scaling)}",
        )  # fmt: skip
    writer.add_rope_scaling_type(scaling[kind])
    writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def rope_factors(config: PreTrainedConfig) -> np.ndarray | None:
    """(head_dim / 2,) by which Llama 3.1's scaling divides each frequency; None for other models.

    Long waves are stretched by `factor`, short ones stay, those between are blended (Llama 3.1 reference code,
    `apply_scaling`; transformers' rope type llama3).
    """
    rope = config.rope_parameters
    if rope.get("rope_type") != "llama3":
        return None
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    wavelengths = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, dim, 2, dtype=np.float64) / dim)
    low, high, length = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    blend = np.clip((length / wavelengths - low) / (high - low), 0.0, 1.0)
    factors: np.ndarray = 1 / ((1 - blend) / rope["factor"] + blend)
    return factors.astype(np.float32)


def _tokenizer(writer: GGUFWriter, folder: Path, tensors: list[Tensor], end_id: int | None) -> tuple[str, int | None]:
    """The tokenizer's fields; the name of its split rule and the end token."""
    rows = next(tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight")
    vocabulary = read_vocabulary(folder, rows)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    end = tokenizer.eos_token_id if end_id is None else end_id
    if end is not None:
        writer.add_eos_token_id(end)
        writer.add_eot_token_id(end)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    probe = tokenizer("x").input_ids
    starts = tokenizer.bos_token_id is not None and probe[0] == tokenizer.bos_token_id
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(starts)
    writer.add_add_eos_token(tokenizer.eos_token_id is not None and probe[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    return vocabulary.pre, end
