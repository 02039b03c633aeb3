"""Whether a stage fits a machine, and for how long it keeps it busy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from codeup import recipe as recipes
from codeup.planning import cluster as clusters
from codeup.planning.cluster import Cluster, Strategy
from codeup.planning.results import Fit, Measurement, StageNeeds
from codeup.train import gpus, needs


def fits(
    stage: StageNeeds,
    strategy: Strategy,
    names: list[str],
    devices: int,
    reached: float | None,
    price: float | None,
    speed: float | None,
    measurement: Measurement | None,
) -> Iterator[Fit]:
    """The named GPUs, then what is in this machine. `speed`: operations per second that were measured here.

    Several `devices` are those of one node (cluster.py); they share the steps and, by the recipe's strategy, what of
    the memory can be: it is that of one. The price is that of one card for an hour. Here, one device trains alone.
    """
    for name in names:
        card = gpus.GPUS[name]
        hours = None
        if reached is not None:
            hours = hours_on(stage, clusters.make_cluster(name, 1, devices, utilisation=reached), strategy)
        cost = hours * price * devices if hours is not None and price is not None else None
        needed = stage.gpu.total
        label = card.label if devices == 1 else f"{devices} × {card.label}"
        yield Fit(label, needed, card.memory, gpus.verdict(needed, card.memory), hours, cost)
    on_gpu = measurement is not None and measurement.measured.device.startswith("cuda")
    here = None if speed is None else hours_on(stage, clusters.alone(speed), strategy)
    for name, size in _gpus_here():
        needed = stage.alone.total
        yield Fit(f"here: {name}", needed, size, gpus.verdict(needed, size), here if on_gpu else None)
    needed, free = stage.cpu.total + needs.PROCESS_BYTES, _free_memory()
    yield Fit("here: CPU, free RAM", needed, free, gpus.verdict(needed, free), None if on_gpu else here)


def hours_on(stage: StageNeeds, cluster: Cluster, strategy: Strategy) -> float | None:
    """Its training, at the tokens per second of a step, and its evaluations, which all devices share."""
    if stage.workload is None:
        return None
    training_s = stage.epochs * stage.workload.tokens / clusters.step(cluster, stage.load, strategy).tokens_per_s
    return (training_s + stage.evaluated_tokens * stage.work.forward / cluster.flops / cluster.ranks) / 3600


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
    return [(name.strip(), int(size) * gpus.MIB) for name, size in rows if size.strip().isdigit()]


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
