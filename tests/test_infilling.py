"""Gaps in solutions: made the same way everywhere, asked with the tokenizer's own tokens, judged between both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers_for_tests import SPECIAL, byte_level

from codeup import stats
from codeup.benchmarks import humaneval_infilling, humaneval_span_infilling
from codeup.chat.infilling import find_infill, infill_ids, needed_infill
from codeup.errors import UserError
from codeup.evaluate import prompts
from codeup.evaluate.generate import generate_samples
from codeup.evaluate.judge import judge_samples
from codeup.evaluate.programs import judge_one
from codeup.evaluate.samples import program_of
from codeup.sandbox.pool import Pool
from codeup.types import BenchmarkData, Outcome, Problem, Sample

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>")
SOLUTION = "    y = x + 1\n\n    if y > 9:\n        y = 9\n    return y\n"
ROW = {
    "task_id": "T/0",
    "prompt": 'def f(x):\n    """One more, 9 at most."""\n',
    "entry_point": "f",
    "canonical_solution": SOLUTION,
    "test": "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(20) == 9\n",
}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "shape.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    return file


def given(problem: Problem, completion: str, benchmark: Any = humaneval_infilling) -> str:
    sample = Sample(problem.task_id, 0, "base", completion, "given")
    return program_of(sample, problem, benchmark).code


def test_each_line_that_is_not_blank_is_a_gap_once(path: Path) -> None:
    data = humaneval_infilling.load(path)
    assert [problem.task_id for problem in data.problems] == ["T/0/L0", "T/0/L2", "T/0/L3", "T/0/L4"]
    second = data.problems[1]
    assert second.prompt == ROW["prompt"] + "    y = x + 1\n\n"
    assert second.extra["middle"] == "    if y > 9:"
    assert second.extra["suffix"] == "\n        y = 9\n    return y\n"
    assert data.version.endswith("single-line infilling, 4 gaps")


def test_human_eval_has_as_many_gaps_as_were_published(public_data: Path) -> None:
    path = public_data / "benchmarks/HumanEval.jsonl.gz"
    assert len(humaneval_infilling.load(path).problems) == 1033  # arXiv 2204.05999
    data = humaneval_span_infilling.load(path)
    assert len(data.problems) == 1640  # arXiv 2207.14255
    for problem in data.problems:
        whole = problem.prompt + problem.extra["middle"] + problem.extra["suffix"]
        assert whole == problem.prompt + problem.canonical_solution and problem.extra["middle"].strip()
    assert len({(p.extra["problem"], p.prompt, p.extra["suffix"]) for p in data.problems}) == 1640


def test_spans_depend_on_the_task_alone(path: Path, tmp_path: Path) -> None:
    once = humaneval_span_infilling.load(path).problems
    other = tmp_path / "two.jsonl"
    other.write_text(json.dumps({**ROW, "task_id": "T/1"}) + "\n" + json.dumps(ROW) + "\n")
    again = [problem for problem in humaneval_span_infilling.load(other).problems if problem.extra["problem"] == "T/0"]
    assert list(once) == again and len(once) == 10
    first = [problem for problem in humaneval_span_infilling.load(other).problems if problem.extra["problem"] == "T/1"]
    assert [problem.prompt for problem in first] != [problem.prompt for problem in once]


def test_the_middle_passes_and_nothing_or_something_else_fails(path: Path, pool: Pool) -> None:
    outcomes = {}
    for problem in humaneval_infilling.load(path).problems:
        assert judge_one(problem, given(problem, problem.extra["middle"]), pool=pool).outcome == Outcome.PASSED
        outcomes[problem.task_id] = judge_one(problem, given(problem, ""), pool=pool).outcome
    # without its third line the `if` has no body, and without its second the `y = 9` is indented for no reason
    assert outcomes == {
        "T/0/L0": Outcome.FAILED, "T/0/L2": Outcome.COMPILE, "T/0/L3": Outcome.COMPILE, "T/0/L4": Outcome.FAILED
    }  # fmt: skip
    last = humaneval_infilling.load(path).problems[-1]
    assert judge_one(last, given(last, "    return min(y, 9)\n"), pool=pool).outcome == Outcome.PASSED
    assert judge_one(last, given(last, "    return y + 1"), pool=pool).outcome == Outcome.FAILED


def test_random_spans_pass_with_their_middle(path: Path, pool: Pool) -> None:
    for problem in humaneval_span_infilling.load(path).problems:
        code = given(problem, problem.extra["middle"], humaneval_span_infilling)
        assert code == ROW["prompt"] + SOLUTION
    assert judge_one(problem, code, pool=pool).outcome == Outcome.PASSED


def test_a_published_file_is_read_as_it_is(tmp_path: Path, pool: Pool) -> None:
    row = {**ROW, "task_id": "SingleLineInfilling/T/0/L4", "prompt": ROW["prompt"] + SOLUTION[:-13]}
    file = tmp_path / "published.jsonl"
    file.write_text(json.dumps({**row, "canonical_solution": "    return y\n", "suffix": ""}) + "\n")
    (problem,) = humaneval_infilling.load(file).problems
    assert (problem.task_id, problem.extra["middle"]) == ("SingleLineInfilling/T/0/L4", "    return y\n")
    assert problem.extra["problem"] == "SingleLineInfilling/T/0"
    assert judge_one(problem, given(problem, "    return y\n"), pool=pool).outcome == Outcome.PASSED
    assert judge_one(problem, given(problem, "    return x\n"), pool=pool).outcome == Outcome.FAILED


def test_the_ids_are_prefix_suffix_middle(path: Path) -> None:
    tokenizer = byte_level((*SPECIAL, *FIM))
    known = tokenizer.get_vocab()
    mark = find_infill(tokenizer)
    assert mark is not None and mark.ends == {known["<|file_sep|>"]}
    ids = infill_ids(tokenizer, mark, "a<|fim_middle|>", "b")
    typed = tokenizer.encode("a<|fim_middle|>", add_special_tokens=False, split_special_tokens=True)
    assert known["<|fim_middle|>"] not in typed
    assert ids == [
        known["<|begin_of_text|>"], known["<|fim_prefix|>"], *typed, known["<|fim_suffix|>"], known["b"],
        known["<|fim_middle|>"],
    ]  # fmt: skip


class Engine:
    """Answers each gap with one line."""

    description = "fake"

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[list[int]] = []
        self.end_ids: list[int] = []

    def generate(self, prompts: list[list[int]], *, on_done: Any, end_ids: list[int], **_: Any) -> None:
        self.prompts, self.end_ids = prompts, end_ids
        for place in range(len(prompts)):
            on_done(place, type("Completion", (), {"text": "    return y", "finish": "stop", "ids": (1,)}))


def test_a_model_is_asked_with_both_sides_and_may_end_a_file(path: Path, tmp_path: Path) -> None:
    engine = Engine(byte_level((*SPECIAL, *FIM)))
    data = humaneval_infilling.load(path)
    summary = generate_samples(engine, None, humaneval_infilling, data, form="base", out=tmp_path / "s.jsonl")
    text = engine.tokenizer.decode(engine.prompts[3])
    before = ROW["prompt"] + SOLUTION.removesuffix("    return y\n")
    assert text == f"<|begin_of_text|><|fim_prefix|>{before}<|fim_suffix|>\n<|fim_middle|>"
    known = engine.tokenizer.get_vocab()
    assert set(engine.end_ids) == {known["<|end_of_text|>"], known["<|file_sep|>"]}
    assert "<GAP>\n\n    if y > 9:" in summary["prompt0"]


def test_a_tokenizer_without_such_tokens_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokens that mark a gap"):
        needed_infill(byte_level())
    engine, data = Engine(byte_level()), humaneval_infilling.load(path)
    with pytest.raises(UserError, match="no tokens that mark a gap"):
        generate_samples(engine, None, humaneval_infilling, data, form="base", out=tmp_path / "s.jsonl")
    assert not engine.prompts


def test_other_prompt_styles_are_refused(path: Path) -> None:
    data: BenchmarkData = humaneval_infilling.load(path)
    with pytest.raises(UserError, match="not asked in the prompt style"):
        prompts.ask("evalplus", humaneval_infilling, data.problems[0], "chat")
    assert "<GAP>" in prompts.ask("default", humaneval_infilling, data.problems[0], "chat").text


def test_a_chat_answer_gives_the_whole_function(path: Path, pool: Pool) -> None:
    problem = humaneval_infilling.load(path).problems[2]
    text = "Sure:\n```python\ndef f(x):\n    return min(x + 1, 9)\n```\n"
    program = program_of(Sample(problem.task_id, 0, "chat", text, "stop"), problem, humaneval_infilling)
    assert judge_one(problem, program.code, pool=pool).outcome == Outcome.PASSED


def test_the_interval_is_over_problems_and_not_over_their_gaps(path: Path, tmp_path: Path) -> None:
    data = humaneval_infilling.load(path)
    samples = tmp_path / "s.jsonl"
    rows = [{"task_id": each.task_id, "completion": each.extra["middle"]} for each in data.problems]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (score,) = judge_samples(samples, humaneval_infilling, data, tmp_path / "out", workers=1)["scores"]
    problems = len({each.extra["problem"] for each in data.problems})
    assert (score["value"], score["n"], score["clusters"]) == (1.0, len(data.problems), problems)
    assert (score["low"], score["high"]) == stats.wilson(problems, problems)
    assert score["interval"] == "wilson-95 of clusters"
