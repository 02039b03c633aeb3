"""The generated tasks: families, hold-out, benchmark and training sets."""

from __future__ import annotations

import hashlib
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codeup.nano import benchmark_file, development_file
from codeup.nano.benchmark import (
    NEAR,
    Likeness,
    benchmark_rows,
    development_rows,
    masked,
    normal_form,
    programs_in,
    read_benchmark,
    write_benchmark,
)
from codeup.nano.corpus import DOCSTRINGS, documents
from codeup.nano.datasets import code_rows, instruct_rows, math_rows, write_datasets
from codeup.nano.tasks import (
    BY_SOURCE,
    FAMILIES,
    INPUTS,
    Move,
    Task,
    compile_program,
    held_out_pair,
    held_out_parameter,
    is_held_out,
    training_task,
)

ROWS = {"instruct": 300, "math": 300, "code": 6000}
PYTHON_TYPES = {"ints": list, "words": list, "int": int, "str": str, "dict": dict}


@pytest.fixture(scope="module")
def problems() -> list[dict[str, Any]]:
    return read_benchmark(benchmark_file())


@pytest.fixture(scope="module")
def code() -> list[dict[str, Any]]:
    return code_rows(ROWS["code"], 0)


def run(program: str, name: str, tests: str) -> None:
    scope: dict[str, Any] = {}
    exec(program, scope)
    exec(tests, scope)
    scope["check"](scope[name])


def solved(problem: dict[str, Any], body: str) -> bool:
    try:
        run(problem["prompt"] + body, problem["entry_point"], problem["test"])
    except AssertionError:
        return False
    return True


def test_there_are_at_least_60_families_with_four_phrasings_each() -> None:
    assert len(FAMILIES) >= 60
    assert {f.source for f in FAMILIES.values()} == {"ints", "int", "str", "words", "dict"}
    assert all(len(set(f.phrases)) >= 4 for f in FAMILIES.values())
    assert len({phrase for f in FAMILIES.values() for phrase in f.phrases}) >= 4 * 60


# Expected values worked out by hand.
@pytest.mark.parametrize(
    ("name", "parameter", "argument", "value"),
    [
        ("keep_even", "", [1, 2, 3, 4, -6], [2, 4, -6]),
        ("keep_odd", "", [-3, -2, 1], [-3, 1]),
        ("running_sum", "", [1, 2, 3], [1, 3, 6]),
        ("differences", "", [5, 3, 10], [-2, 7]),
        ("multiply_each", "3", [1, -2], [3, -6]),
        ("last_items", "2", [1, 2, 3], [2, 3]),
        ("unique", "", [2, 1, 2], [2, 1]),
        ("maximum", "", [], 0),
        ("divisors", "", 12, [1, 2, 3, 4, 6, 12]),
        ("count_up", "", 3, [1, 2, 3]),
        ("digit_sum", "", -129, 12),
        ("to_binary", "", 6, "110"),
        ("remove_vowels", "", "Noon tide", "Nn td"),
        ("spaces_to", "-", "a b c", "a-b-c"),
        ("char_counts", "", "aba", {"a": 2, "b": 1}),
        ("longest", "", ["aa", "b", "cc"], "aa"),
        ("word_lengths", "", ["red", "", "a"], [3, 0, 1]),
        ("keep_above", "2", {"a": 2, "b": 3}, {"b": 3}),
        ("best_key", "", {"a": 2, "b": 3}, "b"),
    ],
)
def test_a_family_computes_what_its_sentence_says(name: str, parameter: str, argument: Any, value: Any) -> None:
    task = Task((Move(FAMILIES[name], parameter),), "f", "a")
    assert compile_program(task.program(), "f")(argument) == value


def test_every_family_is_total_and_gives_its_declared_type() -> None:
    for family in FAMILIES.values():
        for parameter in family.parameters or ("",):
            function = compile_program(Task((Move(family, parameter),), "f", "a").program(), "f")
            for argument in INPUTS[family.source]:
                assert isinstance(function(argument), PYTHON_TYPES[family.target]), (family.name, argument)


def test_every_kind_of_value_leads_on_to_some_family() -> None:
    assert all(BY_SOURCE[f.target] for f in FAMILIES.values())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    small = {"instruct": 40, "math": 40, "code": 40}
    first, again, other = (write_datasets(tmp_path / n, seed=s, rows=small) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert sorted(path.name for path in first.values()) == ["code.jsonl", "instruct.json", "math.json"]
    assert all(first[name].read_bytes() == again[name].read_bytes() for name in small)
    assert all(first[name].read_bytes() != other[name].read_bytes() for name in small)


def test_the_shipped_benchmark_is_what_the_generator_writes(tmp_path: Path, problems: list[dict[str, Any]]) -> None:
    for name in ("one.gz", "two.gz"):
        write_benchmark(tmp_path / name)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    assert read_benchmark(tmp_path / "one.gz") == problems


def test_development_problems_are_the_generators_and_none_is_a_benchmark_problem(
    problems: list[dict[str, Any]],
) -> None:
    rows = read_benchmark(development_file())
    assert rows == development_rows() and len(rows) > 100
    plain = [normal_form(row["prompt"].split("\n")[0] + "\n" + row["canonical_solution"]) for row in [*rows, *problems]]
    assert len(set(plain)) == len(rows) + len(problems)
    likeness = Likeness(masked(problem["instruction"]) for problem in problems)
    assert max(likeness.highest(masked(row["instruction"])) for row in rows) < NEAR


def test_every_problem_has_eight_checks_and_the_canonical_solution_passes_them(problems: list[dict[str, Any]]) -> None:
    assert len(problems) >= 150
    assert len({problem["task_id"] for problem in problems}) == len(problems)
    for problem in problems:
        assert problem["test"].count("assert candidate(") >= 8
        assert solved(problem, problem["canonical_solution"]), problem["task_id"]


def test_an_empty_body_and_one_that_returns_its_argument_fail_every_problem(problems: list[dict[str, Any]]) -> None:
    for problem in problems:
        argument = problem["prompt"].split("(", 1)[1].split(")", 1)[0]
        assert not solved(problem, "    pass\n"), problem["task_id"]
        assert not solved(problem, f"    return {argument}\n"), problem["task_id"]


def test_every_step_of_a_problem_matters(problems: list[dict[str, Any]]) -> None:
    for problem in problems:
        lines = problem["canonical_solution"].splitlines(keepends=True)
        if len(lines) == 3:
            assert not solved(problem, lines[0] + lines[2]), problem["task_id"]


def test_the_examples_in_a_prompt_are_true(problems: list[dict[str, Any]]) -> None:
    for problem in problems:
        function = compile_program(problem["prompt"] + problem["canonical_solution"], problem["entry_point"])
        lines = [line.strip() for line in problem["prompt"].splitlines()]
        shown = [(line[4:], lines[i + 1]) for i, line in enumerate(lines) if line.startswith(">>> ")]
        assert shown
        for call, value in shown:
            assert repr(eval(call, {problem["entry_point"]: function})) == value


def test_no_training_program_equals_a_benchmark_program(
    problems: list[dict[str, Any]], code: list[dict[str, Any]]
) -> None:
    held = {normal_form(problem["prompt"] + problem["canonical_solution"]) for problem in problems}
    without_docstring = {
        normal_form(problem["prompt"].split("\n")[0] + "\n" + problem["canonical_solution"]) for problem in problems
    }
    assert len(without_docstring) == len(held) == len(problems)
    trained = {normal_form(program) for row in code for program in programs_in(row["output"])}
    assert len(trained) > 1000
    assert not trained & without_docstring


def test_no_training_instruction_is_a_near_duplicate_of_a_benchmark_instruction(
    problems: list[dict[str, Any]], code: list[dict[str, Any]]
) -> None:
    likeness = Likeness(masked(problem["instruction"]) for problem in problems)
    assert likeness.highest(masked(problems[0]["instruction"])) == 1.0  # the measure sees a copy
    texts = [row["instruction"] for row in code]
    texts += [turn["value"] for row in instruct_rows(ROWS["instruct"], 0) for turn in row["conversations"]]
    texts += [row["query"] for row in math_rows(ROWS["math"], 0)]
    assert max(likeness.highest(masked(text)) for text in texts) < NEAR


def test_training_tasks_never_cross_the_wall_and_problems_always_do(problems: list[dict[str, Any]]) -> None:
    rng = random.Random("wall")
    for steps in (1, 2, 3) * 400:
        moves = training_task(rng, steps=steps).moves
        assert not any(held_out_parameter(m.family, m.parameter) for m in moves)
        assert not any(held_out_pair(a.family, b.family) for a, b in pairwise(moves))
    for problem in problems:
        named = [name.partition("=") for name in problem["families"]]
        assert is_held_out([Move(FAMILIES[name], parameter) for name, _, parameter in named]), problem["task_id"]


def test_pre_training_holds_no_benchmark_program_and_no_instruction(problems: list[dict[str, Any]]) -> None:
    text = "\n".join(document for document, _ in zip(documents("0 train"), range(20_000), strict=False))
    lower = text.lower()
    for problem in problems:
        steps = [line.split(" = ", 1)[1] for line in problem["canonical_solution"].splitlines() if " = " in line]
        if problem["held_out"] == "composition":
            assert f"result = {steps[0]}\n    result = {steps[1]}\n" not in text, problem["task_id"]
        sentence = problem["prompt"].split('"""')[1].split("\n")[0].rstrip(".")
        if problem["held_out"] == "composition":
            assert sentence.lower() not in lower, problem["task_id"]
    assert "### Instruction" not in text and "```" not in text


def test_docstrings_of_the_corpus_never_say_what_the_function_does() -> None:
    sentences = set()
    for document, _ in zip(documents("0 train"), range(20_000), strict=False):
        sentences |= {part.split("\n")[0].split('"""')[0] for part in document.split('    """')[1::2]}
    starts = tuple(sentence.split("{")[0] for sentence in DOCSTRINGS)
    assert len(sentences) > 50
    assert all(sentence.startswith(starts) for sentence in sentences)


def test_trained_answers_are_right_by_the_meaning_of_their_moves() -> None:
    rng = random.Random("answers")
    for _ in range(300):
        task = training_task(rng, steps=2)
        first, second = (compile_program(Task((move,), "f", "a").program(), "f") for move in task.moves)
        whole = compile_program(task.program(), task.function)
        for argument in INPUTS[task.source][:6]:
            assert whole(argument) == second(first(argument))


def test_the_three_sets_have_the_public_shapes(tmp_path: Path) -> None:
    paths = write_datasets(tmp_path, seed=0, rows=ROWS | {"code": 200})
    instruct = json.loads(paths["instruct"].read_text(encoding="utf-8"))
    math = json.loads(paths["math"].read_text(encoding="utf-8"))
    code = [json.loads(line) for line in paths["code"].read_text(encoding="utf-8").splitlines()]
    assert (len(instruct), len(math), len(code)) == (300, 300, 200)
    assert len({row["idx"] for row in instruct}) == 300
    turns = [[turn["from"] for turn in row["conversations"]] for row in instruct]
    assert {tuple(t) for t in turns} == {("human", "gpt"), ("human", "gpt", "human", "gpt")}
    assert all(set(row) == {"query", "response", "type", "original_question"} for row in math)
    assert len({row["original_question"] for row in math}) < 0.7 * len(math)
    assert all(set(row) == {"instruction", "output"} for row in code)


def test_code_answers_are_one_fence_that_runs_and_math_answers_end_in_their_number() -> None:
    for row in code_rows(200, 3):
        (program,) = programs_in(row["output"])
        compile(program, "row", "exec")
        assert program.split("(")[0].removeprefix("def ") in row["instruction"]
    for row in math_rows(200, 3):
        number = row["response"].rpartition("The answer is: ")[2]
        assert f"= {number}." in row["response"]


def test_benchmark_rows_do_not_depend_on_anything_but_the_seed() -> None:
    assert benchmark_rows(seed=5) == benchmark_rows(seed=5) != benchmark_rows(seed=6)


def test_the_corpus_is_the_one_the_shipped_weights_were_trained_on() -> None:
    text = "\0".join(document for document, _ in zip(documents("0 train"), range(2_000), strict=False))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "270f5e7355efe396"
