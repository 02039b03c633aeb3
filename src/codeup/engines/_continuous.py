"""Continuous batching: requests join and leave the running batch between steps, each with its own settings.

    step   batch                      what happens
    1      [a]                        a was waiting: its prompt is read, its first token chosen
    2      [a b c]                    b and c joined: their prompts are read together, then a's next token
    3      [a c]                      b ended at its stop string; c's token, a's token
    4      [c]                        a was cancelled: its row is gone before the step

One batch (_batch.py) per adapter, all on one base model; a step serves each of them in turn. Admission is first come,
first served. Not covered: prefix sharing, reading a long prompt in parts (while it is read, the others wait).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from codeup.engines._batch import Batch, Row, Told, new_row
from codeup.engines._interface import Deliver, QueueFull, Request
from codeup.engines._writing import Writer


class Models(Protocol):
    """Where a step finds the model to run: the base, or the base with an adapter switched on."""

    def use(self, adapter: str) -> Any: ...


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
        rows = [new_row(self._writer, request) for request in requests]
        with self._shared.changed:
            waiting = len(self._shared.waiting)
            if waiting + len(rows) > self.max_queue + max(0, self.max_batch - self._shared.running):
                raise QueueFull(waiting)
            self._shared.waiting.extend(rows)
            self._shared.changed.notify()
        return rows

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
