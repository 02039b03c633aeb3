"""Continuous batching: requests join and leave the running batch between steps, each with its own settings.

    step   batch                      what happens
    1      [a]                        a was waiting: its prompt is read, its first token chosen
    2      [a b c]                    b and c joined: their prompts are read together, then a's next token
    3      [a c]                      b ended at its stop string; c's token, a's token
    4      [c]                        a was cancelled: its row is gone before the step

One batch per adapter, all on one base model; a step serves each of them in turn. Admission is first come, first served.
A request's tokens do not depend on its company beyond float rounding: its row sees only itself, and draws from its own
random stream. Where a model's cache cannot take new rows (sliding windows, recurrent layers), requests join only an
empty batch. Not covered: prefix sharing, reading a long prompt in parts (while it is read, the others wait).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from codeup.engines._choose import choose_each, draws
from codeup.engines._interface import Deliver, Piece, QueueFull, Request, Token
from codeup.engines._slots import SlotCache
from codeup.engines._writing import Writer, Writing


@dataclass(slots=True, eq=False)
class Row:
    """A request on its way. `length` counts the tokens whose keys are cached, `last` is the newest, not cached yet."""

    request: Request
    writing: Writing
    draws: torch.Tensor
    length: int = 0
    last: int = -1
    cancelled: bool = False


Told = list[tuple[Row, Piece]]


class Models(Protocol):
    """Where a step finds the model to run: the base, or the base with an adapter switched on."""

    def use(self, adapter: str) -> Any: ...


class Batch:
    """The running requests of one adapter and their cache."""

    def __init__(self, config: Any) -> None:
        self.rows: list[Row] = []
        self._config = config
        self.joinable = SlotCache.fits(config)
        self._cache = self._new_cache()

    def _new_cache(self) -> Any:
        return SlotCache(self._config) if self.joinable else DynamicCache(config=self._config)

    def join(self, model: Any, rows: Sequence[Row]) -> Told:
        """Read the prompts of new rows and choose their first tokens."""
        lengths = [len(row.request.prompt) for row in rows]
        width = max(lengths)
        ids = torch.tensor([[0] * (width - len(row.request.prompt)) + list(row.request.prompt) for row in rows])
        mask = _mask(lengths, width)
        cache = self._new_cache()
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = _forward(model, ids, mask, positions, cache)
        if self.rows:
            self._cache.join(cache)
        else:
            self._cache = cache
        self.rows += rows
        for row, length in zip(rows, lengths, strict=True):
            row.length = length
        return self._told(rows, logits)

    def step(self, model: Any) -> Told:
        """One token for every row, (n, 1) -> (n, V)."""
        ids = torch.tensor([[row.last] for row in self.rows])
        positions = torch.tensor([[row.length] for row in self.rows])
        for row in self.rows:
            row.length += 1
        width = self._cache.get_seq_length() + 1
        mask = _mask([row.length for row in self.rows], width)
        return self._told(list(self.rows), _forward(model, ids, mask, positions, self._cache))

    def drop(self, gone: Sequence[Row]) -> None:
        """Free the rows of requests that ended."""
        if not gone:
            return
        if len(gone) == len(self.rows):
            self.clear()
            return
        places = [place for place, row in enumerate(self.rows) if row in gone]
        if self.joinable:
            staying = self._cache.drop(places, [row.length for row in self.rows])
        else:
            staying = [place for place in range(len(self.rows)) if place not in places]
            self._cache.batch_select_indices(torch.tensor(staying))
        self.rows = [self.rows[place] for place in staying]

    def clear(self) -> list[Row]:
        """Let go of everything; returns the rows there were."""
        rows, self.rows, self._cache = self.rows, [], self._new_cache()
        return rows

    def _told(self, rows: Sequence[Row], logits: torch.Tensor) -> Told:
        """Choose a token per row, tell what it brings, free the rows that ended."""
        tokens = _choose(rows, logits.float())
        told: Told = []
        for row, token in zip(rows, tokens, strict=True):
            row.last = token.id
            if row.request.constraint is not None and token.id not in row.request.end_ids:
                row.request.constraint.accept(token.id)
            told.append((row, row.writing.push(token)))
        self.drop([row for row, piece in told if piece.finish is not None])
        return told


def _mask(lengths: Sequence[int], width: int) -> torch.Tensor:
    """(n, width), 1 over the last `length` columns of each row."""
    return (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()


def _forward(model: Any, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
    """Logits of the last position, (n, V)."""
    where = model.device
    output = model(
        input_ids=ids.to(where),
        attention_mask=mask.to(where),
        position_ids=positions.to(where),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def _choose(rows: Sequence[Row], logits: torch.Tensor) -> list[Token]:
    """A token per row with the log-probabilities it was asked to report; (n, V) logits."""
    allowed = logits
    for place, row in enumerate(rows):
        if row.request.constraint is not None:
            if allowed is logits:
                allowed = logits.clone()
            allowed[place, ~row.request.constraint.mask().to(logits.device)] = float("-inf")
    ids = choose_each(
        allowed,
        [float(row.draws[len(row.writing.ids)]) if row.request.temperature > 0 else 0.0 for row in rows],
        [row.request.temperature for row in rows],
        [row.request.top_p for row in rows],
    )
    tokens = [Token(id) for id in ids]
    for place, row in enumerate(rows):
        wanted = row.request.logprobs
        if wanted is not None:
            scores = logits[place].log_softmax(-1)
            best = scores.topk(wanted) if wanted else None
            top = zip(best.indices.tolist(), best.values.tolist(), strict=True) if best else ()
            tokens[place] = Token(ids[place], float(scores[ids[place]]), tuple(top))
    return tokens


@dataclass(slots=True)
class _Shared:
    """What threads share, under one lock."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: deque[Row] = field(default_factory=deque)
    cancelled: list[Row] = field(default_factory=list)
    running: int = 0
    stopped: bool = False


class Scheduler:
    """Requests of any thread, answered in batches by the one thread that calls `run` (or `step`).

    max_batch: rows that run at once. max_queue: requests that may wait beyond them. prefill_tokens: bound on
    rows * longest prompt that are read in one go (a single longer prompt is read alone).
    """

    def __init__(
        self, models: Models, config: Any, writer: Writer, *, max_batch: int = 16, max_queue: int = 64,
        prefill_tokens: int = 8192,
    ) -> None:  # fmt: skip
        self._models, self._config, self._writer = models, config, writer
        self.max_batch, self.max_queue, self.prefill_tokens = max_batch, max_queue, prefill_tokens
        self._batches: dict[str, Batch] = {}
        self._shared = _Shared()

    def submit(self, requests: Sequence[Request]) -> list[Row]:
        """Let requests wait for their turn, all or none. Raises QueueFull."""
        rows = [self._row(request) for request in requests]
        with self._shared.changed:
            waiting = len(self._shared.waiting)
            if waiting + len(rows) > self.max_queue + max(0, self.max_batch - self._shared.running):
                raise QueueFull(waiting)
            self._shared.waiting.extend(rows)
            self._shared.changed.notify()
        return rows

    def _row(self, request: Request) -> Row:
        drawn = draws(request.seed, request.key, request.max_new_tokens, request.temperature)
        return Row(request, Writing(self._writer, request), drawn)

    def cancel(self, ticket: Row) -> None:
        """Free its row at the next step; harmless where it has ended."""
        with self._shared.changed:
            ticket.cancelled = True
            self._shared.cancelled.append(ticket)
            self._shared.changed.notify()

    def load(self) -> tuple[int, int]:
        """Requests in the batch, and waiting."""
        with self._shared.changed:
            return self._shared.running, len(self._shared.waiting)

    def stop(self) -> None:
        """Let `run` return; what is unfinished is told that it was cancelled."""
        with self._shared.changed:
            self._shared.stopped = True
            self._shared.changed.notify()

    def run(self, deliver: Deliver) -> None:
        """Answer until `stop`. An error in a step fails the requests of its batch, and the next ones are answered."""
        while self._wait():
            deliver(self.step())
        deliver(self._give_up("cancelled", ""))

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when stopped."""
        shared = self._shared
        with shared.changed:
            while not (shared.stopped or shared.waiting or shared.cancelled or shared.running):
                shared.changed.wait()
            return not shared.stopped

    @torch.inference_mode()
    def step(self) -> Told:
        """Admit who waits, then one token for everybody; what each request was told."""
        told = self._drop_cancelled()
        for adapter, rows in self._admitted().items():
            told += self._advance(adapter, self._batches.setdefault(adapter, Batch(self._config)), rows)
        for adapter, batch in list(self._batches.items()):
            if batch.rows:
                told += self._advance(adapter, batch, [])
            else:
                del self._batches[adapter]
        with self._shared.changed:
            self._shared.running = self._running()
        return told

    def _advance(self, adapter: str, batch: Batch, joining: Sequence[Row]) -> Told:
        """Let rows join a batch, or take its next step; if that fails, its requests fail and its memory is freed."""
        try:
            model = self._models.use(adapter)
            return batch.join(model, joining) if joining else batch.step(model)
        except Exception as error:
            gone = {id(row): row for row in [*batch.clear(), *joining]}.values()
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            why = f"{type(error).__name__}: {error}"
            return [(row, row.writing.end("failed", why)) for row in gone]

    def _running(self) -> int:
        return sum(len(batch.rows) for batch in self._batches.values())

    def _drop_cancelled(self) -> Told:
        shared = self._shared
        with shared.changed:
            gone = {id(row) for row in shared.cancelled}
            shared.cancelled.clear()
            if not gone:
                return []
            dropped = [row for row in shared.waiting if id(row) in gone]
            shared.waiting = deque(row for row in shared.waiting if id(row) not in gone)
        for batch in self._batches.values():
            ended = [row for row in batch.rows if id(row) in gone]
            batch.drop(ended)
            dropped += ended
        return [(row, row.writing.end("cancelled")) for row in dropped]

    def _admitted(self) -> dict[str, list[Row]]:
        """Who joins now, by adapter: first come, first served, while rows and prompt tokens allow.

        Reading one prompt costs about as much as a step of the whole batch. Where more wait than there is room for,
        they join when a quarter of the batch is free, and are read together.
        """
        admitted: dict[str, list[Row]] = {}
        count = self._running()
        with self._shared.changed:
            free = self.max_batch - count
            if count and free < min(len(self._shared.waiting), self.max_batch // 4):
                return admitted
            while self._shared.waiting and count < self.max_batch:
                row = self._shared.waiting[0]
                rows = admitted.get(row.request.adapter, [])
                batch = self._batches.get(row.request.adapter)
                if batch is not None and batch.rows and not batch.joinable:
                    break
                longest = max(len(other.request.prompt) for other in [*rows, row])
                if rows and longest * (len(rows) + 1) > self.prefill_tokens:
                    break
                admitted.setdefault(row.request.adapter, []).append(self._shared.waiting.popleft())
                count += 1
            self._shared.running = count
        return admitted

    def _give_up(self, finish: Any, why: str) -> Told:
        with self._shared.changed:
            rows = list(self._shared.waiting)
            self._shared.waiting.clear()
        for batch in self._batches.values():
            rows += batch.clear()
        return [(row, row.writing.end(finish, why)) for row in rows]
