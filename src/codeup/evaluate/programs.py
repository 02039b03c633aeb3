"""From programs to verdicts: what the sandbox is given for each kind of benchmark, and who judges first.

    tests as code (HumanEval, nano)      problem.tests            -> Job
    suites of inputs (HumanEval+, MBPP+) problem.extra["suites"]  -> expected values (truth.py) -> SuiteJob
    inputs and outputs (APPS)            problem.extra["stdin"]   -> StdinJob
    whole programs (HumanEval-X, MBXP)   problem.extra["whole"]   -> the language's file (whole.py) -> ProgramJob

In the first three the runner holds the program and the arguments of its calls, and the judge, in another process, what
is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeup.errors import UserError
from codeup.evaluate import truth, whole
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import AnyJob, Job, Judges, Pool, ProgramJob, StdinJob, SuiteJob
from codeup.types import Emit, Outcome, Problem, Program, Verdict, ignore_event

START_S = 0.02


@dataclass(frozen=True, slots=True)
class SuiteRules:
    """How benchmarks with suites are judged: by whose rules, on which suites, also after the first wrong answer."""

    compat: str = "evalplus"
    base_only: bool = False
    all_inputs: bool = False

    def suites(self, problem: Problem) -> tuple[str, ...]:
        """The suites that count."""
        return tuple(problem.extra["suites"])[: 1 if self.base_only else None]


def has_suites(problem: Problem) -> bool:
    """Whether a problem is judged on inputs (EvalPlus) and not by a test function (HumanEval)."""
    return "suites" in problem.extra


def judge_one(problem: Problem, code: str, *, pool: Pool) -> Verdict:
    """The verdict on one program for one problem."""
    program = Program(problem.task_id, 0, code, "given-solution")
    return next(iter(judge_programs(pool, {problem.task_id: problem}, [program])))


def judge_programs(
    pool: Judges, problems: Mapping[str, Problem], programs: Iterable[Program], rules: SuiteRules | None = None, *,
    emit: Emit = ignore_event, step_name: str = "judge",
) -> Iterator[Verdict]:  # fmt: skip
    """Verdicts as they are reached. A program without code is NO_CODE and is not run."""
    jobs: list[AnyJob] = []
    wanted = []
    for program in programs:
        if program.code.strip():
            wanted.append(program)
        else:
            yield Verdict(
                program.task_id, program.index, Outcome.NO_CODE, f"no code in the answer ({program.extraction})"
            )
    if wanted and has_suites(problems[wanted[0].task_id]):
        rules = rules or SuiteRules()
        asked = {program.task_id: problems[program.task_id] for program in wanted}
        suites = rules.suites(next(iter(asked.values())))
        files = truth.prepare(pool, list(asked.values()), suites, emit=emit, step_name=step_name)
        cost = costs(asked, rules)
        wanted.sort(key=lambda program: -cost[program.task_id])  # the longest first
        jobs += [suite_job(problems[program.task_id], program, rules, files) for program in wanted]
    else:
        jobs += [any_job(problems[program.task_id], program, pool.limits, rules) for program in wanted]
    yield from pool.judge(jobs)


def costs(problems: Mapping[str, Problem], rules: SuiteRules) -> dict[str, float]:
    """Seconds that judging one program of each problem takes, roughly: as the canonical solution, and a start."""
    first = next(iter(problems.values()))
    if not has_suites(first):
        return dict.fromkeys(problems, 1.0)
    spent = truth.seconds_of(first.extra["data_sha256"])
    return {
        task: START_S + sum(spent.get(f"{task} {name}", 0.0) for name in rules.suites(problem))
        for task, problem in problems.items()
    }


def any_job(
    problem: Problem, program: Program, limits: Limits, rules: SuiteRules | None = None
) -> Job | ProgramJob | StdinJob:
    """The job of a problem without suites: a function that is called, or a whole program, with its tests or inputs."""
    if whole.reads_input(problem):
        return whole.stdin_job(problem, program, limits, rules.compat if rules else "")
    if whole.is_whole(problem):
        return whole.job(problem, program, limits, rules.compat if rules else "")
    return job(problem, program)


def job(problem: Problem, program: Program) -> Job:
    """What the sandbox needs: the program for the runner, the tests and their reference for the referee."""
    reference = problem.extra.get("reference", problem.prompt + problem.canonical_solution)
    code = whole.with_imports(problem, program.code) + str(problem.extra.get("epilogue", ""))
    return Job(problem.task_id, program.index, code, problem.entry_point, problem.tests, str(reference))


def suite_job(
    problem: Problem, program: Program, rules: SuiteRules, files: Mapping[tuple[str, str], Path]
) -> SuiteJob:  # fmt: skip
    """The same for a problem with suites: program and inputs for the runner, what is expected for the referee."""
    extra = problem.extra
    task = {"dataset": extra["dataset"], "entry_point": problem.entry_point, "atol": extra["atol"],
            "compat": rules.compat}  # fmt: skip
    suites = tuple({"name": name, "file": str(files[problem.task_id, name])} for name in rules.suites(problem))
    return SuiteJob(
        problem.task_id, program.index, program.code, problem.entry_point, suites, extra["comparison"], task,
        dict(extra["rules"][rules.compat]), rules.all_inputs, deepen=extra["deepen"],
    )  # fmt: skip


def check_rules(problems: Sequence[Problem], rules: SuiteRules) -> None:
    """Raise UserError for rules that would not be read: of suites where there are none, or that nobody knows."""
    if not problems or has_suites(problems[0]):
        return
    for option, given in (("--base-only", rules.base_only), ("--all-inputs", rules.all_inputs)):
        if given:
            raise UserError("this benchmark has one set of tests", where=option, mend="leave it out")
    whole.rules(problems[0], rules.compat)


def limits_for(problems: Sequence[Problem], rules: SuiteRules) -> Limits:
    """Limits of the process: for suites, room for their own limits, which are per call and per suite."""
    if any(map(whole.needs_tools, problems)):
        return whole.limits_for(None, problems)
    if not problems or not has_suites(problems[0]):
        return Limits()
    known = problems[0].extra["rules"]
    if rules.compat not in known:
        raise UserError(f"there are no rules {rules.compat!r}", where="--compat", mend=f"one of: {', '.join(known)}")
    asked = known[rules.compat]
    total = 2.5 * asked["total_s"] * len(rules.suites(problems[0]))
    return Limits(cpu_s=total, wall_s=total, memory_mb=int(asked["memory_mb"]), stack_mb=int(asked["memory_mb"]))
