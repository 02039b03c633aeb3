"""A PEFT LoRA adapter as a GGUF file, to be switched on and off by llama.cpp for each request.

    adapter_model.safetensors   ...layers.7.self_attn.q_proj.lora_A.weight (r, in)   ->   blk.7.attn_q.weight.lora_a
                                ...layers.7.self_attn.q_proj.lora_B.weight (out, r)  ->   blk.7.attn_q.weight.lora_b

llama.cpp adds scale * alpha / r * B A, with one alpha for the file and r taken from the tensor. Rank-stabilised scales
and ranks or alphas of single layers are therefore folded into B. The rows of a Llama's query and key B change places as
in gguf_model.py. Not covered, and refused: DoRA, trained token rows, biases; merge those into the model.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key

from codeup.errors import UserError
from codeup.export.gguf_model import ARCHITECTURES, gguf_name, read_config, rotation
from codeup.export.gguf_quants import check
from codeup.export.weights import opened

WEIGHT = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)\.weight")


def write_adapter(adapter: Path, base: Path, out: Path) -> dict[str, Any]:
    """Write the adapter for the model in `base`; returns layers, rank and alpha. UserError for what has no form."""
    check("f32", out)
    config = read_config(base)
    settings = _settings(adapter)
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise UserError("there is no adapter_model.safetensors", where=str(adapter), mend="give a PEFT adapter folder")
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    with opened([file]) as weights:
        for name, holder in weights.items():
            found = WEIGHT.fullmatch(name)
            if not found:
                raise UserError(
                    f"{name!r} has no form in a GGUF adapter", where=str(file), mend="merge it, then export"
                )
            pairs.setdefault(found[1], {})[found[2]] = holder.get_tensor(name).float()
    tensors: dict[str, torch.Tensor] = {}
    for module, pair in sorted(pairs.items()):
        name = gguf_name(f"{module}.weight")
        rank = pair["A"].shape[0]
        factor = _scale(settings, module, rank) * rank / settings["lora_alpha"]
        tensors[f"{name}.lora_a"] = pair["A"]
        tensors[f"{name}.lora_b"] = rotation(name, config)(pair["B"] * factor)
    _write(out, ARCHITECTURES[config.model_type], float(settings["lora_alpha"]), tensors)
    return {"layers": len(pairs), "rank": settings["r"], "alpha": settings["lora_alpha"], "file": str(out)}


def _settings(adapter: Path) -> dict[str, Any]:
    path = adapter / "adapter_config.json"
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), mend="give an adapter folder") from None
    except ValueError as error:
        raise UserError(f"damaged file ({error})", where=str(path), mend="fetch or make it again") from None
    for key, what in (("use_dora", "DoRA"), ("trainable_token_indices", "trained token rows")):
        if settings.get(key):
            raise UserError(f"{what} has no form in a GGUF adapter", where=str(path), mend="merge it, then export")
    return settings


def _scale(settings: dict[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies B A with in this layer."""
    patterns = settings.get("alpha_pattern") or {}
    alpha = patterns.get(get_pattern_key(list(patterns), module), settings["lora_alpha"]) if patterns else None
    alpha = settings["lora_alpha"] if alpha is None else alpha
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _write(out: Path, architecture: str, alpha: float, tensors: dict[str, torch.Tensor]) -> None:
    import gguf

    partial = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        writer = gguf.GGUFWriter(partial, architecture)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        for name, values in tensors.items():
            writer.add_tensor(name, values.contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(out)
    except OSError as error:
        raise UserError(
            f"cannot write ({error.strerror or error})", where=str(out), mend="free disk space or name another file"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
