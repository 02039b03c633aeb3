"""Who is judged a second time, alone: programs that computed on a shared processor, not those that waited."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from codeup.evaluate import whole
from codeup.languages import bash
from codeup.sandbox import program_judge, stdin_judge, suite_judge
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import AnyJob, Job, Pool, ProgramJob, StdinJob, once_more

TESTS = "def check(candidate):\n    assert candidate(1) == 1\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    show = [*whole.tools("python").show, *bash.toolchain().show]
    with Pool(1, replace(whole.limits_for(Limits(cpu_s=30, wall_s=2, memory_mb=512)), wall_s=2), show=show) as opened:
        yield opened


def function(program: str) -> AnyJob:
    return Job("t/0", 0, program, "f", TESTS, "")


def reading(program: str) -> AnyJob:
    path, step = whole.plugins.load("languages", "python").script(tools=whole.tools("python"), cpu_s=30, memory_mb=512)
    return StdinJob("t/0", 0, program, path, {**step, "wall_s": 2}, (("", "1\n"),), "codeup.benchmarks._outputs:strict")


def shell(program: str) -> AnyJob:
    made = bash.wrap(program, "", tools=bash.toolchain(), cpu_s=30, memory_mb=512)
    files: Any = made.files
    return ProgramJob("t/0", 0, files, ({**made.steps[0], "wall_s": 2},))


@pytest.mark.parametrize(
    "job",
    [
        function("import time\ndef f(x): time.sleep(99)\n"),
        reading("import time\ntime.sleep(99)\n"),
        shell("sleep 99"),
    ],
    ids=["a function", "a program that reads", "a shell and its child"],
)
def test_a_program_that_waits_is_not_judged_again(pool: Pool, job: AnyJob) -> None:
    message = pool.judge_on(0, job)
    assert (message["outcome"], once_more(job, message)) == ("TIMEOUT", None), message


def test_what_the_children_of_a_shell_compute_counts(pool: Pool) -> None:
    job = shell("(while true; do true; done)\nexit 0")
    message = pool.judge_on(0, job)
    assert message["outcome"] == "TIMEOUT" and once_more(job, message) is not None, message


@pytest.mark.parametrize(("cpu_s", "again"), [(0.02, False), (0.5, True)])
def test_inputs_that_together_took_too_long_are_judged_again_if_the_program_computed(
    monkeypatch: pytest.MonkeyPatch, cpu_s: float, again: bool
) -> None:
    clock = itertools.count(0.0, 7.5)
    monkeypatch.setattr(stdin_judge, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ended = {"status": 0, "timed_out": False, "flooded": False, "waited": False, "cpu_s": cpu_s, "wall_s": 7.5,
             "memory_mb": 9, "out": "1\n", "out_bytes": 2}  # fmt: skip
    monkeypatch.setattr(program_judge, "supervised", lambda *_: {"steps": [ended]})
    job = {"comparison": "codeup.benchmarks._outputs:strict", "tests": [("", "1\n")] * 20, "step": {"wall_s": 8},
           "path": "main.py", "program": ""}  # fmt: skip
    found = stdin_judge.judge(None, job)  # type: ignore[arg-type]
    assert (found["outcome"], found["contended"]) == ("TIMEOUT", again)


@pytest.mark.parametrize(("used_s", "again"), [(0.05, False), (5.0, True), (9.9, False)])
def test_a_suite_is_judged_again_if_the_program_computed_on_a_shared_processor(
    monkeypatch: pytest.MonkeyPatch, used_s: float, again: bool
) -> None:
    monkeypatch.setattr(suite_judge, "time", SimpleNamespace(monotonic=lambda: 10.0))
    run: Any = suite_judge._Run(None, SimpleNamespace(cpu_s=lambda: used_s), {})  # type: ignore[arg-type]
    run.child, run.began, run.began_cpu_s = object(), 0.0, 0.0
    run._note_load(suite_judge.Stopped("TIMEOUT", "", reported=False))
    assert run.contended is again
