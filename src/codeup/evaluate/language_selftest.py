"""The self-test of other languages: every attack of language_attacks.py with the tools that are installed here.

    cpp  PASSED   control                  held: no attack passed, every right program did, nothing changed outside,
    cpp  EXITED   exits while loading      no process is left
    cpp  TIMEOUT  doubles a macro

Time and memory are held low, so that a compiler bomb costs seconds. Languages whose tools are missing are named.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.language_attacks import TASKS, all_attacks
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, ProgramJob
from codeup.sandbox.selftest import bait, survivors_after_a_moment
from codeup.types import Outcome, Problem, Program

CPU_S, WALL_S, MEMORY_MB = 4.0, 12.0, 512
"""Limits of every step here, compilers included."""


@dataclass(frozen=True, slots=True)
class Found:
    """One attack, or the right program ("control"), and what became of it."""

    language: str
    name: str
    outcome: str
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """What the self-test of languages saw."""

    results: tuple[Found, ...]
    missing: dict[str, str]
    changed_outside: tuple[str, ...]
    survivors: tuple[int, ...]
    seconds: float

    @property
    def passed(self) -> list[Found]:
        """Attacks that were judged right: each one is a hole."""
        return [row for row in self.results if row.name != "control" and row.outcome == Outcome.PASSED]

    @property
    def held(self) -> bool:
        """Whether no attack passed, every control did, and nothing was left or changed."""
        controls = [row for row in self.results if row.name == "control"]
        good = all(row.outcome == Outcome.PASSED for row in controls)
        return not self.passed and good and not self.changed_outside and not self.survivors

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "held": self.held}

    def text(self) -> str:
        """One line per program, then the summary."""
        lines = [f"{row.language:<11} {row.outcome:<8} {row.seconds:6.2f} s  {row.name}" for row in self.results]
        attacks = [row for row in self.results if row.name != "control"]
        lines += [f"{name}: not tested, {why}" for name, why in self.missing.items()]
        lines.append(
            f"{'held' if self.held else 'DID NOT HOLD'}: {len(self.passed)} of {len(attacks)} attacks passed, "
            f"{len(self.changed_outside)} changes outside, {len(self.survivors)} processes left; {self.seconds:.1f} s"
        )
        return "\n".join(lines)


def selftest(languages: Sequence[str] = (), *, workers: int = 2) -> LanguageReport:
    """Run the attacks of these languages, or of all. Raises WorkFailed if the sandbox does not start."""
    start = time.monotonic()
    results: list[Found] = []
    missing: dict[str, str] = {}
    changed: list[str] = []
    left: list[int] = []
    for language in languages or sorted(TASKS):
        try:
            opened = whole.opened([TASKS[language].problem])
        except UserError as error:
            missing[language] = error.what
            continue
        with bait() as laid:
            before = laid.state()
            paths = {"@SECRET@": str(laid.secret), "@OUTSIDE@": str(laid.outside)}
            named = {"control": TASKS[language].right, **all_attacks(language)}
            jobs = [
                _job(TASKS[language].problem, place, _filled(text, paths)) for place, text in enumerate(named.values())
            ]
            limits = replace(whole.limits_for(Limits(cpu_s=CPU_S, wall_s=WALL_S)), scratch_mb=128)
            with Pool(workers, limits, **opened) as pool:
                names = list(named)
                for verdict in pool.judge(jobs, retry=False):
                    row = Found(language, names[verdict.index], str(verdict.outcome), verdict.detail, verdict.seconds)
                    results.append(row)
                marker = pool.marker
            left += survivors_after_a_moment(marker)
            after = laid.state()
        changed += sorted(str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return LanguageReport(tuple(results), missing, tuple(changed), tuple(left), round(time.monotonic() - start, 2))


def _filled(text: str, paths: dict[str, str]) -> str:
    for word, path in paths.items():
        text = text.replace(word, path)
    return text


def _job(problem: Problem, index: int, code: str) -> ProgramJob:
    job = whole.job(problem, Program(problem.task_id, index, code, "attack"), Limits(cpu_s=CPU_S, memory_mb=MEMORY_MB))
    warm = job.warm and {**job.warm, "steps": [_held(step) for step in job.warm["steps"]]}
    return replace(job, steps=tuple(map(_held, job.steps)), warm=warm)


def _held(step: dict[str, Any]) -> dict[str, Any]:
    low = {"cpu_s": CPU_S, "wall_s": WALL_S, "data_mb": 2 * MEMORY_MB}
    return {**step, **{name: min(step[name], most) for name, most in low.items()}}
