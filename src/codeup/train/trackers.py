"""The rows of metrics.jsonl, sent to TensorBoard, Trackio or Weights & Biases as well.

    out/metrics.jsonl                      the truth; written with or without trackers
    out/trackers/tensorboard/              event files: tensorboard --logdir RUN_FOLDER
    out/trackers/wandb/                    unless WANDB_MODE says otherwise, an offline run for `wandb sync`
    out/trackers/NAME.sent                 which rows a tracker has been given, so that no resumption sends one twice

Trackio keeps its own local database (TRACKIO_DIR). Nothing leaves this machine unless the user's own settings for the
tracker say so (WANDB_MODE=online, TRACKIO_SPACE_ID, ...). A tracker that fails is reported once and left alone; the
training goes on without it. What a tracker still held in memory when the process was killed is lost to it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from codeup.errors import UserError, installs
from codeup.train.metrics import read_metrics
from codeup.types import Emit, Event


@dataclass(frozen=True)
class Open:
    """A tracker that was opened: `log(step, values)` and `close()`."""

    log: Callable[[int, Mapping[str, float]], None]
    close: Callable[[], None]


def check(names: Iterable[str]) -> None:
    """UserError for a tracker that does not exist or whose package is not installed. Imports nothing."""
    for name in names:
        if name not in OPENERS:
            raise UserError(f"unknown tracker {name!r}", where="report_to", mend=f"choose from: {', '.join(OPENERS)}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"the package {name} is not installed", where="report_to", mend=installs("track"))


class Trackers:
    """All trackers of one training. They are opened with the first row, and then given what metrics.jsonl holds."""

    def __init__(
        self, names: Sequence[str], out: Path, *, project: str, identity: str, emit: Emit, step_name: str
    ) -> None:
        check(names)
        self.names, self.out, self.project, self.identity = names, out, project, identity
        self.emit, self.step_name = emit, step_name
        self._feeds: list[_Feed] | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Send a row that was just written to metrics.jsonl."""
        if self._feeds is None:
            self._feeds = [feed for name in self.names if (feed := self._opened(name)) is not None]
        else:
            self._feeds = [feed for feed in self._feeds if self._guarded(feed.name, partial(feed.send, row))]

    def close(self) -> None:
        """Let every tracker write what it holds."""
        for feed in self._feeds or []:
            self._guarded(feed.name, feed.close)
        self._feeds = None

    def _opened(self, name: str) -> _Feed | None:
        """A tracker with every row so far; None, and a note, where it cannot be opened."""
        feed = _Feed(name, self.out / "trackers")

        def start() -> None:
            feed.open(f"{self.out.name}-{self.identity[:8]}", self.project, self.identity)
            for row in read_metrics(self.out / "metrics.jsonl"):
                feed.send(row)

        return feed if self._guarded(name, start) else None

    def _guarded(self, name: str, work: Callable[[], None]) -> bool:
        """Whether it went well. Any failure of somebody else's package is a note, never the end of the training."""
        try:
            work()
        except Exception as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            text = f"{name} failed ({reason}); training goes on without it, metrics.jsonl has every row"
            self.emit(Event("note", self.step_name, text=text))
            return False
        return True


class _Feed:
    """One tracker and the list of rows it has been given."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.list = folder / f"{name}.sent"

    def open(self, run: str, project: str, identity: str) -> None:
        """`run` and `project` name it in the tracker. What another training left in this folder is removed."""
        lines = self.list.read_text(encoding="utf-8").splitlines() if self.list.exists() else []
        if lines[:1] != [identity]:
            shutil.rmtree(self.folder / self.name, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.list.write_text(identity + "\n", encoding="utf-8")
        self.sent = set(lines[1:]) if lines[:1] == [identity] else set()
        with contextlib.redirect_stdout(io.StringIO()):
            self.tracker = OPENERS[self.name](self.folder, run, project)

    def send(self, row: Mapping[str, Any]) -> None:
        """A row is known by its step and its first figure: `12 loss`, `12 eval_loss`."""
        values = {name: value for name, value in row.items() if name != "step" and isinstance(value, int | float)}
        mark = f"{row['step']} {next(name for name in values if name != 'epoch')}"
        if mark in self.sent:
            return
        self.tracker.log(row["step"], values)
        self.sent.add(mark)
        with self.list.open("a", encoding="utf-8") as stream:
            stream.write(mark + "\n")

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.tracker.close()


def _tensorboard(folder: Path, run: str, project: str) -> Open:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return Open(log, writer.close)


def _trackio(folder: Path, run: str, project: str) -> Open:
    import trackio

    opened = trackio.init(
        project=project, name=run, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
    )
    return Open(lambda step, values: opened.log(dict(values), step=step), trackio.finish)


def _wandb(folder: Path, run: str, project: str) -> Open:
    mode = os.environ.get("WANDB_MODE", "offline")
    if mode == "offline":  # its reports of its own errors go out otherwise, whatever the mode; read on import
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    opened = wandb.init(
        project=project,
        name=run,
        id=run,
        resume="allow",
        dir=str(folder),
        mode=mode,
        settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
    )
    return Open(lambda step, values: opened.log(dict(values), step=step), opened.finish)


OPENERS: dict[str, Callable[[Path, str, str], Open]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
"""What `report_to` may name, and how it is opened in a folder, as a run of a project."""
