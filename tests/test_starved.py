"""Programs that run into the wall limit: those that lacked a processor go on, those that mostly waited do not."""

from __future__ import annotations

import os

import pytest

from codeup.languages._tools import run_step
from codeup.sandbox import limits
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Job, Pool, ProgramJob

DOZES = """import time
def twice(x):
    while True:
        until = time.thread_time() + 0.0015
        while time.thread_time() < until:
            pass
        time.sleep(0.098)
"""


@pytest.mark.parametrize(
    ("used_s", "to_be_had", "lacked_it"),
    [(5.0, 1.0, True), (0.6, 1.0, False), (0.6, 0.05, True), (0.12, 0.05, False), (0.05, 0.001, False)],
)
def test_a_program_lacked_the_processor_if_it_used_a_fair_part_of_what_there_was(
    used_s: float, to_be_had: float, lacked_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 10 s: half of it; 6 % of an idle machine; 6 % where 5 % are to be had; 1.2 % there; less than 1 %."""
    monkeypatch.setattr(limits, "processor_to_be_had", lambda: to_be_had)
    assert limits.starves(used_s, 10.0) is lacked_it


def test_what_is_to_be_had_of_a_processor_is_a_share_of_it() -> None:
    assert 0 < limits.processor_to_be_had() <= 1


def test_a_program_that_dozes_does_not_hold_a_worker_for_ten_times_its_limit() -> None:
    """It computes 1.5 % of the time: more than 1 %, and far less than it could."""
    whole = run_step([os.path.realpath("/usr/bin/python3"), "-S", "-c", DOZES + "twice(2)"], cpu_s=4, memory_mb=256)
    jobs = (
        Job("function", 0, DOZES, "twice", "def check(f):\n    f(2)\n", ""),
        ProgramJob("whole", 0, {}, ({**whole, "wall_s": 3.0},)),
    )
    with Pool(1, Limits(cpu_s=4, wall_s=2), show=("/usr/bin", "/usr/lib")) as pool:
        found = [pool.judge_on(0, job) for job in jobs]
    assert [each["outcome"] for each in found] == ["TIMEOUT"] * 2, found
    assert all(each["contended"] and each["cpu_s"] < 0.15 for each in found), found
    assert "did not finish in 2 s" in found[0]["detail"]
