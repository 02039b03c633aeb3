"""Trains in child processes that kill themselves with SIGKILL at given points. Run by test_train_resume.py.

    python train_kill_driver.py FOLDER '{"arguments of train_sft"}' point point ...

`step:5`       right after the fifth optimiser step was reported, before anything was saved
`checkpoint:2` inside the second checkpoint, its files written and not yet renamed
`publish:1`    the final adapter in place, the summary not yet written
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codeup.train.sft import train_sft
from codeup.types import Event


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(count: int, then: Callable[[], None]) -> Callable[..., None]:
    calls = iter(range(1, count + 1))
    last = count

    def counted(*_: Any) -> None:
        if next(calls, None) == last:
            then()

    return counted


def train(folder: Path, arguments: dict[str, Any], point: str) -> None:
    kind, number = point.split(":")
    strike = after(int(number), kill_self)
    paths: dict[str, Any] = {name: Path(arguments.pop(name)) for name in ("model", "tokens", "validation")}

    def emit(event: Event) -> None:
        if kind == "step" and event.kind == "progress":
            strike()

    rename = os.replace

    def rename_or_die(source: Any, target: Any) -> None:
        if kind == "checkpoint" and Path(source).name.startswith(".partial-"):
            strike()
        if kind == "publish" and Path(target).name == "train.json":
            strike()
        rename(source, target)

    os.replace = rename_or_die  # type: ignore[assignment]
    train_sft(**paths, out=folder / point.replace(":", "-"), emit=emit, **arguments)


def main() -> None:
    folder, arguments, points = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
    for point in points:
        child = os.fork()
        if not child:
            train(folder, arguments, point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(point, os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}")


if __name__ == "__main__":
    main()
