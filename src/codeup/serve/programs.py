"""Programs that a person asks to run from the page: in our sandbox, with data files in and files out.

    {"code": "print(open('d.csv').read())", "files": [{"name": "d.csv", "base64": "MSwy"}]}
      -> {"ended": "ended well", "seconds": 0.02, "out": "1,2", "err": "", "files": [], "notes": []}

The same walls as for judged programs: a private root with the standard library, numpy and matplotlib, no network, no
other process, no file of this machine. Refused where the sandbox is not strong. One program at a time; others wait, a
few of them. Nothing is kept between two runs. Not covered: languages other than Python, input while it runs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from codeup.errors import CodeUpError
from codeup.languages._tools import step
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, RunJob
from codeup.serve.refusal import Refusal

PACKAGES = ("numpy", "matplotlib")
"""What programs may import besides the standard library: numpy, and matplotlib with what it needs."""
CPU_S, WALL_S, MEMORY_MB, SCRATCH_MB = 10.0, 30.0, 1024, 64
KEPT = 100_000
"""Bytes of the beginning and of the end of what a program prints that are shown."""
FILE_BYTES, MOST_FILES, MADE_BYTES = 4_000_000, 20, 8_000_000
WAITING = 4
LIMITS = f"{CPU_S:g} s of processor time, {MEMORY_MB} MB, no network, no files of this machine"


@dataclass(frozen=True, slots=True)
class Upload:
    """A data file of the person, put beside the program."""

    name: str
    data: bytes


class Programs:
    """The sandbox behind POST /page/run, started when it is first needed."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._why = ""
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._closing = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What the page says before anything is run: whether programs can run here, under which limits, or why not."""
        pool = self._open()
        if pool is None:
            return {"offered": False, "why": self._why, "limits": "", "file_bytes": FILE_BYTES}
        return {
            "offered": True,
            "why": "",
            "limits": f"{LIMITS}; sandbox: {pool.isolated.level}",
            "file_bytes": FILE_BYTES,
        }

    async def about_off_loop(self) -> dict[str, Any]:
        """As `about`, which may start processes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.about)

    async def run(self, code: str, uploads: Sequence[Upload]) -> dict[str, Any]:
        """Run a Python program. Raises Refusal where too many wait, or no sandbox is strong enough."""
        if self._waiting > WAITING:
            raise Refusal(429, "other programs are waiting to be run", code="busy", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, code, uploads)
        finally:
            self._waiting -= 1

    def _open(self) -> Pool | None:
        if self._pool is None and not self._why:
            limits = Limits(cpu_s=CPU_S, wall_s=WALL_S, memory_mb=MEMORY_MB, scratch_mb=SCRATCH_MB)
            try:
                self._pool = Pool(1, limits, show=[os.path.realpath(sys.executable)], import_names=PACKAGES)
            except CodeUpError as error:
                self._why = f"programs cannot be run here: {error}".splitlines()[0]
        return self._pool

    def _run(self, code: str, uploads: Sequence[Upload]) -> dict[str, Any]:
        pool = self._open()
        if pool is None:
            raise Refusal(503, self._why, code="no_sandbox")
        python = os.path.realpath(sys.executable)
        environment = {"PYTHONPATH": "/packages", "MPLBACKEND": "Agg", "MPLCONFIGDIR": "/scratch/.matplotlib"}
        running = step(
            "the program", [python, "-s", "-S", "-B", "-X", "utf8", "main.py"], env=environment, cpu_s=CPU_S,
            wall_s=WALL_S, address_mb=2 * MEMORY_MB, data_mb=MEMORY_MB, memory_words=("MemoryError",),
        )  # fmt: skip
        data = {upload.name: base64.b64encode(upload.data).decode() for upload in uploads}
        most = {"files": MOST_FILES, "bytes": MADE_BYTES}
        try:
            answer = pool.run(RunJob({"main.py": code}, data, ({**running, "kept": KEPT},), most))
        except CodeUpError as error:
            raise Refusal(500, f"the sandbox failed: {error}", code="sandbox") from None
        return _told(answer)

    def close(self) -> None:
        """End the sandbox and whatever runs in it."""
        with self._closing:
            if self._pool is not None:
                self._pool.close()
                self._pool = None
            self._why = "the server is stopping"
            self._thread.shutdown(wait=False, cancel_futures=True)


def _told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The supervisor's answer in the words of the page."""
    last = answer["steps"][-1]
    notes = []
    if last["printed"] > 2 * KEPT:
        notes.append(f"{last['printed']:,} bytes were printed; the beginning and the end are shown")
    if answer["others"]:
        notes.append(f"{answer['others']} more files were not taken along: links, too many, or too large")
    files = [{"name": name, "base64": data} for name, data in answer["made"].items()]
    return {
        "ended": _ended(last), "seconds": last["wall_s"], "out": last["out"], "err": last["err"], "files": files,
        "notes": notes,
    }  # fmt: skip


def _ended(last: Mapping[str, Any]) -> str:
    if last["flooded"]:
        return "stopped: it printed more than 64 MB"
    if last["timed_out"]:
        return f"stopped: it took more than {WALL_S:g} s"
    status = last["status"]
    if os.WIFSIGNALED(status):
        used_up = last["cpu_s"] >= CPU_S * 0.95
        return (
            f"stopped: it used {CPU_S:g} s of processor time" if used_up else f"killed by signal {os.WTERMSIG(status)}"
        )
    code = os.WEXITSTATUS(status)
    return "ended well" if code == 0 else f"ended with exit code {code}"
