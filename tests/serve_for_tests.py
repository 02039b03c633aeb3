"""A CodeUp server in a thread of the tests, on a free port, with a tiny random model that writes many kinds of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from server_for_tests import in_a_thread
from tokenizers_for_tests import byte_level
from transformers import LlamaConfig, LlamaForCausalLM

from codeup.serve import app, running
from codeup.serve.desk import Desk


@dataclass
class Running:
    """A server that answers. `base` is http://127.0.0.1:PORT."""

    base: str
    desk: Desk

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=300, **more)


def tiny_model(path: Path, *, context: int = 512, seed: int = 0) -> Path:
    """A random Llama of 60 thousand parameters whose weights are large enough that its output varies."""
    tokenizer = byte_level()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@contextmanager
def served(
    folder: Path, *, name: str = "tiny", adapters: Mapping[str, Path] | None = None, template: str | None = "alpaca",
    token: str | None = None, limits: app.Limits | None = None, load: Callable[[], Any] | None = None,
    host: str = "127.0.0.1", wait: bool = True, more_routes: Sequence[Any] = (),
) -> Iterator[Running]:  # fmt: skip
    """Serve a model until the block ends."""
    limits = limits or app.Limits()
    load = load or running.hf_loader(
        folder, name, adapters or {}, template=template, device="cpu", dtype="auto", limits=limits
    )
    listening = running.bind("127.0.0.1", 0)
    server, desk = running.prepare(load, host=host, limits=limits, token=token, more_routes=more_routes)
    with in_a_thread(server, listening, desk, wait=wait) as address:
        yield Running(address, desk)
