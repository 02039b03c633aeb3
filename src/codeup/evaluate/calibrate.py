"""Calibration: the canonical solutions of a benchmark run on this machine before anything is scored with it.

    BenchmarkData -> every canonical solution judged like an answer -> Calibration(passed=162, failed=(...), lacking=())

    {"task_id": "Rust/32", "outcome": "FAILED", "detail": "the tests checked nothing, so nothing was proved"}

A problem whose own solution fails here measures the machine or the benchmark, not a model. Such problems are listed
with their cause in every result; they leave the score only by an explicit list (`--exclude`), which the result repeats.
Results are kept in the cache by the data's sha256, the tools' versions and the code that judges; what lacked a library
is run again, for somebody may have installed it since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codeup import artifacts, plugins
from codeup.errors import UserError
from codeup.evaluate import libraries, whole
from codeup.evaluate.programs import judge_programs
from codeup.evaluate.samples import answered_tasks
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool
from codeup.types import BenchmarkData, Emit, Event, Outcome, Problem, Program, ignore_event

CODE = (
    "languages",
    "sandbox/program_judge.py",
    "sandbox/stdin_judge.py",
    "sandbox/supervisor.py",
    "evaluate/whole.py",
    "benchmarks",
)
KNOWN = Path(__file__).parent.parent / "benchmarks" / "excluded"
"""Packaged lists of problems that cannot be solved as they are, by benchmark, with the cause of each."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What canonical solutions did here. `lacking` are problems without one: nothing is known of them."""

    passed: int
    of: int
    failed: tuple[dict[str, str], ...]
    lacking: tuple[str, ...]
    tools: dict[str, str]

    def text(self) -> str:
        """One line, then a line for each problem whose own solution fails."""
        tools = ", ".join(self.tools.values())
        lines = [f"calibration: {self.passed} of {self.of} canonical solutions pass here ({tools})"]
        if self.lacking:
            lines[0] += f"; {len(self.lacking)} problems have none"
        lines += [f"  {row['task_id']} {row['outcome']}: {row['detail']}" for row in self.failed]
        return "\n".join(lines)


def applies(data: BenchmarkData) -> bool:
    """Whether canonical solutions are run first: benchmarks of several languages, and of competition problems."""
    return any({"whole", "reference", "stdin"} & problem.extra.keys() for problem in data.problems)


def calibrate(
    data: BenchmarkData, *, workers: int = 1, limits: Limits | None = None, allow_unsafe: bool = False,
    emit: Emit = ignore_event,
) -> Calibration:  # fmt: skip
    """Run the canonical solutions that are not known yet. Raises UserError where a language's tools are missing."""
    limits = whole.limits_for(limits, data.problems)
    versions = whole.versions(data.problems)
    opened = whole.opened(data.problems)
    path = _path(data, versions, limits)
    known = {task: row for task, row in _read(path).items() if not libraries.lacks(row)}
    wanted = [problem for problem in data.problems if problem.canonical_solution.strip()]
    missing = [problem for problem in wanted if problem.task_id not in known]
    if missing:
        programs = [Program(each.task_id, 0, each.prompt + each.canonical_solution, "canonical") for each in missing]
        with Pool(min(workers, len(missing)), limits, allow_unsafe=allow_unsafe, **opened) as pool:
            done = judge_programs(pool, {each.task_id: each for each in missing}, programs)
            try:
                for number, verdict in enumerate(done, 1):
                    row = {"outcome": str(verdict.outcome), "detail": verdict.detail}
                    known[verdict.task_id] = row
                    emit(Event("progress", "calibrate", number, len(missing), "canonical solutions"))
            finally:
                artifacts.make_folder(path.parent)
                artifacts.write_json(path, known)
    failed = tuple(
        {"task_id": each.task_id, **known[each.task_id]}
        for each in wanted
        if known[each.task_id]["outcome"] != Outcome.PASSED
    )
    lacking = tuple(problem.task_id for problem in data.problems if not problem.canonical_solution.strip())
    return Calibration(len(wanted) - len(failed), len(wanted), failed, lacking, versions)


def first(
    data: BenchmarkData, samples: Path, *, exclude: str, run: bool, partial: bool, workers: int | None, limits: Limits,
    allow_unsafe: bool, emit: Emit,
) -> tuple[BenchmarkData, dict[str, Any]]:  # fmt: skip
    """Before a file of samples is judged: the problems that count, and what the summary says about the others.

    Only the problems that the file answers are calibrated. Benchmarks of the first kind (Python alone) pass through.
    """
    if not applies(data):
        if exclude:
            raise UserError("--exclude is for benchmarks of several languages", mend="use --tasks for a part")
        return data, {}
    if exclude == "missing-libraries":
        causes = libraries.missing(data.problems)
        data = without(data, causes)
    else:
        causes = {}
    answered = answered_tasks(samples, data) if partial else set()
    asked = replace(data, problems=tuple(each for each in data.problems if not partial or each.task_id in answered))
    calibration = None
    if run and asked.problems:
        count = workers or len(os.sched_getaffinity(0))
        calibration = calibrate(asked, workers=count, limits=limits, allow_unsafe=allow_unsafe, emit=emit)
    more = {} if exclude == "missing-libraries" else excluded(data, exclude, calibration)
    return without(data, more), reported(calibration, causes | more)


def _path(data: BenchmarkData, versions: dict[str, str], limits: Limits) -> Path:
    key = {"data": data.sha256, "versions": versions, "limits": asdict(limits), "code": artifacts.code_version(CODE)}
    return artifacts.cache_folder() / "calibration" / f"{data.name}-{artifacts.fingerprint(key)[:16]}.json"


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def excluded(data: BenchmarkData, how: str, calibration: Calibration | None) -> dict[str, str]:
    """Task -> cause of the problems to leave out. `how` is "" (none), "packaged", "calibration", or a file.

    A file holds one problem a line: its id, then the cause. Raises UserError for an id not in the benchmark.
    """
    if not how:
        return {}
    tasks = {problem.task_id for problem in data.problems}
    if how == "calibration":
        if calibration is None:
            raise UserError("--exclude calibration needs the calibration", mend="leave out --no-calibration")
        causes = {row["task_id"]: f"{row['outcome']}: {row['detail']}" for row in calibration.failed}
        return causes | dict.fromkeys(calibration.lacking, "no canonical solution")
    if how == "packaged":
        path = KNOWN / f"{plugins.module_name(data.name)}.json"
        listed: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if not listed:
            raise UserError(f"no list is packaged for {data.name}", where="--exclude", mend="name a file")
        return {task: cause for task, cause in listed.items() if task in tasks}
    found = _listed(Path(how))
    unknown = [task for task in found if task not in tasks and task not in data.not_asked]
    if unknown:
        raise UserError(
            f"{len(unknown)} ids are not in this benchmark: {', '.join(unknown[:5])}", where=how,
            mend="write one problem a line: its id, then the cause",
        )  # fmt: skip
    return {task: cause for task, cause in found.items() if task in tasks}


def _listed(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot be read ({getattr(error, 'strerror', None) or error})", where=str(path),
            mend="--exclude takes a file, or one of the words packaged, calibration and missing-libraries",
        ) from None  # fmt: skip
    rows = [line.split(maxsplit=1) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    without = [row[0] for row in rows if len(row) == 1]
    if without:
        mend = "write one problem a line: its id, then the cause"
        raise UserError(f"{without[0]} has no cause", where=str(path), mend=mend)
    return {task: cause.strip() for task, cause in rows}


def without(data: BenchmarkData, causes: dict[str, str]) -> BenchmarkData:
    """The benchmark without these problems; its version says how many were left out."""
    if not causes:
        return data
    kept: Sequence[Problem] = [problem for problem in data.problems if problem.task_id not in causes]
    if not kept:
        raise UserError(
            "every problem is excluded", where="--exclude", mend="exclude fewer: none would be left to score"
        )
    version = f"{data.version}; {len(causes)} excluded by list"
    return replace(data, version=version, problems=tuple(kept), not_asked=(*data.not_asked, *causes))


def reported(calibration: Calibration | None, causes: dict[str, str]) -> dict[str, Any]:
    """What a summary says: that there was none, or its counts and failures, and what was left out for which cause."""
    rows = None if calibration is None else {**asdict(calibration), "failed": list(calibration.failed)}
    return {"calibration": rows or "not calibrated: canonical solutions were not run here", "excluded": causes}
