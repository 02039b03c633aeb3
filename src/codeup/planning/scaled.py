"""A study's stages on a cluster: one step by part, memory of a GPU, hours; and what goes on around the training.

    recipe, StudyPlan, "8x8xH100" -> for each stage and strategy: Step (cluster.py), memory, hours -> ClusterPlan
                                     rows, answers and programs per second (pipeline.py)

Micro-batches are dealt as train/packing.py deals them: where something is drawn at random (dropout, NEFTune) they stay
whole, otherwise packs are dealt one by one. A step with fewer of them than there are GPUs leaves the others idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, get_args

from codeup import recipe as recipes
from codeup.planning import cluster as clusters
from codeup.planning import pipeline
from codeup.planning.cluster import Cluster, Step, Strategy
from codeup.planning.machines import hours_on
from codeup.planning.results import StageNeeds, StudyPlan
from codeup.planning.study import memory_of
from codeup.recipe_checks import stage_conflicts
from codeup.train import gpus, shapes

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class OnCluster:
    """A stage under one strategy. `needs`: bytes of a GPU; `alone_hours`: of one such GPU, whether it fits or not."""

    stage: str
    strategy: Strategy
    units: int
    needs: int
    verdict: str
    step: Step
    hours: float | None
    alone_hours: float | None


@dataclass(frozen=True)
class ClusterPlan:
    """`assumed` are the figures that nobody measured on this cluster."""

    label: str
    cluster: Cluster
    stages: tuple[OnCluster, ...]
    rates: pipeline.Rates
    assumed: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Every figure, with those that follow from others."""
        record = asdict(self)
        for plain, one in zip(record["stages"], self.stages, strict=True):
            plain["step"] |= {"total_s": one.step.total_s, "tokens_per_s": one.step.tokens_per_s}
        record["rates"]["samples_per_day"] = self.rates.samples_per_day
        return record


def plan_cluster(
    recipe: recipes.Recipe, planned: StudyPlan, text: str, *, utilisation: float,
    network_gbit: float = clusters.NETWORK_GBIT,
) -> ClusterPlan:  # fmt: skip
    """`text` is nodes x GPUs x kind. Raises UserError for one that is not."""
    name, cluster = clusters.find_cluster(text, utilisation=utilisation, network_gbit=network_gbit)
    wanted = {stage.name: stage for stage in recipe.stages}
    stages = tuple(
        found
        for stage in planned.stages
        for found in _on_cluster(recipe, wanted[stage.name], stage, planned.shape, name, cluster)
    )
    assumed = {
        "utilisation": utilisation, "network_gbit": network_gbit, "link_share": clusters.SHARE,
        "jitter": cluster.jitter, "decode_share": pipeline.DECODE_SHARE, "verdict_core_s": pipeline.VERDICT_CORE_S,
        "answer_tokens": pipeline.ANSWER_TOKENS, "cores_per_gpu": pipeline.CORES_PER_GPU,
    }  # fmt: skip
    label = f"{cluster.nodes} x {cluster.per_node} x {gpus.GPUS[name].label}"
    return ClusterPlan(label, cluster, stages, pipeline.rates(planned.shape, name, cluster.ranks), assumed)


def _on_cluster(
    recipe: recipes.Recipe, stage: recipes.Stage, planned: StageNeeds, shape: shapes.Shape, gpu: str, cluster: Cluster
) -> Iterator[OnCluster]:
    alone = hours_on(planned, clusters.alone(cluster.flops), "ddp")
    for strategy in (each for each in STRATEGIES if not stage_conflicts(recipe, stage, each)):
        step = clusters.step(cluster, planned.load, strategy)
        size = memory_of(
            recipe, stage, shape, planned.micro_batch, cuda=True, devices=cluster.ranks, strategy=strategy
        ).total
        hours = hours_on(planned, cluster, strategy)
        there = gpus.GPUS[gpu].memory
        yield OnCluster(planned.name, strategy, planned.load.units, size, gpus.verdict(size, there), step, hours, alone)
