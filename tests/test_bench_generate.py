"""`codeup bench generate`: every way makes the same answers, and the ratios are those of the seconds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from codeup.bench import generate as bench
from codeup.cli.benching import generation_lines
from codeup.errors import UserError
from codeup.nano import base_folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_all_ways_make_the_loops_answers() -> None:
    result = bench.compare(base_folder(), name="nano-base", limit=6, max_new_tokens=24, batch_size=4, rounds=1)
    assert [each.way for each in result.times] == ["loop", "batched", "codeup", "continuous"]
    assert [each.same for each in result.times] == [6] * 4
    assert len({each.tokens for each in result.times}) == 1
    assert result.times[0].tokens > 6
    lines = generation_lines(result)
    assert len(lines) == 7
    assert result.as_json()["ratios"]["codeup_over_loop"] > 0
    assert set(result.speeds) == {1, 16}


def test_a_way_that_answers_otherwise_is_not_counted_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_continuous", lambda engine, prompts, *_: [(1,)] * len(prompts))
    result = bench.compare(base_folder(), name="nano-base", limit=3, max_new_tokens=8, batch_size=3, rounds=1)
    assert [each.same for each in result.times] == [3, 3, 3, 0]


def test_ratios_are_quotients_of_seconds() -> None:
    times = tuple(
        bench.Time(way, s, c, 10, 1) for way, s, c in zip(bench.WAYS, (8, 4, 2, 1), (6, 6, 2, 3), strict=True)
    )
    result = bench.Comparison("m", "e", 1, 1, 1, 1, 1, times, 0.1, {1: 1.0, 16: 2.0})
    assert (result.ratio("codeup", "loop"), result.ratio("continuous", "batched")) == (4.0, 4.0)
    assert result.ratio("codeup", "loop", cpu=True) == 3.0
    assert result.as_json()["ratios"]["continuous_over_batched_cpu"] == 2.0


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        bench.compare(base_folder(), name="x", rounds=0)
