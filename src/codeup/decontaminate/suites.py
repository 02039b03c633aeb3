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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.benchmarks._evalplus import mbpp_inputs
from codeup.data.code import parse
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
QUICK_S, SLOW_S = 0.02, 0.5
"""CPU seconds of the benchmark's own solution up to which an input is used first, and beyond which never."""
FEW = 5
"""Inputs that prove something; twice as many where they expect one of two values."""
VARIED, VARIED_YES_NO = 0.5, 0.75
"""Share of varied inputs that must agree, also where only two values are expected."""
VERSION = 3
COLLECT = """

def _calls():
    import copy, random
    random.seed(0)
    calls = []
    def candidate(*arguments):
        if len(calls) < {most}:
            calls.append(copy.deepcopy(list(arguments)))
        return {name}(*arguments)
    check(candidate)
    return calls
"""
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
    "sandbox/suite_child.py",
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
        quick = [place for place in range(self.given) if self.seconds[place] <= QUICK_S]
        for place in quick or range(self.given):
            seen[json.dumps(self.expected[place])].append(place)
        by_turns = itertools.zip_longest(*seen.values())
        return sorted([place for turn in by_turns for place in turn if place is not None][:PROBES])


def agreeing(strength: int) -> float:
    """Share of varied inputs on which a solution must agree, not all of which the problem allows."""
    return VARIED if strength > 2 else VARIED_YES_NO


def problems(items: Sequence[Item], pool: Pool, *, emit: Emit = ignore_event, step: str = "") -> list[Problem]:
    """The problems behind the runnable items, with expected values. Those whose solution fails here are left out."""
    groups = [sorted(group, key=lambda index: not items[index].inputs) for group in _groups(items).values()]
    folder = artifacts.cache_folder() / "contamination" / artifacts.code_version(CODE)[:10]
    folder.mkdir(parents=True, exist_ok=True)
    asked = [(group, _inputs([items[index] for index in group])) for group in groups]
    calls = _calls(items, [group[0] for group, inputs in asked if not inputs], folder, pool)
    asked = [(group, inputs or _usual(calls.get(group[0], []))) for group, inputs in asked]
    found: list[Problem] = []
    for most, enough in ((MOST_INPUTS, ENOUGH_INPUTS), (FEW_INPUTS, 0)):
        asked = [(group, inputs[:most]) for group, inputs in asked]
        files = [folder / f"{_key(items[group[0]], inputs, enough)}.z" for group, inputs in asked]
        jobs = list(_jobs(items, asked, files, enough))
        _complete(jobs, pool, emit, step)
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
    every: list[list[Any]] = []
    for item in group:
        listed = [list(inputs) for inputs in item.inputs[: 3 * MOST_INPUTS]]
        if item.task_id.startswith("Mbpp/") and listed:
            listed = [list(inputs) for inputs in mbpp_inputs(item.task_id, listed)]
        every += listed or called_with(item.tests, item.entry_point)
    return _usual(every)


def _usual(listed: Sequence[list[Any]]) -> list[list[Any]]:
    """Of argument lists the different ones that are not too large and have the usual number of arguments."""
    found: dict[str, list[Any]] = {}
    for arguments in listed:
        with suppress(values.Unencodable, ValueError):
            text = json.dumps([values.encode(argument) for argument in arguments])
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
    tree = parse(tests)
    if tree is None:
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


def _key(item: Item, *about: Any) -> str:
    return artifacts.fingerprint([VERSION, item.program, item.entry_point, item.tests, repr(about)])[:24]


def _calls(items: Sequence[Item], asked: Sequence[int], folder: Path, pool: Pool) -> dict[int, list[list[Any]]]:
    """Arguments that tests make up as they run (loops, random numbers): the tests run on the benchmark's solution."""
    files = {index: folder / f"{_key(items[index], 'calls')}.z" for index in asked}
    jobs: list[SuiteJob] = []
    for index, file in files.items():
        if not file.exists():
            part = _part(file, {"inputs": [[]]})
            item = items[index]
            program = f"{item.program}\n{item.tests}\n{COLLECT.format(name=item.entry_point, most=MOST_INPUTS)}"
            jobs.append(_truth(item, len(jobs), program, "_calls", part))
    _complete(jobs, pool, ignore_event, "")
    found: dict[int, list[list[Any]]] = {}
    for index, file in files.items():
        answer = suite_judge.read(str(file)).get("expected", [[]])[0]
        if isinstance(answer, list):
            found[index] = values.decode(answer)
    return found


def _part(file: Path, suite: dict[str, Any]) -> Path:
    """A file that is to be completed and then renamed to `file`."""
    part = file.with_suffix(f".{os.getpid()}.part")
    suite_judge.write(str(part), suite)
    return part


def _truth(item: Item, index: int, program: str, entry_point: str, part: Path) -> SuiteJob:
    suites = ({"name": "truth", "file": str(part)},)
    return SuiteJob(item.task_id, index, program, entry_point, suites, COMPARISON, {"atol": 0}, {}, guard=False,
                    truth=True)  # fmt: skip


def _jobs(
    items: Sequence[Item], asked: Sequence[tuple[list[int], list[list[Any]]]], files: Sequence[Path], enough: int
) -> Iterator[SuiteJob]:
    """Runs of the benchmark's own solutions that complete the files that are not there yet."""
    missing = [each for each in zip(asked, files, strict=True) if each[0][1] and not each[1].exists()]
    for number, ((group, inputs), file) in enumerate(missing):
        more = list(varied(inputs, enough - len(inputs))) if enough > len(inputs) else []
        encoded = [[values.encode(each) for each in arguments] for arguments in (*inputs, *more)]
        item = items[group[0]]
        program = item.program + CALL.format(name=item.entry_point, mark=RAISED)
        yield _truth(item, number, program, "_expected", _part(file, {"inputs": encoded, "given": len(inputs)}))


def _complete(jobs: Sequence[SuiteJob], pool: Pool, emit: Emit, step: str) -> None:
    """Run the jobs and put their files in place, those of solutions that failed with the reason."""
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
