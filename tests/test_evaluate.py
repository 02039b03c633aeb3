"""From problems to scores: prompts as they are, answers never lost, verdicts reused only for the same program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codeup.benchmarks import humaneval
from codeup.errors import UserError, WorkFailed
from codeup.evaluate.generate import generate_samples, meta_path
from codeup.evaluate.judge import judge_samples
from codeup.evaluate.programs import judge_one
from codeup.evaluate.samples import read_answers
from codeup.evaluate.scores import scores
from codeup.evaluate.subset import first
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool
from codeup.types import BenchmarkData, Event, Message, Outcome, Problem

LIMITS = Limits(cpu_s=2, wall_s=5, memory_mb=512)


def problem(number: int) -> Problem:
    return Problem(
        f"T/{number}",
        f'def f{number}(x: int) -> int:\n    """Add {number} to x."""\n',
        f"f{number}",
        f"def check(candidate):\n    assert candidate(1) == {number + 1}\n",
        f"    return x + {number}\n",
    )


DATA = BenchmarkData("humaneval", "made for this test", "0" * 64, tuple(problem(n) for n in range(4)))


@dataclass
class Completion:
    ids: tuple[int, ...]
    text: str
    finish: str = "stop"


class Bytes:
    """A tokenizer whose tokens are bytes; 256 begins and 257 ends a text."""

    bos_token_id, eos_token_id, bos_token = 256, 257, "<s>"

    def encode(self, text: str, **_: Any) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join({256: "<s>", 257: "</s>"}.get(i, chr(i)) for i in ids)


class FakeEngine:
    """Answers with the canonical solution; can be made to stop after some answers."""

    description = "fake 1.0"

    def __init__(self, form: str, fail_after: int = 1000) -> None:
        self.tokenizer, self.form, self.left = Bytes(), form, fail_after
        self.asked: list[str] = []
        self.settings: dict[str, Any] = {}

    def generate(
        self, prompts: Sequence[Sequence[int]], *, on_done: Callable[[int, Any], None], **settings: Any
    ) -> list[Any]:
        self.settings = settings
        for place in reversed(range(len(prompts))):  # engines finish in an order of their own
            if self.left == 0:
                raise WorkFailed("power cut")
            self.left -= 1
            text = self.tokenizer.decode(prompts[place])
            self.asked.append(text)
            number = int(text.partition("def f")[2].partition("(")[0])
            body = f"    return x + {number}\n"
            if self.form == "chat":
                body = f"Sure:\n```python\ndef f{number}(x):\n{body}```"
            on_done(place, Completion((1, 2, 3), body))
        return []


class FakeRenderer:
    end_ids = (257, 258)
    bos_id = 256

    def prompt(self, messages: Sequence[Message], *, prefill: str = "") -> list[int]:
        return [256, *f"[user]{messages[0].content}[assistant]{prefill}".encode()]


@pytest.fixture(autouse=True)
def base_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    import codeup.chat

    monkeypatch.setattr(codeup.chat, "base_prompt_ids", lambda tokenizer, text: [256, *tokenizer.encode(text)])


def run(tmp_path: Path, form: Any = "base", engine: FakeEngine | None = None, **settings: Any) -> dict[str, Any]:
    engine = engine or FakeEngine(form)
    return generate_samples(engine, FakeRenderer(), humaneval, DATA, form=form, out=tmp_path / "s.jsonl", **settings)


def test_the_summary_holds_the_exact_first_prompt(tmp_path: Path) -> None:
    summary = run(tmp_path)
    assert summary["prompt0"] == DATA.problems[0].prompt
    assert summary["prompt0_ids"][0] == 256 and "".join(summary["prompt0_tokens"]) == "<s>" + DATA.problems[0].prompt
    chat = run(tmp_path / "chat", "chat")
    assert chat["prompt0"].startswith("Write a Python function") and chat["prompt0_full"].startswith("<s>[user]Write")


def test_each_form_ends_where_it_should(tmp_path: Path) -> None:
    base, chat = FakeEngine("base"), FakeEngine("chat")
    run(tmp_path / "a", "base", base)
    run(tmp_path / "b", "chat", chat)
    assert base.settings["stop_strings"] == list(humaneval.BASE_STOPS) and base.settings["end_ids"] == [257]
    assert chat.settings["stop_strings"] == [] and chat.settings["end_ids"] == [257, 258]


def test_interrupted_generation_makes_only_the_missing_answers(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed):
        run(tmp_path, engine=FakeEngine("base", fail_after=3), n_samples=2)
    with (tmp_path / "s.jsonl").open("a") as file:
        file.write('{"task_id": "T/0", "ind')  # the line that was being written
    engine = FakeEngine("base")
    summary = run(tmp_path, engine=engine, n_samples=2)
    assert (len(engine.asked), summary["resumed"], summary["finish"]) == (5, 3, {"stop": 8})
    assert engine.settings["keys"] == [0, 1, 2, 3, 4]  # the random streams they would have had
    answers = read_answers(tmp_path / "s.jsonl", humaneval, DATA)
    assert [(a.sample.task_id, a.sample.index) for a in answers] == [(f"T/{n}", i) for n in range(4) for i in range(2)]
    run(tmp_path / "undisturbed", n_samples=2)
    assert (tmp_path / "s.jsonl").read_bytes() == (tmp_path / "undisturbed" / "s.jsonl").read_bytes()


def test_a_file_made_with_other_settings_is_not_continued(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match="other settings \\(seed, temperature\\)"):
        run(tmp_path, seed=1, temperature=0.5)
    meta_path(tmp_path / "s.jsonl").unlink()
    with pytest.raises(UserError, match="unknown ones"):
        run(tmp_path)


def test_progress_counts_answers(tmp_path: Path) -> None:
    events: list[Event] = []
    run(tmp_path, emit=events.append)
    assert [(e.kind, e.done, e.total) for e in events][-1] == ("progress", 4, 4)


@pytest.mark.parametrize("form", ["base", "chat"])
def test_right_answers_score_one_with_everything_needed_to_trust_it(tmp_path: Path, form: str) -> None:
    run(tmp_path, form, model="tiny")
    summary = judge_samples(tmp_path / "s.jsonl", humaneval, DATA, tmp_path / "out", workers=1, limits=LIMITS)
    (score,) = summary["scores"]
    assert (score["metric"], score["value"], score["n"], score["passed"]) == ("pass@1", 1.0, 4, 4)
    assert score["low"] == pytest.approx(0.5101, abs=1e-4)  # Wilson 1927, 4 of 4
    assert score["sandbox"].startswith(("strong", "confined")) and score["engine"] == "fake 1.0"
    assert (score["model"], score["form"], score["data_version"]) == ("tiny", form, DATA.version)
    assert score["outcomes"] == {"PASSED": 4}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def completions(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"task_id": f"T/{n}", "completion": text} for n, text in enumerate(texts)]


def test_evalplus_lines_are_judged_as_they_are(tmp_path: Path) -> None:
    rows = completions(["    return x\n", "    return x\n", ""])
    rows.append({"task_id": "T/3", "solution": "def f3(x):\n    return x + 3\n"})
    summary = judge_samples(
        write(tmp_path / "s.jsonl", rows), humaneval, DATA, tmp_path / "out", workers=1, limits=LIMITS
    )
    assert summary["outcomes"] == {"FAILED": 1, "NO_CODE": 1, "PASSED": 2}
    assert summary["extractions"] == {"given-completion": 3, "given-solution": 1}
    (failed, empty) = lines(tmp_path / "out" / "examples.jsonl")
    assert failed["detail"] == "f1(1) returned 1; assert candidate(1) == 2"
    assert failed["code"].endswith("    return x\n") and empty["outcome"] == "NO_CODE"


def test_a_verdict_is_reused_for_the_same_program_only(tmp_path: Path) -> None:
    right = [f"    return x + {n}\n" for n in range(4)]
    samples = write(tmp_path / "s.jsonl", completions(right))
    judge_samples(samples, humaneval, DATA, tmp_path / "out", workers=1, limits=LIMITS)
    kept = (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "verdicts.jsonl").write_text("".join(kept[:3]) + kept[3][:20])  # killed while writing
    write(samples, completions([*right[:2], "    return 0\n", right[3]]))
    again = judge_samples(samples, humaneval, DATA, tmp_path / "out", workers=1, limits=LIMITS)
    assert (again["reused"], again["judged"], again["outcomes"]) == (2, 2, {"FAILED": 1, "PASSED": 3})
    assert [row["task_id"] for row in lines(tmp_path / "out" / "verdicts.jsonl")] == ["T/0", "T/1", "T/2", "T/3"]


def test_progress_goes_on_where_an_interrupted_judgement_ended(tmp_path: Path) -> None:
    samples, out = write(tmp_path / "s.jsonl", completions(["    return x\n"] * 4)), tmp_path / "out"
    judge_samples(samples, humaneval, DATA, out, workers=1, limits=LIMITS)
    write(out / "verdicts.jsonl", lines(out / "verdicts.jsonl")[:2])
    events: list[Event] = []
    judge_samples(samples, humaneval, DATA, out, workers=1, limits=LIMITS, emit=events.append)
    progress = [event for event in events if event.unit == "of the work"]
    assert [event.values["programs"] for event in progress] == ["3/4", "4/4"]
    assert [event.done / event.total for event in progress] == [0.75, 1.0]


def test_of_each_way_to_fail_twenty_examples_are_kept(tmp_path: Path) -> None:
    rows = [{"task_id": "T/0", "completion": f"    return x - {n}\n"} for n in range(1, 23)]
    rows += [{"task_id": "T/1", "completion": ""}]
    samples, out = write(tmp_path / "s.jsonl", rows), tmp_path / "out"
    judge_samples(samples, humaneval, DATA, out, workers=1, limits=LIMITS, partial=True)
    shown = [(row["outcome"], row["index"]) for row in lines(out / "examples.jsonl")]
    assert shown == [*(("FAILED", n) for n in range(20)), ("NO_CODE", 0)]


WRONG: dict[str, tuple[str, str]] = {
    "a truncated line": (
        '{"task_id": "T/0", "solution": "x"}\n{"task_id": "T/1", "sol',
        r":2: the file ends in the middle",
    ),
    "a broken line inside": ('{"task_id": \n{"task_id": "T/1", "solution": "x"}\n', r":1: "),
    "an unknown task": ('{"task_id": "MBPP/7", "solution": "x"}\n', "1 task ids are not in this benchmark: MBPP/7"),
    "missing tasks": ('{"task_id": "T/0", "solution": "x"}\n', "3 of 4 tasks have no sample: T/1, T/2, T/3"),
    "no answer in a line": ('{"task_id": "T/0"}\n' * 4, "3 of 4|neither"),
    "an empty file": ("", "holds no samples"),
    "one list of rows": ('[{"task_id": "T/0", "solution": "x"}]', ":1: is not a JSON object"),
    "a line nested too deep": ("[" * 100_000 + "\n{}", ":1: maximum recursion depth"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_does_not_fit_says_where_and_why(tmp_path: Path, name: str) -> None:
    text, message = WRONG[name]
    (tmp_path / "s.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        read_answers(tmp_path / "s.jsonl", humaneval, DATA)


def test_a_partial_file_is_scored_over_the_tasks_it_has(tmp_path: Path) -> None:
    samples = write(tmp_path / "s.jsonl", completions(["    return x\n", "    return 9\n"]))
    summary = judge_samples(samples, humaneval, DATA, tmp_path / "o", workers=1, limits=LIMITS, partial=True)
    assert (summary["scores"][0]["n"], summary["scores"][0]["value"], summary["problems_in_benchmark"]) == (2, 0.5, 4)


def test_a_partial_file_answers_at_least_one_task(tmp_path: Path) -> None:
    samples = write(tmp_path / "s.jsonl", [{"task_id": "T/3", "completion": "    return x\n"}])
    with pytest.raises(UserError, match="2 of 2 tasks have no sample: T/0, T/1"):
        read_answers(samples, humaneval, first(DATA, 2), partial=True)


def test_a_sample_is_numbered_from_zero(tmp_path: Path) -> None:
    run(tmp_path)
    rows = [{**row, "index": row["index"] - 1} for row in lines(tmp_path / "s.jsonl")]
    with pytest.raises(UserError, match=r"s\.jsonl:1: is not a sample: check form, raw, index"):
        read_answers(write(tmp_path / "s.jsonl", rows), humaneval, DATA)


def test_a_sample_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    text = (tmp_path / "s.jsonl").read_text()
    (tmp_path / "s.jsonl").write_text(text + text.splitlines(keepends=True)[0])
    with pytest.raises(UserError, match="sample 0 of T/0 occurs twice"):
        read_answers(tmp_path / "s.jsonl", humaneval, DATA)


def test_the_first_problems_say_that_they_are_not_all() -> None:
    assert first(DATA, 2).version == "made for this test; only the first 2 of 4" and len(first(DATA, 2).problems) == 2
    assert first(DATA, None) is DATA and first(DATA, 4) is DATA


def test_pass_at_k_is_unbiased_and_only_for_k_every_problem_allows() -> None:
    rows = [{"task_id": "a", "outcome": "PASSED" if i < 3 else "FAILED"} for i in range(10)]
    rows += [{"task_id": "b", "outcome": "FAILED"} for _ in range(12)]
    one, ten = scores(rows)
    assert (one["metric"], one["value"], one["n"], one["samples"]) == ("pass@1", pytest.approx(0.15), 2, 22)
    assert (ten["metric"], ten["value"]) == ("pass@10", pytest.approx(0.5))


def test_pass_at_k_follows_the_number_of_samples_or_is_given_for_those_asked() -> None:
    rows = [{"task_id": "a", "outcome": "PASSED" if i < 3 else "FAILED"} for i in range(10)]
    assert [score["metric"] for score in scores(rows[:7])] == ["pass@1", "pass@7"]
    one, two, five = scores(rows, pass_at=(5, 2))
    assert [each["metric"] for each in (one, two, five)] == ["pass@1", "pass@2", "pass@5"]
    assert two["value"] == pytest.approx(1 - 21 / 45)  # of the 45 pairs of 10 samples, 21 are of the 7 that failed
    assert five["value"] == pytest.approx(1 - 21 / 252)


def test_a_verdict_that_a_library_is_missing_is_reached_again(tmp_path: Path) -> None:
    """Somebody may have installed it; what else failed stays as it was."""
    run(tmp_path)
    again = lambda: judge_samples(tmp_path / "s.jsonl", humaneval, DATA, tmp_path / "out", limits=LIMITS)  # noqa: E731
    again()
    path = tmp_path / "out" / "verdicts.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, detail in zip(rows, ("ModuleNotFoundError: No module named 'boost'", "returned 3"), strict=False):
        row.update(outcome="FAILED", detail=detail)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert again()["outcomes"] == {"FAILED": 1, "PASSED": 3}
    assert [json.loads(line)["detail"] for line in path.read_text().splitlines()][:2] == ["", "returned 3"]


def test_more_tries_than_samples_are_refused_before_anything_runs(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match="pass@2 needs 2 samples of every problem, and T/0 has 1"):
        judge_samples(tmp_path / "s.jsonl", humaneval, DATA, tmp_path / "verdicts", pass_at=(2,))
    assert not (tmp_path / "verdicts").exists()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2) as opened:
        yield opened


@pytest.mark.real_data
def test_every_canonical_solution_of_humaneval_passes(public_data: Path, pool: Pool) -> None:
    data = humaneval.load(public_data / "benchmarks" / "HumanEval.jsonl.gz")
    from codeup.evaluate.programs import judge_programs
    from codeup.types import Program

    programs = [Program(p.task_id, 0, p.prompt + p.canonical_solution, "given-solution") for p in data.problems]
    verdicts = list(judge_programs(pool, {p.task_id: p for p in data.problems}, programs))
    assert [v for v in verdicts if v.outcome is not Outcome.PASSED] == []
    assert all(v.checks > 0 for v in verdicts)


def test_an_empty_an_exiting_and_a_forging_solution_fail(pool: Pool) -> None:
    task = DATA.problems[0]
    forging = "class A:\n    def __eq__(self, o): return True\n\ndef f0(x):\n    return A()\n"
    got = [judge_one(task, code, pool=pool).outcome for code in ("", "import os\nos._exit(0)", forging)]
    assert got == [Outcome.NO_CODE, Outcome.EXITED, Outcome.FAILED]
    assert judge_one(task, task.prompt + task.canonical_solution, pool=pool).outcome is Outcome.PASSED
