"""Functions of rows tried on the problems of benchmarks, in the sandbox.

    every function and problem of the same arity     1 input each, all problems in one go
    problems that gave the expected value            PROBES inputs
    those that mostly did                            all inputs -> Solved

A function is called in every order of up to three arguments; what it prints counts where it returns nothing. Its
module-level code does not run (data/contamination/functions.py). Each function's results are written down as they are
reached, keyed by its program and the problems, so that an interrupted run continues.

Nothing here is a verdict about a model: a function that fails because of a limit is simply not recognised.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.data.contamination.functions import Callable_
from codeup.decontaminate.suites import COMPARISON, Problem
from codeup.sandbox import suite_judge, values
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, SuiteJob
from codeup.types import Emit, Event, ignore_event

VERSION = 1
ORDERS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((0, 1), (1, 0)),
    3: ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)),
}
"""Orders of arguments to call with; other numbers of arguments are called in their own order."""
VARIADIC = 3
"""A function of any number of arguments is tried on problems with at most so many."""
MOSTLY = 0.75
NEARLY = 0.9
BATCH = 256
LIMITS = Limits(cpu_s=8, wall_s=24, memory_mb=1024)
FIRST = {"least_s": 0.03, "factor": 4.0, "total_s": 0.5}
LATER = {"least_s": 0.1, "factor": 4.0, "total_s": 1.0}
"""CPU seconds of a call and of all calls. Rows hold endless loops; the benchmark's own solutions take milliseconds."""

CALL = """

def _tried(*a):
    import sys
    found = {expression}({arguments})
    if found is None:
        text = sys.stdout.getvalue().strip()
        if text:
            try:
                import ast
                found = ast.literal_eval(text)
            except Exception:
                found = text
    elif hasattr(found, "__next__"):
        found = list(found)
    return found
"""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of some rows: its program, how it is called, and on problems of which arity."""

    program: str
    expression: str
    arity: int
    order: tuple[int, ...]

    def source(self) -> str:
        """The program with a function `_tried` that passes the arguments on."""
        arguments = ", ".join(f"a[{place}]" for place in self.order)
        return self.program + CALL.format(expression=self.expression, arguments=arguments)


@dataclass(frozen=True, slots=True)
class Solved:
    """A function gives `right` of the `tried` expected values of a problem, and so many of those of varied inputs."""

    problem: int
    right: int
    tried: int
    varied_right: int = 0
    varied: int = 0

    @property
    def share(self) -> float:
        """Share of the benchmark's own inputs with the expected value."""
        return self.right / self.tried


def read_known(path: Path) -> dict[str, list[Any]]:
    """What an earlier run wrote; a last line that was cut short is done again."""
    known: dict[str, list[Any]] = {}
    if path.exists():
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            artifacts.write_bytes(path, whole.encode())
        for line in whole.splitlines():
            row = json.loads(line)
            known[row["key"]] = row["solved"]
    return known


def functions_of(program: str, callables: Sequence[Callable_], arities: Sequence[int]) -> Iterator[Function]:
    """Every way to call a row's functions on problems of these arities."""
    for each in callables:
        for arity in arities:
            if each.fewest <= arity <= each.most and (arity <= VARIADIC or each.most == arity):
                for order in ORDERS.get(arity, (tuple(range(arity)),)):
                    yield Function(program, each.expression, arity, order)


class Trials:
    """Problems in files of the sandbox, and what is known of functions already."""

    def __init__(self, problems: Sequence[Problem], known: Path) -> None:
        self.problems, self.known = problems, known
        self.arities = sorted({problem.arity for problem in problems})
        self._by_arity = {n: [i for i, each in enumerate(problems) if each.arity == n] for n in self.arities}
        self._print = {
            n: artifacts.fingerprint([VERSION, [[problems[i].inputs, problems[i].expected] for i in found], found])
            for n, found in self._by_arity.items()
        }
        self._numbers = itertools.count()
        self._probes = [_cheapest_first(problem) for problem in problems]

    def run(
        self, functions: Sequence[Function], pool: Pool, *, emit: Emit = ignore_event, step: str = ""
    ) -> dict[Function, list[Solved]]:
        """What each function solves, wholly or nearly; functions that solve nothing are left out."""
        known = read_known(self.known)
        keys = {each: self._key(each) for each in functions}
        missing = [each for each in functions if keys[each] not in known]
        with self.known.open("a", encoding="utf-8") as file, tempfile.TemporaryDirectory(prefix="codeup-") as folder:
            for begin in range(0, len(missing), BATCH):
                batch = missing[begin : begin + BATCH]
                for function, solved in zip(batch, self._batch(batch, pool, Path(folder)), strict=True):
                    known[keys[function]] = [list(astuple(each)) for each in solved]
                    file.write(json.dumps({"key": keys[function], "solved": known[keys[function]]}) + "\n")
                file.flush()
                done = len(functions) - len(missing) + begin + len(batch)
                emit(Event("progress", step, done, len(functions), "functions run"))
        found = {each: [Solved(*numbers) for numbers in known[keys[each]]] for each in functions}
        return {each: solved for each, solved in found.items() if solved}

    def _key(self, function: Function) -> str:
        return artifacts.fingerprint([function.source(), self._print[function.arity]])[:32]

    def _batch(self, batch: Sequence[Function], pool: Pool, folder: Path) -> list[list[Solved]]:
        """Three rounds: ever fewer problems, ever more inputs."""
        asked = [{problem: self._probes[problem][:1] for problem in self._by_arity[each.arity]} for each in batch]
        first = self._round(batch, asked, pool, folder, FIRST)
        asked = [{each.problem: self._probes[each.problem] for each in solved if each.right} for solved in first]
        second = self._round(batch, asked, pool, folder, LATER)
        asked = [
            {each.problem: list(range(len(self.problems[each.problem].inputs))) for each in s if each.share >= MOSTLY}
            for s in second
        ]
        third = self._round(batch, asked, pool, folder, LATER)
        return [[each for each in solved if each.share >= NEARLY] for solved in third]

    def _round(
        self, batch: Sequence[Function], asked: Sequence[dict[int, list[int]]], pool: Pool, folder: Path,
        rules: dict[str, float],
    ) -> list[list[Solved]]:  # fmt: skip
        """Each function on its problems' chosen inputs, all in one suite of its own."""
        jobs: list[SuiteJob] = []
        files: dict[str, str] = {}
        for index, (function, problems) in enumerate(zip(batch, asked, strict=True)):
            if problems:
                content = json.dumps(list(problems.items()))
                if content not in files:
                    files[content] = self._write(problems, folder)
                suite = {"name": "all", "file": files[content]}
                jobs.append(
                    SuiteJob(
                        "row", index, function.source(), "_tried", (suite,), COMPARISON, {}, dict(rules),
                        all_inputs=True, guard=False,
                    )
                )  # fmt: skip
        solved: list[list[Solved]] = [[] for _ in batch]
        for verdict in pool.judge(jobs, retry=False):
            solved[verdict.index] = self._counts(asked[verdict.index], verdict.suites[0])
        for file in files.values():
            Path(file).unlink()
        return solved

    def _write(self, asked: dict[int, list[int]], folder: Path) -> str:
        """A suite's file; its name is never used again, because the sandbox remembers suites by their name."""
        chosen = [(self.problems[problem], place) for problem, places in asked.items() for place in places]
        path = folder / f"{next(self._numbers)}.z"
        suite_judge.write(
            str(path),
            {
                "inputs": [problem.inputs[place] for problem, place in chosen],
                "expected": [problem.expected[place] for problem, place in chosen],
                "seconds": [problem.seconds[place] for problem, place in chosen],
                "floats": [False] * len(chosen),
                "digest_above": suite_judge.DIGEST_ABOVE,
            },
        )
        return str(path)

    def _counts(self, asked: dict[int, list[int]], suite: Any) -> list[Solved]:
        """How many inputs of each problem were right; what was not reached in time counts as wrong."""
        failed, reached = set(suite["failed"]), suite["checks"]
        number, found = 0, []
        for problem, places in asked.items():
            given = self.problems[problem].given
            right = [place for place in places if (number := number + 1) <= reached and number - 1 not in failed]
            own = sum(1 for place in right if place < given)
            tried = sum(1 for place in places if place < given)
            found.append(Solved(problem, own, tried, len(right) - own, len(places) - tried))
        return found


def _cheapest_first(problem: Problem) -> list[int]:
    """The probes, one with a telling value and a small input first: it is tried on every function."""

    def cost(place: int) -> tuple[bool, int]:
        try:
            telling = bool(values.decode(problem.expected[place]))
        except (ValueError, TypeError, RecursionError):
            telling = False
        return not telling, len(json.dumps(problem.inputs[place]))

    return sorted(problem.probes(), key=cost)
