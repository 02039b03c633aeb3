"""The routes: /v1/judge, /v1/judge/batch, /v1/benchmarks, /health and /metrics.

    POST /v1/judge          {"task_id": "HumanEval/0", "answer": "..."}   -> {"outcome": "PASSED", ..., "reward": 1.0}
    POST /v1/judge/batch    {"items": [...]}                              -> one line per verdict (answering.py)
    GET  /health            200 {"status": "ok", "sandbox": "strong", ...}, 503 while it loads; needs no token

Code is taken out of answers in a thread of its own, one item at a time, so that requests take turns. Errors have the
shape of serve/'s.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psutil
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from codeup.judging import requests
from codeup.judging.answering import Answering, Deadline
from codeup.judging.court import Court, Loading
from codeup.judging.requests import Item
from codeup.serve.app import as_refusal, json_reply, read_body
from codeup.serve.guard import Guard
from codeup.serve.metrics import CONTENT_TYPE, About, Metrics
from codeup.serve.refusal import Refusal

BATCH_BODY_BYTES = 64 << 20
LOADING_ENDS_S = 5.0
"""How long the end of the server waits for what is still loading to end; a file that is being read can take longer."""

ABOUT: About = {
    "codeup_judge_requests_total": ("counter", "replies by route and status"),
    "codeup_judge_refused_total": ("counter", "requests refused because the queue was full"),
    "codeup_judge_cancelled_total": ("counter", "requests whose client left before the end"),
    "codeup_judge_verdicts_total": ("counter", "verdicts by outcome"),
    "codeup_judge_errors_total": ("counter", "items without a verdict: the sandbox failed, or the deadline came"),
    "codeup_judge_interrupted": ("gauge", "programs killed because nobody waited any more, since the start"),
    "codeup_judge_renewed": ("gauge", "sandboxes started again, since the start"),
    "codeup_judge_running": ("gauge", "programs that run"),
    "codeup_judge_waiting": ("gauge", "programs that wait"),
    "codeup_judge_workers": ("gauge", "workers with a sandbox"),
    "process_resident_memory_bytes": ("gauge", "memory of this process, without the sandboxes"),
    "codeup_judge_program_seconds": ("histogram", "what a program took"),
    "codeup_judge_request_seconds": ("histogram", "from the request to its last byte"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for at most."""

    deadline_s: float = 600.0
    max_batch: int = 1024


class Desk:
    """The court from loading to stopping; `load` runs in a thread, so that /health answers from the first moment."""

    def __init__(
        self, load: Callable[[Loading], Court], on_ready: Callable[[Court], None], on_failure: Callable[[], None]
    ) -> None:
        self._load, self._on_ready, self._on_failure = load, on_ready, on_failure
        self._loading = Loading()
        self.state: Literal["loading", "ready", "failed", "stopped"] = "loading"
        self.error: BaseException | None = None
        self.metrics = Metrics(ABOUT)
        self._court: Court | None = None
        self._thread: threading.Thread | None = None

    @property
    def court(self) -> Court:
        """Raises Refusal (503) while it is loading, and when no sandbox works any more."""
        if self._court is None:
            raise Refusal(503, f"the judge is {self.state}", code="loading", headers={"Retry-After": "2"})
        return self._court

    def start(self) -> None:
        """Begin to load; call it in the event loop."""
        self._thread = threading.Thread(target=self._work, args=(asyncio.get_running_loop(),), name="load", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End what loads, kill what runs, remove what was written."""
        assert self._thread is not None
        if self.state == "loading":
            self._loading.stop()
        await asyncio.to_thread(self._thread.join, LOADING_ENDS_S)
        if self._court is not None:
            await asyncio.to_thread(self._court.close)
        self.state = "stopped" if self.error is None else "failed"

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            court = self._load(self._loading)
            if self._loading.stopped:
                court.close()
                return
            self._court, self.state = court, "ready"
            self._on_ready(self._court)
        except BaseException as error:
            if not self._loading.stopped:
                self.error, self.state = error, "failed"
                loop.call_soon_threadsafe(self._on_failure)


class Api:
    """The handlers, around a desk."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self.desk, self.limits = desk, limits
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="read")

    async def health(self, request: HttpRequest) -> Response:
        if self.desk.state != "ready":
            return json_reply({"status": self.desk.state}, 503)
        court = self.desk.court
        alive = court.workers.alive
        level = {"sandbox": court.level, "floor": court.settings.floor}
        layers = list(court.pools[0].isolated.layers)
        status = "ok" if alive == court.settings.workers else "degraded" if alive else "failed"
        return json_reply({"status": status, **level, "layers": layers, "workers": alive}, 200 if alive else 503)

    async def metrics(self, request: HttpRequest) -> Response:
        gauges: dict[str, float] = {"process_resident_memory_bytes": psutil.Process().memory_info().rss}
        if self.desk.state == "ready":
            workers = self.desk.court.workers
            running, waiting = workers.load()
            gauges |= {
                "codeup_judge_running": running, "codeup_judge_waiting": waiting, "codeup_judge_workers": workers.alive,
                "codeup_judge_interrupted": workers.counts["interrupted"],
                "codeup_judge_renewed": workers.counts["renewed"],
            }  # fmt: skip
        return Response(self.desk.metrics.text(gauges), media_type=CONTENT_TYPE)

    async def benchmarks(self, request: HttpRequest) -> Response:
        limits = {"max_batch": self.limits.max_batch, "deadline_s": self.limits.deadline_s}
        return json_reply({**self.desk.court.about(), **limits})

    async def one(self, request: HttpRequest) -> Answering:
        arrived = time.monotonic()
        item, deadline_s = await self._off_loop(requests.one, await read_body(request))
        return self._answering([item], [""], self._deadline(deadline_s, arrived), "one", "/v1/judge")

    async def batch(self, request: HttpRequest) -> Answering:
        arrived = time.monotonic()
        body = await read_body(request, BATCH_BODY_BYTES)
        asked, items = await self._off_loop(requests.batch, body, self.limits.max_batch)
        places = [f"items[{place}]" for place in range(len(items))]
        form: Literal["stream", "whole"] = "stream" if asked.stream else "whole"
        return self._answering(items, places, self._deadline(asked.deadline_s, arrived), form, "/v1/judge/batch")

    def _deadline(self, wanted_s: float | None, arrived: float) -> Deadline:
        """Raises Refusal where more is wanted than the server gives."""
        most = self.limits.deadline_s
        if wanted_s is not None and wanted_s > most:
            raise Refusal(400, f"deadline_s: {wanted_s:g} s, at most {most:g} here", param="deadline_s")
        return Deadline(wanted_s or most, arrived)

    def _answering(
        self, items: Sequence[Item], places: Sequence[str], deadline: Deadline,
        form: Literal["one", "stream", "whole"], route: str,
    ) -> Answering:  # fmt: skip
        court = self.desk.court
        read = functools.partial(self._off_loop, court.wanted)
        return Answering(court, self.desk.metrics, items, places, read, deadline, form, route)

    async def _off_loop(self, what: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._reading, what, *values)


def build(desk: Desk, limits: Limits, *, loopback: bool, token: str | None, allow: Sequence[str] = ()) -> Guard:
    """The whole server as an ASGI app; its lifespan starts and stops the desk."""
    api = Api(desk, limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        desk.start()
        yield
        await desk.stop()

    async def refused(request: HttpRequest, error: Exception) -> Response:
        refusal = error if isinstance(error, Refusal) else as_refusal(error)
        desk.metrics.count("codeup_judge_requests_total", route="refused", status=str(refusal.status))
        return json_reply(refusal.body(), refusal.status, refusal.headers)

    routes = [
        Route("/health", api.health, methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
        Route("/v1/benchmarks", api.benchmarks, methods=["GET"]),
        Route("/v1/judge", api.one, methods=["POST"]),
        Route("/v1/judge/batch", api.batch, methods=["POST"]),
    ]
    handlers: Any = {Refusal: refused, HTTPException: refused}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    return Guard(app, loopback=loopback, token=token, allow=allow)
