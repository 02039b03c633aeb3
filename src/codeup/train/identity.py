"""What makes two trainings the same: one of them may then go on from the other's checkpoint, or help as another rank.

facts       base, data, settings, plan, precision ...    -> sha256 of those that the result depends on
left out    where the base lies, how many devices there are, how often a checkpoint is written
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from codeup import artifacts
from codeup.train.ranks import Ranks


def of_the_result(facts: Mapping[str, Any], *, drawn: bool, watched: bool) -> dict[str, Any]:
    """Facts that what is learned depends on: not how many tokens go through at a time, unless something is `drawn` at
    random in each pass; not what is evaluated on the way, unless a step is chosen or the training stopped by it."""
    kept = dict(facts)
    if not drawn:
        kept["optimiser"] = {key: value for key, value in facts["optimiser"].items() if key != "micro_batch_tokens"}
    if not watched:
        del kept["evaluation"]
    return kept


def identity(facts: Mapping[str, Any]) -> str:
    """What two calls must share for one to continue the other; the base's folder and name are not part of it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def agree(ranks: Ranks, facts: Mapping[str, Any]) -> None:
    """All ranks must mean the same training, and compute it with the same code."""
    apart = {"base model": facts["base_sha256"], "training data": facts["tokens_sha256"]}
    others = {key: value for key, value in facts.items() if key not in ("base_sha256", "tokens_sha256")}
    versions = [artifacts.code_version(("train",)), torch.__version__.partition("+")[0]]
    ranks.agree({**apart, "recipe": identity(others), "version of CodeUp or PyTorch": str(versions)})
