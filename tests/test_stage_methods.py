"""Stages of a recipe with other methods than LoRA, on the packaged base: what the run leaves loads everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_models import random_documents, save_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, MixtralConfig, MixtralForCausalLM

from codeup import recipe as recipes
from codeup import run, study
from codeup.chat import load_renderer
from codeup.errors import UserError
from codeup.nano import base_folder
from codeup.train.sft import train_sft
from codeup.train.token_rows import token_ids
from codeup.train.tokens import write_tokens
from codeup.types import Artifact, Message

RECIPE = """\
name: methods
model: {base: nano-base, template: llama3}
devices: cpu
data:
  code: {sources: [{source: evol_codealpaca_v1, path: "nano:code", rows: 40}], cutoff: 256, validation_rows: 4}
stages:
  - &stage
    name: rows
    data: code
    epochs: 1
    learning_rate: 1e-3
    batch_tokens: 2048
    pack_length: 256
    lora: {r: 4, alpha: 8, dropout: 0.0, trainable_tokens: template}
  - {<<: *stage, name: whole, method: full, lora: {}}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("methods")
    steps = study.compile_recipe(recipes.parse(RECIPE, overrides=[f"run_dir={folder}"]))
    return run.run(steps, folder, only="merge-rows-whole")


def test_the_rows_of_the_templates_tokens_change_and_no_other(done: dict[str, Artifact]) -> None:
    before = load_file(base_folder() / "model.safetensors")
    after = load_file(Path(done["merge-rows"].folder) / "model" / "model.safetensors")
    special = sorted(load_renderer(base_folder(), "llama3").special_tokens.values())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        changed = (before[name] != after[name]).any(1).nonzero().flatten().tolist()
        assert set(changed) <= set(special) and len(changed) >= 3
    assert done["train-rows"].summary["untrained_tokens"] == {}


def test_a_full_stage_starts_from_the_merged_model_and_is_passed_on(done: dict[str, Artifact]) -> None:
    summary = done["train-rows-whole"].summary
    assert summary["method"] == "full" and summary["trainable_parameters"] == summary["total_parameters"]
    trained, merged = (Path(done[f"{step}-rows-whole"].folder) / "model" for step in ("train", "merge"))
    assert (trained / "model.safetensors").samefile(merged / "model.safetensors")
    assert not (trained / "tokenizer_config.json").samefile(merged / "tokenizer_config.json")
    before = load_file(Path(done["merge-rows"].folder) / "model" / "model.safetensors")
    after = load_file(merged / "model.safetensors")
    assert {name for name in before if not torch.equal(before[name], after[name])} > {"lm_head.weight"}


def test_the_adapter_names_the_packaged_base_and_a_later_one_the_step_before_it(done: dict[str, Artifact]) -> None:
    path = Path(done["train-rows"].folder) / "adapter" / "codeup_adapter.json"
    facts = json.loads(path.read_text())
    assert facts["base_name"] == "nano-base" and facts["base_revision"] is None and facts["base_hub_id"] is None


@pytest.mark.parametrize("step", ["merge-rows", "merge-rows-whole"])
def test_the_model_loads_in_plain_transformers_with_the_ids_of_training(step: str, done: dict[str, Artifact]) -> None:
    folder = Path(done[step].folder) / "model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config, generation = model.config, GenerationConfig.from_pretrained(folder)
    eot = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert tokenizer.eos_token_id == eot and eot in generation.eos_token_id and eot in config.eos_token_id
    assert tokenizer.pad_token_id == generation.pad_token_id == config.pad_token_id
    assert tokenizer.pad_token_id not in generation.eos_token_id
    assert len(tokenizer) <= config.vocab_size == model.get_input_embeddings().weight.shape[0]
    messages: list[Any] = [{"role": "user", "content": "Add two numbers."}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert ids == load_renderer(folder).prompt([Message("user", "Add two numbers.")])


def test_the_class_name_is_one_that_older_loaders_know(done: dict[str, Artifact]) -> None:
    """transformers 4 has no TokenizersBackend, and wants a mapping where 5 lists extra_special_tokens."""
    path = Path(done["merge-rows"].folder) / "model" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and "extra_special_tokens" not in config


def test_tokens_are_named_by_text_or_id() -> None:
    renderer = load_renderer(base_folder(), "llama3")
    assert token_ids(["<|eot_id|>", 3], renderer) == [3, 5]
    assert token_ids("none", renderer) == []
    assert token_ids("template", renderer) == [0, 3, 4, 5]
    with pytest.raises(UserError, match=r"no token '<\|eot\|>'"):
        token_ids(["<|eot|>"], renderer)


def test_experts_that_get_no_adapter_are_named(tmp_path: Path) -> None:
    """Mixtral's experts are tensors of three dimensions; a dense model has no such weights, and no note."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(tmp_path / "experts")
    save_tiny_llama(tmp_path / "dense")
    write_tokens(tmp_path / "tokens", random_documents(6))
    notes: dict[str, list[str]] = {"experts": [], "dense": []}
    for name, heard in notes.items():
        train_sft(
            model=tmp_path / name, tokens=tmp_path / "tokens", validation=None, out=tmp_path / f"{name}-out",
            lora={"r": 2, "alpha": 4}, pack_length=64, tokens_per_batch=1024,
            emit=lambda event, heard=heard: heard.append(event.text) if event.kind == "note" else None,  # type: ignore[misc]
        )  # fmt: skip
    assert any("get no adapter" in text and "experts.gate_up_proj" in text for text in notes["experts"])
    assert not any("get no adapter" in text for text in notes["dense"])
