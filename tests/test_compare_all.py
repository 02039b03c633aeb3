"""Runs, models of runs and files against each other: what is paired, what changed, and from where on it is too much."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeup.cli.app import app
from codeup.errors import UserError
from codeup.evaluate.compare_all import Threshold, compare_all, find, parse_threshold
from codeup.report.comparison import render

ATTACK = "</code></pre><img src=http://attack.invalid/x onerror='window.hacked=1'><script>window.hacked=1</script>"


def judge(
    folder: Path, passes: str, *, model: str = "m", benchmark: str = "bench", form: str = "chat", **row: Any
) -> Path:
    """A folder as `codeup evaluate` leaves it; `passes` is a letter per problem, P for one that passed."""
    folder.mkdir(parents=True)
    tasks = [f"T/{i}" for i in range(len(passes))]
    answers = [
        {"task_id": t, "index": 0, "raw": f"def f(): return {p!r}", "prefill": "```python\n"}
        for t, p in zip(tasks, passes, strict=True)
    ]
    lines(folder / "samples.jsonl", answers)
    sha256 = hashlib.sha256((folder / "samples.jsonl").read_bytes()).hexdigest()
    outcomes = ["PASSED" if p == "P" else "FAILED" for p in passes]
    verdicts = [
        {"task_id": t, "index": 0, "outcome": o, "detail": "" if o == "PASSED" else f"{t} is wrong", **row}
        for t, o in zip(tasks, outcomes, strict=True)
    ]
    lines(folder / "verdicts.jsonl", verdicts)
    lines(
        folder / "examples.jsonl",
        [{**v, "prompt": f"solve {v['task_id']}"} for v in verdicts if v["outcome"] != "PASSED"],
    )
    score = {"metric": "pass@1", "value": passes.count("P") / len(passes)}
    about = {"model": model, "benchmark": benchmark, "form": form, "samples_sha256": sha256, "scores": [score]}
    (folder / "scores.json").write_text(json.dumps({**about, "data_sha256": "d" * 64}))
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, judged: Mapping[tuple[str, str, str], str]) -> Path:
    """A run folder: (model, benchmark, form) -> passes. One older judge step lies there too, not of this run.json."""
    steps = {}
    for (model, benchmark, form), passes in judged.items():
        name = f"judge-{model}-{benchmark}-{form}"
        judge(folder / "steps" / f"{name}-1", passes, model=model, benchmark=benchmark, form=form)
        steps[name] = f"steps/{name}-1"
    judge(folder / "steps" / "judge-stale-0", "P", model="stale")
    (folder / "run.json").write_text(json.dumps({"steps": steps}))
    return folder


def test_two_runs_are_paired_by_model_benchmark_and_form(tmp_path: Path) -> None:
    old = run(
        tmp_path / "old", {("base", "x", "base"): "FFFF", ("code", "x", "chat"): "PPFF", ("code", "y", "chat"): "PP"}
    )
    new = run(
        tmp_path / "new", {("code", "x", "chat"): "PPPF", ("base", "x", "base"): "FFFP", ("math", "x", "chat"): "P"}
    )
    found = compare_all(str(old), str(new))
    assert [each["label"] for each in found["comparisons"]] == ["base · x · base", "code · x · chat"]
    assert [each["only_b"] for each in found["comparisons"]] == [1, 1]
    assert found["warnings"] == ["only A has code y chat: not compared", "only B has math x chat: not compared"]


def test_two_models_are_paired_by_benchmark_each_in_its_better_form(tmp_path: Path) -> None:
    folder = run(
        tmp_path / "r", {("base", "x", "base"): "PFFF", ("base", "x", "chat"): "FFFF", ("code", "x", "chat"): "PPPF"}
    )
    found = compare_all(f"{folder}:base", f"{folder}:code")
    assert [each["label"] for each in found["comparisons"]] == ["base → code · x · base → chat"]
    assert (found["both"], found["only_a"], found["only_b"], found["neither"]) == (1, 0, 2, 1)
    assert found["warnings"] == []


def test_a_file_is_compared_with_the_same_benchmark_of_a_model(tmp_path: Path) -> None:
    folder = run(tmp_path / "r", {("code", "x", "chat"): "PPPF", ("code", "y", "chat"): "FF"})
    alone = judge(tmp_path / "alone", "PFFF", model="theirs", benchmark="x")
    found = compare_all(str(alone / "verdicts.jsonl"), f"{folder}:code")
    assert [each["label"] for each in found["comparisons"]] == ["theirs → code · x · chat"]
    assert found["difference"] == -0.5


def test_what_has_no_answer_is_refused_with_what_there_is(tmp_path: Path) -> None:
    folder = run(tmp_path / "r", {("code", "x", "chat"): "PP", ("math", "x", "chat"): "PF"})
    other = run(tmp_path / "o", {("code", "y", "chat"): "PP", ("math", "y", "chat"): "PF"})
    with pytest.raises(UserError, match=r"has no verdicts of a model 'full'.*\n.*it has: code, math"):
        find(f"{folder}:full")
    with pytest.raises(
        UserError, match=r"no benchmark was judged on both sides.*\n.*A has code x chat, math x chat; B has"
    ):
        compare_all(str(folder), str(other))
    alone = judge(tmp_path / "alone", "PF", model="theirs", benchmark="x")
    with pytest.raises(UserError, match=r"which model is meant is not clear.*\n.*of: code, math"):
        compare_all(str(alone), str(folder))
    with pytest.raises(UserError, match="none: cannot be read"):
        compare_all(str(tmp_path / "none"), str(folder))
    with pytest.raises(UserError, match=r"--data .*mistyped\.jsonl: no such file"):
        compare_all(str(folder), str(folder), problems=tmp_path / "mistyped.jsonl")
    (folder / "run.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        find(str(folder))


def test_both_suites_of_a_run_are_compared(tmp_path: Path) -> None:
    sides = []
    for name, plus in (("a", "pass"), ("b", "fail")):
        folder = run(tmp_path / name, {("m", "x", "chat"): "PP", ("m", "y", "chat"): "P"})
        file = folder / "steps" / "judge-m-x-chat-1" / "verdicts.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        lines(file, [{**row, "base_status": "pass", "plus_status": plus} for row in rows])
        sides.append(str(folder))
    found = compare_all(*sides)
    assert [(each["label"], each["only_a"]) for each in found["comparisons"]] == [
        ("m · x base · chat", 0), ("m · x plus · chat", 2), ("m · y · chat", 0)
    ]  # fmt: skip
    assert [len(each["changed"]) for each in found["comparisons"]] == [0, 2, 0]


def test_changed_problems_show_prompt_answers_and_verdicts_lost_ones_first(tmp_path: Path) -> None:
    a, b = judge(tmp_path / "a", "FPPF"), judge(tmp_path / "b", "PFPF")
    (only,) = compare_all(str(a), str(b))["comparisons"]
    lost, gained = only["changed"]
    assert (lost["task_id"], lost["change"], gained["task_id"], gained["change"]) == ("T/1", "lost", "T/0", "gained")
    assert lost["prompt"] == "solve T/1" and only["missing"] == []
    assert lost["a"] == {
        "passed": 1,
        "samples": 1,
        "outcome": "PASSED",
        "detail": "",
        "answer": "```python\ndef f(): return 'P'",
    }
    assert lost["b"]["outcome"] == "FAILED" and lost["b"]["detail"] == "T/1 is wrong"


def test_of_several_samples_one_that_passed_is_shown_against_one_that_failed(tmp_path: Path) -> None:
    sides = []
    for name, outcomes in (("a", ["FAILED", "PASSED"]), ("b", ["PASSED", "PASSED"])):
        folder = judge(tmp_path / name, "P")
        lines(folder / "verdicts.jsonl", [{"task_id": "T/0", "index": i, "outcome": o} for i, o in enumerate(outcomes)])
        sides.append(str(folder))
    (change,) = compare_all(*sides)["comparisons"][0]["changed"]
    assert (change["a"]["outcome"], change["a"]["passed"], change["b"]["passed"]) == ("FAILED", 1, 2)


def test_answers_and_prompts_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    a, b = judge(tmp_path / "a", "FP"), judge(tmp_path / "b", "PF")
    (a / "samples.jsonl").write_text('{"task_id": "T/0", "raw": "other"}\n')
    (a / "examples.jsonl").unlink()
    (only,) = compare_all(str(a), str(b))["comparisons"]
    assert only["missing"][0] == "the answers of A are not beside its verdicts"
    assert only["missing"][1].startswith("some prompts are left out: ")
    assert [each["prompt"] for each in only["changed"]] == ["solve T/1", None]
    assert only["changed"][0]["a"]["answer"] is None and only["changed"][0]["b"]["answer"]


@pytest.mark.parametrize(
    ("text", "a", "b", "missed"),
    [
        ("worse:0.02", 50, 48, True),  # exactly 0.02: at least X
        ("worse:0.02", 50, 49, False),
        ("worse:0.02", 48, 50, False),  # B is better
        ("worse:0.02:significant", 50, 48, False),  # two problems are noise
        ("worse:0.02:significant", 50, 30, True),
    ],
)
def test_a_threshold_is_missed_where_b_is_worse_by_at_least_that_much(
    tmp_path: Path, text: str, a: int, b: int, missed: bool
) -> None:
    one, two = (judge(tmp_path / n, "P" * k + "F" * (100 - k)) for n, k in (("a", a), ("b", b)))
    found = compare_all(str(one), str(two), fail_if=[parse_threshold(text)])
    assert found["failed"] == (["m · bench · chat"] if missed else [])
    printed = CliRunner().invoke(app, ["compare", str(one), str(two), "--fail-if", text, "--json"])
    assert printed.exit_code == (3 if missed else 0)
    assert json.loads(printed.stdout.splitlines()[-1])["failed"] == found["failed"]


@pytest.mark.parametrize(
    "text", ["0.02", "worse", "worse:", "worse:2", "worse:-0.1", "worse:x", "worse:0.1:sure", "better:0.1"]
)
def test_what_is_not_a_threshold_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a threshold"):
        parse_threshold(text)
    assert parse_threshold("worse:0.5") == Threshold(0.5)


def test_the_terminal_shows_sides_beside_each_other_and_the_page_says_where_it_is(tmp_path: Path) -> None:
    a, b = judge(tmp_path / "a", "FPPF"), judge(tmp_path / "b", "PFPF")
    page = tmp_path / "deep" / "page.html"
    printed = CliRunner().invoke(app, ["compare", str(a), str(b), "--show", "1", "--html", str(page)])
    assert printed.exit_code == 0, printed.output
    for expected in ("both pass 1, only A 1, only B 1, neither 1", "2 problems changed, 1 lost and 1 gained by B",
                     "lost  T/1", "solve T/1", "T/1 is wrong", "1 more: --show N", f"page: {page}"):  # fmt: skip
        assert expected in printed.stdout
    assert "gained  T/0" not in printed.stdout
    head = next(line for line in printed.stdout.splitlines() if "A  PASSED" in line)
    assert "B  FAILED" in head
    assert page.read_text().count('<details class="change"') == 2


def test_the_page_escapes_what_models_wrote_and_marks_lines_that_differ(tmp_path: Path) -> None:
    a, b = judge(tmp_path / "a", "P"), judge(tmp_path / "b", "F")
    found = compare_all(str(a), str(b))
    found["comparisons"][0]["changed"][0]["prompt"] = ATTACK
    found["comparisons"][0]["changed"][0]["b"]["answer"] = f"```python\n{ATTACK}"
    page = render(found)
    assert "attack.invalid" in page and "<img" not in page and page.count("<script>") == 1
    assert "<mark>def f(): return &#39;P&#39;</mark>" in page
    assert "<mark>```python" not in page, "the line that both answers have"
