"""PiSSA: an adapter that begins with the largest singular directions of its matrix (Meng et al., arXiv 2404.02948).

    W = U S V^T        A0 = sqrt(S_r / s) V_r^T      B0 = U_r sqrt(S_r / s)      the layer's weight becomes W - s B0 A0

PEFT makes A0 and B0 and changes the base. What is saved must fit the base as everybody has it, so the change is taken
out again (as PEFT's `subtract_mutated_init` does), exactly, in an ordinary adapter of twice the rank:

    s (B A - B0 A0) = s [B  -B0] [A ; A0]        B' (out, 2r), A' (2r, in), alpha' = 2 alpha (rsLoRA: sqrt 2 alpha)

An interrupted training must not compute singular vectors again: their last bits depend on the number of threads. So
A0 and B0 lie in a file from the first start on. Not carried over: in bf16, the rounding of W - s B0 A0 itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora.layer import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file

from codeup.errors import UserError
from codeup.train import disk, shards

PEFT_NAMES = {"pissa": "pissa", "pissa_fast": "pissa_niter_16"}
"""Our names of the two ways to the singular vectors: all of them, or the first ones by randomised iteration."""

Tensors = dict[str, torch.Tensor]


def record(model: PeftModel, file: Path, identity: str) -> Tensors:
    """What a freshly attached adapter begins with, its rows of tokens included, also written to `file`."""
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    initial = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    begun = partial(file)
    with disk.explained(file):
        shards.save(initial, begun, {"identity": identity, "threads": str(torch.get_num_threads())})
        disk.to_disk(begun)
        os.replace(begun, file)
    return initial


def partial(file: Path) -> Path:
    """Where `record` writes before the file is whole."""
    return file.with_suffix(".partial")


def recorded(file: Path, identity: str) -> bool:
    """Whether `file` is of the training with this identity."""
    if not file.exists():
        return False
    with safe_open(file, framework="pt") as opened:
        return bool(opened.metadata()["identity"] == identity)


def restore(model: PeftModel, file: Path) -> Tensors:
    """Make of a model with fresh ordinary adapters the one that `record` saw. Returns what the adapter began with."""
    initial = load_file(file)
    with safe_open(file, framework="pt") as opened:
        torch.set_num_threads(int(opened.metadata()["threads"]))
    set_peft_model_state_dict(model, initial)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            a, b = module.lora_A["default"].weight.data, module.lora_B["default"].weight.data
            weight = module.get_base_layer().weight
            # In PEFT's order of operations, so that the bits are the same.
            weight.data = (weight.data.float() - module.scaling["default"] * b @ a).to(weight.dtype)
    return initial


def refuse_large_ranks(model: PeftModel) -> None:
    """A matrix has as many singular directions as its smaller side; PEFT would make a smaller adapter than it says."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and module.r["default"] > min(module.in_features, module.out_features):
            raise UserError(
                f"rank {module.r['default']} is more than {name.removeprefix('base_model.model.')} has directions "
                f"({module.out_features} x {module.in_features}), and PiSSA begins with so many",
                where="lora.r",
                mend="lower r, or give this layer its own in rank_pattern",
            )


def as_ordinary(state: Tensors, config: dict[str, Any], initial: Mapping[str, torch.Tensor]) -> tuple[Tensors, Any]:
    """The adapter and its PEFT configuration for the unchanged base: twice the rank, the same scale."""
    doubled = dict(state)
    for name, tensor in state.items():
        if ".lora_A." in name:
            doubled[name] = torch.cat([tensor.detach().cpu(), initial[name]], 0)  # (2r, in)
        elif ".lora_B." in name:
            doubled[name] = torch.cat([tensor.detach().cpu(), -initial[name]], 1)  # (out, 2r)
    factor = math.sqrt(2) if config["use_rslora"] else 2.0
    return doubled, config | {
        "init_lora_weights": True,
        "r": 2 * config["r"],
        "lora_alpha": factor * config["lora_alpha"],
        "rank_pattern": {name: 2 * rank for name, rank in config["rank_pattern"].items()},
        "alpha_pattern": {name: factor * alpha for name, alpha in config["alpha_pattern"].items()},
    }
