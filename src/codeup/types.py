"""The data that flows through CodeUp, from a row of a file to a score.

    row (dict) -> Conversation -> Tokens -> Pack -> batch (B, T)
    Problem -> Sample -> Program -> Verdict -> Score
    Recipe -> Step -> Artifact          (Recipe lives in recipe.py)

Everything here is frozen and holds plain values only, so that it can be written to JSON, compared and hashed.
Covers no behaviour: how a conversation becomes tokens is in chat.py, how a program is judged in evaluate/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `input` is the optional second field of an Alpaca row ("### Input:"), only ever on a user turn."""

    role: Role
    content: str
    input: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A training example: an optional system turn, then user and assistant turns in strict alternation.

    `group` names rows that must fall on the same side of a train/validation split (rewrites of one question);
    empty means it is grouped by its first question. `row` is the 0-based row number in its source file.
    """

    messages: tuple[Message, ...]
    source: str = ""
    row: int = -1
    group: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids and, for each, whether the model learns to produce it. Labels are unshifted.

    ids      BOS  ### Instr ... Response:\\n   return   x   <end>
    trained   F    F    F   ...    F              T     T     T
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Documents that share one training sequence: indices into the token arrays and the total length in tokens."""

    documents: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One benchmark problem.

    `prompt` is the code a base model continues (signature and docstring). `tests` is the source of a function
    `check(candidate)` that raises on a wrong answer. `extra` holds what only its own benchmark understands.
    """

    task_id: str
    prompt: str
    entry_point: str
    tests: str
    canonical_solution: str = ""
    language: str = "python"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BenchmarkData:
    """The problems of one benchmark file, with what identifies it: a readable version and the file's sha256.

    `not_asked` are ids of the file's other problems, where only part of it was asked for (evaluate/subset.py).
    """

    name: str
    version: str
    sha256: str
    problems: tuple[Problem, ...]
    not_asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of a model. `raw` is the generated text exactly as decoded; `finish` says why generation ended.

    `prefill` is text that the answer was begun with on the model's behalf; it is not in `raw`.
    """

    task_id: str
    index: int
    form: Literal["base", "chat"]
    raw: str
    finish: Literal["stop", "length", "given"]
    tokens: int = 0
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """The code taken from an answer, ready to run. `extraction` names the rule that found it; empty code is NO_CODE."""

    task_id: str
    index: int
    code: str
    extraction: str


class Outcome(StrEnum):
    """How a program ended. A sandbox that could not run raises instead, and is never an outcome."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    MEMORY = "MEMORY"
    CRASHED = "CRASHED"
    EXITED = "EXITED"
    COMPILE = "COMPILE"
    NO_CODE = "NO_CODE"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge found. `detail` is one line a person can read (the failing call, the exception).

    `suites`, for benchmarks that have several sets of tests: {"name", "status", "outcome", "detail", "checks",
    "failed"} of each, `failed` being indices of inputs; `outcome` is then that of the first suite not passed.
    """

    task_id: str
    index: int
    outcome: Outcome
    detail: str = ""
    checks: int = 0
    seconds: float = 0.0
    suites: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A number with what is needed to trust it: `value` in [0, 1], a 95 % interval, and n problems."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    interval: str = "wilson-95"


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a run: what to do (`kind` names a module in steps/), with which settings, after which steps.

    `spec` is plain JSON; together with the fingerprints of `inputs` and the code version it decides whether a finished
    folder can be reused.
    """

    kind: str
    name: str
    spec: Mapping[str, Any]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished step: its folder, its fingerprint and the summary it left for the report."""

    step: str
    kind: str
    folder: str
    fingerprint: str
    summary: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """Progress, as it leaves the library. `done`/`total` count `unit`s; `values` are shown as they are (loss=0.31)."""

    kind: Literal["start", "progress", "finish", "skip", "note"]
    step: str
    done: float = 0
    total: float = 0
    unit: str = ""
    values: Mapping[str, float | int | str] = field(default_factory=dict)
    text: str = ""


Emit = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """The default listener: hears nothing."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a step is given besides its spec: its folder, the finished steps it builds on, who listens, and who works.

    `executor` is one of executors/, or None for this process; results do not depend on it.
    """

    folder: Path
    step: str
    inputs: Mapping[str, Artifact]
    emit: Emit = ignore_event
    executor: Any = None

    def only(self, kind: str) -> Artifact | None:
        """The one input of a kind, or None."""
        return next((artifact for artifact in self.inputs.values() if artifact.kind == kind), None)
