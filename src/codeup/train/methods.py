"""What a stage trains of a loaded base, and the folder it leaves: an adapter (lora), or a model (full).

method   trained                          adapter/ or model/
lora     A and B; with DoRA lengths;      PEFT files: they fit the base as it was
         token rows
full     every weight, in fp32            the base's files with new values, in the base's dtype
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from codeup.errors import UserError
from codeup.train import disk, lora, pissa, token_rows
from codeup.train.merge import write_whole
from codeup.types import Emit, Event

METHODS = ("lora", "full")
INITIAL = "initial.safetensors"
"""In a stage's folder while it trains: what PiSSA began with."""
LEFT_OUT = 0.01
"""Share of a model's weights without adapters from which a note says so."""


@dataclass(frozen=True)
class Trained:
    """`module` holds all trained parameters. `initial`: what PiSSA began with."""

    module: PeftModel | PreTrainedModel
    initial: Mapping[str, torch.Tensor] | None = None
    rows_set_to_mean: int = 0


def settings_for(
    method: str, given: Mapping[str, Any], quantization: str, strategy: str = "ddp"
) -> dict[str, Any]:  # fmt: skip
    """The adapter settings of a stage, complete; none for method full. UserError for what does not work together."""
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}", mend=f"choose from: {', '.join(METHODS)}")
    used = given if method == "lora" else {}
    return lora.complete(used, method=method, quantization=quantization, strategy=strategy)


def begin(
    model: PreTrainedModel, method: str, settings: Mapping[str, Any], out: Path, identity: str, seed: int
) -> Trained:
    """Attach the adapter, or take the model as it is (load_base has made it trainable).

    A training with PiSSA that began before in `out`, with the same identity, begins again with the same bits.
    """
    if method == "full":
        return Trained(model)
    attached = {name: value for name, value in settings.items() if name not in ("plus_ratio", "token_init")}
    file, initial = out / INITIAL, None
    if settings["init"] in pissa.PEFT_NAMES and pissa.recorded(file, identity):
        adapter = lora.attach(model, **attached | {"init": "zero"}, seed=seed)
        initial = pissa.restore(adapter, file)
    else:
        adapter = lora.attach(model, **attached, seed=seed)
        if settings["init"] in pissa.PEFT_NAMES:
            initial = pissa.record(adapter, file, identity)
    rows = token_rows.begin_with_mean(adapter) if settings["token_init"] == "mean" else 0
    adapter.train()
    return Trained(adapter, initial, rows)


def say_what_is_left_out(trained: Trained, targets: object, emit: Emit, step_name: str) -> None:
    """A note where adapters on all linear layers leave large parts of the model as they are."""
    if not isinstance(trained.module, PeftModel) or targets != "all-linear":
        return
    left = lora.uncovered(trained.module)
    share = sum(left.values()) / max(1, trained.module.get_base_model().num_parameters())
    if share >= LEFT_OUT:
        text = (
            f"{share:.0%} of the weights get no adapter, because they are no linear layers: {', '.join(sorted(left))}"
        )
        emit(Event("note", step_name, text=text))


def untrained_tokens(
    model: PreTrainedModel, template_tokens: Mapping[str, int], emit: Emit, step_name: str
) -> dict[str, list[str]]:
    """The template's tokens that the base never learned, by matrix and by name; a note says what to do."""
    found = token_rows.find_untrained(model, list(template_tokens.values()))
    if found:
        emit(Event("note", step_name, text=token_rows.warning(found, template_tokens)))
    return {where: [name for name, token in template_tokens.items() if token in ids] for where, ids in found.items()}


def publish(trained: Trained, base: Path, out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write out/adapter or out/model under a temporary name, then rename. Returns the drift of a full training."""
    whole = not isinstance(trained.module, PeftModel)
    final = out / ("model" if whole else "adapter")
    partial = _partial(final)
    drift: dict[str, Any] = {}
    with disk.explained(final):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if isinstance(trained.module, PeftModel):
            lora.save_adapter(trained.module, partial, facts=facts, initial=trained.initial)
        else:
            drift = write_whole(base, trained.module, partial)
        disk.folder_to_disk(partial)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        disk.to_disk(out)
    return drift


def tidy(out: Path) -> None:
    """Remove what only a training under way needs, or an interrupted one left."""
    for initial in (out / INITIAL, pissa.partial(out / INITIAL)):
        initial.unlink(missing_ok=True)
    for name in ("adapter", "model"):
        shutil.rmtree(_partial(out / name), ignore_errors=True)


def _partial(final: Path) -> Path:
    return final.with_name(f".{final.name}.partial")
