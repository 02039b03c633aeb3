"""One request from its typed form to the last byte of its reply, streamed or whole.

A client that hangs up is noticed at once, in both forms, and its work is cancelled; one that reads too slowly for
`SEND_S` seconds is dropped. While nothing is there to send, a comment keeps the connection alive.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from codeup.engines._interface import Piece, Request
from codeup.serve.desk import Asking, Desk
from codeup.serve.guard import send_json
from codeup.serve.refusal import Refusal
from codeup.serve.replies import Reply

SEND_S = 30.0
KEEP_ALIVE_S = 15.0
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"), (b"x-accel-buffering", b"no"),
]  # fmt: skip


class Gone(Exception):
    """The client left, or reads too slowly."""


@dataclass(slots=True)
class Answering:
    """An ASGI reply. `requests[i]` is the request behind choice i of `reply`."""

    desk: Desk
    requests: Sequence[Request]
    reply: Reply
    stream: bool
    deadline_s: float
    route: str

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, unless the client leaves before."""
        await unless_left(
            self._answer(send), receive, lambda: self.desk.metrics.count("codeup_requests_cancelled_total")
        )

    async def _answer(self, send: Any) -> None:
        started, status = time.monotonic(), 200
        try:
            await (self._streamed(send, started) if self.stream else self._whole(send, started))
        except Refusal as refusal:
            status = refusal.status
            await send_json(send, refusal.status, refusal.body(), refusal.headers)
        self.desk.metrics.observe("codeup_request_seconds", time.monotonic() - started)
        self.desk.metrics.count("codeup_requests_total", route=self.route, status=str(status))

    async def _next(self, asking: Asking, started: float) -> list[tuple[int, Piece]]:
        first = not self.reply.usage.answers
        got = await asking.next(KEEP_ALIVE_S)
        for index, piece in got:
            self.reply.usage.answers[index] = piece.produced
        if first and got:
            self.desk.metrics.observe("codeup_first_token_seconds", time.monotonic() - started)
        return got

    async def _whole(self, send: Any, started: float) -> None:
        answers: list[list[Piece]] = [[] for _ in self.requests]
        with self.desk.ask(self.requests, deadline_s=self.deadline_s) as asking:
            while asking.going:
                for index, piece in await self._next(asking, started):
                    answers[index].append(piece)
        body = self.reply.whole(answers)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *STREAM_HEADERS[1:3]]})
        await send({"type": "http.response.body", "body": body})

    async def _streamed(self, send: Any, started: float) -> None:
        """Refusals before the first token have their own status; later ones are an event, and no [DONE] follows."""
        begun = False
        try:
            with self.desk.ask(self.requests, deadline_s=self.deadline_s) as asking:
                while asking.going:
                    events = [self.reply.event(*one) for one in await self._next(asking, started)]
                    if not begun:
                        begun = True
                        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
                        events = [*self.reply.opening(len(self.requests)), *events]
                    await send_part(send, b"".join(events) or b": waiting\n\n")
            await send_part(send, self.reply.closing(), more=False)
        except Refusal as refusal:
            if not begun:
                raise
            self.desk.metrics.count("codeup_requests_total", route=self.route, status=f"stream-{refusal.status}")
            await send_part(send, b"data: " + orjson.dumps(refusal.body()) + b"\n\n", more=False)


async def unless_left(answer: Coroutine[Any, Any, None], receive: Any, on_left: Callable[[], None]) -> None:
    """Do the work of a reply; it is cancelled when the client leaves before. Raises what the work raised."""
    work, leaving = asyncio.create_task(answer), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            on_left()
            work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    finally:
        leaving.cancel()
        work.cancel()
    if not work.cancelled() and (error := work.exception()) is not None and not isinstance(error, Gone):
        raise error


async def _left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_part(send: Any, body: bytes, *, more: bool = True) -> None:
    """Send a part; raises Gone where the client does not take it in time."""
    try:
        async with asyncio.timeout(SEND_S):
            await send({"type": "http.response.body", "body": body, "more_body": more})
    except (TimeoutError, OSError):
        raise Gone from None


def fresh_seed() -> int:
    """A seed for a request that names none."""
    return secrets.randbits(63)
