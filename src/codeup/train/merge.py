"""Base + adapter -> model folder, one weight file at a time, and how far that moved the weights.

For every adapted matrix, in fp32, rounded once:

    stored = (W.float() + s * B.float() @ A.float()).to(dtype of W)         s = alpha / r   (rsLoRA: alpha / sqrt r)

    W  (out, in)  0.5000 in bf16, spacing 0.0039        delta 0.0013        W + delta = 0.5013 -> stored 0.5000

The example is why the drift is reported: an update below half a spacing is lost, `rounding_share` says how much of the
adapter was (0 in fp32, typically a few percent to a third in bf16), `logit_difference` what that does to the model.
All other tensors, config.json, tokenizer and licence are copied as they are. The base's README is not: it describes
another model. Not supported, and refused: DoRA, per-layer ranks, trained embeddings or biases, tied heads.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from codeup.errors import UserError, WorkFailed
from codeup.train.base import check_weights, fingerprint, quiet_progress_bars, renamed_in_transformers_6, weight_files
from codeup.train.lora import ADAPTER_FILE
from codeup.types import Emit, Event, ignore_event

PREFIX = "base_model.model."
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".msgpack", ".h5")
CHECK_TOKENS = 64


@dataclass(frozen=True)
class LowRank:
    """The update of one matrix: scale * b @ a, with a (r, in) and b (out, r)."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def delta(self) -> torch.Tensor:
        return (self.b.float() @ self.a.float()).mul_(self.scale)


@dataclass
class Drift:
    """Sums over all merged matrices; fp64 so that a model of any size adds up."""

    matrices: int = 0
    elements: int = 0
    max_change: float = 0.0
    sum_change: float = 0.0
    squared_base: float = 0.0
    squared_delta: float = 0.0
    squared_rounding: float = 0.0
    max_rounding: float = 0.0

    def add(self, base: torch.Tensor, exact: torch.Tensor, stored: torch.Tensor) -> None:
        """`base` and `exact` are fp32, `stored` has the dtype of the file."""
        change, rounding = (stored.float() - base).abs_(), (stored.float() - exact).abs_()
        self.matrices += 1
        self.elements += base.numel()
        self.max_change = max(self.max_change, float(change.max()))
        self.sum_change += float(change.sum(dtype=torch.float64))
        self.max_rounding = max(self.max_rounding, float(rounding.max()))
        self.squared_base += float(base.double().square().sum())
        self.squared_delta += float((exact - base).double().square().sum())
        self.squared_rounding += float(rounding.double().square().sum())

    def summary(self) -> dict[str, float | int]:
        """Relative values are ratios of Frobenius norms over all merged matrices."""
        return {
            "merged_tensors": self.matrices,
            "merged_elements": self.elements,
            "max_abs_change": self.max_change,
            "mean_abs_change": self.sum_change / max(1, self.elements),
            "relative_change": math.sqrt(self.squared_delta / self.squared_base) if self.squared_base else 0.0,
            "rounding_error_max": self.max_rounding,
            "rounding_share": math.sqrt(self.squared_rounding / self.squared_delta) if self.squared_delta else 0.0,
        }


def merge_adapter(
    *,
    model: Path,
    adapter: Path,
    out: Path,
    check_logits: bool = True,
    emit: Emit = ignore_event,
    step_name: str = "merge",
) -> dict[str, Any]:
    """Write the merged model to `out` and return the drift. Memory: one weight file and one fp32 matrix.

    `out` appears whole or not at all. The logit check loads base + adapter, then the merged model, one after the other.
    Raises UserError if the adapter was trained on other weights, does not fit, or a file is damaged; WorkFailed if a
    merged value is not a number.
    """
    _refuse_folder(model, adapter, out)
    files = weight_files(model)
    for file in files:
        check_weights(file)
    settings = _adapter_config(adapter)
    updates = read_updates(adapter, settings)
    origin = _origin(adapter)
    verified = _same_base(model, adapter, origin)
    _refuse_tied(model, updates)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        drift, tensors, left = Drift(), 0, dict(updates)
        for number, file in enumerate(files, 1):
            tensors += _merge_file(file, partial / file.name, left, drift)
            emit(Event("progress", step_name, done=number, total=len(files), unit="files"))
        _refuse_left_over(left, adapter)
        _copy_rest(model, partial, files)
        difference = logit_difference(model, adapter, partial) if check_logits else None
        shutil.rmtree(out, ignore_errors=True)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    extra = {"logit_difference": difference, "base_verified": verified, "trained_on": _quantization(origin)}
    return {"tensors": tensors, **drift.summary(), **extra}


def _quantization(origin: dict[str, Any]) -> str:
    """nf4 means: the adapter saw rounded weights in training, and is merged into the exact ones."""
    return origin["precision"][-1] if "precision" in origin else "not recorded"


def _refuse_left_over(left: dict[str, LowRank], adapter: Path) -> None:
    if left:
        raise UserError(
            f"the adapter changes {len(left)} layers the model does not have, e.g. {min(left)}",
            where=str(adapter),
            mend="merge it into the model it was trained on",
        )


def read_updates(adapter: Path, settings: dict[str, Any]) -> dict[str, LowRank]:
    """Base tensor name -> its update. UserError for anything in the adapter that is not a plain LoRA pair."""
    file = adapter / ADAPTER_FILE
    check_weights(file)
    tensors = load_file(file)
    updates: dict[str, LowRank] = {}
    for name, a in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        b = tensors.get(name.replace(".lora_A.", ".lora_B."))
        if b is None or a.shape[0] != b.shape[1]:
            raise UserError(f"{name} has no matching lora_B", where=str(file))
        rank = a.shape[0]
        scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        updates[name.removeprefix(PREFIX).removesuffix(".lora_A.weight") + ".weight"] = LowRank(a, b, scale)
    strange = [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if strange or not updates or len(tensors) != 2 * len(updates):
        example = strange[0] if strange else "an incomplete pair"
        raise UserError(f"not a plain LoRA adapter: it holds {example}", where=str(file))
    return updates


def _adapter_config(adapter: Path) -> dict[str, Any]:
    path = adapter / "adapter_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"not an adapter folder ({error})", where=str(path)) from None
    refused = ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "modules_to_save", "lora_bias")
    present = [name for name in refused if settings.get(name)]
    if settings.get("peft_type") != "LORA" or present:
        raise UserError(
            f"cannot merge this kind of adapter: {', '.join(present) or settings.get('peft_type')}", where=str(path)
        )
    return settings


def _origin(adapter: Path) -> dict[str, Any]:
    """codeup_adapter.json; an adapter of another tool has none."""
    path = adapter / "codeup_adapter.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _same_base(model: Path, adapter: Path, origin: dict[str, Any]) -> bool:
    """True if the adapter recorded its base and this is it; False if it recorded none."""
    if "base_sha256" not in origin:
        return False
    if origin["base_sha256"] != fingerprint(model):
        raise UserError(
            f"the adapter was trained on other weights than those in {model}",
            where=str(adapter),
            mend=f"merge it into the model it was trained on: {origin.get('base', 'not recorded')}",
        )
    return True


def _refuse_folder(model: Path, adapter: Path, out: Path) -> None:
    if out.resolve() in (model.resolve(), adapter.resolve()):
        raise UserError("the merged model cannot replace its own input", where=str(out), mend="choose another folder")
    if out.exists() and any(out.iterdir()) and not (out / "config.json").exists():
        raise UserError("folder is not empty and holds no model", where=str(out), mend="choose another folder")
    settings = (
        json.loads((model / "config.json").read_text(encoding="utf-8")) if (model / "config.json").exists() else {}
    )
    if "quantization_config" in settings:
        raise UserError("the base is stored quantised", where=str(model), mend="merge into the 16-bit weights instead")


def _refuse_tied(model: Path, updates: dict[str, LowRank]) -> None:
    """A tied head is the embedding: a change of one would be lost, or change the other, when the model is loaded."""
    tied = json.loads((model / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings", False)
    changed = [name for name in updates if name.rsplit(".", 2)[-2] in ("lm_head", "embed_tokens", "embed_out", "wte")]
    if tied and changed:
        raise UserError(
            f"the adapter changes {changed[0]}, which this model shares between embedding and head",
            where=str(model),
            mend="train without this target, or untie the base model first",
        )


def _merge_file(source: Path, target: Path, updates: dict[str, LowRank], drift: Drift) -> int:
    """Copy one weight file with its updates applied, taking them out of `updates`. Returns its number of tensors."""
    with safe_open(source, framework="pt") as opened:
        metadata = opened.metadata() or {"format": "pt"}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a dict)
    for name in sorted(set(tensors) & set(updates)):
        tensors[name] = _apply(name, tensors[name], updates.pop(name), drift)
    save_file(tensors, target, metadata=metadata)
    return len(tensors)


def _apply(name: str, weight: torch.Tensor, update: LowRank, drift: Drift) -> torch.Tensor:
    shape = (update.b.shape[0], update.a.shape[1])
    if weight.shape != shape:
        raise UserError(f"{name} is {tuple(weight.shape)} in the model and {shape} in the adapter")
    base = weight.float()
    exact = base + update.delta()
    stored = exact.to(weight.dtype)
    if not bool(torch.isfinite(stored).all()):
        raise WorkFailed(f"{name}: the merged matrix holds values that are not numbers in {weight.dtype}")
    drift.add(base, exact, stored)
    return stored


def _copy_rest(model: Path, out: Path, files: list[Path]) -> None:
    """Config, tokenizer, index, licence: byte by byte."""
    for path in sorted(model.iterdir()):
        if path.is_file() and path not in files and not path.name.endswith(WEIGHTS) and path.name != "README.md":
            shutil.copyfile(path, out / path.name)


@torch.no_grad()
def logit_difference(model: Path, adapter: Path, merged: Path) -> float:
    """Largest |logit difference| between base + adapter and the merged model on fixed random tokens."""
    from peft import PeftModel

    quiet_progress_bars()
    base = AutoModelForCausalLM.from_pretrained(model, dtype="auto", local_files_only=True).eval()
    vocabulary = base.config.vocab_size
    ids = torch.randint(vocabulary, (1, CHECK_TOKENS), generator=torch.Generator().manual_seed(0))
    with renamed_in_transformers_6():
        adapted = PeftModel.from_pretrained(base, adapter).eval()
    expected = adapted(input_ids=ids).logits.float()
    del base, adapted
    result = AutoModelForCausalLM.from_pretrained(merged, dtype="auto", local_files_only=True).eval()
    return float((result(input_ids=ids).logits.float() - expected).abs().max())
