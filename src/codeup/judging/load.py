"""What the way over HTTP costs: the same programs judged here, by a server one at a time from many clients, in batches.

    programs   every canonical solution, and for every problem a function that returns nothing: rounds times
    local      one pool in this process                 batch    one client, one request after the other
    single     `clients` connections, each sending its next program when it has the verdict on the last

The server is a process of its own on loopback with as many workers as the pool; clients and server share the machine.
A verdict that differs from the local one in task, sample or outcome is counted as mixed up.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from codeup.errors import WorkFailed
from codeup.evaluate.programs import SuiteRules, judge_programs
from codeup.judging.catalog import Bench, open_bench
from codeup.judging.client import Judge
from codeup.sandbox.limits import Limits
from codeup.types import Program

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Served:
    """One way of asking: how long it took, verdicts that are not the local ones, seconds of a request.

    `server_cpu_s` is processor time of the server itself, without its sandboxes; it does not depend on what else runs.
    """

    seconds: float
    verdicts: int
    mixed: int
    lost: int
    latency_s: tuple[float, float, float]
    server_cpu_s: float

    @property
    def per_s(self) -> float:
        return self.verdicts / self.seconds


@dataclass(frozen=True, slots=True)
class Load:
    """`latency_s` are median, 95th percentile and largest; of the batches, of a whole batch."""

    benchmark: str
    programs: int
    workers: int
    clients: int
    local_s: float
    single: Served
    batch: Served

    @property
    def local_per_s(self) -> float:
        return self.programs / self.local_s


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)


@dataclass(slots=True)
class _Seen:
    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lost: int = 0

    def add(self, rows: Sequence[dict[str, Any]], seconds: float) -> None:
        """What one request brought."""
        self.rows += [row for row in rows if "error" not in row]
        self.lost += sum("error" in row for row in rows)
        self.seconds.append(seconds)


def load(name: str, file: Path | None, *, workers: int = 1, clients: int = 64, rounds: int = 3) -> Load:
    """Raises UserError for a file that cannot be read, WorkFailed where the server does not come up."""
    bench = open_bench(name, file, Limits(), SuiteRules(), "codeup")
    items = list(_items(bench, rounds))
    expected, local_s = _local(bench, items, workers)
    with _server(name, file, workers) as server:
        single = _single(server, items, clients, expected)
        batch = _batch(server, items, expected)
    return Load(name, len(items), workers, clients, local_s, single, batch)


def _items(bench: Bench, rounds: int) -> Iterator[dict[str, Any]]:
    for turn in range(rounds):
        for problem in bench.data.problems:
            wrong = f"def {problem.entry_point}(*arguments, **keywords):\n    return None\n"
            for number, code in enumerate((problem.prompt + problem.canonical_solution, wrong)):
                yield {"task_id": problem.task_id, "index": 2 * turn + number, "solution": code}


def _local(bench: Bench, items: Sequence[Mapping[str, Any]], workers: int) -> tuple[dict[Key, str], float]:
    """Outcomes by task and sample, and the seconds they took; starting the sandboxes is not counted."""
    programs = [Program(row["task_id"], row["index"], row["solution"], "given-solution") for row in items]
    with bench.room.open(workers) as pool:
        list(judge_programs(pool, bench.problems, programs[:workers], bench.rules))  # expected values, warm sandboxes
        started = time.perf_counter()
        verdicts = list(judge_programs(pool, bench.problems, programs, bench.rules))
        took = time.perf_counter() - started
    return {(verdict.task_id, verdict.index): str(verdict.outcome) for verdict in verdicts}, took


@contextmanager
def _server(name: str, file: Path | None, workers: int) -> Iterator[_Server]:
    argv = [sys.executable, "-m", "codeup", "judge-server", "--json", "--port", "0", "--workers", str(workers)]
    argv += ["--benchmark", name if file is None else f"{name}={file}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise WorkFailed("the judge server did not start")
            yield _Server(json.loads(line)["url"], psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait()


def _single(server: _Server, items: Sequence[Mapping[str, Any]], clients: int, expected: Mapping[Key, str]) -> Served:
    seen = _Seen()
    waiting = iter(items)

    def client() -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=600)
        while True:
            with seen.lock:
                item = next(waiting, None)
            if item is None:
                return
            started = time.perf_counter()
            try:
                body = json.dumps(item).encode()
                connection.request("POST", "/v1/judge", body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                row = json.loads(reply.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                row = {"error": repr(error)}
            with seen.lock:
                seen.add([row], time.perf_counter() - started)

    started, cpu_s = time.perf_counter(), server.cpu_s()
    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _served(time.perf_counter() - started, server.cpu_s() - cpu_s, seen, expected)


def _batch(server: _Server, items: Sequence[dict[str, Any]], expected: Mapping[Key, str]) -> Served:
    seen, judge = _Seen(), Judge(server.url)
    started, cpu_s = time.perf_counter(), server.cpu_s()
    for place in range(0, len(items), judge.batch):
        began = time.perf_counter()
        rows = judge.judge_many(items[place : place + judge.batch])
        seen.add(rows, time.perf_counter() - began)
    return _served(time.perf_counter() - started, server.cpu_s() - cpu_s, seen, expected)


def _served(took: float, cpu_s: float, seen: _Seen, expected: Mapping[Key, str]) -> Served:
    """`mixed` also counts a verdict that came twice, or for a program that was not sent."""
    found = {(row["task_id"], row["index"]): row["outcome"] for row in seen.rows}
    mixed = sum(expected.get(key) != outcome for key, outcome in found.items()) + len(seen.rows) - len(found)
    return Served(took, len(seen.rows), mixed, seen.lost, _quantiles(seen.seconds), cpu_s)


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, 95th percentile and largest."""
    if len(values) < 2:
        return (values[0], values[0], values[0]) if values else (0.0, 0.0, 0.0)
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18], max(values)
