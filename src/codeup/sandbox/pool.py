"""Workers for the caller: hand out programs, get verdicts, in whatever order they finish.

Each worker is a referee with its zygote. The caller is never forked; it starts light interpreters and speaks JSON lines
to them from one thread per worker. A sample that ran out of time is judged once more alone, after all others, because a
busy machine must not turn a right answer into a wrong one. A sandbox that breaks raises WorkFailed: never a verdict.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import codeup
from codeup.errors import UserError, WorkFailed
from codeup.sandbox import handle, layers, packages
from codeup.sandbox.home import Home
from codeup.sandbox.limits import STARVED, Limits
from codeup.types import Outcome, Verdict

SOURCE = str(Path(codeup.__file__).resolve().parent.parent)


@dataclass(frozen=True, slots=True)
class Job:
    """One program and the problem that judges it. `reference` is code whose names the tests may use."""

    task_id: str
    index: int
    program: str
    entry_point: str
    tests: str
    reference: str


@dataclass(frozen=True, slots=True)
class SuiteJob:
    """One program and the suites of inputs that judge it (suite_judge.py).

    `suites` are {"name", "file"}; `comparison` is the dotted name of what compares answers, called with `task`;
    `rules` are the time limits {"least_s", "factor", "total_s"}. With `truth` the program is the benchmark's own, and
    what it returns completes the (one) suite's file; `not_none` keeps only whether it is not None.
    """

    task_id: str
    index: int
    program: str
    entry_point: str
    suites: tuple[dict[str, str], ...]
    comparison: str
    task: dict[str, Any]
    rules: dict[str, float]
    all_inputs: bool = False
    guard: bool = True
    deepen: int = 0
    each: bool = False
    truth: bool = False
    not_none: bool = False


@dataclass(frozen=True, slots=True)
class ProgramJob:
    """One whole program, with its tests in it, and the steps that compile and run it (program_judge.py).

    `files` are {path: [[whose, text], ...]}: parts that are "ours" have the word CODEUP_NAME replaced by a random name.
    `steps` are as supervisor.py takes them, with "name" and "memory_words" (what its tool says when memory runs out).
    `warm` is how a compiler that stays may do the first of them (warm.py), or None.
    """

    task_id: str
    index: int
    files: dict[str, list[list[str]]]
    steps: tuple[dict[str, Any], ...]
    compat: str = ""
    warm: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StdinJob:
    """A program that reads and prints, and what it should print for each input (stdin_judge.py).

    `tests` are (standard input, expected output); `path` is the program's file, run by `step` once per input;
    `comparison` is the dotted name of a function of what was printed and what is expected.
    """

    task_id: str
    index: int
    program: str
    path: str
    step: dict[str, Any]
    tests: tuple[tuple[str, str], ...]
    comparison: str


@dataclass(frozen=True, slots=True)
class RunJob:
    """A program to run and look at, not to judge: `data` are {path: base64}, `collect` bounds what is taken back."""

    files: dict[str, str]
    data: dict[str, str]
    steps: tuple[dict[str, Any], ...]
    collect: dict[str, int]
    task_id: str = "a program"
    index: int = 0


AnyJob = Job | SuiteJob | ProgramJob | StdinJob | RunJob


@dataclass(frozen=True, slots=True)
class Isolated:
    """What a pool reached: strong, confined or weak, and the layers it is made of."""

    level: str
    layers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.level} ({', '.join(self.layers)})"


class Judges(Protocol):
    """What judges jobs: a Pool, or sandboxes elsewhere (evaluate/elsewhere.py)."""

    limits: Limits
    isolated: Isolated

    def judge(self, jobs: Iterable[AnyJob], *, retry: bool = True) -> Iterator[Verdict]: ...


@dataclass
class _Worker:
    """One referee process and the pipe of its verdicts."""

    config: dict[str, Any]
    home: Home
    patience_s: float
    process: subprocess.Popen[bytes] = field(init=False)
    layers: list[str] = field(init=False, default_factory=list)
    closed: bool = False

    def start(self) -> None:
        """Start the referee, wait until its sandbox stands. Raises WorkFailed."""
        self.home.again()
        folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir=self.config["home"]))
        os.chmod(folder, 0o755)
        read, write = os.pipe()
        boot = handle.BOOT.format(source=SOURCE, module="referee", number=write)
        self.answers = os.fdopen(read, "rb")
        self.errors = open(folder.with_suffix(".err"), "w+b")  # noqa: SIM115  kept open as long as the process
        try:
            self.process = subprocess.Popen(
                [sys.executable, *handle.FLAGS, "-c", boot], env=handle.environment(self.config["marker"]),
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.errors, pass_fds=(write,),
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            self.answers.close()
            self.errors.close()
            raise
        finally:
            os.close(write)
        self._send({**self.config, "folder": str(folder)})
        self.layers = self._receive(60.0)["layers"]

    def judge(self, job: AnyJob) -> dict[str, Any]:
        """One verdict. A referee that hangs or dies is replaced and asked once more. Raises WorkFailed."""
        for attempt in (1, 2):
            try:
                self._send(asdict(job))
                return self._receive(self.patience_s)
            except TimeoutError:
                self._again()
                if attempt == 2:
                    return {
                        "outcome": "TIMEOUT",
                        "detail": "the tests did not finish on the answers",
                        "checks": 0,
                        "seconds": self.patience_s,
                        "contended": False,
                    }
            except EOFError:
                if self.closed:
                    raise WorkFailed("the sandbox was closed while it worked") from None
                why = self._again()
                if attempt == 2:
                    raise WorkFailed(f"the referee died twice on {job.task_id} (sample {job.index}): {why}") from None
        raise AssertionError("unreachable")

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):  # gone, or closed by us
            raise EOFError from None

    def _receive(self, patience_s: float) -> dict[str, Any]:
        try:
            if not select.select([self.answers], [], [], patience_s)[0]:
                raise TimeoutError
            line = self.answers.readline()
        except ValueError:  # closed by us
            raise EOFError from None
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        if "broken" in message:
            raise WorkFailed(f"the sandbox failed: {message['broken']}")
        return message

    def interrupt(self) -> None:
        """From another thread: end the referee, and with it what it judges; `judge` raises."""
        self.closed = True
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def renew(self) -> None:
        """A fresh referee in place of one that was interrupted or died. Raises WorkFailed."""
        self.closed = False
        self._again()

    def _again(self) -> str:
        """A fresh referee in place of this one; what this one had said. Raises WorkFailed."""
        said = "" if self.answers.closed else self.stop()
        try:
            self.start()
        except (EOFError, TimeoutError, OSError) as error:
            raise WorkFailed(f"a sandbox could not start again ({type(error).__name__})") from None
        return said

    def stop(self) -> str:
        """Kill the referee and, through it, its sandbox; what it said on standard error."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.answers.close()
        self.errors.seek(0)
        said = self.errors.read()[-2000:].decode(errors="replace")
        self.errors.close()
        return said


class Pool:
    """`workers` sandboxes, kept warm until closed. Use as a context manager.

    Raises UserError where the machine cannot keep files and the network apart, unless `allow_unsafe`; WorkFailed where
    a sandbox could not start. `off` switches layers off by name (namespaces, landlock, seccomp), for tests of the
    others. `hide` are further paths that programs must not be able to read, `show` paths they may read and execute: the
    tools of whole programs, which need the level "strong". `import_names` are packages that may be imported,
    `proc` made-up files of /proc (root.py).
    """

    def __init__(
        self, workers: int = 1, limits: Limits | None = None, *, allow_unsafe: bool = False, off: Sequence[str] = (),
        hide: Sequence[str] = (), show: Sequence[str] = (), import_names: Sequence[str] = packages.ONLY,
        proc: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.limits = limits or Limits()
        self.folder = Home()
        self.home = self.folder.path
        self.marker = uuid.uuid4().hex
        self.tools = bool(show)
        config = {
            "limits": asdict(self.limits), "home": self.home, "marker": self.marker,
            "packages": packages.located(import_names),
            "proc": dict(proc or {}),
            "off": list(off), "hide": list(hide), "show": list(show),
            "import_path": [path for path in sys.path if path.endswith("-packages")],
        }  # fmt: skip
        self.workers = [_Worker(config, self.folder, (STARVED + 2) * self.limits.wall_s + 60) for _ in range(workers)]
        try:
            self._start(allow_unsafe)
        except BaseException:
            self.close()
            raise

    def _start(self, allow_unsafe: bool) -> None:
        starters = [threading.Thread(target=_quietly, args=(worker.start,)) for worker in self.workers]
        for thread in starters:
            thread.start()
        for thread in starters:
            thread.join()
        for worker in self.workers:
            if not worker.layers:
                why = worker.stop() if hasattr(worker, "process") else ""
                raise WorkFailed(f"a sandbox could not start: {why.strip() or 'see codeup doctor'}")
        reached = self.workers[0].layers
        if self.tools and layers.level(reached) != "strong":
            raise UserError(
                f"programs of other languages than Python need a strong sandbox; here is: {', '.join(reached)}",
                mend="run as root or where user namespaces are allowed",
            )
        self.isolated = Isolated(layers.level(reached), tuple(reached))
        if self.isolated.level == "weak" and not allow_unsafe:
            raise UserError(
                f"this machine cannot isolate generated programs: {', '.join(reached)}",
                mend="run where user namespaces or Landlock are allowed, or accept the risk with --allow-unsafe",
            )

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process of the pool and remove its folders."""
        for worker in self.workers:
            worker.closed = True
            if hasattr(worker, "answers") and not worker.answers.closed:
                worker.stop()
        self.folder.remove()

    def run(self, job: RunJob) -> dict[str, Any]:
        """What a program said and left behind: `steps`, `made`, `others` (supervisor.py). One at a time per pool.

        Raises WorkFailed where the sandbox breaks or does not answer.
        """
        answer = self.workers[0].judge(job)
        if "steps" not in answer:
            raise WorkFailed("the sandbox did not answer in time")
        return answer

    def judge_on(self, place: int, job: AnyJob) -> dict[str, Any]:
        """What worker number `place` says about a job, in the caller's thread; one job at a time per worker.

        For callers whose jobs come one by one: `verdict_of` and `once_more` make of it what `judge` would.
        """
        return self.workers[place].judge(job)

    def interrupt(self, place: int) -> None:
        """From another thread: end what a worker judges, whose `judge_on` raises; `renew` it before its next job."""
        self.workers[place].interrupt()

    def renew(self, place: int) -> None:
        """Start a worker again that was interrupted or died. Raises WorkFailed where no such sandbox can be made."""
        worker = self.workers[place]
        worker.renew()
        if layers.level(worker.layers) != self.isolated.level:
            raise WorkFailed(f"the sandbox is {layers.level(worker.layers)} now, and was {self.isolated.level}")

    def judge(self, jobs: Iterable[AnyJob], *, retry: bool = True) -> Iterator[Verdict]:
        """Verdicts as they are reached; with `retry`, those that ran out of time last, after a second time alone."""
        yield from settled(self._spread(jobs), self.workers[0].judge, retry=retry)

    def _spread(self, jobs: Iterable[AnyJob]) -> Iterator[tuple[AnyJob, dict[str, Any]]]:
        waiting: queue.SimpleQueue[AnyJob] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[AnyJob, dict[str, Any]] | BaseException] = queue.SimpleQueue()
        count = 0
        for job in jobs:
            waiting.put(job)
            count += 1
        threads = [threading.Thread(target=_work, args=(worker, waiting, done), daemon=True) for worker in self.workers]
        for thread in threads:
            thread.start()
        try:
            for _ in range(count):
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            _drain(waiting)


def settled(
    messages: Iterable[tuple[AnyJob, dict[str, Any]]], alone: Callable[[AnyJob], dict[str, Any]], *, retry: bool
) -> Iterator[Verdict]:
    """Verdicts of jobs and what was found of each; with `retry`, those that ran out of time last, judged once more by
    `alone`. A program that had a processor to itself while its CPU time ran out was alone already.
    """
    late: list[AnyJob] = []
    for job, message in messages:
        if retry and (again := once_more(job, message)) is not None:
            late.append(again)
        else:
            yield verdict_of(job, message)
    for job in late:
        yield verdict_of(job, alone(job), again=True)


def _work(worker: _Worker, waiting: queue.SimpleQueue[AnyJob], done: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            done.put((job, worker.judge(job)))
        except BaseException as error:
            done.put(error)
            return


def _drain(waiting: queue.SimpleQueue[AnyJob]) -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()


def _quietly(start: Any) -> None:
    with suppress(WorkFailed, EOFError, OSError):
        start()


def once_more(job: AnyJob, message: dict[str, Any]) -> AnyJob | None:
    """The job to judge a second time, alone, after its program ran out of time on a busy machine; else None."""
    if message["outcome"] != "TIMEOUT" or not message.get("contended", True):
        return None
    return replace(job, each=True) if isinstance(job, SuiteJob) else job


def verdict_of(job: AnyJob, message: dict[str, Any], *, again: bool = False) -> Verdict:
    """A worker's message as the verdict on its job; `again`: it is that of the second time."""
    outcome = Outcome(message["outcome"])
    words = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in message["detail"])
    note = " (judged twice, the second time alone)" if again and outcome is Outcome.TIMEOUT else ""
    suites = tuple(message.get("suites", ()))
    return Verdict(job.task_id, job.index, outcome, words + note, message["checks"], message["seconds"], suites)
