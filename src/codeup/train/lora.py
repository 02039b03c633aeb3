"""The adapter: which layers get one, a lean forward pass, and its files.

LoRA (Hu et al. 2021, arXiv 2106.09685): a frozen (out, in) matrix W gets a trained low-rank companion,

    y = x W^T + s * dropout(x) A^T B^T      A (r, in) random, B (out, r) zero, s = alpha / r  (rsLoRA: alpha / sqrt r)

PEFT makes the layers and its file format is ours; the arithmetic of plain LoRA layers is in products.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel

from codeup.errors import UserError
from codeup.train.base import renamed_in_transformers_6
from codeup.train.products import MergedLinear

ADAPTER_FILE = "adapter_model.safetensors"


def linear_names(model: PreTrainedModel) -> list[str]:
    """Last parts of the names of all linear layers except the output head: q_proj, k_proj, ..."""
    head = model.get_output_embeddings()
    linears = (
        name for name, module in model.named_modules() if "Linear" in type(module).__name__ and module is not head
    )
    return sorted({name.rsplit(".", 1)[-1] for name in linears})


def attach(
    model: PreTrainedModel,
    *,
    r: int,
    alpha: float,
    dropout: float = 0.0,
    targets: str | Sequence[str] = "all-linear",
    use_rslora: bool = False,
    seed: int = 0,
) -> PeftModel:
    """Freeze `model` and give it fp32 adapters on `targets`. UserError lists the layers when a target is unknown."""
    names = linear_names(model)
    if not names:
        raise UserError(
            f"{type(model).__name__} has no linear layers that adapters could go on",
            mend="use a decoder such as Llama, Mistral, Qwen2 or Qwen3",
        )
    wanted = names if targets == "all-linear" else ([targets] if isinstance(targets, str) else list(targets))
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError(
            f"the model has no linear layer called {', '.join(map(repr, unknown))}",
            where="lora.targets",
            mend=f"choose from: all-linear, {', '.join(names)}",
        )
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=wanted,
        use_rslora=use_rslora,
        bias="none",
        task_type=TaskType.CAUSAL_LM,
    )
    if not getattr(model, "is_quantized", False):  # a 4-bit layer is an nn.Linear too, and PEFT has its own for it
        config._register_custom_module({torch.nn.Linear: MergedLinear})
    torch.manual_seed(seed)
    with renamed_in_transformers_6():
        return get_peft_model(model, config)


def save_adapter(model: PeftModel, folder: Path, *, facts: dict[str, Any]) -> None:
    """Write the PEFT files and codeup_adapter.json (`facts`: the base it belongs to). Same weights, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(state, folder / ADAPTER_FILE, metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    config["target_modules"] = sorted(config["target_modules"])
    config.update(inference_mode=True, base_model_name_or_path=facts.get("base", ""))
    _write_json(folder / "adapter_config.json", config)
    _write_json(folder / "codeup_adapter.json", facts)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
