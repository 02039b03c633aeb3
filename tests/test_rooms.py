"""Every extension file keeps its room's promises; a new file is tested without being named here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from codeup import plugins, study
from codeup import recipe as recipes
from codeup.data.rows import Drop
from codeup.evaluate.programs import judge_one
from codeup.sandbox.pool import Pool
from codeup.types import BenchmarkData, Conversation, Outcome

REAL_FILES = {
    "humaneval": "benchmarks/HumanEval.jsonl.gz",
    "humaneval_infilling": "benchmarks/HumanEval.jsonl.gz",
    "humaneval_span_infilling": "benchmarks/HumanEval.jsonl.gz",
    "humaneval_plus": "benchmarks/HumanEvalPlus-v0.1.10.jsonl.gz",
    "mbpp_plus": "benchmarks/MbppPlus-v0.2.0.jsonl.gz",
}
"""Benchmarks whose problems are not packaged, and where the public file lies under CODEUP_TEST_DATA."""

FORGERIES = {
    "exits before it is asked": "import os\nos._exit(0)\n",
    "returns what equals everything": (
        "class Yes:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef {name}(*a, **k): return Yes()\n"
    ),
    "looks for the answer in its callers": (
        "import sys\ndef {name}(*a, **k):\n    frame = sys._getframe(1)\n    while frame:\n"
        "        for key in ('expected', 'check', 'tests'):\n"
        "            if key in frame.f_locals: return frame.f_locals[key]\n        frame = frame.f_back\n"
    ),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as opened:
        yield opened


@pytest.mark.parametrize("kind", sorted(plugins.KINDS))
def test_every_plugin_says_in_its_first_line_what_it_is(kind: str) -> None:
    rows = plugins.describe(kind)
    assert rows
    assert all(len(about) > 10 for _, about in rows), rows


@pytest.mark.parametrize("name", plugins.names("sources"))
def test_a_source_turns_its_fixture_into_valid_conversations_and_drops(name: str) -> None:
    module = plugins.load("sources", name)
    items = [module.convert(row, columns={}) for row in module.FIXTURE]
    kept = [item for item in items if isinstance(item, Conversation)]
    assert kept, "a fixture shows at least one usable row"
    assert any(isinstance(item, Drop) for item in items), "a fixture shows at least one row that is dropped"
    for conversation in kept:
        roles = [message.role for message in conversation.messages]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert all(message.content.strip() for message in conversation.messages if message.role != "system")


def called(name: str) -> bool:
    """Whether a benchmark's functions are called; the others are tested in test_languages.py, test_stdin.py,
    test_ds1000.py and test_text_metrics.py."""
    module = plugins.load("benchmarks", name)
    return not any(hasattr(module, kind) for kind in ("LANGUAGES", "STDIN", "LIBRARIES", "METRICS"))


def problems(name: str, request: pytest.FixtureRequest) -> tuple[ModuleType, BenchmarkData]:
    module = plugins.load("benchmarks", name)
    path = request.getfixturevalue("public_data") / REAL_FILES[name] if name in REAL_FILES else None
    return module, module.load(path)


@pytest.mark.parametrize("name", [name for name in plugins.names("benchmarks") if called(name)])
def test_a_benchmark_passes_its_own_solutions_and_refuses_forgeries(
    name: str, request: pytest.FixtureRequest, pool: Pool
) -> None:
    module, data = problems(name, request)
    assert len({problem.task_id for problem in data.problems}) == len(data.problems)
    for problem in data.problems[:: max(1, len(data.problems) // 25)]:
        own = problem.prompt + problem.canonical_solution
        verdict = judge_one(problem, own, pool=pool)
        assert verdict.outcome == Outcome.PASSED, (problem.task_id, verdict)
        assert verdict.checks > 0
        assert module.chat_instruction(problem).strip() != ""
        assert module.base_prompt(problem).strip() != ""
    problem = data.problems[0]
    assert judge_one(problem, "", pool=pool).outcome == Outcome.NO_CODE
    unfinished = judge_one(problem, problem.prompt + "    pass\n", pool=pool)
    assert unfinished.outcome in (Outcome.FAILED, Outcome.COMPILE)
    for what, code in FORGERIES.items():
        outcome = judge_one(problem, code.replace("{name}", problem.entry_point), pool=pool).outcome
        assert outcome not in (Outcome.PASSED,), what


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("nano*.yaml")), ids=lambda p: p.name)
def test_every_step_of_a_recipe_round_trips_through_its_spec(path: Path, request: pytest.FixtureRequest) -> None:
    overrides = [f"data_root={request.getfixturevalue('public_data')}"] if path.name == "nano-real.yaml" else []
    steps = study.compile_recipe(recipes.load(path, overrides))
    assert {step.kind for step in steps} >= {"prepare", "sft", "merge", "generate", "judge", "report"}
    for step in steps:
        module = plugins.load("steps", step.kind)
        assert issubclass(module.Spec, BaseModel)
        assert callable(module.run)
        plain = json.loads(json.dumps(step.spec))
        assert json.loads(module.Spec.model_validate(plain).model_dump_json()) == plain, step.name


def test_the_packaged_benchmark_is_a_plain_file_in_humaneval_shape() -> None:
    module = plugins.load("benchmarks", "nano")
    with gzip.open(module.PACKAGED, "rt", encoding="utf-8") as stream:
        row = json.loads(stream.readline())
    assert {"task_id", "prompt", "entry_point", "canonical_solution", "test"} <= row.keys()
