"""What a judge server knows: benchmarks by name, and what one of its sandboxes must be for each.

    --benchmark humaneval+=HumanEvalPlus.jsonl.gz    ->  Bench(problems, rules, limits, pool 0)
    {"task_id": "HumanEval/0", "answer": "..."}      ->  program, as `codeup evaluate` finds it  ->  SuiteJob

Programs, jobs, limits and keys come from evaluate/, where `codeup evaluate` gets them too: a verdict does not depend on
which of the two asked. Not covered: calibration of benchmarks in other languages (`codeup evaluate` does it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import plugins
from codeup.errors import UserError
from codeup.evaluate import similarity, truth, whole
from codeup.evaluate.judge import key_of, row_of
from codeup.evaluate.programs import SuiteRules, any_job, has_suites, limits_for, suite_job
from codeup.evaluate.samples import program_of
from codeup.judging.requests import ProblemItem, refused
from codeup.sandbox import packages
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import AnyJob, Pool, StdinJob
from codeup.types import BenchmarkData, Emit, Outcome, Problem, Program, Sample, Verdict, ignore_event


@dataclass(frozen=True, slots=True)
class Room:
    """A kind of sandbox: its limits, the tools it shows, packages to import, files of /proc made up."""

    limits: Limits
    show: tuple[str, ...] = ()
    import_names: tuple[str, ...] = packages.ONLY
    proc: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(limits: Limits, problems: Sequence[Problem]) -> Room:
        """The sandbox of these problems' programs. Raises UserError where a tool or a library is missing."""
        opened = whole.opened(problems)
        return Room(limits, opened["show"], opened["import_names"], tuple(opened["proc"].items()))

    def open(self, workers: int) -> Pool:
        """So many such sandboxes. Raises as Pool does."""
        return Pool(workers, self.limits, show=self.show, import_names=self.import_names, proc=dict(self.proc))


@dataclass(frozen=True, slots=True)
class Wanted:
    """One item as it will be judged: a job in a pool, or, without code, the verdict already.

    `more` are further fields of the result; `checks` how many checks there are, where that is known.
    """

    verdict: Verdict | None
    job: AnyJob | None
    pool: int
    bench: Bench | None
    program: Program
    checks: int | None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark that requests may name. `files` are expected values of suites (truth.py)."""

    name: str
    module: ModuleType
    data: BenchmarkData
    problems: Mapping[str, Problem]
    rules: SuiteRules
    room: Room
    extraction: str
    pool: int = 0
    files: Mapping[tuple[str, str], Path] = field(default_factory=dict)

    def wanted(self, item: ProblemItem, inside: str) -> Wanted:
        """The job of an answer. Raises Refusal for a problem that is not there."""
        problem = self.problems.get(item.task_id)
        if problem is None:
            raise refused(inside, "task_id", f"{self.name} has no problem {item.task_id[:80]!r}", status=404,
                          code="no_such_task")  # fmt: skip
        program = program_of(_sample(item), problem, self.module, self.extraction)
        more = {"extraction": program.extraction, "key": key_of(problem, program, self.room.limits, self.rules)}
        if not program.code.strip():
            what = f"no code in the answer ({program.extraction})"
            nothing = Verdict(problem.task_id, program.index, Outcome.NO_CODE, what)
            return Wanted(nothing, None, self.pool, self, program, None, more)
        if has_suites(problem):
            job: AnyJob = suite_job(problem, program, self.rules, self.files)
            checks: int | None = sum(len(problem.extra["suites"][name]) for name in self.rules.suites(problem))
        else:
            job = any_job(problem, program, self.room.limits, self.rules)
            checks = len(job.tests) if isinstance(job, StdinJob) else None
        return Wanted(None, job, self.pool, self, program, checks, more)

    def row(self, verdict: Verdict) -> dict[str, Any]:
        """The verdict as `codeup evaluate` writes it."""
        return row_of(verdict, self.problems[verdict.task_id], self.rules)


def _sample(item: ProblemItem) -> Sample:
    if item.answer is not None:
        return Sample(item.task_id, item.index, "chat", item.answer, "stop", prefill=item.prefill)
    if item.solution is not None:
        return Sample(item.task_id, item.index, "chat", item.solution, "given")
    return Sample(item.task_id, item.index, "base", item.completion or "", "given")


def open_bench(name: str, file: Path | None, limits: Limits, rules: SuiteRules, extraction: str) -> Bench:
    """Read a benchmark's file. Raises UserError."""
    module = plugins.load("benchmarks", name)
    data: BenchmarkData = module.load(file)
    if not data.problems:
        raise UserError("holds no problems", where=str(file or name), mend="fetch the file again")
    if similarity.compares(data):
        raise UserError(
            f"{name} compares texts and runs no program: there is no verdict", where=f"--benchmark {name}",
            mend="score its answers with `codeup evaluate`",
        )  # fmt: skip
    if has_suites(data.problems[0]):
        limits = limits_for(data.problems, rules)
    elif any(map(whole.needs_tools, data.problems)):
        limits = whole.limits_for(limits, data.problems)
    problems = {problem.task_id: problem for problem in data.problems}
    return Bench(name, module, data, problems, rules, Room.of(limits, data.problems), extraction)


def expected_values(bench: Bench, pool: Pool, emit: Emit = ignore_event) -> Mapping[tuple[str, str], Path]:
    """The files of expected values of a benchmark with suites, made where they are missing; none for the others."""
    problems: Sequence[Problem] = bench.data.problems
    if not has_suites(problems[0]):
        return {}
    return truth.prepare(pool, problems, bench.rules.suites(problems[0]), emit=emit, step_name="expected values")
