"""While a model is loaded another process answers at its address: loading holds Python's lock for seconds at a time.

    parent  bind -- start the child -- libraries, weights, tokenizer (seconds) -- end the child -- accept
    child              listen: /health 503 {"status": "loading"}, all else 503 with Retry-After --'

Both hold the same socket, so that nobody is refused in between. A tokenizer of 128,000 tokens is read in one call of a
second, llama.cpp's constructor never lets go of the lock: no thread of the loading process could answer meanwhile.
The child checks Host and Origin as the server does and knows no token, no model and no file. It ends when its input
does, that is with the parent, however that ends. Not covered: the page, which comes with the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from codeup.serve.guard import Guard, send_json
from codeup.serve.refusal import Refusal

END_S, LINGER_S = 5.0, 1.0
HEAD_S = 10.0
"""Seconds that a new connection has to send the head of a request, and one that began another to finish it."""
MOST_REQUESTS = 1024
"""Answered at once; connections that ask for nothing do not count."""
PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from codeup.serve.waiting import main; main({number}, {loopback}, {allow!r})"
)


@contextlib.contextmanager
def waiting_room(listening: socket.socket, *, loopback: bool, allow: Sequence[str] = ()) -> Iterator[None]:
    """Let a child answer on a bound socket until the block ends."""
    number = listening.fileno()
    program = PROGRAM.format(path=sys.path, number=number, loopback=loopback, allow=tuple(allow))
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        pass_fds=(number,), start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    try:
        yield
    finally:
        child.stdin.close()
        if not select.select([child.stdout], [], [], END_S)[0]:
            child.kill()
        child.stdout.close()
        threading.Thread(target=child.wait, name="waiting room", daemon=True).start()


def main(number: int, loopback: bool, allow: Sequence[str]) -> None:
    """The child: answer until standard input ends."""
    asyncio.run(_answer(socket.socket(fileno=number), Guard(loading, loopback=loopback, token=None, allow=allow)))


async def _answer(listening: socket.socket, app: Any) -> None:
    server = uvicorn.Server(server_config(app, lifespan="off", timeout_graceful_shutdown=1))

    async def end() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        pipe = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin)
        await pipe.read()
        for taken in (taken for listener in server.servers for taken in listener.sockets):
            loop.remove_reader(taken.fileno())  # closing it would drop who was taken in this very turn of the loop
        with contextlib.suppress(OSError):  # the parent is gone
            os.write(1, b"closed")
        await asyncio.sleep(LINGER_S)  # who has connected already is still answered
        server.should_exit = True

    ending = asyncio.create_task(end())
    await server.serve(sockets=[listening])
    ending.cancel()


def server_config(app: Any, **more: Any) -> uvicorn.Config:
    """uvicorn without logs, proxies and upgrades; the same for the child and for the server itself."""
    return uvicorn.Config(
        at_most(app, MOST_REQUESTS), log_config=None, log_level="error", access_log=False, server_header=False,
        proxy_headers=False, ws="none", timeout_keep_alive=30, http=Prompt, h11_max_incomplete_event_size=64 << 10,
        **more,
    )  # fmt: skip


class Prompt(H11Protocol):
    """HTTP of clients that say what they want within HEAD_S; others are hung up on."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._in_time()

    def _look(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._in_time()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self.transport.close)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None


def at_most(app: Any, most: int) -> Any:
    """The app for so many requests at a time, and 503 for more. One that the guard refuses ends at once."""
    going = 0

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        nonlocal going
        if scope["type"] == "http" and going >= most:
            refusal = Refusal(503, f"{most} requests are being answered", code="busy")
            await send_json(send, refusal.status, refusal.body(), {"Retry-After": "2", "Connection": "close"})
            return
        going += 1
        try:
            await app(scope, receive, send)
        finally:
            going -= 1

    return limited


async def loading(scope: Any, receive: Any, send: Any) -> None:
    """Every answer there is while a model is loading."""
    if scope["path"] == "/health":
        await send_json(send, 503, {"status": "loading"}, {"Connection": "close"})
        return
    refusal = Refusal(503, "the model is loading", code="loading")
    await send_json(send, refusal.status, refusal.body(), {"Retry-After": "2", "Connection": "close"})
