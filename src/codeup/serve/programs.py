"""Programs that a person asks to run from the page: in our sandbox, with data files in and files out.

    {"code": "print(open('d.csv').read())", "language": "python", "files": [{"name": "d.csv", "base64": "MSwy"}]}
      -> {"ended": "ended well", "seconds": 0.02, "out": "1,2", "err": "", "files": [], "notes": []}

The same walls as for judged programs: a private root with Python's standard library, numpy and matplotlib, or another
language's tools (languages/, those that can run a program as it is and whose tools are here), no network, no file of
this machine. Each language has a sandbox of its own, opened when it is first needed: Python programs do not see
compilers. Refused where the sandbox is not strong. One program at a time; others wait, a few of them. Nothing is kept
between two runs. Not covered: input while it runs, programs of several files.
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

from codeup import plugins
from codeup.errors import CodeUpError, UserError
from codeup.languages._tools import Toolchain, step
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, RunJob
from codeup.serve.refusal import Refusal

PACKAGES = ("numpy", "matplotlib")
"""What programs may import besides the standard library: numpy, and matplotlib with what it needs."""
CPU_S, WALL_S, MEMORY_MB, SCRATCH_MB = 10.0, 30.0, 1024, 64
COMPILE_S = 90.0
"""A compiler's time by the clock: Kotlin's takes 3 s of a quiet machine."""
TOOLS = Limits(cpu_s=30.0, wall_s=120.0, memory_mb=MEMORY_MB, scratch_mb=256, files=256, threads=512)
"""What a sandbox with compilers has more of; the program itself has the same limits."""
PLOTS = {
    ".plots/shown.py": """
from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

count = 0


def show(*_, **__):
    global count
    for manager in Gcf.get_all_fig_managers():
        count += 1
        manager.canvas.figure.savefig(f"figure-{count}.png")
    Gcf.destroy_all()
"""
}
"""A backend of matplotlib: `plt.show()` leaves every open figure as a file, which is shown. Put beside programs that
name matplotlib; names with a dot are not among the files that a program left."""
COMPILED = ("main", "main.a")
"""What compilers leave."""
OF_THE_WALLS = (
    'mono_thread_internal_set_priority: pthread_setschedparam failed, error: "Operation not permitted" (1)\n',
)
"""What a runtime prints about the sandbox before the program begins; it is not the program's output."""
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
    """The sandboxes behind POST /page/run, one per language, started when they are first needed."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._tools: dict[str, Toolchain] = {}
        self._others: dict[str, str] | None = None
        self._why = ""
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._closing, self._closed = threading.Lock(), False

    def about(self) -> dict[str, Any]:
        """What the page says before anything is run: whether programs can run here, in which languages and under which
        limits, or why not. `languages`: the word after a code block's fence -> the language."""
        pool = self._python()
        if pool is None:
            return {"offered": False, "why": self._why, "limits": "", "file_bytes": FILE_BYTES, "languages": {}}
        limits = f"{LIMITS}; sandbox: {pool.isolated.level}"
        fences = {"python": "python", "py": "python", "python3": "python", **self._fences()}
        return {"offered": True, "why": "", "limits": limits, "file_bytes": FILE_BYTES, "languages": fences}

    async def about_off_loop(self) -> dict[str, Any]:
        """As `about`, which may start processes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.about)

    async def run(self, code: str, uploads: Sequence[Upload], language: str = "python") -> dict[str, Any]:
        """Run a program. Raises Refusal where too many wait, no sandbox is strong enough, or a language is missing."""
        if self._waiting > WAITING:
            raise Refusal(429, "other programs are waiting to be run", code="busy", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, code, uploads, language)
        finally:
            self._waiting -= 1

    def _fences(self) -> dict[str, str]:
        """Of other languages whose tools are on this machine: looked for once."""
        if self._others is None:
            self._others = {}
            for name in plugins.names("languages"):
                room = plugins.load("languages", name)
                if not hasattr(room, "alone"):
                    continue
                try:
                    room.probe()
                except UserError:
                    continue
                self._others |= dict.fromkeys(room.FENCES, name)
        return self._others

    def _python(self) -> Pool | None:
        if "python" not in self._pools and not self._why:
            limits = Limits(cpu_s=CPU_S, wall_s=WALL_S, memory_mb=MEMORY_MB, scratch_mb=SCRATCH_MB)
            try:
                self._keep("python", Pool(1, limits, show=[os.path.realpath(sys.executable)], import_names=PACKAGES))
            except CodeUpError as error:
                self._why = f"programs cannot be run here: {error}".splitlines()[0]
        return self._pools.get("python")

    def _other(self, language: str) -> Pool:
        """The sandbox with a language's tools. Raises Refusal where it is not offered, UserError where none opens."""
        if language not in self._fences().values():
            here = ", ".join(dict.fromkeys(("python", *self._fences().values())))
            raise Refusal(400, f"{language[:40]} programs are not run here, only {here}", param="language")
        if language not in self._pools:
            tools = plugins.load("languages", language).toolchain()
            self._keep(language, Pool(1, TOOLS, show=tools.show, proc=tools.proc))
            self._tools[language] = tools
        pool = self._pools.get(language)
        if pool is None:
            raise Refusal(503, self._why, code="no_sandbox")
        return pool

    def _keep(self, language: str, pool: Pool) -> None:
        """A sandbox that was just opened; ended where the server stopped meanwhile."""
        with self._closing:
            if not self._closed:
                self._pools[language] = pool
                return
        pool.close()

    def _run(self, code: str, uploads: Sequence[Upload], language: str) -> dict[str, Any]:
        pool = self._python()
        if pool is None:
            raise Refusal(503, self._why, code="no_sandbox")
        data = {upload.name: base64.b64encode(upload.data).decode() for upload in uploads}
        most = {"files": MOST_FILES, "bytes": MADE_BYTES}
        try:
            if language == "python":
                plots = "matplotlib" in code
                files, steps = {"main.py": code, **(PLOTS if plots else {})}, (_python_step(plots),)
            else:
                pool = self._other(language)
                room, tools = plugins.load("languages", language), self._tools[language]
                wrapped = room.alone(code, tools=tools, cpu_s=CPU_S, memory_mb=MEMORY_MB)
                files = {name: parts[0][1] for name, parts in wrapped.files.items()}
                steps = wrapped.steps
            kept = tuple(
                {**each, "wall_s": min(each["wall_s"], COMPILE_S if each["compiler"] else WALL_S), "kept": KEPT}
                for each in steps
            )
            answer = pool.run(RunJob(files, data, kept, most))
        except CodeUpError as error:
            raise Refusal(500, f"the sandbox failed: {error}", code="sandbox") from None
        return _told(answer, kept)

    def close(self) -> None:
        """End the sandboxes and whatever runs in them."""
        with self._closing:
            self._closed, self._why = True, "the server is stopping"
            while self._pools:
                self._pools.popitem()[1].close()
            self._thread.shutdown(wait=False, cancel_futures=True)


def _python_step(plots: bool) -> dict[str, Any]:
    python = os.path.realpath(sys.executable)
    environment = {"PYTHONPATH": "/packages"}
    if plots:
        environment = {
            "PYTHONPATH": "/packages:/scratch/.plots", "MPLBACKEND": "module://shown",
            "MPLCONFIGDIR": "/scratch/.matplotlib",
        }  # fmt: skip
    return step(
        "the program", [python, "-s", "-S", "-B", "-X", "utf8", "main.py"], env=environment, cpu_s=CPU_S,
        wall_s=WALL_S, address_mb=2 * MEMORY_MB, data_mb=MEMORY_MB, memory_words=("MemoryError",),
    )  # fmt: skip


def _told(answer: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The supervisor's answer in the words of the page."""
    last, at = answer["steps"][-1], steps[len(answer["steps"]) - 1]
    notes = []
    if last["printed"] > 2 * KEPT:
        notes.append(f"{last['printed']:,} bytes were printed; the beginning and the end are shown")
    if answer["others"]:
        notes.append(f"{answer['others']} more files were not taken along: links, too many, or too large")
    made = {name: data for name, data in answer["made"].items() if name not in COMPILED}
    files = [{"name": name, "base64": data} for name, data in made.items()]
    ended = ("it did not compile: " if at["compiler"] else "") + _ended(last, at["wall_s"])
    out = last["out"]
    for line in OF_THE_WALLS:
        out = out.removeprefix(line)
    return {
        "ended": ended, "seconds": last["wall_s"], "out": out, "err": last["err"], "files": files,
        "notes": notes,
    }  # fmt: skip


def _ended(last: Mapping[str, Any], wall_s: float) -> str:
    if last["flooded"]:
        return "stopped: it printed more than 64 MB"
    if last["timed_out"]:
        return f"stopped: it took more than {wall_s:g} s"
    status = last["status"]
    if os.WIFSIGNALED(status):
        used_up = last["cpu_s"] >= CPU_S * 0.95
        return (
            f"stopped: it used {CPU_S:g} s of processor time" if used_up else f"killed by signal {os.WTERMSIG(status)}"
        )
    code = os.WEXITSTATUS(status)
    return "ended well" if code == 0 else f"ended with exit code {code}"
