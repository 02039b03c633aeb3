"""One request from its items to the last byte of its reply: one verdict, a stream of them, or all in order.

    stream   {"id": 1, "outcome": "PASSED", ..., "reward": 1.0}      one line per verdict, in the order they are reached
             {"id": 0, "error": {...}, "reward": null}               the sandbox failed, or the deadline came
             {"done": true, "verdicts": 1, "errors": 1}              without this line the stream was cut

The deadline counts from the request's arrival: items are read only until then. A client that hangs up is noticed at
once: what it waited for is not read any more, taken out of the line, or killed. An empty line keeps a quiet connection
alive.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

from codeup.errors import WorkFailed
from codeup.judging.catalog import Wanted
from codeup.judging.court import Court
from codeup.judging.requests import Item, ProblemItem
from codeup.judging.workers import QueueFull, Ticket
from codeup.sandbox.pool import StdinJob
from codeup.serve.answering import send_part, unless_left
from codeup.serve.guard import send_json
from codeup.serve.metrics import Metrics
from codeup.serve.refusal import Refusal
from codeup.types import Outcome, Program, Verdict

KEEP_ALIVE_S = 15.0
LINES = [
    (b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"), (b"x-accel-buffering", b"no"),
]  # fmt: skip


UNREAD = Wanted(None, None, 0, None, Program("", 0, "", ""), None)


class Late(WorkFailed):
    """The deadline came before the verdict."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a request that has arrived (time.monotonic) `seconds` before is to be answered."""

    seconds: float
    arrived: float

    def left(self) -> float:
        """Seconds, negative when it is over."""
        return self.arrived + self.seconds - time.monotonic()


class Asking:
    """A request's jobs on their way; leaving the `with` block ends what is unfinished."""

    def __init__(self, court: Court, wanted: Sequence[Wanted], deadline: Deadline, metrics: Metrics) -> None:
        self._court, self._metrics, self._deadline = court, metrics, deadline
        self._heard: asyncio.Queue[tuple[int, Verdict | WorkFailed]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.going = set(range(len(wanted)))
        self._tickets: dict[int, Ticket] = {}
        for place, one in enumerate(wanted):
            if one.job is not None:
                self._tickets[place] = Ticket(one.pool, one.job, self._teller(loop, place))
            elif one.verdict is not None:
                self._heard.put_nowait((place, one.verdict))

    def __enter__(self) -> Asking:
        """Raises Refusal: 429 when too much waits, 503 while the server stops."""
        try:
            self._court.workers.submit(list(self._tickets.values()))
        except QueueFull as full:
            self._metrics.count("codeup_judge_refused_total")
            workers = self._court.workers
            wait_s = max(1, min(60, math.ceil(full.waiting * workers.seconds / max(1, workers.alive))))
            raise Refusal(429, f"{full.waiting} programs are waiting already; try again in {wait_s} s",
                          code="queue_full", headers={"Retry-After": str(wait_s)}) from None  # fmt: skip
        except WorkFailed as error:
            raise Refusal(503, str(error), code="unavailable", headers={"Retry-After": "10"}) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._give_up()

    def _give_up(self) -> None:
        left = [self._tickets[place] for place in self.going if place in self._tickets]
        if left:
            self._court.workers.cancel(left)

    def _teller(self, loop: asyncio.AbstractEventLoop, place: int) -> Callable[[Verdict | WorkFailed], None]:
        def tell(heard: Verdict | WorkFailed) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._heard.put_nowait, (place, heard))

        return tell

    async def next(self, patience_s: float) -> list[tuple[int, Verdict | WorkFailed]]:
        """(place, verdict or why there is none) of all that came meanwhile; nothing after `patience_s` without any.

        At the deadline, everything that is unfinished.
        """
        left = self._deadline.left()
        try:
            async with asyncio.timeout(max(0.0, min(patience_s, left))):
                got = [await self._heard.get()]
        except TimeoutError:
            if patience_s < left:
                return []
            self._give_up()
            unfinished, self.going = sorted(self.going), set()
            return [
                (place, Late(f"not finished within the deadline of {self._deadline.seconds:g} s"))
                for place in unfinished
            ]
        while not self._heard.empty():
            got.append(self._heard.get_nowait())
        self.going -= {place for place, _ in got}
        return got


@dataclass(slots=True)
class Answering:
    """An ASGI reply to `items`. `read` says how one is judged; it takes the item and its place, for messages."""

    court: Court
    metrics: Metrics
    items: Sequence[Item]
    places: Sequence[str]
    read: Callable[[Item, str], Awaitable[Wanted]]
    deadline: Deadline
    form: Literal["one", "stream", "whole"]
    route: str
    wanted: list[Wanted] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, unless the client leaves before."""
        await unless_left(self._answer(send), receive, lambda: self.metrics.count("codeup_judge_cancelled_total"))

    async def _answer(self, send: Any) -> None:
        status = 200
        try:
            await self._read()
            with Asking(self.court, self.wanted, self.deadline, self.metrics) as asking:
                await (self._streamed(send, asking) if self.form == "stream" else self._whole(send, asking))
        except Refusal as refusal:
            status = refusal.status
            await send_json(send, refusal.status, refusal.body(), refusal.headers)
        self.metrics.observe("codeup_judge_request_seconds", time.monotonic() - self.deadline.arrived)
        self.metrics.count("codeup_judge_requests_total", route=self.route, status=str(status))

    async def _read(self) -> None:
        """One item after the other; those that the deadline comes before have no job, and so are late."""
        for item, place in zip(self.items, self.places, strict=True):
            self.wanted.append(await self.read(item, place) if self.deadline.left() > 0 else UNREAD)

    async def _streamed(self, send: Any, asking: Asking) -> None:
        errors = 0
        await send({"type": "http.response.start", "status": 200, "headers": LINES})
        while asking.going:
            results = [self._result(*one) for one in await asking.next(KEEP_ALIVE_S)]
            errors += sum("error" in result for result in results)
            await send_part(send, b"".join(dumped(result) + b"\n" for result in results) or b"\n")
        closing = {"done": True, "verdicts": len(self.items) - errors, "errors": errors}
        await send_part(send, dumped(closing) + b"\n", more=False)

    async def _whole(self, send: Any, asking: Asking) -> None:
        results: dict[int, dict[str, Any]] = {}
        while asking.going:
            results |= {place: self._result(place, heard) for place, heard in await asking.next(KEEP_ALIVE_S)}
        if self.form == "one":
            result = results[0]
            if "error" in result:
                status = 504 if result["error"]["code"] == "deadline" else 500
                raise Refusal(status, result["error"]["message"], code=result["error"]["code"])
            body = dumped(result)
        else:
            body = dumped({"results": [results[place] for place in range(len(self.items))]})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *LINES[1:3]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _result(self, place: int, heard: Verdict | WorkFailed) -> dict[str, Any]:
        item, wanted = self.items[place], self.wanted[place]
        name = {} if item.id is None else {"id": item.id}
        if isinstance(heard, WorkFailed):
            self.metrics.count("codeup_judge_errors_total")
            code = "deadline" if isinstance(heard, Late) else "sandbox"
            error = {"message": str(heard)[:500], "type": "server_error", "param": None, "code": code}
            return {**name, "task_id": item.task_id, "index": item.index, "error": error, "reward": None}
        self.metrics.count("codeup_judge_verdicts_total", outcome=str(heard.outcome))
        self.metrics.observe("codeup_judge_program_seconds", heard.seconds)
        benchmark = {"benchmark": wanted.bench.name} if wanted.bench and isinstance(item, ProblemItem) else {}
        sandbox = str(self.court.pools[wanted.pool].isolated)
        return {**name, **benchmark, **result(wanted, heard), "sandbox": sandbox}


def result(wanted: Wanted, verdict: Verdict) -> dict[str, Any]:
    """The fields of a line of verdicts.jsonl, then the reward, and the share of checks passed where it is known."""
    if wanted.bench is not None:
        row = wanted.bench.row(verdict)
    else:
        row = asdict(verdict)
        del row["suites"]
    reward = 1.0 if verdict.outcome is Outcome.PASSED else 0.0
    return {**row, **wanted.more, "reward": reward, "fraction": fraction(wanted, verdict)}


def fraction(wanted: Wanted, verdict: Verdict) -> float | None:
    """Checks passed over all checks: those before the first that failed, unless all inputs were run. None: not known.

    `checks` of a function counts calls, the failed one included; of inputs and outputs, those answered rightly.
    """
    if verdict.outcome is Outcome.PASSED:
        return 1.0
    if wanted.checks is None:
        return None
    if verdict.suites:
        passed = sum(suite["checks"] - len(suite["failed"]) for suite in verdict.suites)
    else:
        passed = verdict.checks if isinstance(wanted.job, StdinJob) else max(0, verdict.checks - 1)
    return round(passed / wanted.checks, 6)


def dumped(value: Mapping[str, Any]) -> bytes:
    """JSON on one line; what is not Unicode text is escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()
