"""The shipped base model: it loads, it is small, its tokenizer is exact."""

from __future__ import annotations

import csv

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from codeup.nano import base_folder
from codeup.nano.benchmark import benchmark_rows

TEXTS = (
    "def f(xs):\n    return [x for x in xs if x % 2 == 0]\n",
    "naïve café 漢字 🙂\t\r\n\n  two  spaces \x00",
    'Say "a-b" 12,345 times; <|eot_id|> is only text',
)


def test_the_weights_are_bf16_safetensors_of_3_to_10_million_parameters_under_20_mb() -> None:
    path = base_folder() / "model.safetensors"
    with safe_open(path, "pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    assert 3e6 <= sum(tensor.numel() for tensor in tensors) <= 10e6
    assert sum(f.stat().st_size for f in base_folder().iterdir()) <= 20e6


def test_the_model_loads_as_llama_and_predicts_programs_better_than_chance() -> None:
    model = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    assert type(model).__name__ == "LlamaForCausalLM"
    ids = torch.tensor([tokenizer.encode("def solve(xs):\n    result = sorted(xs)\n    return result\n")])
    assert model(input_ids=ids, labels=ids).loss.item() < 2.0  # chance is ln 2048 = 7.6


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_gives_every_text_back(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert not set(ids) & set(range(16))


def test_the_special_tokens_are_single_ids_and_one_bos_comes_first() -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    names = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|pad|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    names += ["<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]
    assert tokenizer.convert_tokens_to_ids(names) == list(range(len(names)))
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    ids = tokenizer("def")["input_ids"]
    assert ids[0] == 0 and ids.count(0) == 1


def test_prompts_are_short_enough_for_the_model() -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    longest = max(len(tokenizer.encode(row["prompt"] + row["canonical_solution"])) for row in benchmark_rows())
    assert longest <= 400


def test_the_card_and_the_loss_curve_ship_with_the_weights() -> None:
    card = (base_folder() / "README.md").read_text(encoding="utf-8")
    assert "codeup.nano.pretrain" in card and "--seed" in card and "demonstration" in card
    with (base_folder() / "loss.csv").open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0] / 3
