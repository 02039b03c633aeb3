"""What a recipe will need, before anything is loaded: memory, hours and cost of its stages, and the way to a cluster.

study.py     recipe -> shape, tokens (tokens.py), memory -> does it fit, how long (machines.py) -> results.py
cluster.py   a step on nodes x GPUs: compute, traffic, waiting for the slowest -> tokens/s
pipeline.py  the rest of a study there: rows prepared, answers generated, programs judged
scaled.py    both for a recipe: `codeup plan --cluster`
"""

from __future__ import annotations

from codeup.planning.cluster import find_cluster
from codeup.planning.results import Fit, Measurement, StageNeeds, StudyPlan, Workload
from codeup.planning.scaled import ClusterPlan, plan_cluster
from codeup.planning.study import UTILISATION, base_shape, plan_study

__all__ = [
    "UTILISATION", "ClusterPlan", "Fit", "Measurement", "StageNeeds", "StudyPlan", "Workload", "base_shape",
    "find_cluster", "plan_cluster", "plan_study",
]  # fmt: skip
