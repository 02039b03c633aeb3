"""The run engine: walk the steps, skip what is finished, run the rest, and remember where everything is.

A step is a module of steps/ with three names:
    CODE   source files its result depends on (their fingerprint is part of the step's)
    Spec   pydantic model of its settings
    run(spec, context) -> summary (plain JSON)

The fingerprint of every step follows from the recipe alone, so what is finished is known before anything starts.
Interrupted work is not lost: the step's folder stays, and a step that can continue in it does.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup import artifacts, plugins
from codeup.errors import UserError
from codeup.executors import Executor
from codeup.types import Artifact, Context, Emit, Event, Step, ignore_event


@dataclass(frozen=True, slots=True)
class Planned:
    """A step with its fingerprint, its folder, and the artifact if it is already finished; `damage` says what is wrong
    with one that was finished and is no longer whole."""

    step: Step
    fingerprint: str
    folder: Path
    artifact: Artifact | None
    damage: str | None = None

    @property
    def state(self) -> str:
        """done, damaged, started (a folder that can be continued) or new."""
        if self.damage:
            return "damaged"
        return "done" if self.artifact else "started" if self.folder.is_dir() else "new"


def plan(steps: Sequence[Step], run_dir: Path) -> list[Planned]:
    """Fingerprint every step and look up what is finished. Steps come after their inputs."""
    prints: dict[str, str] = {}
    planned = []
    for step in steps:
        code = artifacts.code_version(tuple(plugins.load("steps", step.kind).CODE))
        print_ = artifacts.step_fingerprint(step, [prints[name] for name in step.inputs], code)
        prints[step.name] = print_
        folder = artifacts.step_folder(run_dir, step, print_)
        damage = artifacts.damage(folder)
        planned.append(Planned(step, print_, folder, None if damage else artifacts.read_artifact(folder), damage))
    return planned


def run(
    steps: Sequence[Step],
    run_dir: Path,
    *,
    emit: Emit = ignore_event,
    only: str | None = None,
    force: str | None = None,
    executor: Executor | None = None,
) -> dict[str, Artifact]:
    """Run what is not finished and return every wanted step's artifact by name; work in pieces by the `executor`.

    `only` limits the work to one step and what it still needs; `force` runs a step again, and with it everything that
    builds on it (the old folders are kept beside, renamed). Raises UserError for an unknown step, a folder in use, and
    a finished step that is damaged: hours of work are not repeated without a word.
    """
    for name in (only, force):
        if name is not None and name not in {step.name for step in steps}:
            raise UserError(f"there is no step {name!r}", mend=f"one of: {', '.join(step.name for step in steps)}")
    _make_folder(run_dir)
    with _lock(run_dir):
        wanted = {step.name for step in steps} if only is None else _needed(steps, only)
        stale = set() if force is None else _dependents(steps, force)
        done: dict[str, Artifact] = {}
        planned = [item for item in plan(steps, run_dir) if item.step.name in wanted]
        _refuse_damaged([item for item in planned if item.damage and item.step.name not in stale])
        for item in planned:
            if item.artifact and item.step.name not in stale:
                emit(Event("skip", item.step.name, values={"seconds": item.artifact.seconds}))
                done[item.step.name] = item.artifact
                continue
            if item.step.name in stale and item.folder.is_dir():
                item.folder.rename(item.folder.with_name(f"{item.folder.name}.replaced-{time.time_ns()}"))
            done[item.step.name] = _run_step(item, {name: done[name] for name in item.step.inputs}, emit, executor)
        return done


OWNER = "study.json"
"""File of a run folder that says whose it is, and which steps it will have (report/watch.py reads them)."""


def claim(
    run_dir: Path, *, name: str, recipe_file: str, planned: Sequence[Planned] = (), look_only: bool = False
) -> None:
    """Note in a run folder which study it belongs to, and the steps to come. Raises UserError, and changes nothing,
    where it is another's."""
    for file in (OWNER, "run.json"):  # run.json is there when a study has ended
        try:
            owner = json.loads((run_dir / file).read_text(encoding="utf-8"))
            other, wrote = str(owner["name"]), str(owner["recipe_file"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if other != name:
            raise UserError(
                f"is the run folder of the study {other!r} ({wrote}), and this recipe is {name!r}; nothing was changed",
                where=str(run_dir),
                mend="choose another run_dir",
            )
    if look_only and run_dir.exists() and not run_dir.is_dir():
        raise UserError("this is a file, not a folder", where=str(run_dir), mend="choose another run_dir")
    if not look_only:
        _make_folder(run_dir)
        steps = [
            {
                "name": item.step.name,
                "kind": item.step.kind,
                "folder": item.folder.relative_to(run_dir).as_posix(),
                **({"epochs": item.step.spec["stage"]["epochs"]} if "stage" in item.step.spec else {}),
            }
            for item in planned
        ]
        artifacts.write_json(run_dir / OWNER, {"name": name, "recipe_file": recipe_file, "steps": steps})


def _refuse_damaged(found: Sequence[Planned]) -> None:
    if found:
        told = "\n".join(f"  {item.step.name}: {item.folder.name}/{item.damage}" for item in found)
        first = found[0].step.name
        raise UserError(
            f"{len(found)} finished step{'s are' if len(found) > 1 else ' is'} damaged:\n{told}",
            mend=f"put the file back, or run {first} again with what builds on it: --force {first}",
        )


def _run_step(item: Planned, inputs: Mapping[str, Artifact], emit: Emit, executor: Executor | None = None) -> Artifact:
    module = plugins.load("steps", item.step.kind)
    emit(Event("start", item.step.name, values={"kind": item.step.kind}))
    started = time.monotonic()
    _make_folder(item.folder)
    context = Context(folder=item.folder, step=item.step.name, inputs=inputs, emit=emit, executor=executor)
    summary: dict[str, Any] = module.run(module.Spec.model_validate(dict(item.step.spec)), context)
    artifact = artifacts.finish(
        item.folder,
        item.step,
        item.fingerprint,
        {name: artifact.fingerprint for name, artifact in inputs.items()},
        summary,
        time.monotonic() - started,
    )
    emit(Event("finish", item.step.name, values={"seconds": artifact.seconds}))
    return artifact


def _needed(steps: Sequence[Step], name: str) -> set[str]:
    """A step and everything it builds on."""
    return _closure(name, lambda at: next(step.inputs for step in steps if step.name == at))


def _dependents(steps: Sequence[Step], name: str) -> set[str]:
    """A step and everything that builds on it."""
    return _closure(name, lambda at: tuple(step.name for step in steps if at in step.inputs))


def _closure(name: str, neighbours: Callable[[str], tuple[str, ...]]) -> set[str]:
    found, queue = set(), [name]
    while queue:
        at = queue.pop()
        if at not in found:
            found.add(at)
            queue.extend(neighbours(at))
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder ({error.strerror})", where=str(folder), mend="choose another run_dir"
        ) from None


@contextmanager
def _lock(run_dir: Path) -> Iterator[None]:
    """One run at a time in a folder; the lock goes with the process, however it ends."""
    try:
        stream = (run_dir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror})", where=str(run_dir), mend="choose another run_dir") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "another codeup run is working in this folder", where=str(run_dir), mend="wait for it or end it"
            ) from None
        yield
