"""What a plan says: of a dataset, a machine, a stage, a study. Plain values, written to JSON as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codeup.planning.cluster import Load
from codeup.train import needs, operations, probe, shapes


@dataclass(frozen=True)
class Workload:
    """Training tokens of a dataset. `attended`: mean document length over tokens; `packs` and `efficiency` if known."""

    rows: int
    tokens: int
    attended: float
    trained_share: float
    validation_rows: int
    packs: int | None
    efficiency: float | None
    method: str


@dataclass(frozen=True)
class Fit:
    """One machine: bytes needed and there, fits/tight/no, hours and cost where they can be said."""

    machine: str
    needs: int
    has: int
    verdict: str
    hours: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class StageNeeds:
    """One stage. `trainings`: how often the study trains it (once per different chain that ends in it and per seed).

    `gpu`: memory of each GPU that the plan is for; `alone`: of a GPU that has everything; `cpu`: of one process.
    """

    name: str
    trainings: int
    trainable: int
    total: int
    epochs: int
    steps: int | None
    workload: Workload | None
    work: operations.Work
    evaluated_tokens: int
    micro_batch: int
    load: Load
    gpu: needs.Memory
    alone: needs.Memory
    cpu: needs.Memory
    fits: tuple[Fit, ...]


@dataclass(frozen=True)
class Measurement:
    """Real steps of the first stage beside what was predicted for exactly these micro-batches."""

    stage: str
    measured: probe.Measured
    predicted: needs.Memory


@dataclass(frozen=True)
class StudyPlan:
    """`hours` by machine and variant; `study_hours` by machine, with what variants share trained once."""

    name: str
    base: str
    shape: shapes.Shape
    shape_from: str
    stages: tuple[StageNeeds, ...]
    hours: dict[str, dict[str, float]]
    study_hours: dict[str, float]
    assumed: dict[str, Any]
    measurement: Measurement | None = None
