"""A random tiny Llama and random documents, shared by the training tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codeup.train import loop
from codeup.types import Tokens

VOCABULARY = 61


def tiny_llama(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
        "initializer_range": 0.2,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()


def save_tiny_llama(folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, **changes: Any) -> Path:
    tiny_llama(seed, **changes).to(dtype).save_pretrained(folder)
    return folder


def random_documents(count: int, seed: int = 0, shortest: int = 4, longest: int = 30) -> list[Tokens]:
    """The second half of each document is trained."""
    random = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        length = int(random.integers(shortest, longest + 1))
        ids = tuple(random.integers(0, VOCABULARY, length).tolist())
        documents.append(Tokens(ids, tuple(at >= length // 2 for at in range(length))))
    return documents


@torch.no_grad()
def plain_loss(documents: list[Tokens], model: torch.nn.Module) -> float:
    """Mean over trained tokens, one document at a time, through transformers' own forward pass."""
    total, count = 0.0, 0
    for document in documents:
        ids = torch.tensor([document.ids])
        marks = np.array(document.trained)[1:]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1][marks]
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:][marks], reduction="sum"))
        count += int(marks.sum())
    return total / count


def stop_in_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in step `number`, when gradients are there and no weight has changed."""
    steps = iter(range(1, number))
    original = loop.accumulate

    def interrupted(*arguments: Any) -> Any:
        total = original(*arguments)
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return total

    monkeypatch.setattr(loop, "accumulate", interrupted)
