"""Prompt styles: the exact texts of published tools, through the one renderer, with one BOS; and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_evaluate import DATA, LIMITS, Bytes, FakeEngine, FakeRenderer, run
from tokenizers_for_tests import byte_level

from codeup.benchmarks import humaneval
from codeup.chat import Renderer
from codeup.errors import UserError
from codeup.evaluate import extract_2024, prompts
from codeup.evaluate.generate import generate_samples
from codeup.evaluate.judge import judge_samples
from codeup.evaluate.other_extractions import would_pass
from codeup.evaluate.programs import judge_one
from codeup.evaluate.samples import EXTRACTIONS, program_of, read_answers
from codeup.sandbox.pool import Pool
from codeup.types import Message, Outcome, Problem, Sample

CODE = Problem("HumanEval/0", '\ndef f(x):\n    """Add one."""\n', "f", "def check(candidate): pass")
TEXT = Problem("Mbpp/2", '"""\nWrite a function to add one\nassert f(1) == 2\n"""\n', "f", "def check(candidate): pass")
ASKED = {
    ("codeup-2024", "base", "HumanEval/0"): ('def f(x):\n    """Add one."""', ""),
    ("codeup-2024", "base", "Mbpp/2"): ("Write a function to add one\nassert f(1) == 2", ""),
    ("codeup-2024", "chat", "HumanEval/0"): (
        "Write a Python function to solve the following task:\n"
        '```python\ndef f(x):\n    """Add one."""\n```',
        "```python",
    ),
    ("codeup-2024", "chat", "Mbpp/2"): (
        "Write a function to add one.\n\n```python\nassert f(1) == 2\n```", "```python"),
    ("evalplus", "base", "HumanEval/0"): ('def f(x):\n    """Add one."""\n', ""),
    ("evalplus", "base", "Mbpp/2"): (TEXT.prompt, ""),
    ("evalplus", "chat", "HumanEval/0"): (
        "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
        '```\ndef f(x):\n    """Add one."""\n```\n',
        "Below is a Python script with a self-contained function that solves the problem and passes corresponding "
        "tests:\n```python\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", ASKED, ids=" ".join)
def test_a_style_asks_in_its_own_words(key: tuple[str, Any, str]) -> None:
    style, form, task = key
    question = prompts.ask(style, humaneval, CODE if task == CODE.task_id else TEXT, form)
    assert (question.text, question.prefill) == ASKED[key]


def test_stops_follow_the_style_and_the_shape_of_the_problems() -> None:
    assert prompts.stops("evalplus", None, [CODE], "base")[-1] == "\nassert "
    assert prompts.stops("evalplus", None, [TEXT], "base")[-2:] == ('\n"""', "\nassert")
    assert prompts.stops("evalplus", None, [TEXT], "chat")[-1] == "\n```\n"
    assert prompts.stops("codeup-2024", None, [CODE], "chat") == ("\n```\n",)
    assert {"\ndef ", "\nimport ", "\nassert ", "\n# "} <= set(prompts.stops("codeup-2024", None, [TEXT], "base"))
    with pytest.raises(UserError, match=r"(?s)no prompt style is named 'x'.*default, codeup-2024, evalplus"):
        prompts.ask("x", humaneval, CODE, "chat")


@pytest.mark.parametrize("template", ["alpaca", "llama3", "chatml"])
def test_a_prefill_is_the_beginning_of_the_answer_that_training_sees(template: str) -> None:
    renderer = Renderer(byte_level(), template)
    asked = Message("user", "Write f.")
    begun = renderer.prompt([asked], prefill="```python\n")
    assert begun == renderer.prompt([asked, Message("assistant", "```python\n")])
    assert begun[: len(renderer.prompt([asked]))] == renderer.prompt([asked])
    assert begun.count(renderer.bos_id or -1) == 1 and not set(begun[1:]) & {renderer.bos_id}


class TwoBos(FakeRenderer):
    def prompt(self, messages: Any, *, prefill: str = "") -> list[int]:
        return [256, *super().prompt(messages, prefill=prefill)]


class NoBos(FakeRenderer):
    def prompt(self, messages: Any, *, prefill: str = "") -> list[int]:
        return super().prompt(messages, prefill=prefill)[1:]


@pytest.mark.parametrize(("renderer", "count"), [(TwoBos(), 2), (NoBos(), 0)])
def test_a_second_or_a_missing_bos_never_reaches_the_engine(tmp_path: Path, renderer: Any, count: int) -> None:
    engine = FakeEngine("chat")
    with pytest.raises(AssertionError, match=f"T/0 holds {count} BOS tokens \\(id 256\\), expected one, at its start"):
        generate_samples(engine, renderer, humaneval, DATA, form="chat", out=tmp_path / "s.jsonl")
    assert engine.asked == []


def test_a_style_is_a_setting_of_the_file_and_its_prefill_is_kept_with_each_answer(tmp_path: Path) -> None:
    engine = FakeEngine("chat")
    summary = run(tmp_path, "chat", engine, prompt_style="evalplus")
    assert engine.asked[0].endswith("tests:\n```python\n") and engine.settings["stop_strings"][-1] == "\n```\n"
    assert (summary["prompt_style"], summary["prompt0"][:14]) == ("evalplus", "Please provide")
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert all(row["prefill"].endswith("```python\n") and "Below" not in row["raw"] for row in rows)
    with pytest.raises(UserError, match=r"other settings \(.*prompt_style"):
        run(tmp_path, "chat", prompt_style="codeup-2024")
    judged = judge_samples(tmp_path / "s.jsonl", humaneval, DATA, tmp_path / "out", workers=1, limits=LIMITS)
    assert (judged["scores"][0]["prompt_style"], judged["scores"][0]["extraction_mode"]) == ("evalplus", "codeup")


def answer(raw: str, form: Any = "chat", finish: Any = "stop", prefill: str = "") -> Sample:
    return Sample("T", 0, form, raw, finish, 1, prefill)


ADD = Problem("T", "import math\n\ndef f(x):\n    '''Add one.'''\n", "f", "def check(candidate): pass")
PROGRAMS: dict[str, tuple[str, Sample, str]] = {
    "the study takes the last block": (
        "codeup-2024", answer("```python\ndef f(x): return x + 1\n```\n```python\nf(1)\n```"), ADD.prompt + "\nf(1)\n"),
    "the study takes text without a fence": ("codeup-2024", answer("\nreturn 1"), ADD.prompt + "\nreturn 1"),
    "the study cuts a completion at the last hit of each stop": (
        "codeup-2024", answer("    return 1\n\ndef g(): 1\n\ndef h(): 2", "base"),
        ADD.prompt + "    return 1\n\ndef g(): 1\n"),
    "EvalPlus leaves the prompt out of a chat answer": (
        "evalplus", answer("```python\ndef f(x):\n    return x + 1\n```", prefill="Below:\n```python\n"),
        "def f(x):\n    return x + 1"),
    "EvalPlus reads a completion behind its prompt": (
        "evalplus", answer("    return x + 1\n", "base"),
        "import math\n" + "def f(x):\n    '''Add one.'''\n    return x + 1"),
    "EvalPlus sanitizes given solutions": (
        "evalplus", answer("def f(x):\n    return 1\n\nf(1)\n", finish="given"), "def f(x):\n    return 1"),
    "our own rules see the prefill": (
        "codeup", answer("\ndef f(x):\n    return x + 1", prefill="```python"),
        "import math\n\ndef f(x):\n    return x + 1"),
    "the study leaves given solutions alone": ("codeup-2024", answer("x = 1", finish="given"), "x = 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_extraction_makes_its_own_program(name: str) -> None:
    mode, sample, code = PROGRAMS[name]
    assert program_of(sample, ADD, humaneval, mode).code == code


@pytest.mark.parametrize("mode", EXTRACTIONS)
@pytest.mark.parametrize("form", ["base", "chat"])
def test_no_answer_is_no_code_whatever_the_extraction(mode: str, form: str) -> None:
    program = program_of(answer(" \n", form), ADD, humaneval, mode)
    assert (program.code, program.extraction) == ("", "empty")


def test_failures_that_pass_under_other_extractions_are_counted(tmp_path: Path) -> None:
    body = "```python\n    return x + {}\n```"  # passes behind the prompt only
    late = "```python\ndef f{0}(x):\n    return 0\n\ndef f{0}(x):\n    return x + {0}\n```"  # passes for us only
    early = "```python\ndef f{0}(x):\n    return x + {0}\n\ndef f{0}(x):\n    return 0\n```"  # passes for EvalPlus only
    raws = [body.format(0), body.format(0), late.format(1), early.format(2), "def f3(x):\n    return x + 3"]
    tasks = [0, 0, 1, 2, 3]
    rows = [{"task_id": f"T/{task}", "index": place if task == 0 else 0, "form": "chat", "raw": raw, "finish": "stop",
             "tokens": 1} for place, (task, raw) in enumerate(zip(tasks, raws, strict=True))]  # fmt: skip
    samples = tmp_path / "s.jsonl"
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = judge_samples(samples, humaneval, DATA, tmp_path / "a", workers=1, limits=LIMITS, other_extractions=True)
    assert summary["outcomes"]["PASSED"] == 2 and summary["other_extractions"] == {"codeup-2024": 2, "evalplus": 1}
    assert json.loads((tmp_path / "a" / "scores.json").read_text())["other_extractions"]["codeup-2024"] == 2
    again = judge_samples(samples, humaneval, DATA, tmp_path / "a", workers=1, limits=LIMITS, extraction="evalplus")
    assert (again["extraction_mode"], again["outcomes"]["PASSED"]) == ("evalplus", 2)  # no verdict of another program
    assert set(again["extractions"]) == {"evalplus"} and again["reused"] == 1  # a verdict kept, by its new rule
    answers = read_answers(samples, humaneval, DATA, extraction="evalplus")
    with Pool(1, LIMITS) as pool:
        verdicts = [json.loads(line) for line in (tmp_path / "a" / "verdicts.jsonl").read_text().splitlines()]
        problems = {problem.task_id: problem for problem in DATA.problems}
        assert would_pass(answers, verdicts, problems, humaneval, pool, mode="evalplus") == {
            "codeup": 1,
            "codeup-2024": 3,
        }
    with pytest.raises(UserError, match="no extraction is named 'x'"):
        read_answers(samples, humaneval, DATA, extraction="x")


def test_why_the_published_base_score_of_mbpp_was_near_zero() -> None:
    """The prompt ends without a newline, so the answer begins with one, and "\\ndef " is a stop."""
    completion = "\ndef f(x):\n    return x + 1\n\nassert f(2) == 3"
    stops = prompts.stops("codeup-2024", None, [TEXT], "base")
    assert extract_2024.from_completion(completion, stops) == ""
    assert humaneval.base_prompt(CODE).endswith("\n")


def test_bytes_have_the_bos_that_the_fakes_promise() -> None:
    assert Bytes().bos_token_id == FakeRenderer.bos_id


ONE = DATA.problems[1]
RIGHT, CALL, BODY = "def f1(x):\n    return x + 1", "print(f1(1))", "    return x + 1"
DOCUMENTED = {
    "an example call in a later block": (f"```python\n{RIGHT}\n```\nUse:\n```python\n{CALL}\n```", "yes", "no", "yes"),
    "a corrected version": (f"```python\ndef f1(x):\n    return 0\n\n{RIGHT}\n```", "yes", "yes", "no"),
    "only the body": (f"```python\n{BODY}\n```", "no", "yes", "no"),
    "a decorated function": (
        f"```python\nfrom functools import lru_cache\n@lru_cache\n{RIGHT}\n```",
        "yes",
        "yes",
        "no",
    ),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_table_in_the_documentation_is_so(name: str) -> None:
    raw, *expected = DOCUMENTED[name]
    sample = Sample(ONE.task_id, 0, "chat", raw, "stop")
    with Pool(1, LIMITS) as pool:
        codes = [program_of(sample, ONE, humaneval, mode).code for mode in EXTRACTIONS]
        passed = [judge_one(ONE, code, pool=pool).outcome == Outcome.PASSED for code in codes]
    assert ["yes" if each else "no" for each in passed] == expected
