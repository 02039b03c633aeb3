"""When a training in progress writes a checkpoint, which ones stay, and how it goes on from one.

keep_last 2, the best step so far is 40:      step-000040   step-000100   step-000120
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from codeup.errors import WorkFailed
from codeup.train import checkpoint, loop
from codeup.types import Emit, Event


@dataclass
class Saving:
    """When to write a checkpoint (after so many seconds or steps, at the end, and when it is the best so far), and
    which to keep: the last `keep_last` and the best. `kept` are the steps that are there, the oldest first."""

    identity: str
    every_s: float
    every_steps: int | None
    keep_last: int
    at: float = field(default_factory=time.monotonic)
    step: int = 0
    chosen: int | None = None
    kept: list[int] = field(default_factory=list)

    def due(self, step: int) -> bool:
        enough = self.every_steps is not None and step - self.step >= self.every_steps
        return enough or time.monotonic() - self.at >= self.every_s

    def save(self, run: loop.Run, chosen: int | None) -> None:
        """`vital` is what a resumption needs if there is no room for this one."""
        step, vital = run.progress.step, _known(self.step, self.chosen)
        kept = [*self.kept, step]
        keep = _known(*kept[-self.keep_last :], chosen)
        loop.save_state(run, run.out / "checkpoints", self.identity, chosen=chosen, keep=keep, vital=vital)
        self.at, self.step, self.chosen = time.monotonic(), step, chosen
        self.kept = [other for other in kept if other in keep]


def _known(*steps: int | None) -> set[int]:
    return {step for step in steps if step is not None}


def resume(run: loop.Run, saving: Saving, emit: Emit, step_name: str) -> int | None:
    """Continue the newest whole checkpoint and say so; its step, or None where training begins at the beginning.

    The first rank reads it, however many there were when it was written, and the others get it from there.
    """
    resumed = run.ranks.from_first(lambda: _restore(run, saving, emit, step_name))
    if run.ranks.count > 1:
        loop.share_state(run)
        saving.step = run.progress.step
    return resumed


def _restore(run: loop.Run, saving: Saving, emit: Emit, step_name: str) -> int | None:
    folder = run.out / "checkpoints"
    saved = checkpoint.load_latest(folder)
    if saved is None:
        if damaged := checkpoint.steps(folder):
            emit(Event("note", step_name, text=f"no checkpoint is whole (damaged: {damaged}): from the start"))
        return None
    loop.restore_state(run, saved, saving.identity, folder)
    saving.step, saving.chosen = saved.step, saved.state["chosen"]
    saving.kept = [step for step in checkpoint.steps(folder) if step <= saved.step]
    passed_over = f" (damaged and passed over: {', '.join(saved.damaged)})" if saved.damaged else ""
    emit(Event("note", step_name, text=f"continuing after step {saved.step}{passed_over}"))
    return saved.step


def take_weights(run: loop.Run, step: int) -> None:
    """The weights of a step that was chosen, where that is not the last one."""
    if step == run.progress.step:
        return
    try:
        saved = checkpoint.load(run.out / "checkpoints", step)
    except checkpoint.DAMAGE as error:
        raise WorkFailed(
            f"the checkpoint of step {step}, which was chosen, has been damaged meanwhile ({error}). The same command "
            "goes on from one that is whole, or from the start."
        ) from error
    loop.restore_weights(run, saved)
