"""Expected values of benchmarks that are judged on inputs: computed once by the canonical solutions, kept on disk.

    cache/truth/DATA-VERSIONS/HumanEval_0.plus.z     inputs, what the canonical solution returned, its CPU seconds

The canonical solution runs in the sandbox like any program. The key holds the data's sha256, the versions of Python
and numpy, because both change what some solutions return, and the code that writes the files. Values of more than
256 KB are kept as digests: all of MBPP+ takes 3.4 MB here, where EvalPlus's pickles take 793 MB.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from codeup import artifacts
from codeup.errors import UserError, WorkFailed
from codeup.sandbox import suite_judge, values
from codeup.sandbox.pool import Judges, SuiteJob
from codeup.types import Emit, Event, Outcome, Problem, ignore_event

SECONDS = "seconds.json"
CODE = (
    "sandbox/digests.py",
    "sandbox/values.py",
    "sandbox/suite_judge.py",
    "sandbox/suite_child.py",
    "sandbox/suite_runner.py",
)
"""What decides how the files are written; its fingerprint is part of their key."""


def folder_of(sha256: str) -> Path:
    """Where the expected values of one data file are kept."""
    code = artifacts.code_version(CODE)[:8]
    versions = f"py{platform.python_version()}-np{metadata.version('numpy')}-{code}"
    return artifacts.cache_folder() / "truth" / f"{sha256[:16]}-{versions}"


def file_of(folder: Path, problem: Problem, suite: str) -> Path:
    """The file of one suite of one problem."""
    return folder / f"{problem.task_id.replace('/', '_')}.{suite}.z"


def prepare(
    pool: Judges,
    problems: Sequence[Problem],
    suites: Sequence[str],
    *,
    emit: Emit = ignore_event,
    step_name: str = "truth",
) -> Mapping[tuple[str, str], Path]:
    """The files of these problems and suites by (task_id, suite), computing those that are missing.

    Raises UserError where the cache cannot be written, WorkFailed where a canonical solution fails: then the file is
    damaged or this Python differs from the one it was made for, and no score would mean anything.
    """
    folder = folder_of(problems[0].extra["data_sha256"])
    files = {(problem.task_id, suite): file_of(folder, problem, suite) for problem in problems for suite in suites}
    seconds = _read_seconds(folder)
    missing = [
        (problem, suite) for problem in problems for suite in suites
        if not files[problem.task_id, suite].exists() or f"{problem.task_id} {suite}" not in seconds
    ]  # fmt: skip
    jobs: list[SuiteJob] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        jobs += _jobs(folder, missing)
        for done, verdict in enumerate(pool.judge(jobs, retry=False), 1):
            job = jobs[verdict.index]
            if verdict.outcome is not Outcome.PASSED:
                raise WorkFailed(f"the canonical solution of {verdict.task_id} fails here: {verdict.detail}")
            name = job.suites[0]["name"]
            os.replace(job.suites[0]["file"], files[job.task_id, name])
            seconds[f"{job.task_id} {name}"] = verdict.seconds
            emit(Event("progress", step_name, done, len(jobs), "expected values"))
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=str(folder),
                        mend="set XDG_CACHE_HOME to a folder with space that can be written") from None  # fmt: skip
    finally:
        for job in jobs:
            Path(job.suites[0]["file"]).unlink(missing_ok=True)
        if jobs and folder.is_dir():
            artifacts.write_json(folder / SECONDS, _read_seconds(folder) | seconds)
    return files


def seconds_of(sha256: str) -> dict[str, float]:
    """What the canonical solutions of a data file cost, by "task_id suite", as far as it is known."""
    return _read_seconds(folder_of(sha256))


def _read_seconds(folder: Path) -> dict[str, float]:
    try:
        found: dict[str, float] = json.loads((folder / SECONDS).read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _jobs(folder: Path, missing: Sequence[tuple[Problem, str]]) -> Iterator[SuiteJob]:
    """The work; each job completes a file of its own."""
    for index, (problem, suite) in enumerate(missing):
        file = file_of(folder, problem, suite).with_suffix(f".{os.getpid()}.part")
        inputs = [[values.encode(argument) for argument in item] for item in problem.extra["suites"][suite]]
        suite_judge.write(str(file), {"inputs": inputs})
        yield SuiteJob(
            problem.task_id, index, problem.prompt + problem.canonical_solution, problem.entry_point,
            ({"name": suite, "file": str(file)},), problem.extra["comparison"], {"atol": problem.extra["atol"]},
            {}, guard=False, truth=True, not_none=problem.extra["not_none"],
        )  # fmt: skip
