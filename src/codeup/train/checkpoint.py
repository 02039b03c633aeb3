"""Atomic checkpoints: a kill at any moment leaves the previous one whole.

    checkpoints/step-000120/   tensors.safetensors   adapter and optimiser moments
                               state.json            counters; the order and all randomness follow from `step`
                               manifest.json         sha256 of both, written last

Everything is written under a temporary name, flushed to the disk, then renamed. A folder whose manifest is missing or
does not match is passed over for the one before it. No random state is stored because none is carried from step to
step: each step seeds its own from (seed, step).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on after `step` finished steps. `damaged` names newer folders that were passed over."""

    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    damaged: list[str] = field(default_factory=list)


def save(root: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> Path:
    """Write root/step-000120 and remove all but the last two."""
    final, partial = root / f"step-{step:06d}", root / f".partial-{step:06d}"
    for leftover in (*root.glob(".partial-*"), final):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial / "tensors.safetensors")
    (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
    names = ("tensors.safetensors", "state.json")
    manifest = {"step": step, "sha256": {name: _sha256(partial / name) for name in names}}
    for name in names:
        _to_disk(partial / name)
    (partial / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    _to_disk(partial / "manifest.json")
    _to_disk(partial)
    os.replace(partial, final)
    _to_disk(root)
    for old in _folders(root)[KEEP:]:
        shutil.rmtree(old)
    return final


def load_latest(root: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint, or None."""
    damaged: list[str] = []
    for folder in _folders(root):
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if any(_sha256(folder / name) != digest for name, digest in manifest["sha256"].items()):
                raise ValueError("checksum")
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "tensors.safetensors")
        except (OSError, ValueError, KeyError, SafetensorError):
            damaged.append(folder.name)
            continue
        return Checkpoint(manifest["step"], tensors, state, damaged)
    return None


def _folders(root: Path) -> list[Path]:
    """Newest first."""
    return sorted(root.glob("step-*"), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """fsync a file or a folder. Folders cannot be opened on Windows, where rename needs no such help."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
