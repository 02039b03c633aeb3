"""Judging by sandboxes on other machines: the same jobs, the same judge, the same rule for what ran out of time.

    driver    jobs (program + tests) --- piece: job, suite files by content ---> node    Sandbox: a Pool of one
              verdicts.jsonl  <--- the judge's message, once per job --------------      level checked, tools checked

The files of suites (expected values) go with their job and are kept on the node under their sha256, which is checked
when they are used. They are computed by sandboxes of the driver's machine, once. Everything else a job needs is in it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.executors import Crew, Executor
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import AnyJob, Isolated, Judges, Pool, SuiteJob, settled
from codeup.types import Problem, Verdict

SHIPPED = "shipped"
"""Folder of a node's cache for files that came with a job."""
LEVELS = ("weak", "confined", "strong")

Needs = dict[str, Any]
"""What programs are run with: {"show": paths, "import_names": packages, "versions": {"cpp": "g++ 13.2"}}."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A job, and the files that it names: path on the driver's machine -> content."""

    job: AnyJob
    files: Mapping[str, bytes]


class Sandbox:
    """A worker: one sandbox on its node. Raises UserError where its level or the languages' tools do not suffice."""

    def __init__(self, limits: Limits, allow_unsafe: bool, kinds: Sequence[Problem], expected: Needs) -> None:
        opened = whole.opened(kinds)
        found = _needs(opened, kinds)
        if found != expected:
            raise UserError(
                f"its tools are {found}, and {expected} are asked for",
                mend="install the same tools and libraries in the same place on every node",
            )
        self.pool = Pool(1, limits, allow_unsafe=allow_unsafe, **opened)
        self.about = {"level": self.pool.isolated.level, "layers": list(self.pool.isolated.layers)}

    def work(self, piece: Piece) -> dict[str, Any]:
        """The judge's message about one job."""
        job = piece.job
        if isinstance(job, SuiteJob):
            suites = tuple({**each, "file": str(_kept(piece.files[each["file"]]))} for each in job.suites)
            job = replace(job, suites=suites)
        return self.pool.workers[0].judge(job)

    def close(self) -> None:
        """End the sandbox."""
        self.pool.close()


def _needs(opened: Mapping[str, Any], kinds: Sequence[Problem]) -> Needs:
    return {"show": opened["show"], "import_names": opened["import_names"], "versions": whole.versions(kinds)}


def _kinds(problems: Sequence[Problem]) -> list[Problem]:
    """One problem, without its text, for each way of being run: enough to know what a sandbox must hold."""
    found: dict[tuple[Any, ...], Problem] = {}
    for each in problems:
        extra = {key: each.extra[key] for key in ("whole", "libraries") if key in each.extra}
        if whole.reads_input(each):
            extra["stdin"] = ()
        found.setdefault((each.language, str(extra)), Problem(each.task_id, "", "", "", "", each.language, extra))
    return list(found.values())


def _kept(content: bytes) -> Path:
    """A file with this content in the node's cache, named by its hash."""
    digest = hashlib.sha256(content).hexdigest()
    path = artifacts.cache_folder() / SHIPPED / f"{digest}.z"
    if not path.is_file() or artifacts.file_sha256(path) != digest:
        artifacts.make_folder(path.parent)
        artifacts.write_bytes(path, content)
    return path


class SpreadPool:
    """As sandbox/pool.py's Pool, with its sandboxes elsewhere."""

    def __init__(self, crew: Crew, limits: Limits, allow_unsafe: bool) -> None:
        self.limits, self._crew, self._allow_unsafe = limits, crew, allow_unsafe
        self.isolated = weakest(crew.abouts)

    def judge(self, jobs: Iterable[AnyJob], *, retry: bool = True) -> Iterator[Verdict]:
        """Verdicts as they are reached. Expected values (truth) are computed on this machine, whose files they are."""
        every = list(jobs)
        if every and all(isinstance(job, SuiteJob) and job.truth for job in every):
            cores = len(os.sched_getaffinity(0))
            with Pool(min(cores, len(every)), self.limits, allow_unsafe=self._allow_unsafe) as here:
                yield from here.judge(every, retry=retry)
            return
        yield from settled(self._spread(every), self._alone, retry=retry)

    def _spread(self, jobs: Sequence[AnyJob]) -> Iterator[tuple[AnyJob, dict[str, Any]]]:
        for number, message in self._crew.deal(Piece(job, _files(job)) for job in jobs):
            yield jobs[number], message

    def _alone(self, job: AnyJob) -> dict[str, Any]:
        ((_, message),) = self._crew.deal([Piece(job, _files(job))])
        answer: dict[str, Any] = message
        return answer


def _files(job: AnyJob) -> dict[str, bytes]:
    if not isinstance(job, SuiteJob):
        return {}
    return {each["file"]: Path(each["file"]).read_bytes() for each in job.suites}


def weakest(abouts: Sequence[Mapping[str, Any]]) -> Isolated:
    """What all sandboxes reach: the lowest level, and the layers that every one has.

    >>> print(weakest([{"level": "strong", "layers": ["a", "b"]}, {"level": "confined", "layers": ["b"]}]))
    confined (b)
    """
    level = min((about["level"] for about in abouts), key=LEVELS.index)
    common = [layer for layer in abouts[0]["layers"] if all(layer in about["layers"] for about in abouts)]
    return Isolated(level, tuple(common))


@contextmanager
def open_pool(
    executor: Executor, count: int | None, most: int, limits: Limits, *, allow_unsafe: bool, problems: Sequence[Problem]
) -> Iterator[Judges]:
    """Sandboxes on the executor's nodes: `count`, or one per core, and at most `most`."""
    kinds = _kinds(problems)
    expected = _needs(whole.opened(kinds), kinds)
    arguments = {"limits": limits, "allow_unsafe": allow_unsafe, "kinds": kinds, "expected": expected}
    wanted = min(count or executor.cpus, executor.cpus, most)
    with executor.crew("codeup.evaluate.elsewhere:Sandbox", arguments, count=wanted, depth=2) as crew:
        yield SpreadPool(crew, limits, allow_unsafe)
