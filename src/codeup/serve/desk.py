"""Between the event loop and the engine's thread: requests go in, pieces come back, and who left is cancelled.

    event loop                                    engine's thread
    ask([r1, r2]) -> submit ------------------->  waits, joins the batch
      next() -> [(0, piece), …]  <- one call per step, with what every request was told
    the client hangs up -> cancel ------------->  the row is free at the next step

What loads the model runs in that thread too (the command loads before it: waiting.py). The queue between the two holds
at most an answer's own tokens. Not covered: fairness between clients (first come, first served).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeup.engines._interface import Piece, QueueFull, Request
from codeup.serve.metrics import Metrics
from codeup.serve.refusal import Refusal
from codeup.serve.voices import Voice


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready: the engine that serves it, the names it answers to, its context in tokens.

    `token_text` gives the text of one token, for log-probabilities.
    """

    server: Any
    voices: dict[str, Voice]
    context: int | None
    token_text: Callable[[int], str]
    description: str = ""
    constrain: Callable[[Any, frozenset[int]], Any] | None = None


class Desk:
    """`load` runs in the engine's thread; what it raises ends up in `error` and calls `on_failure`."""

    def __init__(
        self, load: Callable[[], Loaded], metrics: Metrics, on_failure: Callable[[], None] = lambda: None,
        on_ready: Callable[[Loaded], None] = lambda loaded: None,
    ) -> None:  # fmt: skip
        self._load, self.metrics, self._on_failure, self._on_ready = load, metrics, on_failure, on_ready
        self.state: Literal["loading", "ready", "failed", "stopped"] = "loading"
        self.error: BaseException | None = None
        self.started = int(time.time())
        self._loaded: Loaded | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listening: dict[int, tuple[Asking, int]] = {}

    @property
    def loaded(self) -> Loaded:
        """The model. Raises Refusal (503) while it is loading."""
        if self._loaded is None:
            raise Refusal(503, f"the model is {self.state}", code="loading", headers={"Retry-After": "2"})
        return self._loaded

    def start(self) -> None:
        """Begin to load; call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End what is running and let the engine's thread finish."""
        if self._loaded is not None:
            self._loaded.server.stop()
            if self._thread is not None:
                await asyncio.to_thread(self._thread.join, 10)
        self.state = "stopped"

    def ask(self, requests: Sequence[Request], *, deadline_s: float) -> Asking:
        """Let the engine begin. Raises Refusal: 429 when the queue is full, 503 while the model is loading."""
        server = self.loaded.server
        try:
            tickets = server.submit(requests)
        except QueueFull as full:
            self.metrics.count("codeup_requests_refused_total")
            wait_s = str(max(1, min(60, full.waiting // 4)))
            raise Refusal(429, f"{full.waiting} requests are waiting already; try again in {wait_s} s",
                          code="queue_full", headers={"Retry-After": wait_s}) from None  # fmt: skip
        asking = Asking(self, tickets, deadline_s)
        for index, ticket in enumerate(tickets):
            self._listening[id(ticket)] = (asking, index)
        return asking

    def leave(self, tickets: Sequence[Any], unfinished: Sequence[Any]) -> None:
        """Nobody listens to these tickets any more; work on the unfinished ones ends."""
        for ticket in tickets:
            del self._listening[id(ticket)]
        for ticket in unfinished:
            self.loaded.server.cancel(ticket)

    def _work(self) -> None:
        assert self._loop is not None
        try:
            loaded = self._load()
            self._call(self._ready, loaded)
            loaded.server.run(self._deliver)
        except BaseException as error:
            self._call(self._failed, error)

    def _call(self, what: Callable[..., None], *values: Any) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *values)

    def _deliver(self, told: Sequence[tuple[Any, Piece]]) -> None:
        if told:
            self._call(self._hand_out, told)

    def _hand_out(self, told: Sequence[tuple[Any, Piece]]) -> None:
        tokens = 0
        for ticket, piece in told:
            tokens += piece.finish not in ("cancelled", "failed")
            listener = self._listening.get(id(ticket))
            if listener is not None and (piece.text or piece.tokens or piece.finish):
                listener[0].pieces.put_nowait((listener[1], piece))
        self.metrics.count("codeup_generated_tokens_total", tokens)

    def _ready(self, loaded: Loaded) -> None:
        self._loaded, self.state = loaded, "ready"
        self._on_ready(loaded)

    def _failed(self, error: BaseException) -> None:
        self.error, self.state, self._loaded = error, "failed", None
        self._on_failure()


class Asking:
    """One reply's requests on their way; leaving the `with` block cancels what is unfinished."""

    def __init__(self, desk: Desk, tickets: Sequence[Any], deadline_s: float) -> None:
        self._desk, self._tickets = desk, tickets
        self._deadline_s, self._ends = deadline_s, time.monotonic() + deadline_s
        self.going = set(range(len(tickets)))
        self.pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._desk.leave(self._tickets, [self._tickets[index] for index in sorted(self.going)])

    async def next(self, patience_s: float) -> list[tuple[int, Piece]]:
        """(index of the request, piece) of all that came meanwhile; nothing when `patience_s` passed without any.

        Raises Refusal: 504 at the deadline, 500 when the engine failed.
        """
        left = self._ends - time.monotonic()
        try:
            async with asyncio.timeout(min(patience_s, left)):
                got = [await self.pieces.get()]
        except TimeoutError:
            if patience_s < left:
                return []
            raise Refusal(504, f"not finished within the deadline of {self._deadline_s:g} s", code="deadline") from None
        while not self.pieces.empty():
            got.append(self.pieces.get_nowait())
        for index, piece in got:
            if piece.finish == "failed":
                raise Refusal(500, f"the engine failed: {piece.error[:200]}", code="engine_failed")
            if piece.finish == "cancelled":
                raise Refusal(503, "the server is stopping", code="stopping")
            if piece.finish is not None:
                self.going.discard(index)
        return got
