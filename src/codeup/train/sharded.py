"""A frozen base of which each rank holds its share (PyTorch's FSDP2), and which is never whole anywhere.

    file       q_proj.weight (4096, 4096)    rank 0 reads rows 0..2047, rank 1 rows 2048..4095, and nothing else
    a layer    all ranks send each other their rows, compute, drop what is not theirs; once forward, once backward
    whole      embedding, final norm and head on every rank; so is the adapter, with its gradients and moments

The model begins without storage (meta device); tensors are read by rows where the file has them. The adapter is
attached to the shared-out weights and is no part of the sharing: its gradients are summed as always (ranks.py).
Strategy deepspeed-zero3 is the same by DeepSpeed (zero.py): rank 0 reads a layer, and all keep their part of it.

The layers are the library's, not those of decoder.py, which keep the weights they were made with. Not covered: bases in
4 or 8 bits, DoRA and PiSSA (they read whole matrices), training all weights, several groups of machines.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from codeup.errors import UserError
from codeup.train import zero
from codeup.train.base import check_weights, read_config, renamed_in_transformers_6, training_dtype, weight_files
from codeup.train.ranks import Ranks
from codeup.train.shapes import FAMILIES
from codeup.train.strategies import ZERO3


def load_sharded(
    model: Path, *, dtype: str, device: torch.device, ranks: Ranks, activation_checkpointing: bool = False
) -> PreTrainedModel:
    """A frozen causal language model in training mode, as base.load_base gives it, in shares."""
    config = read_config(model)
    if config.model_type not in FAMILIES:
        raise UserError(
            f"strategy {ranks.strategy} knows no {config.model_type!r} models",
            where=str(model),
            mend=f"use strategy: ddp, or one of: {', '.join(FAMILIES)}",
        )
    files = weight_files(model)
    for file in files:
        check_weights(file)
    with init_empty_weights(include_buffers=False):
        loaded = AutoModelForCausalLM.from_config(
            config, dtype=training_dtype(model, dtype, device), attn_implementation="sdpa"
        )
    loaded.requires_grad_(False)
    loaded.tie_weights()
    found = _find(loaded, files, model)
    if ranks.strategy == ZERO3:
        layers = _layers_name(loaded)
        _read(loaded, {name: file for name, file in found.items() if not name.startswith(layers)}, device)
        fill = functools.partial(_fill, found, layers) if ranks.first else None
        zero.share_out(loaded.get_decoder(), device, fill)
    else:
        _share_out(loaded, device, ranks)
        _read(loaded, found, device)
    loaded.get_decoder().rotary_emb.to(device)
    if activation_checkpointing:
        with renamed_in_transformers_6():
            loaded.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return loaded.train()


def _share_out(model: PreTrainedModel, device: torch.device, ranks: Ranks) -> None:
    """Each layer is a group whose weights travel together. The decoder around them lets the next one's travel early."""
    mesh = init_device_mesh(device.type, (ranks.count,))
    decoder = model.get_decoder()
    for layer in decoder.layers:
        fully_shard(layer, mesh=mesh)
    whole = {p for name, p in decoder.named_parameters() if not name.startswith("layers.")}
    fully_shard(decoder, mesh=mesh, ignored_params=whole)
    for layer in decoder.layers:
        layer.to_empty(device=device)


def _find(model: PreTrainedModel, files: list[Path], folder: Path) -> dict[str, Path]:
    """The file of each parameter. UserError where one is missing, or has another shape."""
    wanted, found = dict(model.named_parameters()), {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in set(opened.keys()) & set(wanted):
                if tuple(opened.get_slice(name).get_shape()) != tuple(wanted[name].shape):
                    raise _strange(name, folder)
                found[name] = file
    if missing := set(wanted) - set(found):
        raise _strange(min(missing), folder)
    return found


def _read(model: PreTrainedModel, found: Mapping[str, Path], device: torch.device) -> None:
    """Fill this rank's shares, and what is held whole, from the files."""
    wanted = dict(model.named_parameters())
    for file in sorted(set(found.values())):
        with safe_open(file, framework="pt") as opened:
            for name in (name for name, place in found.items() if place == file):
                parameter, piece = wanted[name], opened.get_slice(name)
                if isinstance(parameter, DTensor):
                    local = parameter.to_local()
                    local.copy_(rows(piece, _first_row(parameter), len(local)))
                else:
                    _put(model, name, rows(piece, 0, len(parameter)).to(device, parameter.dtype))
    model.tie_weights()


def _layers_name(model: PreTrainedModel) -> str:
    """How the names of everything in the layers begin: model.layers."""
    layers = model.get_decoder().layers
    return next(f"{name}." for name, module in model.named_modules() if module is layers)


def _fill(found: Mapping[str, Path], layers: str, at: int, layer: torch.nn.Module) -> None:
    """Fill layer number `at` from the files, whole."""
    for leaf, parameter in layer.named_parameters():
        name = f"{layers}{at}.{leaf}"
        with safe_open(found[name], framework="pt") as opened:
            parameter.copy_(rows(opened.get_slice(name), 0, len(parameter)))


def rows(piece: Any, first: int, count: int) -> torch.Tensor:
    """Rows of a tensor in a file; no others are read."""
    read: torch.Tensor = piece[first : first + count]
    return read


def _first_row(parameter: DTensor) -> int:
    """Where a rank's share begins: FSDP2 cuts rows as torch.chunk does, so the last ranks may have fewer or none.

    10 rows, 4 ranks: 3 3 3 1, beginning at 0 3 6 9.
    """
    mesh = parameter.device_mesh
    size = -(-parameter.shape[0] // mesh.size())
    return min(parameter.shape[0], size * mesh.get_local_rank())


def _put(model: PreTrainedModel, name: str, value: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(value, requires_grad=False))


def _strange(name: str, folder: Path) -> UserError:
    return UserError(
        f"{name}: in the weight files missing, or of another shape than config.json says",
        where=str(folder),
        mend="fetch the model again; config.json and weights must belong together",
    )
