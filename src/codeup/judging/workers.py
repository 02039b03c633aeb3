"""Threads that hold the sandboxes: tickets go in, verdicts come out, and what nobody waits for any more is ended.

    submit([t1, t2, t3])    wait, in turn with other requests' tickets     judged, then `tell(verdict)` in the thread
    cancel([t2, t3])        t2 is taken out of the line                    t3 was running: its sandbox is renewed

As in `Pool.judge`, a program that ran out of time on a busy machine is judged once more alone: when nothing else waits,
or after it has waited ALONE_AFTER_S. Requests take turns, so that one program need not wait behind a batch of others.
A worker whose sandbox cannot be renewed counts as lost, and is tried again every LOST_WAIT_S.
Not covered: what several servers on one machine do to each other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from codeup.errors import WorkFailed
from codeup.sandbox.pool import AnyJob, Pool, once_more, verdict_of
from codeup.types import Verdict

ALONE_AFTER_S = 10.0
RENEWALS, RENEW_WAIT_S, LOST_WAIT_S = 3, 1.0, 10.0


class QueueFull(Exception):
    """More tickets wait than may."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} wait")


@dataclass(eq=False, slots=True)
class Ticket:
    """A job for one of the pools. `tell` hears the verdict, or why there is none, once; in a worker's thread."""

    pool: int
    job: AnyJob
    tell: Callable[[Verdict | WorkFailed], None]
    cancelled: bool = False
    again: bool = False
    since: float = 0.0


class Workers:
    """`count` threads; each has a sandbox of its own in every pool and uses one at a time."""

    def __init__(self, pools: Sequence[Pool], count: int, max_queue: int) -> None:
        self._pools, self._max_queue = pools, max_queue
        self._change = threading.Condition()
        self._waiting: deque[deque[Ticket]] = deque()  # one line for each request, served in turn
        self._late: deque[Ticket] = deque()
        self._running: dict[int, Ticket] = {}
        self._alone = self._stopping = False
        self.counts: Counter[str] = Counter()
        self.seconds = 0.1
        """What a program took, a moving average."""
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"judge-{place}", daemon=True)
            for place in range(count)
        ]
        self.alive = count
        for thread in self._threads:
            thread.start()

    def load(self) -> tuple[int, int]:
        """How many programs run, and how many wait."""
        with self._change:
            return len(self._running), self._length()

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """All of them or none. Raises QueueFull, WorkFailed when the workers have stopped."""
        if not tickets:
            return
        with self._change:
            if self._stopping or not self.alive:
                raise WorkFailed("the server is stopping" if self._stopping else "no sandbox works any more")
            if self._length() + len(tickets) > self._max_queue + self.alive - len(self._running):
                raise QueueFull(self._length())
            self._waiting.append(deque(tickets))
            self._change.notify_all()

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """Nobody waits for these any more. What is not finished is not told."""
        gone = set(map(id, tickets))
        with self._change:
            for line in [*self._waiting, self._late]:
                kept = [ticket for ticket in line if id(ticket) not in gone]
                line.clear()
                line.extend(kept)
            self._waiting = deque(line for line in self._waiting if line)
            for place, ticket in self._running.items():
                if id(ticket) in gone and not ticket.cancelled:
                    ticket.cancelled = True
                    self.counts["interrupted"] += 1
                    self._pools[ticket.pool].interrupt(place)
            self._change.notify_all()

    def stop(self) -> None:
        """End what runs; what waits is told that the server stops."""
        with self._change:
            self._stopping = True
            left = [*self._late, *(ticket for line in self._waiting for ticket in line)]
            self._late.clear()
            self._waiting.clear()
            for place, ticket in self._running.items():
                self._pools[ticket.pool].interrupt(place)
            self._change.notify_all()
        for ticket in left:
            ticket.tell(WorkFailed("the server is stopping"))
        for thread in self._threads:
            thread.join(10)

    def _length(self) -> int:
        return len(self._late) + sum(map(len, self._waiting))

    def _work(self, place: int) -> None:
        while (ticket := self._take(place)) is not None:
            heard = self._judged(place, ticket)
            with self._change:
                del self._running[place]
                self._alone = False
                if heard is None and not ticket.cancelled:
                    self._late.append(ticket)
                self._change.notify_all()
            if heard is not None and not ticket.cancelled:
                ticket.tell(heard)
            broken = ticket.cancelled or isinstance(heard, WorkFailed)
            if broken and not self._renewed(place, ticket):
                self._lost()
                while not self._renewed(place, ticket):
                    self._pause(LOST_WAIT_S)
                self._found()

    def _judged(self, place: int, ticket: Ticket) -> Verdict | WorkFailed | None:
        """The verdict or why there is none; None where the ticket is to be judged again, alone."""
        try:
            message = self._pools[ticket.pool].judge_on(place, ticket.job)
        except WorkFailed as error:
            return error
        except Exception as error:  # whatever a killed process leaves in its pipes: no verdict
            return WorkFailed(f"the sandbox failed: {error!r}")
        if not ticket.again and (again := once_more(ticket.job, message)) is not None:
            ticket.job, ticket.again, ticket.since = again, True, time.monotonic()
            return None
        self.seconds += 0.05 * (message["seconds"] - self.seconds)
        return verdict_of(ticket.job, message, again=ticket.again)

    def _take(self, place: int) -> Ticket | None:
        """The next ticket for a worker, in turn; None at the end."""
        with self._change:
            while not self._stopping:
                if ticket := self._next():
                    self._running[place] = ticket
                    return ticket
                self._change.wait()
            return None

    def _next(self) -> Ticket | None:
        if self._alone:
            return None
        if self._late and (not self._waiting or time.monotonic() - self._late[0].since > ALONE_AFTER_S):
            if self._running:
                return None
            self._alone = True
            return self._late.popleft()
        if not self._waiting:
            return None
        line = self._waiting.popleft()
        ticket = line.popleft()
        if line:
            self._waiting.append(line)
        return ticket

    def _renewed(self, place: int, ticket: Ticket) -> bool:
        """Whether the worker has a sandbox again, where the last one was killed or broke."""
        for attempt in range(RENEWALS):
            if self._stopping:
                return True
            with suppress(WorkFailed, OSError):
                self._pools[ticket.pool].renew(place)
                self.counts["renewed"] += 1
                return True
            self._pause(RENEW_WAIT_S * attempt)
        return False

    def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than the server goes on."""
        with self._change:
            self._change.wait_for(lambda: self._stopping, seconds)

    def _found(self) -> None:
        with self._change:
            self.alive += 1

    def _lost(self) -> None:
        """One worker fewer; after the last one, what waits is told."""
        left: list[Ticket] = []
        with self._change:
            self.alive -= 1
            if not self.alive:
                left = [*self._late, *(ticket for line in self._waiting for ticket in line)]
                self._late.clear()
                self._waiting.clear()
        for other in left:
            other.tell(WorkFailed("no sandbox works any more"))
