"""A judge server from its port to its end. The address is bound before anything is read.

Ctrl-C and SIGTERM stop it: nothing new is taken, requests that are being answered have GRACEFUL_S seconds, then their
programs are killed. Not covered: worker processes, reloading.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import uvicorn

from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.judging import app
from codeup.judging.court import Court, Settings
from codeup.serve.guard import is_loopback
from codeup.serve.running import http_server

GRACEFUL_S = 20


def check(settings: Settings, limits: app.Limits) -> None:
    """Raise UserError for limits that contradict each other."""
    if limits.max_batch > settings.max_queue:
        raise UserError(
            f"--max-batch {limits.max_batch} is more than may wait, --queue {settings.max_queue}",
            mend="raise --queue, or lower --max-batch",
        )


def serve(listening: socket.socket, settings: Settings, limits: app.Limits, **how: object) -> None:
    """Answer until Ctrl-C or a signal; `how` as `prepare` takes it. Raises what loading raised, else WorkFailed."""
    server, desk = prepare(settings, limits, **how)  # type: ignore[arg-type]
    try:
        listening.listen(512)
        asyncio.run(server.serve(sockets=[listening]))
    finally:
        listening.close()
    if isinstance(desk.error, CodeUpError):
        raise desk.error
    if desk.error is not None:
        raise WorkFailed(f"the judge could not start: {type(desk.error).__name__}: {desk.error}") from desk.error


def prepare(
    settings: Settings, limits: app.Limits, *, host: str, token: str | None = None, allow: Sequence[str] = (),
    on_ready: Callable[[Court], None] = lambda court: None,
) -> tuple[uvicorn.Server, app.Desk]:  # fmt: skip
    """A server that has not begun, and its desk."""
    check(settings, limits)

    def fail() -> None:
        server.should_exit = True

    desk = app.Desk(lambda loading: Court(settings, loading), on_ready, fail)
    guarded = app.build(desk, limits, loopback=is_loopback(host), token=token, allow=allow)
    server = http_server(guarded, graceful_s=GRACEFUL_S)
    return server, desk
