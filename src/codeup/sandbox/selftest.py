"""`codeup sandbox selftest`: run every attack, and prove that the checks themselves can see.

Held means: no attack passed, every honest program passed, nothing changed outside the scratch, no process is left. The
survivor search is itself tested: it must see the sandbox's own processes while they live.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeup.sandbox.attacks import ATTACKS, CONTROLS, ENTRY_POINT, REFERENCE, TESTS, Attack
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Job, Pool
from codeup.types import Outcome, Verdict

LIMITS = Limits(cpu_s=1, wall_s=4.0, memory_mb=512, scratch_mb=16)


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

    @property
    def passed(self) -> list[Result]:
        """Attacks that were judged right: each one is a hole."""
        return [row for row in self.results if row.kind != "control" and row.outcome == Outcome.PASSED]

    @property
    def refused_controls(self) -> list[Result]:
        """Honest programs that were not judged right."""
        return [row for row in self.results if row.kind == "control" and row.outcome != Outcome.PASSED]

    @property
    def held(self) -> bool:
        """Whether the sandbox held, as far as these attacks can tell."""
        holes = self.passed or self.refused_controls or self.changed_outside or self.survivors
        return not holes and self.sees_survivors and any(row.kind == "control" for row in self.results)

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
        lines.append(f"sandbox {self.level}: {', '.join(self.layers)}")
        lines.append(
            f"{'held' if self.held else 'DID NOT HOLD'}: "
            f"{len(self.passed)} of {len(self.results) - controls} attacks passed, "
            f"{controls - len(self.refused_controls)} of {controls} honest programs passed, "
            f"{len(self.changed_outside)} changes outside, {len(self.survivors)} processes left"
        )
        return "\n".join(lines)


def selftest(
    *, attacks: Sequence[Attack] = ATTACKS, workers: int = 2, allow_unsafe: bool = False, off: Sequence[str] = ()
) -> SelftestReport:
    """Run the corpus on this machine. Raises UserError below the floor, WorkFailed if the sandbox does not start."""
    programs = [*attacks, *CONTROLS]
    with tempfile.TemporaryDirectory(prefix="codeup-selftest-") as folder:
        outside = Path(folder) / "outside"
        outside.mkdir()
        outside.chmod(0o777)  # so that only the sandbox, not file permissions, keeps programs out
        secret = Path(folder) / "secret"
        secret.write_text(secrets.token_hex(16))
        os.chmod(secret, 0o644)
        os.chmod(folder, 0o755)
        before = _contents(Path(folder))
        jobs = [_job(row, secret, outside) for row in programs]
        with Pool(workers, LIMITS, allow_unsafe=allow_unsafe, off=off) as pool:
            sees = len(survivors(pool.marker)) >= workers
            found = {verdict.index: verdict for verdict in pool.judge(jobs, retry=False)}
            isolated, marker = pool.isolated, pool.marker
        left = _after_a_moment(marker)
        after = _contents(Path(folder))
    changed = sorted(str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    results = tuple(_result(row, found[row.number]) for row in programs)
    return SelftestReport(isolated.level, isolated.layers, results, tuple(changed), tuple(left), sees)


def _job(attack: Attack, secret: Path, outside: Path) -> Job:
    values = f"SECRET, OUTSIDE, MEMORY = {str(secret)!r}, {str(outside)!r}, {LIMITS.memory_mb << 20}\n"
    return Job(f"attack/{attack.number}", attack.number, values + attack.program, ENTRY_POINT, TESTS, REFERENCE)


def _result(attack: Attack, verdict: Verdict) -> Result:
    return Result(attack.number, attack.kind, attack.name, str(verdict.outcome), verdict.detail)


def _contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


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


def _after_a_moment(marker: str) -> list[int]:
    """Survivors, after giving the kernel time to finish the kills it was told to do."""
    for _ in range(50):
        if not survivors(marker):
            return []
        time.sleep(0.02)
    return survivors(marker)
