"""A stage in several processes: who starts them, how the first is followed, and what is said when one is lost.

    codeup run, devices: 4      this process ──starts──► worker 0 ─┐
                                 │  ▲ events, summary    worker 1 ─┤ train together (train/ranks.py)
                                 ▼  └─────────────────── worker 2 ─┤
                             one display                 worker 3 ─┘

    torchrun, srun              process 0 runs the study; the others wait for its stages and train them too (`follow`)

A worker gets one line of JSON and answers in lines (_worker.py); what libraries print goes to processes/RANK.log in the
step's folder, which is removed when all is well. When one ends before its time, the others are stopped and its own
error is raised. They end with this process, too: each holds the other end of a pipe.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from codeup import plugins
from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.train import place, strategies
from codeup.types import Artifact, Context, Emit, Event, ignore_event

GRACE_S = 5.0
"""After one process failed, how long the others may take to say why they end."""
SAVE_S = 60.0
"""How long the first worker may take to write a checkpoint when the study is interrupted."""
LAST_LINES = 12
LOGS = "processes"

Work = Callable[[Any, Context], dict[str, Any]]


def run_stage(kind: str, spec: BaseModel, context: Context, work: Work, *, count: int) -> dict[str, Any]:
    """Do `work` alone, in `count` workers, or with the processes that another launcher has started beside this one."""
    order = _order(kind, spec, context)
    if place.here() is not None:
        from codeup.train import ranks

        ranks.join(order["spec"]["at"]["device"]).from_first(lambda: order)
        return work(spec, context)
    if count == 1:
        return work(spec, context)
    strategies.require(order["spec"]["at"]["strategy"])
    return _launch(order, context, count)


def _order(kind: str, spec: BaseModel, context: Context) -> dict[str, Any]:
    """What another process needs to do the same work, as plain JSON."""
    inputs = {name: asdict(artifact) for name, artifact in context.inputs.items()}
    where = {"folder": str(context.folder), "step": context.step, "inputs": inputs}
    return {"kind": kind, "spec": spec.model_dump(mode="json"), "context": where}


def carry_out(order: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """The work of an order, in a process that has its place among the others."""
    module = plugins.load("steps", order["kind"])
    where = order["context"]
    inputs = {name: Artifact(**artifact) for name, artifact in where["inputs"].items()}
    context = Context(folder=Path(where["folder"]), step=where["step"], inputs=inputs, emit=emit)
    summary: dict[str, Any] = module.work(module.Spec.model_validate(order["spec"]), context)
    return summary


# --- started by torchrun or srun -------------------------------------------------------------------------------------


@contextmanager
def leading(device: str) -> Iterator[None]:
    """Around a study: the processes beside this one, if there are any, wait for its stages and end with it."""
    if place.here() is None:
        yield
        return
    from codeup.train import ranks

    team = ranks.join(device)
    yield
    team.from_first(lambda: None)
    ranks.leave()


def follow(device: str) -> bool:
    """Train the stages of process 0 with it, until it has no more; False, at once, where this is process 0 or alone."""
    found = place.here()
    if found is None or found.rank == 0:
        return False
    from codeup.train import ranks

    team = ranks.join(device)
    while (order := team.from_first(lambda: None)) is not None:
        carry_out(order, ignore_event)
    ranks.leave()
    return True


# --- started here ----------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    """A worker, and what is known of it: the error it told, `code` once it has ended (minus the signal, if killed)."""

    rank: int
    process: subprocess.Popen[bytes]
    log: Path
    error: dict[str, str] | None = None
    code: int | None = None

    @property
    def failed(self) -> bool:
        return self.code not in (None, 0)


@dataclass
class _Crew:
    """All workers and the lines they send, (rank, message); None for a worker's last."""

    workers: list[_Worker] = field(default_factory=list)
    lines: queue.Queue[tuple[int, dict[str, Any] | None]] = field(default_factory=queue.Queue)
    summary: dict[str, Any] | None = None

    @property
    def working(self) -> bool:
        return any(worker.code is None for worker in self.workers)


def _launch(order: dict[str, Any], context: Context, count: int) -> dict[str, Any]:
    """Start the workers, pass their events on, and return the summary; raise what the first to fail died of."""
    import torch.distributed as dist

    logs = context.folder / LOGS
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # any free port: it cannot clash
    crew = _Crew()
    try:
        for rank in range(count):
            crew.workers.append(_start(rank, count, store.port, order, logs / f"{rank}.log", crew.lines))
        _listen(crew, context)
    except KeyboardInterrupt:
        _let_first_save(crew)
        raise
    finally:
        _stop(crew)
    if any(worker.failed for worker in crew.workers) or crew.summary is None:
        raise _cause(crew.workers)
    shutil.rmtree(logs)
    return crew.summary


def _start(
    rank: int, count: int, port: int, order: dict[str, Any], log: Path, lines: queue.Queue[Any]
) -> _Worker:  # fmt: skip
    """Start one worker with its place in the environment, and a thread that reads what it says."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # torch's name for: the meeting point is there already
    }
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "codeup.steps._worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=variables,
            start_new_session=True,  # Ctrl-C is for us; the first worker then hears of it from us
        )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    threading.Thread(target=_read, args=(rank, process.stdout, lines), daemon=True).start()
    return _Worker(rank, process, log)


def _read(rank: int, pipe: IO[bytes], lines: queue.Queue[Any]) -> None:
    try:
        for line in pipe:
            lines.put((rank, json.loads(line)))
    except ValueError:  # half a line: it was killed
        pass
    finally:
        lines.put((rank, None))


def _listen(crew: _Crew, context: Context) -> None:
    """Until all have ended, or GRACE_S after one failed."""
    until = None
    while crew.working:
        try:
            rank, message = crew.lines.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            return
        worker = crew.workers[rank]
        if message is None:
            worker.code = worker.process.wait()
            if worker.failed and until is None:
                until = time.monotonic() + GRACE_S
        elif "event" in message:
            context.emit(Event(**message["event"]))
        elif "error" in message:
            worker.error = message["error"]
        elif rank == 0:
            crew.summary = message["summary"]


def _let_first_save(crew: _Crew) -> None:
    """Ctrl-C: the first worker writes a checkpoint, while the others are still there to finish its step with it."""
    if crew.workers and crew.workers[0].process.poll() is None:
        crew.workers[0].process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            crew.workers[0].process.wait(SAVE_S)


def _stop(crew: _Crew) -> None:
    for worker in crew.workers:
        worker.process.kill()
        worker.process.wait()
        assert worker.process.stdin is not None
        worker.process.stdin.close()


def _cause(workers: list[_Worker]) -> CodeUpError:
    """The error of the worker that failed by itself."""
    count = len(workers)
    ended = [worker for worker in workers if worker.failed]
    worker = min(ended, key=lambda worker: (_after_another(worker), worker.rank), default=workers[0])
    if worker.error is not None and worker.error["kind"] == "UserError":
        return UserError(worker.error["what"], where=worker.error["where"], mend=worker.error["mend"])
    if worker.error is not None:
        return WorkFailed(worker.error["what"])
    lines = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:]
    told = f"; the end of {worker.log}:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
    return WorkFailed(
        f"process {worker.rank} of {count} {_ended(worker.code)}. The same command goes on from the last checkpoint"
        f"{told or '.'}"
    )


def _after_another(worker: _Worker) -> bool:
    """Whether it only ended because another had; PyTorch aborts a process whose GPU waits for one that is gone."""
    lost = worker.error is not None and worker.error["kind"] == "LostContact"
    return lost or worker.code == -signal.SIGABRT


def _ended(code: int | None) -> str:
    """How a process ended, in words.

    >>> _ended(-9), _ended(1)
    ('was killed (SIGKILL: often because memory ran out)', 'ended with exit code 1')
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was killed ({name}{': often because memory ran out' if name == 'SIGKILL' else ''})"
    return f"ended with exit code {code}"
