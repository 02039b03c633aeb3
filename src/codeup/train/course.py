"""The course of a training: steps, evaluations and checkpoints in their order, and what is written and said of them.

    step step step  evaluation  checkpoint  step step step  evaluation  checkpoint
                        |                                        |
    metrics.jsonl: a row for each step and each evaluation     stops here if nothing got better for long enough

Of several ranks (ranks.py) all take this course, and only the first writes, says and saves.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Iterator
from typing import Any

from codeup.train import loop, selection
from codeup.train.metrics import Metrics
from codeup.train.saving import Saving
from codeup.train.trackers import Trackers
from codeup.types import Emit, Event, ignore_event


class Record:
    """What is written and said of a training, by the first rank; by the others nothing."""

    def __init__(self, run: loop.Run, trackers: Trackers, emit: Emit, step_name: str) -> None:
        self.run, self.trackers, self.step_name = run, trackers, step_name
        self.emit = emit if run.ranks.first else ignore_event
        self.metrics = (
            Metrics(run.out / "metrics.jsonl", keep_to=run.progress.step, also=trackers.add)
            if run.ranks.first
            else None
        )
        if self.metrics is not None and self.metrics.lacking:
            text = (
                f"metrics.jsonl was damaged: {self.metrics.lacking} of {run.progress.step} steps have no row any more"
            )
            self.emit(Event("note", step_name, text=text))

    def add(self, **row: Any) -> None:
        if self.metrics is not None:
            self.metrics.add(**row)

    def say(self, **values: float | str) -> None:
        """Where the training is, with values to show."""
        progress, plan = self.run.progress, self.run.plan
        total = plan.tokens_per_epoch * plan.epochs
        self.emit(Event("progress", self.step_name, progress.tokens, total, "tokens", values))

    def save(self, saving: Saving, chosen: int | None) -> None:
        """A checkpoint, once the rows up to its step are on the disk. The others only help where it takes all."""
        if self.metrics is not None:
            self.metrics.to_disk()
        if self.metrics is not None or self.run.gradients.by_all:
            saving.save(self.run, chosen)

    def close(self) -> None:
        if self.metrics is not None:
            self.metrics.close()
        self.trackers.close()


def train(run: loop.Run, evaluator: selection.Evaluator, saving: Saving, record: Record) -> None:
    """All remaining steps. Ctrl-C saves a checkpoint first, unless it came while the weights were being changed.

    An evaluation that was interrupted is made when the training goes on, before the next step.
    """
    progress = run.progress
    try:
        with _held_back(run.gradients.by_all) as interrupted:
            while True:
                evaluated = evaluator.due(progress)
                if evaluated:
                    _evaluate(run, evaluator, record)
                ended = progress.step >= run.plan.total_steps or evaluator.exhausted(progress)
                wanted = ended or saving.due(progress.step) or (evaluated and evaluator.select_by != selection.LAST)
                stopped = False
                if run.gradients.by_all:
                    wanted, stopped = run.ranks.from_first(functools.partial(_decided, wanted, interrupted))
                if wanted and progress.step > saving.step:
                    record.save(saving, evaluator.chosen(progress))
                if stopped:
                    raise KeyboardInterrupt
                if ended:
                    return
                _report(run, loop.train_step(run), record)
                run.clean = True
    except KeyboardInterrupt:
        if run.clean and progress.step > saving.step and not run.gradients.by_all:
            record.save(saving, evaluator.chosen(progress))
        raise
    finally:
        record.close()


@contextlib.contextmanager
def _held_back(needed: bool) -> Iterator[list[int]]:
    """Where a checkpoint takes all ranks, Ctrl-C waits for the end of the step: the list then holds the signal."""
    heard: list[int] = []
    if not needed:
        yield heard
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def _decided(wanted: bool, interrupted: list[int]) -> tuple[bool, bool]:
    """Whether to save, and whether to end then. Seconds and signals are the first rank's; the others follow it."""
    return wanted or bool(interrupted), bool(interrupted)


def _evaluate(run: loop.Run, evaluator: selection.Evaluator, record: Record) -> None:
    """One evaluation; it is said before that it begins, and after what it gave and which share of the time it takes."""
    progress, plan = run.progress, run.plan
    before = progress.evaluation_seconds
    record.say(**{"evaluating after step": progress.step})
    found = selection.evaluate(run, evaluator)
    seconds = progress.evaluation_seconds - before
    record.add(**found, epoch=progress.step / plan.steps_per_epoch, eval_seconds=round(seconds, 3))
    values = {name: value for name, value in found.items() if name != "step"}
    record.say(**values, evaluating=f"{progress.evaluation_seconds / progress.seconds:.1%} of training")


def _report(run: loop.Run, result: loop.StepResult, record: Record) -> None:
    progress, plan = run.progress, run.plan
    speed = result.tokens / result.seconds
    record.add(
        step=progress.step,
        epoch=progress.step / plan.steps_per_epoch,
        loss=result.loss,
        learning_rate=result.learning_rate,
        grad_norm=result.grad_norm,
        tokens=progress.tokens,
        trained_tokens=progress.trained_tokens,
        seconds=round(progress.seconds, 3),
        tokens_per_s=round(speed, 1),
        **result.figures,
    )
    first = dict(list(result.figures.items())[:2])  # the line of a terminal has room for two more
    record.say(**{"loss": result.loss, "tokens/s": speed, "lr": result.learning_rate, **first})
