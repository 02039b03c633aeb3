"""Trains in child processes to which something happens at a chosen moment. Run by test_train_resume.py.

    python train_kill_driver.py kill|fill '{"folder": .., "arguments": {"model": .., ..}, "points": .., "seed": 0}'

A moment is anything a run does that shows outside: a file of its folder opened, renamed or removed, an fsync, a step's
gradient begun or finished, an event. They are counted, and at a given count the process kills itself with SIGKILL, or
fills the disk it writes to. Then the same call is made again, undisturbed. One line of JSON per point says what came of
it. The parent never trains: its children are forked with the libraries loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup.errors import UserError, WorkFailed
from codeup.train import loop
from codeup.train.metrics import read_metrics
from codeup.train.sft import train_sft
from codeup.types import Event

AUDITED = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")


@dataclass
class Moments:
    """Counts moments below `out` by name; at moment number `at` it does `act`."""

    out: Path
    at: int = -1
    act: Callable[[], None] = lambda: None
    seen: list[str] = field(default_factory=list)

    def count(self, name: str) -> None:
        self.seen.append(name)
        if len(self.seen) - 1 == self.at:
            self.act()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in AUDITED and isinstance(arguments[0], str | os.PathLike):
            path = Path(arguments[0])
            if path.is_relative_to(self.out):
                self.count(f"{event} {path.relative_to(self.out)}")
            elif event in ("os.remove", "os.rmdir") and arguments[1] != -1:  # inside a folder that is being removed
                self.count(f"{event} {path}")

    def watch(self) -> None:
        """From now on, in this process."""
        sys.addaudithook(self.audit)
        fsync, accumulate = os.fsync, loop.accumulate

        def counted_fsync(handle: int) -> None:
            self.count("fsync")
            fsync(handle)

        def counted_accumulate(*arguments: Any) -> Any:
            self.count("gradient begins")
            total = accumulate(*arguments)
            self.count("gradient ends")
            return total

        os.fsync, loop.accumulate = counted_fsync, counted_accumulate  # type: ignore[assignment]


def call(arguments: dict[str, Any], moments: Moments, answer: Path) -> None:
    """What a child does; its answer is the summary or the message of the error."""
    paths: dict[str, Any] = {name: Path(arguments.pop(name)) for name in ("model", "tokens", "validation")}
    moments.watch()

    def emit(event: Event) -> None:
        moments.count(f"event {event.kind}")

    try:
        told: dict[str, Any] = train_sft(**paths, out=moments.out, emit=emit, **arguments)
    except (UserError, WorkFailed) as error:
        told = {"error": type(error).__name__, "message": str(error)}
    except BaseException:
        told = {"error": "traceback", "message": traceback.format_exc()}
    answer.write_text(json.dumps({"told": told, "seen": moments.seen}))


def in_a_child(work: Callable[[], None]) -> int:
    """The signal that ended it, 0 for none."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def results(out: Path) -> dict[str, Any]:
    rows = read_metrics(out / "metrics.jsonl")
    adapter = out / "adapter" / "adapter_model.safetensors"
    return {
        "adapter": hashlib.sha256(adapter.read_bytes()).hexdigest() if adapter.exists() else None,
        "rows": [(row["step"], row.get("loss"), row.get("eval_loss")) for row in rows],
        "files": sorted(str(path.relative_to(out)) for path in out.rglob("*")),
    }


def phase(name: str) -> str:
    if "checkpoints" in name:
        return "checkpoint"
    return "publish" if "adapter" in name or "train.json" in name else "step"


def choose(seen: list[str], points: dict[str, int] | list[str], seed: int) -> list[int]:
    """So many random moments of each phase, or the first moments with the given names (`name#3`: the third)."""
    if isinstance(points, dict):
        source = random.Random(seed)
        of = {kind: [i for i, name in enumerate(seen) if phase(name) == kind] for kind in points}
        return sorted(i for kind, count in points.items() for i in source.sample(of[kind], count))
    found = []
    for point in points:
        name, _, nth = point.partition("#")
        found.append([i for i, seen_name in enumerate(seen) if name in seen_name][int(nth or 1) - 1])
    return found


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def one_point(action: str, order: dict[str, Any], at: int, name: str) -> dict[str, Any]:
    """Something happens at moment `at`; then the same call again. What came of both, and of the folder."""
    disk, answer = Path(order.get("disk", order["folder"])), Path(order["folder"]) / "answer.json"
    out = disk / f"moment-{at}"

    def strike() -> None:
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        fill(disk)

    answer.unlink(missing_ok=True)
    ended = in_a_child(lambda: call(dict(order["arguments"]), Moments(out, at, strike), answer))
    first = json.loads(answer.read_text())["told"] if answer.exists() else {}
    (disk / "filler").unlink(missing_ok=True)
    in_a_child(lambda: call(dict(order["arguments"]), Moments(out), answer))
    second = json.loads(answer.read_text())["told"]
    found = {"at": at, "moment": name, "signal": ended, "first": first, "second": second, **results(out)}
    shutil.rmtree(out)
    return found


def main() -> None:
    action, order = sys.argv[1], json.loads(sys.argv[2])
    answer, clean = Path(order["folder"]) / "answer.json", Moments(Path(order["folder"]) / "uninterrupted")
    in_a_child(lambda: call(dict(order["arguments"]), clean, answer))
    whole = json.loads(answer.read_text())
    print(json.dumps({**results(clean.out), "told": whole["told"]}), flush=True)
    for at in choose(whole["seen"], order["points"], order.get("seed", 0)):
        print(json.dumps(one_point(action, order, at, whole["seen"][at])), flush=True)


if __name__ == "__main__":
    main()
