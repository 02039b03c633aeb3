"""Who does work that is dealt out in pieces: this process (the default), or workers of a Ray cluster.

    make = "codeup.evaluate.elsewhere:Sandbox", {"limits": ...}     what makes a worker, by name, and its arguments
    crew.deal([piece 0, piece 1, ...])  ->  (1, result), (0, result), ...      each number once, as pieces are finished
    crew.in_order(...)                  ->  result 0, result 1, ...

A worker is an object with `about` (plain values: what it found where it stands), `work(piece)` and `close()`. Without
an executor (None) every room does its own work in this process, as `Here` does for pieces that need only an order.
Not covered: training, whose processes speak to each other (train/).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from codeup.errors import UserError, installs

LOCAL = "local"
NAMES = r"^(local|ray|(ray://)?[A-Za-z0-9_.\[\]:-]+:[0-9]+)$"


class Crew(Protocol):
    """Workers that stand ready. `abouts` is what each said of itself, with "node", the name of its machine."""

    @property
    def abouts(self) -> Sequence[Mapping[str, Any]]: ...

    def deal(self, pieces: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the piece, result) as they are finished. Raises the UserError or WorkFailed of a worker."""

    def in_order(self, pieces: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the pieces."""


class Executor(Protocol):
    """Where workers come from. `cpus` and `gpus` are those of all machines together."""

    @property
    def cpus(self) -> int: ...

    @property
    def gpus(self) -> int: ...

    @property
    def nodes(self) -> int: ...

    @property
    def replicas(self) -> int | None: ...

    def crew(
        self, make: str, arguments: Mapping[str, Any], *, count: int, cpus: int = 1, gpus: int = 0, depth: int = 1
    ) -> AbstractContextManager[Crew]:
        """At most `count` workers of `cpus` cores and `gpus` GPUs each, given `depth` pieces at a time."""


class Here:
    """The crew of this process: one worker, one piece after the other."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self.abouts = [worker.about]

    def deal(self, pieces: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """(number, result), in order."""
        for number, piece in enumerate(pieces):
            yield number, self._worker.work(piece)

    def in_order(self, pieces: Iterable[Any]) -> Iterator[Any]:
        """Results."""
        return (result for _, result in self.deal(pieces))


def made(make: str, arguments: Mapping[str, Any]) -> Any:
    """A worker from "module:name" and its arguments."""
    module, _, name = make.partition(":")
    return getattr(importlib.import_module(module), name)(**arguments)


@contextmanager
def crew_of(
    executor: Executor | None, here: Any, make: str, arguments: Mapping[str, Any], *, count: int | None = None
) -> Iterator[Crew]:
    """The executor's workers, `count` of them or one per core; without an executor `here`, a worker in this process."""
    if executor is None:
        yield Here(here)
        return
    wanted = min(count or executor.cpus, executor.cpus)
    with executor.crew(make, arguments, count=wanted, depth=2) as crew:
        yield crew


@contextmanager
def opened(name: str, replicas: int | None = None) -> Iterator[Executor | None]:
    """The executor of a recipe; None for local. Nothing is connected before a crew is asked for.

    `name` is local, ray, ray://HOST:PORT or HOST:PORT. Raises UserError for others, and where Ray is not installed.
    """
    if not re.match(NAMES, name):
        raise UserError(f"{name!r} is no executor", mend="local, ray, ray://HOST:PORT or HOST:PORT")
    if name == LOCAL:
        yield None
        return
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            f"executor: {name} needs Ray, which is not installed here",
            mend=f"{installs('cluster')}, on every node",
        )
    from codeup.executors.ray import RayExecutor

    executor = RayExecutor(name, replicas)
    try:
        yield executor
    finally:
        executor.close()
