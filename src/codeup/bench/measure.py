"""Run a command as a whole process and say how long it took and how much memory its process tree held at most.

Memory is sampled from /proc while the command runs: the proportional set size (PSS) of every process of the tree, in
which a page that n forked processes share counts once, not n times. Where the kernel refuses PSS for a process, its
resident size stands in. Reading PSS of gigabytes takes tens of milliseconds, so the sampling slows down until it costs
at most 5 % of one core. What lives shorter than the time between two samples may be missed; processes that leave the
tree (a daemon) are not counted; on other systems than Linux memory is not measured.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.2
SHARE = 0.05
"""Largest part of one core that sampling may take from the command it watches."""
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
COUNT = re.compile(r"([\d,]+)/([\d,]+) ?")
"""`130/164` in a progress line of either tool."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished command.

    wall_s      seconds from its start to its end
    result_s    seconds from its start until its result file was complete (its last change)
    peak_mb     most memory of the whole process tree (MiB, PSS); None where it cannot be measured
    largest_mb  most memory of any one process (MiB, PSS)
    """

    wall_s: float
    result_s: float
    peak_mb: float | None
    largest_mb: float | None


class CommandFailed(Exception):
    """The command ended with an error, or without its result file; the text is the end of what it wrote."""


def measured(
    command: Sequence[str],
    result: Path,
    folder: Path,
    environment: Mapping[str, str],
    hear: Callable[[float], None] = lambda share: None,
) -> Measured:
    """Run `command` in `folder` until it ends; `hear` is told the share it says it has done.

    Raises CommandFailed when it fails or leaves no `result`. Interrupted, it ends the command and waits for it.
    """
    log = folder / "log.txt"
    started, started_at = time.perf_counter(), time.time()
    peak = largest = 0
    pause_s = SAMPLE_S
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(pause_s)
                    break
                began = time.perf_counter()
                sizes = [size_bytes(pid) for pid in tree(process.pid)]
                peak, largest = max(peak, sum(sizes)), max(largest, max(sizes, default=0))
                hear(share_done(log))
                pause_s = max(SAMPLE_S, (time.perf_counter() - began) / SHARE)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    wall_s = time.perf_counter() - started
    if process.returncode or not result.is_file():
        tail = log.read_text(errors="replace").replace("\r", "\n").strip()[-1500:]
        raise CommandFailed(f"exit code {process.returncode}: {tail}")
    result_s = min(wall_s, max(0.0, result.stat().st_mtime - started_at))
    return Measured(wall_s, result_s, peak / 2**20 if peak else None, largest / 2**20 if largest else None)


def tree(root: int) -> list[int]:
    """The process and all that descend from it, by the parents named in /proc."""
    children: dict[int, list[int]] = {}
    for pid in _processes():
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def size_bytes(pid: int) -> int:
    """PSS of a process, else its resident size, else 0 (it has ended)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def share_done(log: Path) -> float:
    """How far the command says it is: the last `done/total` of its output, 0 before it says so.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file:
    ...     _ = file.write("reading 3/4\\r 12%| 41/164 [00:03") and file.flush()
    ...     share_done(Path(file.name))
    0.25
    """
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        found = COUNT.findall(stream.read().decode(errors="replace"))
    if not found:
        return 0.0
    done, total = (int(number.replace(",", "") or 0) for number in found[-1])
    return min(1.0, done / total) if total else 0.0


def _processes() -> Iterable[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return []
