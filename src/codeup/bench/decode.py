"""How near decoding comes to what this machine's memory allows: a token needs every weight read once.

    ceiling   the fastest of some plain reads of memory, by as many threads as the engine uses        bytes/s
    step      the weights, and the keys and values of every row, read once for one token per row      bytes
    share     steps/s * bytes of a step / ceiling;  at batch 1 that is tokens/s of what tokens/s could be

Memory is read before and after every round, and a round's share is of the faster of these two: a virtual machine's
memory is twice as fast in one minute as in the next. What is printed as read is the fastest of all.

Both engines are asked through the interface that chat and the server use, streaming, with random prompts of
PROMPT_TOKENS tokens. An embedding that is not the head too is not counted: a token reads one row of it. A model that
writes many tokens which end within a character is slow in llama.cpp for another reason (engines/_llama_live.py).
Not covered: GPUs, adapters, time to load. A cache as large as the model raises the ceiling and the speed alike.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeup import models
from codeup.types import Emit, Event, ignore_event

PROMPT_TOKENS, NEW_TOKENS, ROUNDS = 128, 64, 3
BATCHES = (1, 16)
READ_BYTES = 512 << 20
READS = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """Decoding `batch` rows at once, the median round; `step_bytes` are read for one token of every row.

    `share_of_ceiling` is the median over rounds of what was read in a second, of what could be read around that round.
    """

    batch: int
    first_token_s: float
    tokens_per_s: float
    step_bytes: int
    share_of_ceiling: float
    rounds: tuple[float, ...] = ()  # each round's share

    @property
    def bytes_per_token(self) -> float:
        return self.step_bytes / self.batch

    @property
    def bytes_per_s(self) -> float:
        return self.tokens_per_s * self.bytes_per_token


@dataclass(frozen=True, slots=True)
class Decoding:
    """An engine's speeds beside the bytes that `threads` threads can read in a second at the best moment."""

    engine: str
    description: str
    threads: int
    ceiling: float
    speeds: tuple[Speed, ...]

    def as_json(self) -> dict[str, Any]:
        speeds = [{**asdict(each), "bytes_per_token": each.bytes_per_token} for each in self.speeds]
        return {**asdict(self), "speeds": speeds}


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An engine ready to be timed. `weights` and `position` are bytes: of a step, and of a row's token before it."""

    name: str
    engine: Any
    threads: int
    weights: int
    position: int


def measure(names: Sequence[str], *, threads: int = 0, emit: Emit = ignore_event) -> list[Decoding]:
    """Time every model of `names`, one after the other: a GGUF file in llama.cpp, anything else in transformers."""
    found = []
    for number, name in enumerate(names):
        emit(Event("progress", "bench decode", number, len(names), "models"))
        loaded = _llamacpp(Path(name).expanduser(), threads) if models.is_gguf(name) else _hf(name, threads)
        reads: list[float] = []
        speeds = tuple(_speed(loaded, batch, reads) for batch in BATCHES)
        found.append(Decoding(loaded.name, loaded.engine.description, loaded.threads, max(reads), speeds))
        if models.is_gguf(name):
            loaded.engine.close()
        del loaded  # one model in memory at a time
    return found


def read_bytes_per_s(threads: int) -> float:
    """Bytes that `threads` threads together read from memory in a second: the best of READS turns of two reads.

    A sum of squares and a maximum over the same float32 values; which is faster depends on the processor (as STREAM
    takes the best of its turns: McCalpin 1995).
    """
    values = np.ones(READ_BYTES // 4, dtype=np.float32)
    parts = np.array_split(values, threads)
    reads: tuple[Callable[[Any], Any], ...] = (lambda part: np.dot(part, part), np.maximum.reduce)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for read in reads * READS:
            started = time.perf_counter()
            list(pool.map(read, parts))
            best = min(best, time.perf_counter() - started)
    return values.nbytes / best


def _hf(name: str, threads: int) -> _Loaded:
    import torch

    from codeup.engines.hf import Engine

    if threads:
        torch.set_num_threads(threads)
    engine = Engine(models.locate(name))
    model = engine.model
    held = {weights.data_ptr(): weights.numel() * weights.element_size() for weights in model.parameters()}
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if embedding.data_ptr() != head.data_ptr():
        del held[embedding.data_ptr()]
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    position = 2 * config.num_hidden_layers * heads * width * embedding.element_size()
    return _Loaded("hf", engine, torch.get_num_threads(), sum(held.values()), position)


def _llamacpp(file: Path, threads: int) -> _Loaded:
    from codeup.engines.llamacpp import Engine

    engine = Engine(file, threads=threads, context=PROMPT_TOKENS + 2 * NEW_TOKENS, slots=max(BATCHES))
    return _Loaded("llamacpp", engine, engine.threads, *gguf_bytes(file))


def gguf_bytes(file: Path) -> tuple[int, int]:
    """Bytes of the weights that a step reads, and of one position's keys and values (in llama.cpp: float16)."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in reader.tensors}
    if "output.weight" in sizes:
        sizes.pop("token_embd.weight")

    def field(name: str) -> int:
        return int(next(value for key, value in reader.fields.items() if key.endswith(f".{name}")).contents())

    values = field("attention.key_length") + field("attention.value_length")
    return sum(sizes.values()), 2 * field("block_count") * field("attention.head_count_kv") * values


def _speed(loaded: _Loaded, batch: int, reads: list[float]) -> Speed:
    """The median of ROUNDS rounds, after one that nobody counts (memory, kernels); `reads` takes what memory gave."""
    before = PROMPT_TOKENS + NEW_TOKENS // 2
    step_bytes = loaded.weights + batch * before * loaded.position
    rounds = []
    for seed in range(ROUNDS + 1):
        if seed:
            reads.append(read_bytes_per_s(loaded.threads))
        first_s, tokens_per_s = _round(loaded.engine, batch, seed)
        if seed:
            reads.append(read_bytes_per_s(loaded.threads))
            rounds.append((first_s, tokens_per_s, tokens_per_s / batch * step_bytes / max(reads[-2:])))
    firsts, speeds, shares = zip(*rounds, strict=True)
    found = (statistics.median(firsts), statistics.median(speeds), step_bytes, round(statistics.median(shares), 4))
    return Speed(batch, *found, tuple(round(share, 4) for share in shares))


def _round(engine: Any, batch: int, seed: int) -> tuple[float, float]:
    """Seconds until every row has its first token, and tokens per second from then on until every row is done."""
    from codeup.engines._interface import Request

    live = engine.live(max_batch=batch)
    prompts = _prompts(engine, batch, seed)
    started = time.perf_counter()
    produced = dict.fromkeys(map(id, live.submit([Request(prompt, NEW_TOKENS) for prompt in prompts])), 0)
    begun_at, begun = 0.0, 0
    while live.load() != (0, 0):
        for ticket, piece in live.step():
            produced[id(ticket)] = piece.produced
        if not begun and all(produced.values()):
            begun_at, begun = time.perf_counter(), sum(produced.values())
    return begun_at - started, (sum(produced.values()) - begun) / (time.perf_counter() - begun_at)


def _prompts(engine: Any, count: int, seed: int) -> list[tuple[int, ...]]:
    """Random prompts, so that none begins as another did and finds its keys kept."""
    draw, special = random.Random(f"{seed} {count}"), set(engine.tokenizer.all_special_ids)
    ids = [id for id in range(len(engine.tokenizer)) if id not in special]
    begin = () if engine.bos_id is None else (engine.bos_id,)
    return [(*begin, *draw.choices(ids, k=PROMPT_TOKENS - len(begin))) for _ in range(count)]
