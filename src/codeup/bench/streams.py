"""Many streams at once against a running server: are all answers whole and their own, and how long do they take.

    1. each of the prompts alone, greedy: the answers that are expected
    2. `streams` clients, each asking one prompt after the other for `seconds`: every streamed text is compared

A text that differs is counted as mixed, a stream that ends without a finish reason or with an error as lost. Greedy
answers in float32 depend on their batch by rounding only; a near tie that falls the other way would count as mixed
here. Servers without [DONE] or /metrics can be measured too.
Not covered: clients that read slowly or hang up (tests/test_serve_hostile.py).
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codeup.bench.measure import size_bytes, tree
from codeup.engines._endpoint import Endpoint
from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.types import Emit, Event, ignore_event

PROMPTS = tuple(f"def {name}(values):\n    " for name in (
    "total", "largest", "count_even", "reverse", "is_sorted", "last", "squares", "without_zeros",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """`alone_tokens_per_s` is of one stream after the other; memory is the server's, in MiB, before and at most."""

    model: str
    streams: int
    seconds: float
    answers: int
    mixed: int
    lost: int
    tokens: int
    alone_tokens_per_s: float
    first_s: tuple[float, float, float]
    whole_s: tuple[float, float, float]
    memory_mb: tuple[float, float]
    errors: tuple[str, ...]

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "tokens_per_s": round(self.tokens_per_s, 2)}


@dataclass(slots=True)
class _Seen:
    """What all clients saw, under one lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    firsts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    tokens: int = 0
    mixed: int = 0
    errors: list[str] = field(default_factory=list)


def load(
    url: str, *, model: str = "", key: str | None = None, streams: int = 64, seconds: float = 60.0,
    max_tokens: int = 48, pid: int = 0, prompts: Sequence[str] = PROMPTS, emit: Emit = ignore_event,
) -> Load:  # fmt: skip
    """`pid`: the server's process, whose tree's memory is measured; without it the server's own /metrics says.

    Raises UserError where the server is not there or gives no answer alone.
    """
    if streams < 1 or seconds <= 0:
        raise UserError(f"{streams} streams for {seconds:g} s", mend="give at least 1 stream, and more than 0 seconds")
    endpoint = Endpoint(url, key=key)
    model = model or endpoint.only_model()
    expected, alone = {}, _Seen()
    started = time.perf_counter()
    for prompt in prompts:
        expected[prompt] = _ask(endpoint, model, prompt, max_tokens, alone)
    alone_per_s = alone.tokens / (time.perf_counter() - started)
    before = most = _memory_mb(endpoint, pid)
    seen, ends = _Seen(), time.monotonic() + seconds

    def client(number: int) -> None:
        turn = number
        while time.monotonic() < ends:
            prompt = prompts[turn % len(prompts)]
            turn += 1
            try:
                text = _ask(endpoint, model, prompt, max_tokens, seen)
            except CodeUpError as error:
                with seen.lock:
                    seen.errors.append(str(error)[:200])
                continue
            if text != expected[prompt]:
                with seen.lock:
                    seen.mixed += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(streams)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(1.0, seconds / 4))
        most = max(most, _memory_mb(endpoint, pid))
        emit(Event("progress", "streams", min(seconds, time.perf_counter() - started), seconds, "s"))
    took = time.perf_counter() - started
    return Load(
        model, streams, took, len(seen.wholes), seen.mixed, len(seen.errors), seen.tokens, alone_per_s,
        _quantiles(seen.firsts), _quantiles(seen.wholes), (before, most), tuple(sorted(set(seen.errors))[:5]),
    )  # fmt: skip


def _ask(endpoint: Endpoint, model: str, prompt: str, max_tokens: int, seen: _Seen) -> str:
    """One streamed answer; its times and tokens go to `seen`."""
    body = {
        "model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    started, first, texts, tokens, ended = time.perf_counter(), 0.0, [], 0, False
    for event in endpoint.stream("/completions", body, done=False):
        first = first or time.perf_counter() - started
        texts += [choice["text"] for choice in event["choices"]]
        ended = ended or any(choice.get("finish_reason") for choice in event["choices"])
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    if not ended:
        raise WorkFailed("a stream broke off")
    with seen.lock:
        seen.firsts.append(first)
        seen.wholes.append(time.perf_counter() - started)
        seen.tokens += tokens
    return "".join(texts)


def _quantiles(values: list[float]) -> tuple[float, float, float]:
    """Median, 95th percentile and largest."""
    if len(values) < 2:
        return (values[0], values[0], values[0]) if values else (0.0, 0.0, 0.0)
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18], max(values)


def _memory_mb(endpoint: Endpoint, pid: int) -> float:
    """Memory of the server: PSS of its process tree, or resident by its own /metrics; 0 where neither is there."""
    if pid:
        return sum(size_bytes(each) for each in tree(pid)) / 2**20
    try:
        text = Endpoint(endpoint.url.removesuffix("/v1"), key=endpoint.key).text("/metrics")
    except UserError:
        return 0.0
    for line in text.splitlines():
        if line.startswith("process_resident_memory_bytes "):
            return float(line.split()[1]) / 2**20
    return 0.0
