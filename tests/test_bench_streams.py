"""`codeup bench streams`: whole answers pass, mixed and lost ones are counted."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from typing import Any

import pytest
from serve_for_tests import Running, served, tiny_model

from codeup.bench import streams
from codeup.engines._continuous import Batch
from codeup.engines._endpoint import Endpoint
from codeup.errors import WorkFailed

pytestmark = pytest.mark.usefixtures("one_thread")


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


def answering(monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]]) -> None:
    """Every stream has these events, and no [DONE]: a server of another make."""
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    monkeypatch.setattr(Endpoint, "_open", lambda *_: io.BytesIO(body))


def test_a_server_without_done_and_metrics_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    last = {"choices": [{"text": "b", "finish_reason": "length"}], "usage": {"completion_tokens": 2}}
    answering(monkeypatch, [{"choices": [{"text": "a"}]}, last])
    seen = streams.load("http://127.0.0.1:1/v1", model="m", streams=2, seconds=0.05, pid=os.getpid())
    assert seen.lost == seen.mixed == 0 and seen.tokens == 2 * seen.answers > 0
    assert seen.memory_mb[0] > 10


def test_a_stream_that_ends_without_a_reason_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, [{"choices": [{"text": "a", "finish_reason": None}]}])
    with pytest.raises(WorkFailed, match="broke off"):
        streams.load("http://127.0.0.1:1/v1", model="m", streams=1, seconds=0.05)
