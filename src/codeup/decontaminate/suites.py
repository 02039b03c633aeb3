"""What functions are tried on: for each benchmark problem a list of inputs, and what its own solution returns for them.

    HumanEval+, MBPP+       inputs of the file, the base ones first
    HumanEval, MBPP, ...    arguments of the calls in the tests that are plain literals: candidate([1, 2], 3) == ...
    where these are few     further ones made of them (varied.py)

The expected values come from the benchmark's solution, run in the sandbox, and are kept in the cache like those of an
evaluation (evaluate/truth.py). One problem that stands in several files (HumanEval, HumanEval+, HumanEval-X) is tried
once, on the inputs of all of them.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.benchmarks._evalplus import mbpp_inputs
from codeup.data.contamination.items import Item
from codeup.decontaminate.varied import varied
from codeup.sandbox import suite_judge, values
from codeup.sandbox.pool import Pool, SuiteJob
from codeup.types import Emit, Event, Outcome, ignore_event

MOST_INPUTS = 40
ENOUGH_INPUTS = 24
"""A problem with fewer gets varied ones up to this number."""
FEW_INPUTS = 6
"""Inputs of a problem whose solution does not get through all of them in time."""
PROBES = 4
"""Inputs of a problem that every function is tried on first."""
LARGE = 4000
"""Characters of an input's or a result's JSON beyond which it is not used: it would be sent thousands of times."""
SLOW_S = 0.2
"""CPU seconds of the benchmark's own solution beyond which an input is not used."""
VERSION = 2
RAISED = "codeup: the solution raised"
CALL = """

def _expected(*arguments):
    try:
        return {name}(*arguments)
    except Exception:
        return "{mark}"
"""
COMPARISON = "codeup.decontaminate.alike:Alike"
CODE = (
    "sandbox/values.py",
    "sandbox/suite_judge.py",
    "sandbox/suite_runner.py",
    "decontaminate/suites.py",
    "decontaminate/varied.py",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem that functions are tried on: the items that it stands for, and encoded inputs with expected values.

    The first `given` inputs are the benchmark's. `strength` is how many different values are expected: 1 proves
    nothing, 2 (yes or no) little.
    """

    items: tuple[int, ...]
    arity: int
    given: int
    inputs: tuple[Any, ...]
    expected: tuple[Any, ...]
    seconds: tuple[float, ...]

    @property
    def strength(self) -> int:
        """Different expected values."""
        return len({json.dumps(each) for each in self.expected})

    def probes(self) -> list[int]:
        """A few inputs with values as different as possible, in their order."""
        seen: dict[str, list[int]] = defaultdict(list)
        for place, each in enumerate(self.expected[: self.given]):
            seen[json.dumps(each)].append(place)
        by_turns = itertools.zip_longest(*seen.values())
        return sorted([place for turn in by_turns for place in turn if place is not None][:PROBES])


def problems(items: Sequence[Item], pool: Pool, *, emit: Emit = ignore_event, step: str = "") -> list[Problem]:
    """The problems behind the runnable items, with expected values. Those whose solution fails here are left out."""
    groups = list(_groups(items).values())
    folder = artifacts.cache_folder() / "contamination" / artifacts.code_version(CODE)[:10]
    folder.mkdir(parents=True, exist_ok=True)
    asked = [(group, _inputs([items[index] for index in group])) for group in groups]
    found: list[Problem] = []
    for most in (MOST_INPUTS, FEW_INPUTS):
        asked = [(group, inputs[:most]) for group, inputs in asked]
        files = [folder / f"{_key(items[group[0]], inputs)}.z" for group, inputs in asked]
        _expect(items, asked, files, pool, emit, step)
        suites = [suite_judge.read(str(file)) if inputs else {} for (_, inputs), file in zip(asked, files, strict=True)]
        found += [each for (group, _), suite in zip(asked, suites, strict=True) for each in _problem(group, suite)]
        asked = [each for each, suite in zip(asked, suites, strict=True) if suite.get("failed")]
    return sorted(found, key=lambda problem: problem.items)


def _groups(items: Sequence[Item]) -> dict[tuple[str, str], list[int]]:
    """Items that are one problem: the same function, the same number."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if item.runnable:
            digits = "".join(sign for sign in item.task_id if sign.isdigit())
            groups[item.entry_point, digits].append(index)
    return groups


def _inputs(group: Sequence[Item]) -> list[list[Any]]:
    """Argument lists of a problem, without repetition, at most MOST_INPUTS; all with as many arguments."""
    found: dict[str, list[Any]] = {}
    for item in sorted(group, key=lambda item: not item.inputs):
        listed = [list(inputs) for inputs in item.inputs[: 3 * MOST_INPUTS]]
        if item.task_id.startswith("Mbpp/") and listed:
            listed = [list(inputs) for inputs in mbpp_inputs(item.task_id, listed)]
        for arguments in listed or called_with(item.tests, item.entry_point):
            try:
                text = json.dumps([values.encode(argument) for argument in arguments])
            except (values.Unencodable, ValueError):
                continue
            if len(text) <= LARGE:
                found.setdefault(text, arguments)
    arities = [len(arguments) for arguments in found.values()]
    usual = max(set(arities), key=arities.count, default=0)
    return [arguments for arguments in found.values() if len(arguments) == usual > 0][:MOST_INPUTS]


def called_with(tests: str, entry_point: str) -> list[list[Any]]:
    """Arguments of the calls in a test's source, where they are literals.

    >>> called_with("def check(candidate):\\n    assert candidate([1], 2) == 3\\n    assert candidate(x) == 1", "f")
    [[[1], 2]]
    """
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = {entry_point, "candidate"} | {
        argument.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for argument in node.args.args
    }
    found: list[list[Any]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                found += [] if node.keywords else [[ast.literal_eval(argument) for argument in node.args]]
    return found


def _key(item: Item, inputs: list[list[Any]]) -> str:
    return artifacts.fingerprint([VERSION, item.program, item.entry_point, repr(inputs)])[:24]


def _expect(
    items: Sequence[Item], asked: Sequence[tuple[list[int], list[list[Any]]]], files: Sequence[Path], pool: Pool,
    emit: Emit, step: str,
) -> None:  # fmt: skip
    """Complete the files that are not there yet by running the benchmark's own solutions."""
    jobs: list[SuiteJob] = []
    for (group, inputs), file in zip(asked, files, strict=True):
        if inputs and not file.exists():
            part = file.with_suffix(f".{os.getpid()}.part")
            more = list(varied(inputs, ENOUGH_INPUTS - len(inputs)))
            encoded = [[values.encode(each) for each in arguments] for arguments in (*inputs, *more)]
            suite_judge.write(str(part), {"inputs": encoded, "given": len(inputs)})
            item = items[group[0]]
            program = item.program + CALL.format(name=item.entry_point, mark=RAISED)
            jobs.append(
                SuiteJob(
                    item.task_id, len(jobs), program, "_expected", ({"name": "truth", "file": str(part)},),
                    COMPARISON, {"atol": 0}, {}, guard=False, truth=True,
                )
            )  # fmt: skip
    for done, verdict in enumerate(pool.judge(jobs, retry=False), 1):
        part = Path(jobs[verdict.index].suites[0]["file"])
        if verdict.outcome is not Outcome.PASSED:
            suite_judge.write(str(part), {"failed": verdict.detail})
        part.replace(part.with_suffix("").with_suffix(".z"))
        emit(Event("progress", step, done, len(jobs), "expected values"))


def _problem(group: Sequence[int], suite: dict[str, Any]) -> list[Problem]:
    """The problem of a file, without inputs that the solution refuses or takes long for; none if none is left."""
    if "expected" not in suite:
        return []
    rows = enumerate(zip(suite["inputs"], suite["expected"], suite["seconds"], strict=True))
    good = [(place, row) for place, row in rows if row[2] <= SLOW_S and _usable(row[1])]
    given = sum(1 for place, _ in good if place < suite["given"])
    if not given:
        return []
    inputs, expected, seconds = zip(*(row for _, row in good), strict=True)
    return [Problem(tuple(group), len(inputs[0]), given, inputs, expected, seconds)]


def _usable(expected: Any) -> bool:
    return expected != RAISED and len(json.dumps(expected)) <= LARGE
