"""The adapter: which layers get one, of which kind, and its files.

LoRA (Hu et al. 2021, arXiv 2106.09685): a frozen (out, in) matrix W gets a trained low-rank companion,

    y = x W^T + s * dropout(x) A^T B^T      A (r, in) random, B (out, r) zero, s = alpha / r  (rsLoRA: alpha / sqrt r)

and its kin, all made by PEFT, whose file format is ours:

    rsLoRA    another s                                                                              arXiv 2312.03732
    DoRA      rows of W + s B A are scaled to lengths that are trained apart                         arXiv 2402.09353
    PiSSA     A and B begin as the largest singular directions of W, and W without them (pissa.py)   arXiv 2404.02948
    LoRA+     B learns faster than A (`parameter_groups`)                                            arXiv 2402.12354
    tokens    some rows of embedding and head are trained as they are (token_rows.py)

The arithmetic of plain LoRA layers is in products.py; all other layers are computed by PEFT.
Not covered: adapters on embeddings or the head, trained biases.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from peft.utils.other import get_pattern_key
from transformers import PreTrainedModel

from codeup.errors import UserError
from codeup.recipe_checks import conflicts
from codeup.train import pissa, shards
from codeup.train.base import renamed_in_transformers_6
from codeup.train.products import MergedLinear
from codeup.train.shapes import chosen

ADAPTER_FILE = "adapter_model.safetensors"
SETTINGS: dict[str, Any] = {
    "r": 16,
    "alpha": 32,
    "dropout": 0.0,
    "targets": "all-linear",
    "use_rslora": False,
    "use_dora": False,
    "init": "zero",
    "rank_pattern": {},
    "alpha_pattern": {},
    "token_ids": [],
    "token_init": "keep",
    "plus_ratio": 1.0,
}
"""What train_sft's `lora` takes, and the defaults."""


def complete(
    given: Mapping[str, Any], *, method: str, quantization: str, strategy: str = "ddp"
) -> dict[str, Any]:  # fmt: skip
    """All settings, with defaults. UserError for unknown names and for combinations that do not work."""
    if unknown := sorted(set(given) - set(SETTINGS)):
        raise UserError(
            f"unknown setting {', '.join(unknown)}", where="lora", mend=f"choose from: {', '.join(SETTINGS)}"
        )
    settings = {**SETTINGS, **given}
    found = conflicts(
        method=method,
        quantization=quantization,
        dora=settings["use_dora"],
        init=settings["init"],
        trains_tokens=bool(settings["token_ids"]),
        token_init=settings["token_init"],
        strategy=strategy,
    )
    if found:
        raise UserError(found[0][1], where=found[0][0])
    return settings


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
    use_dora: bool = False,
    init: str = "zero",
    rank_pattern: Mapping[str, int] | None = None,
    alpha_pattern: Mapping[str, float] | None = None,
    token_ids: Sequence[int] = (),
    seed: int = 0,
) -> PeftModel:
    """Freeze `model` and give it fp32 adapters on `targets`, and trained rows of `token_ids`.

    `init` is zero, pissa or pissa_fast; the latter two change the weights of `model`. UserError lists the layers when a
    target is unknown, or a pattern that no target matches.
    """
    names = linear_names(model)
    if not names:
        raise UserError(
            f"{type(model).__name__} has no linear layers that adapters could go on",
            mend="use a decoder such as Llama, Mistral, Qwen2 or Qwen3",
        )
    wanted = chosen(names, targets)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=wanted,
        use_rslora=use_rslora,
        use_dora=use_dora,
        init_lora_weights=pissa.PEFT_NAMES.get(init, True),
        rank_pattern=dict(rank_pattern or {}),
        alpha_pattern=dict(alpha_pattern or {}),
        trainable_token_indices=_token_layers(model, token_ids),
        bias="none",
        task_type=TaskType.CAUSAL_LM,
    )
    if not getattr(model, "is_quantized", False):  # a 4-bit layer is an nn.Linear too, and PEFT has its own for it
        config._register_custom_module({torch.nn.Linear: MergedLinear})
    torch.manual_seed(seed)
    with renamed_in_transformers_6():
        adapted = get_peft_model(model, config)
    _refuse_idle_patterns(adapted, [*config.rank_pattern, *config.alpha_pattern])
    if init in pissa.PEFT_NAMES:
        pissa.refuse_large_ranks(adapted)
    return adapted


def uncovered(model: PeftModel) -> dict[str, int]:
    """Parameters that stay as they are because no adapter reaches them, by the end of their name.

    Embeddings, head, norms and biases are not counted: LoRA leaves them alone. What is left are matrices that are not
    linear layers: {"experts.gate_up_proj": 235929600} in a Mixtral, whose experts transformers keeps as one tensor.
    """
    base = model.get_base_model()
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    skipped = {id(p) for module in ends if module is not None for p in module.parameters()}
    found: dict[str, int] = {}
    for name, parameter in base.named_parameters():
        adapted = ".base_layer." in name or ".lora_" in name or "trainable_tokens" in name
        if parameter.ndim >= 2 and not adapted and id(parameter) not in skipped:
            end = ".".join(name.removesuffix(".weight").split(".")[-2:])
            found[end] = found.get(end, 0) + parameter.numel()
    return found


def _token_layers(model: PreTrainedModel, token_ids: Sequence[int]) -> dict[str, list[int]] | None:
    """Rows to train by layer name. A tied head follows the embedding; an untied one gets the same rows."""
    if not token_ids:
        return None
    rows = model.get_input_embeddings().weight.shape[0]
    outside = [token for token in token_ids if not 0 <= token < rows]
    if outside:
        raise UserError(f"token {outside[0]} is not in the model's {rows}", where="lora.trainable_tokens")
    layers = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        layers.append(model.get_output_embeddings())
    names = [next(name for name, module in model.named_modules() if module is layer) for layer in layers]
    return {name.rsplit(".", 1)[-1]: sorted(set(token_ids)) for name in names}


def _refuse_idle_patterns(model: PeftModel, patterns: Iterable[str]) -> None:
    """A pattern that matches nothing is a misspelt name: the layer would silently have the default rank."""
    targeted = model.base_model.targeted_module_names
    for pattern in patterns:
        if all(get_pattern_key([pattern], name) != pattern for name in targeted):
            raise UserError(
                f"{pattern!r} is the name of no layer with an adapter",
                where="lora.rank_pattern or lora.alpha_pattern",
                mend=f"write the end of a name, like {targeted[0].rsplit('.', 1)[-1]} or {targeted[0]}",
            )


def parameter_groups(
    named: Mapping[str, torch.nn.Parameter], *, plus_ratio: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Groups for the optimiser. `scale` multiplies the scheduled learning rate (LoRA+: of B, `plus_ratio` times A's).

    Decay pulls towards zero, which is right for A and B and wrong for what begins elsewhere: lengths (DoRA), token
    rows, norms and biases have none.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in named.items():
        scale = plus_ratio if ".lora_B." in name else 1.0
        decays = parameter.ndim > 1 and "trainable_tokens" not in name
        groups.setdefault((scale, weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": group, "scale": scale, "weight_decay": decay} for (scale, decay), group in groups.items()]


def save_adapter(
    model: PeftModel, folder: Path, *, facts: dict[str, Any], initial: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write the PEFT files and codeup_adapter.json (`facts`: the base it belongs to). Same weights, same bytes.

    `initial` is what PiSSA began with: the files then hold an adapter of twice the rank for the base as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    config = model.peft_config["default"].to_dict()
    if initial is not None:
        state, config = pissa.as_ordinary(state, config, initial)
    shards.save(state, folder / ADAPTER_FILE)
    config = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    config["target_modules"] = sorted(config["target_modules"])
    config.update(
        inference_mode=True,
        base_model_name_or_path=facts.get("base_hub_id") or facts.get("base", ""),
        revision=facts.get("base_revision"),
    )
    _write_json(folder / "adapter_config.json", config)
    _write_json(folder / "codeup_adapter.json", facts)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
