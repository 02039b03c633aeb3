"""Draws the library's events on stderr: a live bar on a terminal, plain lines elsewhere.

✓ data-instruct                      0.9 s
⠋ train-instruct   ━━━━━━━╸━━━━━━   48 %  182,310/380,114 tokens  12,480 tokens/s  loss=0.412  0:00:16 left
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from codeup.types import Emit, Event

LINE_EVERY_S = 10.0
"""Seconds between progress lines where stderr is a file or a pipe."""


@contextmanager
def display() -> Iterator[Emit]:
    """A listener for events, drawing until the context ends."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with _Live(console) as live:
            yield live.hear
    else:
        yield _Lines().hear


class _Live:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> _Live:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def hear(self, event: Event) -> None:
        if event.kind == "start":
            self.task = self.progress.add_task(event.step, total=None, detail="")
        elif event.kind == "progress":
            if self.task is None:
                self.task = self.progress.add_task(event.step, total=None, detail="")
            self.progress.update(
                self.task, completed=event.done, total=event.total or None, detail=_detail(event), refresh=False
            )
        elif event.kind in ("finish", "skip"):
            if self.task is not None:
                self.progress.remove_task(self.task)
                self.task = None
            self.console.print(_line(event), markup=False)
        else:
            self.console.print(f"  {event.step}: {event.text}", markup=False)


class _Lines:
    def __init__(self) -> None:
        self.last = self.started = time.monotonic()

    def hear(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "start":
            self.last = self.started = now
        if event.kind == "progress":
            if now - self.last < LINE_EVERY_S:
                return
            self.last = now
            share = event.done / event.total if event.total else 0
            left = f"  {(now - self.started) * (1 - share) / share:.0f} s left" if share else ""
            print(f"  {event.step}  {100 * share:.0f} %  {_detail(event)}{left}", file=sys.stderr, flush=True)
        elif event.kind == "note":
            print(f"  {event.step}: {event.text}", file=sys.stderr, flush=True)
        else:
            print(_line(event), file=sys.stderr, flush=True)


def _line(event: Event) -> str:
    mark = {"start": "…", "finish": "✓", "skip": "="}[event.kind]
    seconds = event.values.get("seconds")
    took = f"{seconds:>8.1f} s" if isinstance(seconds, float | int) else ""
    return f"{mark} {event.step:<40}{took}{'  already done' if event.kind == 'skip' else ''}"


def _detail(event: Event) -> str:
    amount = f"{event.done:,.0f}/{event.total:,.0f} {event.unit}" if event.total else f"{event.done:,.0f} {event.unit}"
    values = "  ".join(f"{key}={_short(value)}" for key, value in event.values.items())
    return f"{amount}  {values}".rstrip()


def _short(value: float | int | str) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
