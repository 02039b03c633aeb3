"""A compiler that stays: asked from the second program on, held to its limits, and never the judge of a program."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.language_attacks import TASKS
from codeup.languages._tools import companion_step, run_step
from codeup.sandbox import warm
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import SOURCE, Pool, ProgramJob
from codeup.sandbox.warm import WarmCompilers
from codeup.types import Program

PYTHON = os.path.realpath(sys.executable)
ECHO = """import sys, time
while True:
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    text = sys.stdin.buffer.read(size)
    if text == b"end":
        sys.exit(0)
    if text == b"spin":
        while True:
            pass
    answer = {b"twice": text + text, b"flood": bytes(8), b"refuse": b""}.get(text, text)
    sys.stdout.buffer.write((1 if text == b"flood" else len(answer)).to_bytes(4, "big") + answer)
    sys.stdout.flush()
"""


def asked(compilers: WarmCompilers, text: str) -> str | None:
    step = companion_step([PYTHON, "-S", "-c", ECHO])
    found = compilers.answer({"step": step, "ask": [], "path": "", "steps": []}, text)
    return None if found is None else base64.b64decode(found[0]).decode()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, whole.limits_for(None), show=("/usr/bin/cat", PYTHON)) as opened:
        yield opened


@pytest.fixture
def compilers(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmCompilers]:
    monkeypatch.setattr(warm, "CPU_S", 0.5)
    made = WarmCompilers({**pool.workers[0].config, "folder": pool.home}, SOURCE)
    yield made
    made.stop()


def test_the_first_program_is_compiled_cold_and_the_next_ones_are_answered(compilers: WarmCompilers) -> None:
    assert [asked(compilers, text) for text in ("a", "b", "twice", "ü" * 70_000)] == [
        None, "b", "twicetwice", "ü" * 70_000]  # fmt: skip


@pytest.mark.parametrize("bad", ["end", "spin", "flood"])
def test_a_compiler_that_ends_hangs_or_answers_too_much_is_replaced_and_that_program_compiled_cold(
    compilers: WarmCompilers, bad: str
) -> None:
    asked(compilers, "first")
    assert [asked(compilers, text) for text in ("b", bad, "c")] == ["b", None, "c"]


def test_a_compiler_that_programs_keep_ending_is_not_started_for_ever(
    compilers: WarmCompilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "MOST_STARTS", 2)
    assert [asked(compilers, text) for text in ("a", "end", "end", "b", "c")] == [None] * 5
    assert [held.starts for held in compilers.held.values()] == [2]


def test_what_a_warm_compiler_refuses_is_judged_cold_and_what_it_made_is_what_runs(pool: Pool) -> None:
    """The cold step fails and says so; the warm one prints the file that the compiler made, and no proof."""
    cold = run_step(["/usr/bin/cat", "nowhere"], cpu_s=5, memory_mb=512)
    printed = run_step(["/usr/bin/cat", "made", "nothing"], cpu_s=5, memory_mb=512)
    step = companion_step([PYTHON, "-S", "-c", ECHO])
    verdicts = []
    for text in ("first", "hello", "refuse"):
        ask = {"step": step, "ask": [["program", text]], "path": "made", "steps": [printed]}
        job = ProgramJob("x", 0, {"a": [["program", ""]]}, (cold,), warm=ask)
        verdicts.append(pool.judge_on(0, job)["detail"])
    assert ["nowhere" in said for said in verdicts] == [True, False, True], verdicts
    assert "nothing" in verdicts[1]


def test_java_programs_are_judged_alike_whether_their_compiler_is_cold_or_warm() -> None:
    try:
        whole.tools("java")
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    task = TASKS["java"]
    codes = [task.right, task.wrong, task.broken, task.right, *task.attacks.values()]
    jobs = [
        whole.job(task.problem, Program("java", place, code.replace("{wrong}", task.wrong), "own"), Limits())
        for place, code in enumerate(codes)
    ]
    found: list[list[dict[str, Any]]] = []
    with Pool(1, whole.limits_for(None), **whole.opened([task.problem])) as opened:
        for some in (jobs, [replace(job, warm=None) for job in jobs]):
            found.append([opened.judge_on(0, job) for job in some])
    alike = [[(each["outcome"], each["detail"]) for each in some] for some in found]
    assert alike[0] == alike[1]
    assert asdict(jobs[0])["warm"]["path"] == "classes"
    assert found[0][3]["cpu_s"] < found[1][3]["cpu_s"]


@pytest.mark.parametrize("language", ["java", pytest.param("kotlin", marks=pytest.mark.slow)])
def test_what_one_program_defines_a_warm_compiler_does_not_know_in_the_next(language: str) -> None:
    """The third program uses the second's class, and is refused by the same compiler that answers the others."""
    try:
        opened = whole.opened([TASKS[language].problem])
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    right = TASKS[language].right
    theirs = {"java": "class Own { static int n = 7; }\n", "kotlin": "object Own { val n = 7 }\n"}[language]
    uses = {"java": "class Uses { int n = Own.n; }\n", "kotlin": "val uses = Own.n\n"}[language]
    answers = []
    with Pool(1, whole.limits_for(None), **opened) as one:
        made = WarmCompilers({**one.workers[0].config, "folder": one.home}, SOURCE)
        for code in (right, right + theirs, right + uses, right + theirs + uses):
            warmed = whole.job(TASKS[language].problem, Program("x", 0, code, "own"), Limits()).warm
            assert warmed is not None
            text = "".join(part for _, part in warmed["ask"]).replace("CODEUP_NAME", "harness")
            answers.append(made.answer(warmed, text) is not None)
        starts = [held.starts for held in made.held.values()]
        made.stop()
    assert (answers, starts) == ([False, True, False, True], [1])
