"""Atomic checkpoints: a kill, a power loss or a full disk at any moment leaves the previous one whole.

    checkpoints/step-000120/   tensors.safetensors   adapter and optimiser moments
                               state.json            counters; the order and all randomness follow from `step`
                               manifest.json         sha256 of both, written last

Everything is written under a temporary name, flushed to the disk, then renamed. A folder that is not what its manifest
says is passed over for the one before it; so is one whose chosen step (the best evaluation so far, which will be
published) is not. No random state is stored because none is carried from step to step: each step seeds its own from
(seed, step), and the learning rate is a function of the step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from codeup.train import disk

NAMES = ("tensors.safetensors", "state.json")
DAMAGE = (OSError, ValueError, KeyError, TypeError, SafetensorError)
"""What reading a truncated, altered or missing file raises."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on after `step` finished steps. `damaged` names newer folders that were passed over."""

    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    damaged: list[str] = field(default_factory=list)


def save(
    root: Path,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    *,
    chosen: int | None = None,
    keep: Collection[int] = (),
    vital: Collection[int] = (),
) -> Path:
    """Write root/step-000120, then remove every other step that is not in `keep`.

    `chosen` is another step that this one relies on. On a full disk, older checkpoints make room first, the oldest
    before the others, but none of `vital` (the last one and what it relies on). UserError if there is still no room.
    """
    final, partial = _folder(root, step), root / f".partial-{step:06d}"
    while True:
        try:
            _write(partial, final, tensors, {**state, "step": step, "chosen": chosen})
            break
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            spare = sorted(set(steps(root)) - {step, *vital}, key=lambda other: (other in keep, other))
            if not spare or not disk.is_full(error):
                raise disk.cannot_write(final, error) from error
            shutil.rmtree(_folder(root, spare[0]))
    for old in set(steps(root)) - {step, *keep}:
        shutil.rmtree(_folder(root, old))
    return final


def _write(partial: Path, final: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    for leftover in (*final.parent.glob(".partial-*"), final):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial / NAMES[0])
    (partial / NAMES[1]).write_text(json.dumps(state), encoding="utf-8")
    manifest = {"sha256": {name: _sha256(partial / name) for name in NAMES}}
    (partial / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    disk.folder_to_disk(partial)
    os.replace(partial, final)
    disk.to_disk(final.parent)


def load_latest(root: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint whose chosen step is undamaged too, or None."""
    damaged: list[str] = []
    for step in reversed(steps(root)):
        try:
            found = load(root, step)
            if found.state["chosen"] not in (None, step):
                _verified_state(_folder(root, found.state["chosen"]), found.state["chosen"])
        except DAMAGE:
            damaged.append(_folder(root, step).name)
            continue
        return Checkpoint(step, found.tensors, found.state, damaged)
    return None


def load(root: Path, step: int) -> Checkpoint:
    """The checkpoint of one step; one of DAMAGE if it is not whole."""
    folder = _folder(root, step)
    state = _verified_state(folder, step)
    return Checkpoint(step, load_file(folder / NAMES[0]), state)


def steps(root: Path) -> list[int]:
    """Numbers of the steps that have a folder, oldest first."""
    numbers = [folder.name.removeprefix("step-") for folder in root.glob("step-*")]
    return sorted(int(number) for number in numbers if number.isdigit())


def _verified_state(folder: Path, step: int) -> dict[str, Any]:
    digests = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    if digests != {name: _sha256(folder / name) for name in NAMES}:
        raise ValueError("checksum")
    state = json.loads((folder / NAMES[1]).read_text(encoding="utf-8"))
    if state["step"] != step:
        raise ValueError("a renamed folder")
    return state


def _folder(root: Path, step: int) -> Path:
    return root / f"step-{step:06d}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
