"""The crew behind a Ray cluster when workers are lost or slow, with a made-up Ray and no clock."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from codeup.executors import _messenger
from codeup.executors.ray import RayExecutor

NEVER = float("inf")
Work = Callable[[bytes], bytes]


class RayError(Exception):
    """As ray.exceptions has it."""


class Ref:
    """Something that is known after some seconds of a made-up clock."""

    def __init__(self, seconds: float, find: Callable[[], Any]) -> None:
        self.seconds, self.find = seconds, find


class Ray:
    """Gives actors the places it has, in turn: (seconds to load, what one does with a piece); then none."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=type("RayTaskError", (RayError,), {}))

    def __init__(self, *places: tuple[float, Work]) -> None:
        self.places = list(places)

    def remote(self, _: Any) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._actor))

    def _actor(self) -> Any:
        load_s, work = self.places.pop(0) if self.places else (NEVER, bytes)

        def method(seconds: float, find: Callable[..., Any]) -> Any:
            return SimpleNamespace(remote=lambda *given: Ref(seconds, lambda: find(*given)))

        return SimpleNamespace(
            arrive=method(NEVER if load_s == NEVER else 0, lambda: None),
            stand=method(load_s, lambda *_: ("done", {"load_s": load_s})),
            work=method(0, lambda piece: ("done", work(piece))),
        )

    def get(self, ref: Ref, timeout: float = NEVER) -> Any:
        if ref.seconds > timeout or ref.seconds == NEVER:
            raise RayError("not in time")
        return ref.find()

    def wait(self, refs: list[Ref], num_returns: int, timeout: float) -> tuple[list[Ref], list[Ref]]:
        return [ref for ref in refs if ref.seconds <= timeout], [ref for ref in refs if ref.seconds > timeout]

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 0.0}

    def kill(self, actor: Any) -> None:
        pass


def crew(*places: tuple[float, Work], count: int) -> tuple[_messenger.Crew, queue.Queue[Any]]:
    """A crew of so many workers, and what it says."""
    said: queue.Queue[Any] = queue.Queue()
    messenger: Any = SimpleNamespace(say=lambda *words: said.put(words), end=lambda *words: said.put(words))
    return _messenger.Crew(Ray(*places), messenger, "", b"", count, 1, {"num_cpus": 1}), said


def test_a_worker_may_load_longer_than_it_may_wait_for_a_place() -> None:
    made, _ = crew((10 * _messenger.STAND_S, bytes), (1.0, bytes), count=3)
    assert [about["load_s"] for about in made.stand()] == [10 * _messenger.STAND_S, 1.0]
    made.disband()


def test_without_any_place_it_says_what_was_free() -> None:
    made, _ = crew(count=2)
    with pytest.raises(_messenger.Refused, match=r"no worker \(1 cpus\) could start .*free now: 0 CPUs"):
        made.stand()


def test_a_worker_that_cannot_be_replaced_is_done_without() -> None:
    lost = threading.Event()

    def dies(piece: bytes) -> bytes:
        lost.set()
        raise RayError("its node is gone")

    def works(piece: bytes) -> bytes:
        lost.wait(30)
        return piece * 2

    made, said = crew((0.0, works), (0.0, dies), count=2)
    made.stand()
    for number in range(5):
        made.pieces.put((number, b"%d" % number, 0))
    found = sorted(said.get(timeout=30) for _ in range(5))
    assert found == [("done", number, b"%d" % number * 2) for number in range(5)]
    made.disband()
    assert said.empty()


def test_without_the_last_worker_the_work_has_failed() -> None:
    def dies(piece: bytes) -> bytes:
        raise RayError("its node is gone")

    made, said = crew((0.0, dies), count=1)
    made.stand()
    made.pieces.put((0, b"", 0))
    kind, what = said.get(timeout=30)
    assert kind == "failed" and "could not start, and there is no other: RayError: not in time" in what


def test_leaving_before_all_pieces_are_back_ends_the_workers_and_is_no_error() -> None:
    class Messenger:
        closed = False
        numbers = iter(range(9))

        def send(self, kind: str, *_: Any) -> None:
            assert kind != "disband"

        def receive(self, kind: str) -> tuple[Any, ...]:
            return ([{}],) if kind == "crew" else (next(self.numbers), pickle.dumps("result"))

        def close(self) -> None:
            self.closed = True

    executor, messenger = RayExecutor("127.0.0.1:1"), Messenger()
    executor._messenger = messenger  # type: ignore[assignment]
    with executor.crew("a:b", {}, count=1, depth=3) as made:
        assert next(made.deal("abcdef")) == (0, "result")
    assert messenger.closed
