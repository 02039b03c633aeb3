"""Part of a benchmark: the n that was asked for, others left out and counted, and the same bytes after a kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from codeup import plugins
from codeup.benchmarks import humaneval
from codeup.errors import UserError
from codeup.evaluate.samples import count_not_asked, read_answers
from codeup.evaluate.scores import scores
from codeup.evaluate.subset import described, first, named, reduced, tag
from codeup.types import BenchmarkData, Problem

DATA = BenchmarkData(
    "humaneval", "v1", "0" * 64, tuple(Problem(f"HumanEval/{n}", "def f(x):\n", "f", "") for n in range(12))
)


def ids(data: BenchmarkData) -> list[str]:
    return [problem.task_id for problem in data.problems]


def test_a_subset_says_that_it_is_one() -> None:
    two = first(DATA, 2)
    assert (ids(two), two.version) == (["HumanEval/0", "HumanEval/1"], "v1; only the first 2 of 12")
    assert two.not_asked == tuple(f"HumanEval/{n}" for n in range(2, 12))
    assert described(two) == {"asked": 2, "of": 12, "tasks": ["HumanEval/0", "HumanEval/1"]}
    chosen = named(DATA, ["HumanEval/7", "HumanEval/3", "HumanEval/7"])
    assert ids(chosen) == ["HumanEval/3", "HumanEval/7"]  # the benchmark's order, each once
    assert chosen.version == "v1; only 2 named (HumanEval/3, HumanEval/7) of 12"


def test_a_whole_benchmark_is_not_a_subset() -> None:
    for data in (reduced(DATA), first(DATA, None), first(DATA, 12), named(DATA, ids(DATA))):
        assert data is DATA and described(data) is None and tag(data) == ""


def test_subsets_have_folders_of_their_own() -> None:
    tags = [tag(first(DATA, 2)), tag(first(DATA, 3)), tag(named(DATA, ["HumanEval/3", "HumanEval/7"]))]
    assert len(set(tags)) == 3 and tags[0].startswith("2-of-12-")
    assert tag(named(DATA, ["HumanEval/0", "HumanEval/1"])) == tags[0]  # the same problems, however asked for


def test_unknown_tasks_are_named_with_a_suggestion() -> None:
    with pytest.raises(UserError) as caught:
        named(DATA, ["HumanEval/3", "humanevla/5", "11", "Mbpp/2"])
    assert str(caught.value).startswith(
        "3 tasks are not in humaneval: 'humanevla/5' (did you mean 'HumanEval/5'?), "
        "'11' (did you mean 'HumanEval/11'?), 'Mbpp/2'\n"
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"limit": -3}, "limit is -3"),
        ({"tasks": []}, "no task is named"),
        ({"tasks": ["HumanEval/1"], "limit": 1}, "both tasks and a limit"),
    ],
)
def test_questions_without_an_answer_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        reduced(DATA, **asked)


def samples(path: Path, tasks: list[str]) -> Path:
    path.write_text("".join(json.dumps({"task_id": task, "solution": "def f(x): pass"}) + "\n" for task in tasks))
    return path


def test_samples_of_other_problems_are_left_out_and_counted(tmp_path: Path) -> None:
    path, two = samples(tmp_path / "s.jsonl", [*ids(DATA), "HumanEval/5"]), first(DATA, 2)
    assert [a.program.task_id for a in read_answers(path, humaneval, two)] == ["HumanEval/0", "HumanEval/1"]
    assert (count_not_asked(path, two), count_not_asked(path, DATA)) == (11, 0)


def test_a_task_asked_for_and_missing_is_named(tmp_path: Path) -> None:
    path = samples(tmp_path / "s.jsonl", ["HumanEval/0", "HumanEval/9"])
    with pytest.raises(UserError, match="1 of 2 tasks have no sample: HumanEval/1"):
        read_answers(path, humaneval, first(DATA, 2))
    assert len(read_answers(path, humaneval, first(DATA, 2), partial=True)) == 1


def test_a_task_of_no_benchmark_stays_an_error_in_a_subset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 task ids are not in this benchmark: HumanEval/99"):
        read_answers(samples(tmp_path / "s.jsonl", ["HumanEval/0", "HumanEval/99"]), humaneval, first(DATA, 1))


def test_lines_of_one_task_are_its_samples(tmp_path: Path) -> None:
    path = samples(tmp_path / "s.jsonl", ["HumanEval/1", "HumanEval/0", "HumanEval/1"])
    answers = read_answers(path, humaneval, first(DATA, 2))
    assert [(a.program.task_id, a.program.index) for a in answers] == [
        ("HumanEval/0", 0),
        ("HumanEval/1", 0),
        ("HumanEval/1", 1),
    ]


def test_scores_of_several_samples_have_a_bootstrap_interval_and_a_standard_error() -> None:
    rows = [{"task_id": str(t), "outcome": "PASSED" if s <= t % 4 else "FAILED"} for t in range(40) for s in range(5)]
    score, *_ = scores(rows)
    assert (score["value"], score["n"], score["interval"]) == (pytest.approx(0.5), 40, "bootstrap-95")
    assert score["standard_error"] == pytest.approx((10 * (0.09 + 0.01 + 0.01 + 0.09) / 39 / 40) ** 0.5)


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "codeup", "evaluate", "--benchmark", "nano", *argv]


def right_answers(path: Path, count: int, *, pause_s: float = 0.0) -> list[str]:
    problems = plugins.load("benchmarks", "nano").load(None).problems[:count]
    pause = f"import time\ntime.sleep({pause_s})\n" if pause_s else ""
    rows = [{"task_id": p.task_id, "solution": pause + p.prompt + p.canonical_solution} for p in problems]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [p.task_id for p in problems]


def test_the_command_judges_what_is_asked_and_keeps_the_whole_result(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    tasks = right_answers(path, 6)
    done = subprocess.run(
        command("--samples", str(path), "--tasks", f"{tasks[4]},{tasks[1]}"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "n=2 problems" in done.stdout
    assert "subset: 2 of 164 problems were asked for; 4 samples of the others left out" in done.stdout
    (folder,) = tmp_path.glob("s-verdicts-2-of-164-*")
    said = json.loads((folder / "scores.json").read_text())
    assert said["subset"] == {"asked": 2, "of": 164, "tasks": [tasks[1], tasks[4]]}
    assert (said["samples_not_asked"], said["problems_in_benchmark"], said["scores"][0]["n"]) == (4, 164, 2)
    assert "only 2 named" in said["scores"][0]["data_version"]
    assert not (tmp_path / "s-verdicts").exists()
    done = subprocess.run(command("--samples", str(path), "--limit", "7"), capture_output=True, text=True)
    assert done.returncode == 2 and "1 of 7 tasks have no sample: " in done.stderr


def test_a_killed_evaluation_continues_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    right_answers(path, 8, pause_s=0.2)
    asked = command("--samples", str(path), "--limit", "8", "--workers", "1", "--out")
    process = subprocess.Popen([*asked, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    verdicts = tmp_path / "killed" / "verdicts.jsonl"
    until = time.monotonic() + 60
    while not (verdicts.exists() and verdicts.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = verdicts.read_bytes().count(b"\n")
    assert 2 <= kept < 8 and not (tmp_path / "killed" / "scores.json").exists()
    for name in ("killed", "whole"):
        done = subprocess.run([*asked, str(tmp_path / name)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    timing = json.loads((tmp_path / "killed" / "timing.json").read_text())
    assert (timing["reused"], timing["judged"]) == (kept, 8 - kept)
    for name in ("scores.json", "examples.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    before = (tmp_path / "whole" / "verdicts.jsonl").read_bytes()
    subprocess.run([*asked, str(tmp_path / "whole")], capture_output=True, check=True)
    assert (tmp_path / "whole" / "verdicts.jsonl").read_bytes() == before
