"""A judge server in a thread of the tests, with a made-up benchmark of HumanEval's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from server_for_tests import in_a_thread

from codeup.judging import app, running
from codeup.judging.court import Court, Settings
from codeup.sandbox.limits import Limits
from codeup.serve.running import bind

LIMITS = Limits(cpu_s=1, wall_s=4, memory_mb=512)
LOOP = "    while True:\n        pass\n"


@dataclass
class Judging:
    """A server that answers. `base` is http://127.0.0.1:PORT."""

    base: str
    desk: app.Desk

    @property
    def court(self) -> Court:
        return self.desk.court

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=60, **more)

    def judge(self, **item: Any) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/judge", json=item)

    def metric(self, name: str) -> float:
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.split("{")[0].split()[0] == name)


def write_benchmark(path: Path, count: int = 4) -> Path:
    """Problems T/0, T/1, ...: add their number to x, tested with three calls."""
    rows = [
        {
            "task_id": f"T/{n}",
            "prompt": f'def f{n}(x: int) -> int:\n    """Add {n} to x."""\n',
            "entry_point": f"f{n}",
            "canonical_solution": f"    return x + {n}\n",
            "test": f"def check(candidate):\n    for x in (1, 5, 9):\n        assert candidate(x) == x + {n}\n",
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(file: Path, **changes: Any) -> Settings:
    return replace(Settings({"humaneval": file}, workers=2, limits=LIMITS, max_queue=64), **changes)


@contextmanager
def judging(
    wanted: Settings, *, token: str | None = None, host: str = "127.0.0.1", limits: app.Limits | None = None,
    wait: bool = True,
) -> Iterator[Judging]:  # fmt: skip
    """Serve until the block ends."""
    listening = bind("127.0.0.1", 0)
    server, desk = running.prepare(wanted, limits or app.Limits(max_batch=32), host=host, token=token)
    with in_a_thread(server, listening, desk, wait=wait) as address:
        yield Judging(address, desk)
