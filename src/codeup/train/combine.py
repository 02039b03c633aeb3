"""Several adapters, trained one after the other with a merge between, as one adapter over the first base.

    stage 1   W  -> W1 = W  + s1 B1 A1        together    W + [s1 B1  s2 B2] [A1]
    stage 2   W1 -> W2 = W1 + s2 B2 A2                                       [A2]

A (r, in) are stacked, s B (out, r) set side by side: rank r1 + r2, scale 1. The sum is exact; what differs from the
merged model is the rounding at each merge, which the merges report (`rounding_share`). Layers that a stage left alone,
or gave a smaller rank, are filled with zeros. DoRA, trained token rows and stages trained in full are no sums of
products: for them there is no such adapter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from codeup import artifacts
from codeup.train import shards
from codeup.train.lora import ADAPTER_FILE
from codeup.train.updates import PREFIX, LowRank, Update, read_updates


def combine_adapters(adapters: Sequence[Path], out: Path, *, base_name: str) -> bool:
    """Write a PEFT folder that does what the adapters do one after the other; False where there is none.

    `base_name` is what adapter_config.json names as the model to put it on. Raises UserError for a folder that is no
    adapter.
    """
    stages = [read_updates(adapter) for adapter in adapters]
    if not all(isinstance(update, LowRank) and update.magnitude is None for one in stages for update in one.values()):
        return False
    names = sorted({name for stage in stages for name in stage})
    ranks = [max(update.a.shape[0] for update in stage.values() if isinstance(update, LowRank)) for stage in stages]
    tensors = {}
    for name in names:
        a, b = _stacked([stage.get(name) for stage in stages], ranks)
        layer = PREFIX + name.removesuffix(".weight")
        tensors[f"{layer}.lora_A.weight"], tensors[f"{layer}.lora_B.weight"] = a, b
    out.mkdir(parents=True, exist_ok=True)
    shards.save(tensors, out / ADAPTER_FILE)
    settings = json.loads((adapters[-1] / "adapter_config.json").read_text(encoding="utf-8"))
    own: dict[str, Any] = {
        "r": sum(ranks),
        "lora_alpha": sum(ranks),
        "lora_dropout": 0.0,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "init_lora_weights": True,
        "target_modules": sorted({name.removesuffix(".weight").rsplit(".", 1)[-1] for name in names}),
        "base_model_name_or_path": base_name,
        "revision": None,
    }
    artifacts.write_json(out / "adapter_config.json", {**settings, **own})
    return True


def _stacked(updates: Sequence[Update | None], ranks: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A (sum of ranks, in) and B (out, sum of ranks) of one layer."""
    known = next(update for update in updates if isinstance(update, LowRank))
    parts_a, parts_b = [], []
    for update, rank in zip(updates, ranks, strict=True):
        a, b = known.a.new_zeros(rank, known.a.shape[1]), known.b.new_zeros(known.b.shape[0], rank)
        if isinstance(update, LowRank):
            a[: len(update.a)] = update.a
            b[:, : len(update.a)] = update.scale * update.b
        parts_a.append(a)
        parts_b.append(b)
    return torch.cat(parts_a), torch.cat(parts_b, dim=1)
