"""`codeup bench streams`: whole answers pass, mixed and lost ones are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from serve_for_tests import Running, served, tiny_model

from codeup.bench import streams
from codeup.engines._continuous import Batch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with served(tiny_model(tmp_path_factory.mktemp("model"))) as running:
        yield running


def load(server: Running, **more: Any) -> streams.Load:
    return streams.load(f"{server.base}/v1", **{"streams": 6, "seconds": 0.5, "max_tokens": 8, **more})


def test_answers_among_many_are_those_given_alone(server: Running) -> None:
    seen = load(server)
    assert (seen.mixed, seen.lost) == (0, 0)
    assert seen.answers >= 6
    assert seen.tokens == pytest.approx(8 * seen.answers, rel=0.6)
    assert 0 < seen.first_s[0] <= seen.whole_s[0] <= seen.whole_s[1] <= seen.whole_s[2]
    assert 10 < seen.memory_mb[0] <= seen.memory_mb[1]


def test_a_mixed_answer_is_counted(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that leave the batch in the wrong order give each other's tokens."""
    original = Batch.step

    def swapped(self: Batch, model: Any) -> Any:
        if len(self.rows) > 1:
            self.rows[0].last, self.rows[1].last = self.rows[1].last, self.rows[0].last
        return original(self, model)

    monkeypatch.setattr(Batch, "step", swapped)
    assert load(server).mixed > 0


def test_a_lost_answer_is_counted(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Batch.join

    def failing(self: Batch, model: Any, rows: Sequence[Any]) -> Any:
        if len(self.rows) + len(rows) > 1:
            raise RuntimeError("no room")
        return original(self, model, rows)

    monkeypatch.setattr(Batch, "join", failing)
    seen = load(server)
    assert seen.lost > 0
    assert any("no room" in error for error in seen.errors)
