"""One child of the zygote as a suite's judge sees it: frames to and from it, and the clock of its CPU time.

Time is CPU time. The child interrupts itself when a call has used up its limit, and is killed from outside when it does
not, GRACE_S later. A program that waits instead of computing gets several times as long by the clock on the wall.
"""

from __future__ import annotations

import time
from typing import Any

from codeup.sandbox import wire
from codeup.sandbox.handle import SandboxBroken, Zygote
from codeup.sandbox.limits import STARVED, starves

GRACE_S = 0.5
WALL_FACTOR = 5.0
LOOK_S = 0.05


class Stopped(Exception):
    """The suite is over: `outcome` and `detail` say how, `reported` whether the child itself could say so."""

    def __init__(self, outcome: str, detail: str, *, reported: bool) -> None:
        super().__init__(detail)
        self.outcome, self.detail, self.reported = outcome, detail, reported


class Child:
    """A fresh child of the zygote and the clock of its CPU time."""

    def __init__(self, zygote: Zygote) -> None:
        self.zygote, self.channel = zygote, zygote.begin()
        self.open = True
        self.start = self.marked = time.monotonic()
        self.mark_cpu_s = self.cpu_s = 0.0
        self.channel.settimeout(60.0)
        try:
            isolated = wire.receive(self.channel)
        except (wire.Closed, TimeoutError):
            isolated = "nothing"
        if isolated != ["isolated"]:
            raise SandboxBroken(f"a child could not be isolated: {isolated}")

    def send(self, message: Any) -> None:
        """Send one frame; the child reads it or is late."""
        wire.send(self.channel, message, self._look)

    def allow(self, limit_s: float, until_s: float) -> None:
        """From now on the child may use `limit_s` of CPU time, and in all not more than `until_s`."""
        now = time.monotonic()
        if now - self.marked > LOOK_S:
            self.marked, self.mark_cpu_s = now, self.zygote.cpu_s()
            if self.mark_cpu_s > until_s:
                self._late(f"used {until_s:.0f} s of CPU time in all")
        self.limit_s, self.until_s, self.asked = limit_s, until_s, now
        self.channel.settimeout(limit_s + GRACE_S)

    def receive(self, most: int) -> Any:
        """The next frame."""
        return wire.receive(self.channel, most, self._look)

    def _look(self) -> None:
        """Time passed without an answer: go on waiting while the child may still compute."""
        waited, self.cpu_s = time.monotonic() - self.asked, self.zygote.cpu_s()
        used = self.cpu_s - self.mark_cpu_s
        if used >= self.limit_s + GRACE_S or self.cpu_s >= self.until_s + GRACE_S:
            self._late(f"did not finish in {self.limit_s:.1f} s of CPU time and was killed")
        most = (self.limit_s + GRACE_S) * WALL_FACTOR
        if waited >= most * STARVED or (waited >= most and not starves(used, waited)):
            self._late(f"did not finish in {waited:.0f} s ({used:.1f} s of CPU time) and was killed")
        self.channel.settimeout(max(0.05, self.limit_s + GRACE_S - used))

    @staticmethod
    def _late(why: str) -> None:
        raise Stopped("TIMEOUT", why, reported=False)

    def end(self, *, gone: bool = False) -> dict[str, Any]:
        """Kill the child; what it used."""
        self.open = False
        self.channel.close()
        usage: dict[str, Any] = self.zygote.end(gone=gone)
        return usage
