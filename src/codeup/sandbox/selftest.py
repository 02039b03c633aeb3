"""`codeup sandbox selftest`: run every attack, and prove that the checks themselves can see.

Held means: no attack passed, every honest program passed, nothing changed outside the scratch, no message came out, no
process is left, and the judge stayed up: the referees that began also finished, none above JUDGE_MB. The survivor
search is itself tested: it must see the sandbox's own processes while they live.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import codeup
from codeup.errors import UserError
from codeup.sandbox.attacks import ATTACKS, CONTROLS, ENTRY_POINT, REFERENCE, TESTS, Attack
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Job, Pool
from codeup.types import Outcome, Verdict

LIMITS = Limits(cpu_s=1, wall_s=2.0, memory_mb=512, scratch_mb=16)
JUDGE_MB = 500
"""What a referee may use at its peak, whatever programs send it."""

LAYERS = ("namespaces", "landlock", "seccomp")
"""Layers that can be switched off, to see that the others hold alone."""


@dataclass(frozen=True, slots=True)
class Result:
    """One attack, or one honest program, and what became of it."""

    number: int
    kind: str
    name: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """What the self-test saw. `held` is the verdict; the rest says why."""

    level: str
    layers: tuple[str, ...]
    results: tuple[Result, ...]
    changed_outside: tuple[str, ...]
    survivors: tuple[int, ...]
    sees_survivors: bool
    judge_mb: tuple[int, ...]
    """Peak resident memory of each referee; empty where the system does not tell."""
    judge_stayed: bool
    """Whether the referees that began are those that finished."""
    messages: int = 0
    """Datagrams that programs sent to a socket outside."""
    off: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> list[Result]:
        """Attacks that were judged right: each one is a hole."""
        return [row for row in self.results if row.kind != "control" and row.outcome == Outcome.PASSED]

    @property
    def refused_controls(self) -> list[Result]:
        """Honest programs that were not judged right."""
        return [row for row in self.results if row.kind == "control" and row.outcome != Outcome.PASSED]

    @property
    def garbled(self) -> list[Result]:
        """Programs that put unprintable characters, terminal codes for instance, into their verdict's words."""
        return [row for row in self.results if not row.detail.isprintable()]

    @property
    def held(self) -> bool:
        """Whether the sandbox held, as far as these attacks can tell."""
        holes = self.passed or self.refused_controls or self.changed_outside or self.survivors or self.messages
        holes = holes or self.garbled
        judge = self.judge_stayed and max(self.judge_mb, default=0) <= JUDGE_MB
        return not holes and judge and self.sees_survivors and any(row.kind == "control" for row in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "held": self.held,
            "attacks": len(self.results) - sum(r.kind == "control" for r in self.results),
        }

    def text(self) -> str:
        """One line per program, then the summary."""
        lines = [f"{row.number:>4} {row.kind:<8} {row.outcome:<8} {row.name}" for row in self.results]
        controls = sum(row.kind == "control" for row in self.results)
        switched = f" (switched off: {', '.join(self.off)})" if self.off else ""
        lines.append(f"sandbox {self.level}: {', '.join(self.layers)}{switched}")
        peak = f"{max(self.judge_mb)} MB at the peak, {JUDGE_MB} allowed" if self.judge_mb else "memory not known"
        lines.append(
            f"judge {'stayed up' if self.judge_stayed else 'HAD TO BE REPLACED'}, {peak}; {self.seconds:.1f} s"
        )
        lines.append(
            f"{'held' if self.held else 'DID NOT HOLD'}: "
            f"{len(self.passed)} of {len(self.results) - controls} attacks passed, "
            f"{controls - len(self.refused_controls)} of {controls} honest programs passed, "
            f"{len(self.changed_outside)} changes outside, {self.messages} messages out, "
            f"{len(self.survivors)} processes left, {len(self.garbled)} verdicts garbled"
        )
        return "\n".join(lines)


@dataclass
class Bait:
    """What attacks are after, in a folder of its own: a secret, a file to change, a socket to write to."""

    folder: Path
    secret: Path = field(init=False)
    outside: Path = field(init=False)
    mailbox: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.secret, self.outside = self.folder / "secret", self.folder / "outside"
        self.outside.mkdir()
        self.secret.write_text(secrets.token_hex(16))
        (self.outside / "kept").write_text("kept")
        self.mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.mailbox.bind(str(self.folder / "mailbox"))
        for path, mode in ((self.folder, 0o755), (self.secret, 0o644), (self.folder / "mailbox", 0o777)):
            path.chmod(mode)
        self.outside.chmod(0o777)  # so that only the sandbox, not file permissions, keeps programs out
        (self.outside / "kept").chmod(0o666)

    def names(self) -> str:
        """The first lines of every program: where the bait is."""
        values = {
            "SECRET": str(self.secret), "OUTSIDE": str(self.outside), "MAILBOX": str(self.folder / "mailbox"),
            "HOME": os.path.expanduser("~"), "MEMORY": LIMITS.memory_mb << 20,
            "BENCHMARK": str(Path(codeup.__file__).resolve().parent / "nano" / "benchmark.jsonl.gz"),
        }  # fmt: skip
        return "".join(f"{name} = {value!r}\n" for name, value in values.items())

    def state(self) -> dict[Path, Any]:
        """Everything that a program could change here: contents, modes, owners, times, extended attributes."""
        return {path: _state(path) for path in (self.folder, *sorted(self.folder.rglob("*")))}

    def messages(self) -> int:
        """How many datagrams arrived."""
        self.mailbox.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while self.mailbox.recv(1 << 16):
                count += 1
        return count


@contextlib.contextmanager
def bait() -> Iterator[Bait]:
    """Set the bait in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="codeup-selftest-") as folder:
        laid = Bait(Path(folder))
        try:
            yield laid
        finally:
            laid.mailbox.close()


def _state(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    extended = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
    contents = path.read_bytes() if path.is_file() else None
    return contents, found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_nlink, extended


def selftest(
    *, attacks: Sequence[Attack] = ATTACKS, workers: int = 2, allow_unsafe: bool = False, off: Sequence[str] = ()
) -> SelftestReport:
    """Run the corpus on this machine, with the layers named in `off` left out.

    Raises UserError below the floor or for an unknown layer, WorkFailed if the sandbox does not start.
    """
    unknown = [name for name in off if name not in LAYERS]
    if unknown:
        raise UserError(f"no layer is called {unknown[0]!r}", mend=f"choose from {', '.join(LAYERS)}")
    programs = [*attacks, *CONTROLS]
    start = time.monotonic()
    with bait() as laid:
        before = laid.state()
        jobs = [_job(row, laid) for row in programs]
        with Pool(workers, LIMITS, allow_unsafe=allow_unsafe, off=off) as pool:
            sees = len(survivors(pool.marker)) >= workers
            began = [worker.process.pid for worker in pool.workers]
            found = {verdict.index: verdict for verdict in pool.judge(jobs, retry=False)}
            stayed = began == [worker.process.pid for worker in pool.workers if worker.process.poll() is None]
            peaks = tuple(peak for pid in began if (peak := peak_mb(pid)))
            isolated, marker = pool.isolated, pool.marker
        left = survivors_after_a_moment(marker)
        after, messages = laid.state(), laid.messages()
    changed = sorted(str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return SelftestReport(
        isolated.level, isolated.layers, tuple(_result(row, found[row.number]) for row in programs), tuple(changed),
        tuple(left), sees, peaks, stayed, messages, tuple(off), round(time.monotonic() - start, 2),
    )  # fmt: skip


def _job(attack: Attack, laid: Bait) -> Job:
    return Job(f"attack/{attack.number}", attack.number, laid.names() + attack.program, ENTRY_POINT, TESTS, REFERENCE)


def peak_mb(pid: int) -> int:
    """The largest resident memory a running process has had, from Linux's VmHWM; 0 where that is not told."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return -(-int(line.split()[1]) // 1024)
    return 0


def _result(attack: Attack, verdict: Verdict) -> Result:
    return Result(attack.number, attack.kind, attack.name, str(verdict.outcome), verdict.detail)


def survivors(marker: str) -> list[int]:
    """Processes whose environment carries the marker, on machines with /proc, as far as this user may look."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        try:
            if entry.isdigit() and marker.encode() in Path(f"/proc/{entry}/environ").read_bytes():
                found.append(int(entry))
        except OSError:
            continue
    return found


def survivors_after_a_moment(marker: str) -> list[int]:
    """Survivors, after giving the kernel time to finish the kills it was told to do."""
    for _ in range(50):
        if not survivors(marker):
            return []
        time.sleep(0.02)
    return survivors(marker)
