"""Whether a stage fits a machine, and for how long it keeps it busy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from codeup import recipe as recipes
from codeup.planning.results import Fit, Measurement, StageNeeds
from codeup.train import needs


def fits(
    stage: StageNeeds,
    names: list[str],
    devices: int,
    reached: float | None,
    price: float | None,
    speed: float | None,
    measurement: Measurement | None,
) -> Iterator[Fit]:
    """The named GPUs, then what is in this machine. `speed`: operations per second that were measured here.

    Several `devices` share the steps, and what of the memory the recipe's strategy says: it is that of one. No time is
    counted for passing gradients on. The price is that of one card for an hour.
    """
    for name in names:
        card = needs.GPUS[name]
        hours = None if reached is None else hours_of(stage, card.flops * reached * devices)
        cost = hours * price * devices if hours is not None and price is not None else None
        needed = stage.gpu.total
        label = card.label if devices == 1 else f"{devices} × {card.label}"
        yield Fit(label, needed, card.memory, needs.verdict(needed, card.memory), hours, cost)
    on_gpu = measurement is not None and measurement.measured.device.startswith("cuda")
    for name, size in _gpus_here():
        hours = hours_of(stage, speed) if on_gpu else None
        yield Fit(f"here: {name}", stage.gpu.total, size, needs.verdict(stage.gpu.total, size), hours)
    needed, free = stage.cpu.total + needs.PROCESS_BYTES, _free_memory()
    yield Fit(
        "here: CPU, free RAM", needed, free, needs.verdict(needed, free), None if on_gpu else hours_of(stage, speed)
    )


def hours_of(stage: StageNeeds, operations_per_s: float | None) -> float | None:
    if operations_per_s is None or stage.workload is None:
        return None
    training = stage.epochs * stage.workload.tokens * stage.work.executed
    return (training + stage.evaluated_tokens * stage.work.forward) / operations_per_s / 3600


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _gpus_here() -> list[tuple[str, int]]:
    """Names and memory of NVIDIA cards, as the driver's own tool lists them; none without it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line] if done.returncode == 0 else []
    return [(name.strip(), int(size) * needs.MIB) for name, size in rows if size.strip().isdigit()]


def totals(
    recipe: recipes.Recipe, stages: tuple[StageNeeds, ...], chains: list[tuple[str, ...]]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Hours of each variant and of the study, by machine, where the hours of every stage are known."""
    variants: dict[str, dict[str, float]] = {}
    whole: dict[str, float] = {}
    for at, fit in enumerate(stages[0].fits):
        known = {stage.name: hours for stage in stages if (hours := stage.fits[at].hours) is not None}
        if len(known) == len(stages):
            variants[fit.machine] = {
                name: sum(known[s] for s in chain) * len(recipe.each_seed()) for name, chain in recipe.chains().items()
            }
            whole[fit.machine] = sum(known[chain[-1]] for chain in chains)
    return variants, whole
