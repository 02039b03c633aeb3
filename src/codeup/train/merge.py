"""Base + adapter -> model folder, tensor by tensor, and how far that moved weights and logits.

The arithmetic is in updates.py: fp32, one rounding. All other tensors, config.json, tokenizer and licence are copied
as they are. The base's README is not: it describes another model.

A tied head is the embedding under another name:

    the adapter changes       in the model that is written
    neither                   one matrix, as before
    token rows of both        one matrix with these rows: it stays tied
    one of them only          two matrices, and config.json says tie_word_embeddings: false

An adapter that was trained on a quantised base is merged into the exact weights, which it has not seen; the summary
says so and by how much the logits differ. A model trained in full is passed on (`pass_on`).
Not supported, and refused: adapters on embeddings, trained biases, whole modules saved with the adapter.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel

from codeup import artifacts
from codeup.errors import UserError
from codeup.train import shards
from codeup.train.base import (
    QUANTIZATIONS,
    check_weights,
    load_base,
    quiet_progress_bars,
    renamed_in_transformers_6,
)
from codeup.train.updates import Drift, TokenRows, Update, Whole, apply, read_updates
from codeup.types import Emit, Event, ignore_event

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".msgpack", ".h5")
CHECK_TOKENS = 64
ROOM = 1.3
"""The logit check loads a whole model, and is left out where it would take more than the free memory: its size times
this, for activations and what PEFT adds."""
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight")
HEADS = ("lm_head.weight", "embed_out.weight")


def merge_adapter(
    *,
    model: Path,
    adapter: Path,
    out: Path,
    check_logits: bool = True,
    emit: Emit = ignore_event,
    step_name: str = "merge",
) -> dict[str, Any]:
    """Write the merged model to `out` and return the drift. Memory: one tensor, and a block of it in fp32.

    `out` appears whole or not at all. The logit check loads base + adapter, then the merged model, one after the other;
    where there is no memory for that, `logit_difference` is None.
    Raises UserError if the adapter was trained on other weights, does not fit, or a file is damaged; WorkFailed if a
    merged value is not a number.
    """
    _refuse_folder(model, adapter, out)
    files = artifacts.weight_files(model)
    for file in files:
        check_weights(file)
    origin = _origin(adapter)
    verified = _same_base(model, adapter, origin)
    plan = _resolve_tied(model, files, read_updates(adapter))
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        drift, tensors = Drift(), 0
        left = dict(plan.updates)
        for number, file in enumerate(files, 1):
            tensors += len(shards.rewrite(file, partial / file.name, _changes(left, drift), plan.copies.get(file)))
            emit(Event("progress", step_name, done=number, total=len(files), unit="files"))
        _refuse_left_over(left, adapter)
        _copy_rest(model, partial, files)
        if plan.untie:
            _untie(partial, plan.copies)
        logits = _logit_check(model, adapter, partial, origin, files) if check_logits else {"logit_difference": None}
        shutil.rmtree(out, ignore_errors=True)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _note_quantised(origin, logits, emit, step_name)
    known = {"base_verified": verified, "trained_on": _quantization(origin), "untied": plan.untie}
    return {"tensors": tensors, **drift.summary(), **logits, **known}


def pass_on(trained: Path, out: Path) -> None:
    """Make `out` of a model that was trained in full: weights as hard links where the disk can, the rest copied."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = artifacts.weight_files(trained)
    for file in files:
        try:
            os.link(file, out / file.name)
        except OSError:
            shutil.copyfile(file, out / file.name)
    _copy_rest(trained, out, files)


def write_whole(base: Path, model: PreTrainedModel, out: Path) -> dict[str, Any]:
    """Save a model of which all weights were trained, in the files and dtypes of its base. Returns the drift."""
    files, drift, tensors = artifacts.weight_files(base), Drift(), 0
    left = _resolve_tied(base, files, {name: Whole(value) for name, value in model.named_parameters()}).updates
    for file in files:
        tensors += len(shards.rewrite(file, out / file.name, _changes(left, drift)))
    assert not left, f"weights without a place in the base's files: {sorted(left)[:3]}"
    _copy_rest(base, out, files)
    return {"tensors": tensors, **drift.summary()}


def _changes(left: dict[str, Update], drift: Drift) -> shards.Change:
    """Applies each update to its tensor, taking it out of `left`."""

    def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return apply(name, tensor, left.pop(name), drift) if name in left else tensor

    return change


def _quantization(origin: Mapping[str, Any]) -> str:
    """nf4 means: the adapter saw rounded weights in training, and is merged into the exact ones."""
    return str(origin["precision"][-1]) if "precision" in origin else "not recorded"


def _refuse_left_over(left: Mapping[str, Update], adapter: Path) -> None:
    if left:
        raise UserError(
            f"the adapter changes {len(left)} layers the model does not have, e.g. {min(left)}",
            where=str(adapter),
            mend="merge it into the model it was trained on",
        )


def _origin(adapter: Path) -> dict[str, Any]:
    """codeup_adapter.json; an adapter of another tool has none."""
    path = adapter / "codeup_adapter.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _same_base(model: Path, adapter: Path, origin: Mapping[str, Any]) -> bool:
    """True if the adapter recorded its base and this is it; False if it recorded none."""
    if "base_sha256" not in origin:
        return False
    if origin["base_sha256"] != artifacts.weights_sha256(model):
        name = origin.get("base_name") or origin.get("base", "not recorded")
        revision = f" at revision {origin['base_revision']}" if origin.get("base_revision") else ""
        raise UserError(
            f"the adapter was trained on other weights than those in {model}",
            where=str(adapter),
            mend=f"merge it into the model it was trained on: {name}{revision}",
        )
    return True


def _refuse_folder(model: Path, adapter: Path, out: Path) -> None:
    if out.resolve() in (model.resolve(), adapter.resolve()):
        raise UserError("the merged model cannot replace its own input", where=str(out), mend="choose another folder")
    if out.exists() and any(out.iterdir()) and not (out / "config.json").exists():
        raise UserError("folder is not empty and holds no model", where=str(out), mend="choose another folder")
    if (model / "config.json").exists() and "quantization_config" in _config(model):
        raise UserError("the base is stored quantised", where=str(model), mend="merge into the 16-bit weights instead")


def _config(model: Path) -> dict[str, Any]:
    return dict(json.loads((model / "config.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Stored:
    """The updates by the tensors that are stored. `untie`: the output's head is a matrix of its own; where the base's
    files have none, `copies` says where it is made of which tensor: {file: {head: embedding}}.
    """

    updates: dict[str, Update]
    untie: bool = False
    copies: Mapping[Path, Mapping[str, str]] = field(default_factory=dict)


def _resolve_tied(model: Path, files: list[Path], updates: Mapping[str, Update]) -> Stored:
    """The table in the module's docstring."""
    resolved = dict(updates)
    if not _config(model).get("tie_word_embeddings", False):
        return Stored(resolved)
    stored = {name: file for file in files for name in _names(file)}
    embedding = next((name for name in stored if name.endswith(EMBEDDINGS)), None)
    head = next((name for name in (*updates, *stored) if name.endswith(HEADS)), None)
    if head is None or embedding is None:
        return Stored(resolved)
    of_embedding, of_head = resolved.get(embedding), resolved.pop(head, None)
    if of_head is None or (isinstance(of_head, TokenRows) and of_head.same(of_embedding)):
        if head in stored and of_embedding is not None:  # a file that holds the same matrix twice
            resolved[head] = of_embedding
        return Stored(resolved)
    resolved[head] = of_head
    return Stored(resolved, untie=True, copies={} if head in stored else {stored[embedding]: {head: embedding}})


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())


def _untie(out: Path, copies: Mapping[Path, Mapping[str, str]]) -> None:
    """Say in config.json that the head is a matrix of its own, and in the index, if there is one, where it is."""
    config = _config(out)
    artifacts.write_json(out / "config.json", {**config, "tie_word_embeddings": False})
    index = out / "model.safetensors.index.json"
    if index.exists():
        value = json.loads(index.read_text(encoding="utf-8"))
        for file, added in copies.items():
            value["weight_map"].update(dict.fromkeys(added, file.name))
        value["metadata"]["total_size"] = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        artifacts.write_json(index, value)


def _copy_rest(model: Path, out: Path, files: list[Path]) -> None:
    """Config, tokenizer, index, licence: byte by byte."""
    for path in sorted(model.iterdir()):
        if path.is_file() and path not in files and not path.name.endswith(WEIGHTS) and path.name != "README.md":
            shutil.copyfile(path, out / path.name)


# --- what the merge did to the logits --------------------------------------------------------------------------------


def _logit_check(
    model: Path, adapter: Path, merged: Path, origin: Mapping[str, Any], files: list[Path]
) -> dict[str, float | None]:
    """`logit_difference` to base + adapter; for a quantised base also `quantised_logit_difference`, to what training
    saw. None where there is too little free memory to load a model, or no bitsandbytes.
    """
    needed, free = ROOM * sum(file.stat().st_size for file in files), psutil.virtual_memory().available
    if needed > free:
        return {"logit_difference": None}
    checked: dict[str, float | None] = {"logit_difference": logit_difference(model, adapter, merged)}
    quantization = _quantization(origin)
    if quantization in QUANTIZATIONS:
        there = importlib.util.find_spec("bitsandbytes") is not None
        seen = logit_difference(model, adapter, merged, quantization) if there else None
        checked["quantised_logit_difference"] = seen
    return checked


@torch.no_grad()
def logit_difference(model: Path, adapter: Path, merged: Path, quantization: str = "none") -> float:
    """Largest |logit difference| between base + adapter and the merged model on fixed random tokens."""
    from peft import PeftModel

    quiet_progress_bars()
    if quantization == "none":
        base = AutoModelForCausalLM.from_pretrained(model, dtype="auto", local_files_only=True).eval()
    else:
        base = load_base(model, dtype="auto", device=torch.device("cpu"), quantization=quantization).eval()
    vocabulary = base.config.vocab_size
    ids = torch.randint(vocabulary, (1, CHECK_TOKENS), generator=torch.Generator().manual_seed(0))
    with renamed_in_transformers_6():
        adapted = PeftModel.from_pretrained(base, adapter).eval()
    expected = adapted(input_ids=ids).logits.float()
    del base, adapted
    result = AutoModelForCausalLM.from_pretrained(merged, dtype="auto", local_files_only=True).eval()
    return float((result(input_ids=ids).logits.float() - expected).abs().max())


def _note_quantised(origin: Mapping[str, Any], logits: Mapping[str, float | None], emit: Emit, step_name: str) -> None:
    quantization = _quantization(origin)
    if quantization in QUANTIZATIONS:
        seen = logits.get("quantised_logit_difference")
        by = "not measured" if seen is None else f"by up to {seen:.3g}"
        text = (
            f"the adapter was trained on a base held in {quantization} and is merged into the exact weights: logits "
            f"differ from those in training ({by})"
        )
        emit(Event("note", step_name, text=text))
