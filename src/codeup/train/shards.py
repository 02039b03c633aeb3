"""Weight files, read and written tensor by tensor, so that a model of any size passes through a small memory.

The format of safetensors (github.com/huggingface/safetensors, "Format"): a length, a JSON header, then all bytes.

    8 bytes     length of the header, little endian
    header      {"w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, "__metadata__": {"format": "pt"}}
    data        tensors end to end, offsets counted from here; the header is padded with spaces to a multiple of 8

`rewrite` copies a file and lets every tensor be changed on its way; its dtype and shape stay. Files get the permissions
that the umask gives any new file. Does not check the values: the caller does.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from codeup import artifacts

BYTES = {"BF16": 2, "F16": 2, "F32": 4}
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

Change = Callable[[str, torch.Tensor], torch.Tensor]


def rewrite(source: Path, target: Path, change: Change, copies: Mapping[str, str] | None = None) -> list[str]:
    """Copy `source`, each tensor through `change(name, tensor)`; `copies` adds tensors, new name -> name to copy.

    Returns the names in the new file. One tensor is held at a time, besides pages of `source` that the system caches.
    """
    with safe_open(source, framework="pt") as opened:
        metadata = opened.metadata() or {"format": "pt"}
        from_name = {name: name for name in opened.keys()} | dict(copies or {})  # noqa: SIM118  (not a dict)
        pieces = {name: opened.get_slice(origin) for name, origin in from_name.items()}
        layout = {name: (piece.get_dtype(), piece.get_shape()) for name, piece in pieces.items()}

        _write(target, layout, lambda name: change(name, opened.get_tensor(from_name[name])), metadata)
    return list(from_name)


def save(tensors: Mapping[str, torch.Tensor], target: Path, facts: Mapping[str, str] | None = None) -> None:
    """A new file, in the order of names: the same tensors give the same bytes. `facts` go into its metadata."""
    layout = {name: (NAMES[tensors[name].dtype], list(tensors[name].shape)) for name in sorted(tensors)}
    _write(target, layout, lambda name: tensors[name].detach(), {"format": "pt", **(facts or {})})


def _write(
    target: Path,
    layout: Mapping[str, tuple[str, list[int]]],
    get: Callable[[str], torch.Tensor],
    metadata: Mapping[str, str],
) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, (dtype, shape) in layout.items():
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in layout:
            file.write(get(name).cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            assert file.tell() == 8 + len(text) + header[name]["data_offsets"][1], f"{name} changed its size"


def reshard(files: Sequence[Path], out: Path, *, max_bytes: int) -> list[Path]:
    """Put the tensors of weight files into `out`, in their order, in files of at most `max_bytes` (of tensors).

    A model that fits one file is model.safetensors; otherwise the Hub's names and model.safetensors.index.json. Files
    that are small enough as they are stay byte by byte. A tensor is never split: a larger one has a file to itself.

        w1 3 GB, w2 3 GB, w3 1 GB, max 5 GB   ->   model-00001-of-00002: w1    model-00002-of-00002: w2 w3
    """
    sizes = {name: (file, size) for file in files for name, size in _sizes(file).items()}
    groups: list[list[str]] = []
    room = 0
    for name, (_, size) in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = max_bytes
        groups[-1].append(name)
        room -= size
    as_they_are = [list(_sizes(file)) for file in files] == groups
    count = len(groups)
    names = [f"model-{at:05d}-of-{count:05d}.safetensors" for at in range(1, count + 1)]
    names = names if count > 1 else ["model.safetensors"]
    for at, (name, group) in enumerate(zip(names, groups, strict=True)):
        if as_they_are:
            shutil.copyfile(files[at], out / name)
        else:
            _gather(out / name, {tensor: sizes[tensor][0] for tensor in group})
    if count > 1:
        weight_map = {tensor: name for name, group in zip(names, groups, strict=True) for tensor in group}
        total = sum(size for _, size in sizes.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        artifacts.write_json(out / "model.safetensors.index.json", index)
    return [out / name for name in names]


def _sizes(file: Path) -> dict[str, int]:
    """Tensor -> bytes, in the order of the file."""
    with safe_open(file, framework="pt") as opened:
        pieces = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  (not a dict)
        return {name: math.prod(piece.get_shape()) * BYTES[piece.get_dtype()] for name, piece in pieces.items()}


def _gather(target: Path, origin: Mapping[str, Path]) -> None:
    with ExitStack() as stack:
        opened = {file: stack.enter_context(safe_open(file, framework="pt")) for file in dict.fromkeys(origin.values())}
        pieces = {name: opened[file].get_slice(name) for name, file in origin.items()}
        layout = {name: (piece.get_dtype(), piece.get_shape()) for name, piece in pieces.items()}
        _write(target, layout, lambda name: opened[origin[name]].get_tensor(name), {"format": "pt"})
