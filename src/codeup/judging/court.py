"""A judge that is ready: its benchmarks and languages, a pool for each kind of sandbox they need, and the workers.

    settings -> files read -> pools opened (each `workers` sandboxes) -> expected values -> Court

Every worker has one sandbox in each pool and uses one at a time, so that `workers` programs run at once, whatever they
are. Not covered: benchmarks that come or go while the server runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from codeup.errors import UserError, WorkFailed
from codeup.evaluate.programs import SuiteRules
from codeup.judging.catalog import Bench, Room, Wanted, expected_values, open_bench
from codeup.judging.free import Free, open_rooms
from codeup.judging.requests import Item, ProblemItem, refused
from codeup.judging.workers import Workers
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool
from codeup.types import Emit, Event, ignore_event

Floor = Literal["confined", "strong"]
LEVELS = ("weak", "confined", "strong")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server judges and how. `benchmarks` are names with their files; `floor` is the weakest sandbox allowed."""

    benchmarks: Mapping[str, Path | None]
    languages: tuple[str, ...] = ()
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    rules: SuiteRules = field(default_factory=SuiteRules)
    extraction: str = "codeup"
    floor: Floor = "confined"
    max_queue: int = 4096


class Loading:
    """A court on its way, which another thread may end: what it has opened is killed, and opening goes no further."""

    def __init__(self, emit: Emit = ignore_event) -> None:
        self.pools: list[Pool] = []
        self.stopped = False
        self._emit = emit

    def stop(self) -> None:
        """End it; what opens the court raises WorkFailed."""
        self.stopped = True
        for pool in list(self.pools):
            for place in range(len(pool.workers)):
                pool.interrupt(place)

    def go_on(self) -> None:
        """Raises WorkFailed where it was ended."""
        if self.stopped:
            raise WorkFailed("stopped while it loaded")

    def emit(self, event: Event) -> None:
        """Pass an event on, where it was not ended."""
        self.go_on()
        self._emit(event)


class Court:
    """Open until closed. Raises UserError for files and tools, and for a machine below the floor; WorkFailed."""

    def __init__(self, settings: Settings, loading: Loading | None = None) -> None:
        if not settings.benchmarks and not settings.languages:
            raise UserError("there is nothing to judge", mend="name a --benchmark, or a --language for free checks")
        loading = loading or Loading()
        opened = []
        for name, file in settings.benchmarks.items():
            loading.go_on()
            opened.append(open_bench(name, file, settings.limits, settings.rules, settings.extraction))
        languages = open_rooms(list(settings.languages), settings.limits)
        plain = [Room(settings.limits)] if "python" in languages else []
        rooms = list(dict.fromkeys([*(bench.room for bench in opened), *languages.values(), *plain]))
        self.settings = settings
        self.pools = loading.pools
        try:
            for room in rooms:
                loading.go_on()
                self.pools.append(room.open(settings.workers))
                _check_floor(self.pools[-1], settings.floor)
            self.benches: dict[str, Bench] = {}
            for bench in opened:
                loading.go_on()
                place = rooms.index(bench.room)
                files = expected_values(bench, self.pools[place], loading.emit)
                self.benches[bench.name] = replace(bench, pool=place, files=files)
            loading.go_on()
        except BaseException:
            self._close_pools()
            raise
        self.free = Free(
            {name: rooms.index(room) for name, room in languages.items()},
            rooms.index(plain[0]) if plain else None,
            settings.limits,
        )
        self.workers = Workers(self.pools, settings.workers, settings.max_queue)

    @property
    def level(self) -> str:
        """The weakest of the sandboxes."""
        return min((pool.isolated.level for pool in self.pools), key=LEVELS.index)

    def wanted(self, item: Item, inside: str) -> Wanted:
        """An item as a job. Raises Refusal naming the field that is wrong."""
        try:
            if not isinstance(item, ProblemItem):
                return self.free.wanted(item, inside)
            return self._bench(item, inside).wanted(item, inside)
        except UserError as error:
            raise refused(inside, "language", error.what) from None

    def _bench(self, item: ProblemItem, inside: str) -> Bench:
        known = ", ".join(self.benches) or "none"
        if item.benchmark is None:
            if len(self.benches) != 1:
                raise refused(inside, "benchmark", f"is needed: this server has {known}")
            return next(iter(self.benches.values()))
        if item.benchmark not in self.benches:
            raise refused(inside, "benchmark", f"there is no {item.benchmark[:80]!r}; this server has {known}",
                          status=404, code="no_such_benchmark")  # fmt: skip
        return self.benches[item.benchmark]

    def about(self) -> dict[str, Any]:
        """What requests may name, for GET /v1/benchmarks."""
        benchmarks = [
            {
                "name": bench.name, "version": bench.data.version, "sha256": bench.data.sha256,
                "task_ids": list(bench.problems), "cpu_s": bench.room.limits.cpu_s,
                "memory_mb": bench.room.limits.memory_mb, "sandbox": str(self.pools[bench.pool].isolated),
            }
            for bench in self.benches.values()
        ]  # fmt: skip
        return {
            "benchmarks": benchmarks, "languages": list(self.free.tools), "time_limit_s": self.settings.limits.cpu_s,
            "extraction": self.settings.extraction, "workers": self.settings.workers,
        }  # fmt: skip

    def close(self) -> None:
        """End everything that runs."""
        self.workers.stop()
        self._close_pools()

    def _close_pools(self) -> None:
        for pool in self.pools:
            with suppress(OSError):
                pool.close()


def _check_floor(pool: Pool, floor: Floor) -> None:
    if LEVELS.index(pool.isolated.level) < LEVELS.index(floor):
        raise UserError(
            f"the sandbox here is {pool.isolated}, and --floor asks for {floor}",
            mend="run as root or where user namespaces are allowed, or accept --floor confined",
        )
