"""How fast answers are made: our engine beside `transformers.generate`, the same prompts and model in the same process.

    way         what
    loop        model.generate, one prompt after the other
    batched     model.generate, left-padded batches in the order of the file
    codeup      engines/hf.py, longest prompts first, a row leaves when it ends and others take its place
    continuous  engines/_continuous.py, what chat and the server use: a waiting row takes the place of one that ended

Every way is given the same prompts, end tokens and limit, and answers greedily; how many answers are token for token
those of the loop is part of the result. Ways take turns over `rounds` rounds and the median counts. Seconds are wall
time; `cpu_s` is processor time of this process, which other load of the machine disturbs less.
Not covered: other engines and the machine's memory (decode.py), sampling (the same work plus one draw per token).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeup import plugins
from codeup.errors import UserError
from codeup.types import Emit, Event, ignore_event

WAYS = ("loop", "batched", "codeup", "continuous")


@dataclass(frozen=True, slots=True)
class Time:
    """One way over all problems: the median round. `same` answers are the loop's, token for token."""

    way: str
    seconds: float
    cpu_s: float
    tokens: int
    same: int

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every way over the same problems."""

    model: str
    engine: str
    problems: int
    max_new_tokens: int
    batch_size: int
    threads: int
    rounds: int
    times: tuple[Time, ...]

    def ratio(self, way: str, against: str, *, cpu: bool = False) -> float:
        """How many times faster `way` was than `against`."""
        by = {each.way: each.cpu_s if cpu else each.seconds for each in self.times}
        return by[against] / by[way]

    def as_json(self) -> dict[str, Any]:
        ratios = {
            f"{way}_over_{peer}{'_cpu' if cpu else ''}": round(self.ratio(way, peer, cpu=cpu), 3)
            for way in ("codeup", "continuous") for peer in ("loop", "batched") for cpu in (False, True)
        }  # fmt: skip
        return {**asdict(self), "ratios": ratios}


def compare(
    folder: Path, *, name: str, benchmark: str = "nano", data: Path | None = None, limit: int | None = None,
    max_new_tokens: int = 256, batch_size: int = 32, rounds: int = 3, threads: int = 0, emit: Emit = ignore_event,
) -> Comparison:  # fmt: skip
    """Answer a benchmark's problems as a base model would, in every way. `threads` 0 leaves torch's own number.

    Raises UserError for sizes that make no sense and prompts that do not fit.
    """
    import torch

    from codeup.chat import base_prompt_ids
    from codeup.engines.hf import Engine

    if min(max_new_tokens, batch_size, rounds) < 1:
        raise UserError(
            f"new tokens {max_new_tokens}, batch size {batch_size}, rounds {rounds}", mend="give each at least 1"
        )
    if threads:
        torch.set_num_threads(threads)
    engine, module = Engine(folder), plugins.load("benchmarks", benchmark)
    problems = module.load(data).problems[:limit]
    prompts = [base_prompt_ids(engine.tokenizer, module.base_prompt(problem)) for problem in problems]
    ways = _ways(engine, prompts, max_new_tokens, batch_size)
    wall: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu: dict[str, list[float]] = {way: [] for way in WAYS}
    answers: dict[str, list[tuple[int, ...]]] = {}
    ways["codeup"]()  # what is done once (memory, kernels) is in nobody's time
    for turn in range(rounds):
        for way in WAYS:
            started, worked = time.perf_counter(), time.process_time()
            answers[way] = ways[way]()
            wall[way].append(time.perf_counter() - started)
            cpu[way].append(time.process_time() - worked)
            emit(Event("progress", f"bench {way}", turn * len(WAYS) + WAYS.index(way) + 1, rounds * len(WAYS), "runs"))
    times = tuple(
        Time(
            way, statistics.median(wall[way]), statistics.median(cpu[way]), sum(map(len, answers[way])),
            sum(one == other for one, other in zip(answers[way], answers["loop"], strict=True)),
        )
        for way in WAYS
    )  # fmt: skip
    return Comparison(
        name, engine.description, len(prompts), max_new_tokens, batch_size, torch.get_num_threads(), rounds, times
    )


Answers = list[tuple[int, ...]]


def _ways(engine: Any, prompts: Sequence[list[int]], new: int, batch_size: int) -> dict[str, Callable[[], Answers]]:
    end = engine.tokenizer.eos_token_id

    def codeup() -> Answers:
        done = engine.generate(prompts, max_new_tokens=new, end_ids=[end], batch_size=batch_size)
        return [answer.ids for answer in done]

    return {
        "loop": lambda: [ids for prompt in prompts for ids in _peer(engine, [prompt], new, end)],
        "batched": lambda: [
            ids
            for start in range(0, len(prompts), batch_size)
            for ids in _peer(engine, prompts[start : start + batch_size], new, end)
        ],
        "codeup": codeup,
        "continuous": lambda: _continuous(engine, prompts, new, end, batch_size),
    }


def _peer(engine: Any, prompts: Sequence[list[int]], new: int, end: int) -> Answers:
    """A batch by transformers' own generate, greedy; answers up to their end token."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in prompts], device=engine.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=engine.device)
    with torch.inference_mode():
        out = engine.model.generate(
            ids, attention_mask=mask, max_new_tokens=new, do_sample=False, eos_token_id=end, pad_token_id=end,
            repetition_penalty=1.0, temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
    rows = out[:, width:].tolist()
    return [tuple(row[: row.index(end) + 1] if end in row else row) for row in rows]


def _continuous(engine: Any, prompts: Sequence[list[int]], new: int, end: int, batch_size: int) -> Answers:
    from codeup.engines._interface import Request

    scheduler = engine.live(max_batch=batch_size, max_queue=len(prompts))
    requests = [
        Request(tuple(prompt), new, frozenset([end]), key=key, stream=False) for key, prompt in enumerate(prompts)
    ]
    tickets = scheduler.submit(requests)
    while scheduler.load() != (0, 0):
        scheduler.step()
    return [tuple(ticket.writing.ids) for ticket in tickets]
