"""What an adapter does to each weight of its base, in fp32 and rounded once, and how far that moves them.

    LoRA          W + s B A                                         s = alpha / r   (rsLoRA: alpha / sqrt r)
    DoRA          m (W + s B A) / |W + s B A|                       m and | | per row: its length
    token rows    W with some rows replaced
    full          W replaced

    W  (out, in)  0.5000 in bf16, spacing 0.0039        delta 0.0013        W + delta = 0.5013 -> stored 0.5000

The example is why the drift is reported: an update below half a spacing is lost, `rounding_share` says how much of the
adapter was (0 in fp32, typically a few percent to a third in bf16).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file

from codeup.errors import UserError, WorkFailed
from codeup.train.base import check_weights
from codeup.train.lora import ADAPTER_FILE

PREFIX = "base_model.model."
BLOCK = 1 << 18
"""Numbers of a matrix worked on at once: 1 MB in fp32, a few times over."""
PARTS = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector", ".token_adapter.trainable_tokens_delta")
"""The tensors of an adapter file that are understood."""


class Update(Protocol):
    """The new values of one weight. `fits` says whether it is for a tensor of this shape, `shape` for which it is."""

    @property
    def shape(self) -> str: ...

    def fits(self, shape: torch.Size) -> bool: ...

    def rows(self, base: torch.Tensor, start: int) -> torch.Tensor:
        """The exact new rows, fp32, in place of the rows `base` (fp32) that begin at row `start`."""
        ...


@dataclass(frozen=True)
class LowRank:
    """LoRA: base + scale * b @ a, with a (r, in) and b (out, r); with `magnitude` (out,) its rows get these lengths."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    @property
    def shape(self) -> str:
        return f"({self.b.shape[0]}, {self.a.shape[1]})"

    def fits(self, shape: torch.Size) -> bool:
        return tuple(shape) == (self.b.shape[0], self.a.shape[1])

    def rows(self, base: torch.Tensor, start: int) -> torch.Tensor:
        here = slice(start, start + len(base))
        moved = torch.addmm(base, self.b[here].float(), self.a.float(), alpha=self.scale)
        if self.magnitude is None:
            return moved
        return moved * (self.magnitude[here].float() / torch.linalg.norm(moved, dim=1))[:, None]


@dataclass(frozen=True)
class TokenRows:
    """Row `tokens[i]` becomes `values[i]`."""

    tokens: tuple[int, ...]
    values: torch.Tensor

    @property
    def shape(self) -> str:
        return f"(more than {max(self.tokens)}, {self.values.shape[1]})"

    def fits(self, shape: torch.Size) -> bool:
        return len(shape) == 2 and shape[1] == self.values.shape[1] and max(self.tokens) < shape[0]

    def rows(self, base: torch.Tensor, start: int) -> torch.Tensor:
        new = base.clone()
        for token, value in zip(self.tokens, self.values, strict=True):
            if start <= token < start + len(base):
                new[token - start] = value.float()
        return new

    def same(self, other: Update | None) -> bool:
        return isinstance(other, TokenRows) and self.tokens == other.tokens and torch.equal(self.values, other.values)


@dataclass(frozen=True)
class Whole:
    """Full fine-tuning: the weight becomes `value`."""

    value: torch.Tensor

    @property
    def shape(self) -> str:
        return str(tuple(self.value.shape))

    def fits(self, shape: torch.Size) -> bool:
        return shape == self.value.shape

    def rows(self, base: torch.Tensor, start: int) -> torch.Tensor:
        return self.value.detach()[start : start + len(base)].float().cpu()


@dataclass
class Drift:
    """Sums over all changed weights; fp64 so that a model of any size adds up."""

    tensors: int = 0
    elements: int = 0
    max_change: float = 0.0
    sum_change: float = 0.0
    squared_base: float = 0.0
    squared_delta: float = 0.0
    squared_rounding: float = 0.0
    max_rounding: float = 0.0

    def add(self, base: torch.Tensor, exact: torch.Tensor, stored: torch.Tensor) -> None:
        """Rows of a weight: `base` and `exact` are fp32, `stored` has the dtype of the file."""
        kept = stored.float()
        change, rounding = (kept - base).abs_(), (kept - exact).abs_()
        self.elements += base.numel()
        self.max_change = max(self.max_change, float(change.max()))
        self.sum_change += float(change.sum(dtype=torch.float64))
        self.max_rounding = max(self.max_rounding, float(rounding.max()))
        self.squared_base += float(base.square().sum(dtype=torch.float64))
        self.squared_delta += float((exact - base).square().sum(dtype=torch.float64))
        self.squared_rounding += float(rounding.square().sum(dtype=torch.float64))

    def summary(self) -> dict[str, float | int]:
        """Relative values are ratios of Frobenius norms over all changed weights."""
        return {
            "merged_tensors": self.tensors,
            "merged_elements": self.elements,
            "max_abs_change": self.max_change,
            "mean_abs_change": self.sum_change / max(1, self.elements),
            "relative_change": math.sqrt(self.squared_delta / self.squared_base) if self.squared_base else 0.0,
            "rounding_error_max": self.max_rounding,
            "rounding_share": math.sqrt(self.squared_rounding / self.squared_delta) if self.squared_delta else 0.0,
        }


def apply(name: str, weight: torch.Tensor, update: Update, drift: Drift) -> torch.Tensor:
    """A copy of `weight` with its update, made some rows at a time. UserError for a wrong shape, WorkFailed for NaN."""
    if not update.fits(weight.shape):
        raise UserError(f"{name} is {tuple(weight.shape)} in the model and {update.shape} in the adapter")
    drift.tensors += 1
    new = torch.empty_like(weight)
    step = max(1, BLOCK // max(1, weight[0].numel()))
    for start in range(0, len(weight), step):
        base = weight[start : start + step].float()
        exact = update.rows(base, start)
        stored = exact.to(weight.dtype)
        if not bool(torch.isfinite(stored).all()):
            raise WorkFailed(f"{name}: the merged matrix holds values that are not numbers in {weight.dtype}")
        drift.add(base, exact, stored)
        new[start : start + step] = stored
    return new


def read_updates(adapter: Path) -> dict[str, Update]:
    """Base tensor name -> its update, from a PEFT folder. UserError for anything in it that is not understood."""
    settings = _adapter_config(adapter)
    file = adapter / ADAPTER_FILE
    check_weights(file)
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in load_file(file).items()}
    strange = [name for name in tensors if not name.endswith(PARTS)]
    if strange:
        raise UserError(f"not an adapter of a supported kind: it holds {strange[0]}", where=str(file))
    updates: dict[str, Update] = {}
    for name in tensors:
        layer = name[: -len(next(part for part in PARTS if name.endswith(part)))]
        if name.endswith(PARTS[3]):
            updates[f"{layer}.weight"] = _token_rows(layer, tensors[name], settings)
        else:
            updates[f"{layer}.weight"] = _low_rank(layer, tensors, settings, file)
    if not updates:
        raise UserError("the adapter is empty", where=str(file))
    return updates


def _low_rank(layer: str, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any], file: Path) -> LowRank:
    a, b, magnitude = (tensors.get(layer + part) for part in PARTS[:3])
    rank, alpha = (_own(settings, key, layer) for key in ("r", "lora_alpha"))
    whole = a is not None and b is not None and (magnitude is not None) == bool(settings.get("use_dora"))
    if a is None or b is None or not whole or not a.shape[0] == b.shape[1] == rank:
        raise UserError(
            f"{layer}: lora_A, lora_B, lora_magnitude_vector and adapter_config.json do not fit together",
            where=str(file),
        )
    return LowRank(a, b, alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank), magnitude)


def _own(settings: Mapping[str, Any], key: str, layer: str) -> Any:
    """A layer's rank or alpha: by the first pattern that matches its name, as PEFT does it."""
    patterns = settings.get({"r": "rank_pattern", "lora_alpha": "alpha_pattern"}[key]) or {}
    return patterns.get(get_pattern_key(list(patterns), layer), settings[key])


def _token_rows(layer: str, values: torch.Tensor, settings: Mapping[str, Any]) -> TokenRows:
    given = settings["trainable_token_indices"]
    if isinstance(given, dict):
        given = next(tokens for name, tokens in given.items() if layer.endswith(name))
    return TokenRows(tuple(given), values)


def _adapter_config(adapter: Path) -> dict[str, Any]:
    path = adapter / "adapter_config.json"
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"not an adapter folder ({error})", where=str(path)) from None
    refused = ("fan_in_fan_out", "modules_to_save", "lora_bias", "target_parameters", "layer_replication")
    present = [name for name in refused if settings.get(name)]
    if settings.get("peft_type") != "LORA" or present:
        raise UserError(
            f"cannot merge this kind of adapter: {', '.join(present) or settings.get('peft_type')}", where=str(path)
        )
    mutated = str(settings.get("init_lora_weights")).lower()
    if mutated.startswith(("pissa", "corda", "olora", "loftq", "lora_ga")):
        raise UserError(
            f"the adapter was saved with init_lora_weights {mutated!r}: it fits a changed base, not this one",
            where=str(path),
            mend="save it with path_initial_model_for_weight_conversion; CodeUp's own adapters are saved that way",
        )
    return settings
