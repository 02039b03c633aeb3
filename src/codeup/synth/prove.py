"""Answers put to the proof in the sandbox: the solution passes its tests, both ways round, and wrong ones do not.

    parse            a program in the solution, at least FEWEST usable checks that call one of its functions
    run              every check passes: each asks the function in the sandbox, and compares outside of it
    run again        the checks in reverse order: no state carried from call to call, no luck
    mutants          every wholesale mutant fails, and of n small ones share * n, rounded down (mutants.py)

Success is a verdict of the sandbox's referee, never an exit code: a solution that exits, or whose tests were never
called, has not passed. Verdicts are kept by what was run, so a rerun gives the same ones and runs nothing. Not covered:
wrong tests that agree with a wrong solution, which is what happens when one model misreads a task once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from codeup import artifacts
from codeup.evaluate import checks
from codeup.evaluate.extract import CAN_PASS, extract
from codeup.languages import python
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Job, Pool
from codeup.synth.cache import Cache
from codeup.synth.mutants import Mutant, mutants
from codeup.types import Outcome

FEWEST = 3
"""Usable checks that count as tests."""
LIMITS = Limits(cpu_s=2, wall_s=8, memory_mb=1024)
"""Of a solution with all its tests. A mutant that needs longer has failed; many never end."""
CODE = ("evaluate/checks.py", "synth/mutants.py", "synth/prove.py", "sandbox", "languages/python.py")
PYTHON: ModuleType = python

NO_CODE = "no program in the solution"
NO_TESTS = "no usable tests"
FAILS = "solution fails its tests"
ENDS = "solution ends its process"
LIMIT = "solution exceeds a limit"
FLAKY = "passes only in one order of its tests"
WEAK = "weak tests"
_REASON = {
    Outcome.FAILED: FAILS, Outcome.COMPILE: NO_CODE, Outcome.EXITED: ENDS, Outcome.CRASHED: ENDS,
    Outcome.TIMEOUT: LIMIT, Outcome.MEMORY: LIMIT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of one answer. `reason` is '' where it passed everything; `status` is passed, untested or weak."""

    reason: str
    detail: str = ""
    program: str = ""
    entry_point: str = ""
    checks: int = 0
    left_out: int = 0
    mutants: int = 0
    killed: int = 0
    survived: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For the row."""
        status = {"": "passed", WEAK: "weak tests", NO_TESTS: "untested"}.get(self.reason, "failed")
        return {
            "status": status, "checks": self.checks, "checks_left_out": self.left_out, "runs": 2 if self.mutants else 0,
            "mutants": self.mutants, "mutants_killed": self.killed, "survived": list(self.survived),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Case:
    """A program and the checks that are to prove it."""

    program: str
    tests: checks.Checks

    def key(self) -> str:
        code = [artifacts.code_version(CODE), asdict(LIMITS)]
        return artifacts.fingerprint([*code, self.program, self.tests.entry_point, self.tests.source()])


def prove(answers: Sequence[tuple[str, str]], pool: Pool, cache: Cache, *, share: float) -> list[Proof]:
    """A proof for each (solution, tests), as the model wrote them. `share`: of the small mutants that must fail."""
    cases = [_case(solution, tests) for solution, tests in answers]
    asked = {case.key(): case for case in cases if isinstance(case, _Case)}
    known = {key: cache.verdict(key) for key in asked}
    missing = {key: case for key, case in asked.items() if known[key] is None}
    for key, value in _run(missing, pool):
        cache.keep_verdict(key, value)
        known[key] = value
    return [case if isinstance(case, Proof) else _proof(case, known[case.key()] or {}, share) for case in cases]


def static(solution: str) -> Proof:
    """What can be said without running: whether there is a program."""
    program = program_of(solution, "")
    return Proof(NO_TESTS, program=program) if program else Proof(NO_CODE)


def program_of(solution: str, entry_point: str) -> str:
    """The program in a solution, by the rules of evaluation; without an entry point, that of its first function."""
    tree = python.parse(solution)
    names = python.functions(tree) if tree else _defined_anywhere(solution)
    for name in [entry_point] if entry_point else names:
        found = extract(solution, name, PYTHON)
        if found.rule.startswith(CAN_PASS):
            return found.code
    return ""


def _defined_anywhere(text: str) -> list[str]:
    return [line.split("(")[0].split()[1] for line in text.splitlines() if line.startswith("def ") and "(" in line]


def _case(solution: str, tests: str) -> _Case | Proof:
    program = program_of(solution, "")
    if not program:
        return Proof(NO_CODE)
    found = checks.read(_code(tests), program)
    if found.entry_point:
        program = program_of(solution, found.entry_point) or program
    if len(found.checks) < FEWEST:
        what = f"{len(found.checks)} usable checks, {found.left_out} left out"
        return Proof(NO_TESTS, what, program, found.entry_point, len(found.checks), found.left_out)
    return _Case(program, found)


def _code(tests: str) -> str:
    """The program text of a test section: its fenced blocks, or all of it."""
    from codeup.evaluate.extract import blocks

    found = [block.text for block in blocks(tests) if not block.word or block.word in python.FENCES]
    return "\n".join(found) if found else tests


def _run(cases: dict[str, _Case], pool: Pool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both orders, then the mutants of those that passed."""
    keys = list(cases)
    jobs = [_job(str(number), way, cases[key], reverse=bool(way)) for number, key in enumerate(keys) for way in (0, 1)]
    found = {(int(each.task_id), each.index): each for each in pool.judge(jobs)}
    alive = []
    for number, key in enumerate(keys):
        first, again = found[number, 0], found[number, 1]
        if first.outcome is not Outcome.PASSED:
            yield key, {"reason": _REASON[first.outcome], "detail": first.detail}
        elif again.outcome is not Outcome.PASSED:
            yield key, {"reason": FLAKY, "detail": again.detail}
        else:
            alive.append(key)
    yield from _mutated(alive, cases, pool)


def _job(name: str, index: int, case: _Case, *, reverse: bool = False, program: str = "") -> Job:
    source = case.tests.source(reverse=reverse)
    return Job(name, index, program or case.program, case.tests.entry_point, source, "")


def _mutated(keys: Sequence[str], cases: dict[str, _Case], pool: Pool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Which mutants of each program its tests let pass."""
    made: dict[str, list[Mutant]] = {}
    for key in keys:
        program, tests = cases[key].program, cases[key].tests
        made[key] = mutants(program, tests.entry_point, [value for each in tests.checks for value in each.expected])
    jobs = [_job(key, index, cases[key], program=each.program) for key in keys for index, each in enumerate(made[key])]
    passed = {(each.task_id, each.index) for each in pool.judge(jobs, retry=False) if each.outcome is Outcome.PASSED}
    for key in keys:
        survived = [each for index, each in enumerate(made[key]) if (key, index) in passed]
        yield (
            key,
            {
                "reason": "",
                "detail": "",
                "mutants": len(made[key]),
                "small": sum(not each.wholesale for each in made[key]),
                "survived": [each.change for each in survived],
                "small_survived": sum(not each.wholesale for each in survived),
            },
        )


def _proof(case: _Case, value: dict[str, Any], share: float) -> Proof:
    """The verdict as a proof; whether tests are weak is decided here, so that another share needs no other run."""
    survived, small = value.get("survived", []), value.get("small", 0)
    small_survived = value.get("small_survived", 0)
    weak = len(survived) > small_survived or small - small_survived < int(share * small)
    return Proof(
        value["reason"] or (WEAK if weak else ""), value["detail"], case.program, case.tests.entry_point,
        len(case.tests.checks), case.tests.left_out, value.get("mutants", 0),
        value.get("mutants", 0) - len(survived), tuple(survived),
    )  # fmt: skip
