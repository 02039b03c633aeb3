"""Prepares data in child processes that kill themselves at a chosen moment. Run by test_pipeline.py.

    python prepare_driver.py '{"recipe": .., "folder": .., "points": 3 or ["event tokenise", ..], "seed": 0}'

A moment is a file of the step's folder opened, renamed or removed, an fsync, or an event. At the chosen one the process
ends with SIGKILL; then the step is run again, undisturbed. One line of JSON per moment has the hashes of all files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codeup import recipe as recipes
from codeup import study
from codeup.codecheck import check
from codeup.decontaminate import look
from codeup.steps import _read, prepare
from codeup.types import Context, Event

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads would not be there in a forked child
_read.SHARD, _read.CHUNK = 12, 4
look.SHARD, look.CHUNK = 12, 4
check.BATCH = 4


def call(text: str, out: Path, at: int, seen: list[str]) -> None:
    """The prepare step of the recipe; at moment `at` the process is gone."""

    def count(name: str) -> None:
        seen.append(name)
        if len(seen) - 1 == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.rmdir") and isinstance(arguments[0], str | os.PathLike):
            path = Path(arguments[0])
            if path.is_relative_to(out):
                count(f"{event} {path.relative_to(out)}")

    fsync = os.fsync

    def counted(handle: int) -> None:
        count("fsync")
        fsync(handle)

    os.fsync = counted  # type: ignore[assignment]
    sys.addaudithook(audit)
    step = next(each for each in study.compile_recipe(recipes.parse(text)) if each.kind == "prepare")
    out.mkdir(exist_ok=True)

    def emit(event: Event) -> None:
        count(f"event {event.unit}")

    prepare.run(prepare.Spec.model_validate(step.spec), Context(out, step.name, {}, emit))


def load_everything(text: str, out: Path) -> None:
    """One step in this process, so that its children are forked with the libraries loaded."""
    step = next(each for each in study.compile_recipe(recipes.parse(text)) if each.kind == "prepare")
    out.mkdir()
    prepare.run(prepare.Spec.model_validate(step.spec), Context(out, step.name, {}))
    shutil.rmtree(out)


def in_a_child(work: Callable[[], None]) -> int:
    """The signal that ended it, 0 for none."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def hashes(out: Path) -> dict[str, str]:
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "run.jsonl")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    order = json.loads(sys.argv[1])
    folder, text = Path(order["folder"]), order["recipe"]
    load_everything(text, folder / "first")
    told, clean = folder / "seen.json", folder / "uninterrupted"

    def whole() -> None:
        seen: list[str] = []
        call(text, clean, -1, seen)
        told.write_text(json.dumps(seen))

    ended = in_a_child(whole)
    seen = json.loads(told.read_text())
    print(json.dumps({"ended": ended, "files": hashes(clean), "moments": seen}), flush=True)
    points = order["points"]
    if isinstance(points, int):
        chosen = sorted(random.Random(order["seed"]).sample(range(len(seen)), points))
    else:
        chosen = [i for name in points for i in [i for i, one in enumerate(seen) if name in one][:1]]
    for at in chosen:
        out = folder / f"at-{at}"
        first = in_a_child(functools.partial(call, text, out, at, []))
        left = sorted(path.name for path in out.iterdir())
        second = in_a_child(functools.partial(call, text, out, -1, []))
        told_of = {"moment": seen[at], "first": first, "left": left, "second": second, "files": hashes(out)}
        print(json.dumps(told_of), flush=True)
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
