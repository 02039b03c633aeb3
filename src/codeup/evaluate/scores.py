"""From verdicts to pass@k: what stands in scores.json.

    rows of verdicts.jsonl -> (samples, passes) of each problem -> pass@k with n, standard error and interval

The score is the unbiased pass@k of Chen et al. 2021 (stats.py). Runs nothing and reads no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from codeup import stats
from codeup.types import BenchmarkData, Outcome, Score

KS = (1, 10, 100)


def scores(rows: Sequence[Mapping[str, Any]], clusters: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """pass@k for every k that each problem has enough samples for, with n problems, standard error and interval.

    The interval treats problems as drawn from a wider set, each with all its samples (`stats.mean_over_problems`), or
    with `clusters`, task -> cluster, whole clusters of them (`stats.mean_over_clusters`).
    Rows with suites give a score for each: a sample passes a suite when it passes that one and those before it.
    """
    names = [key.removesuffix("_status") for key in rows[0] if key.endswith("_status")] if rows else []
    if not names:
        return _scores(rows, [row["outcome"] == Outcome.PASSED for row in rows], clusters)
    found = []
    for place, name in enumerate(names):
        passed = [all(row[f"{each}_status"] == "pass" for each in names[: place + 1]) for row in rows]
        found += [{**score, "suite": name} for score in _scores(rows, passed)]
    return found


def _scores(
    rows: Sequence[Mapping[str, Any]], passed: Sequence[bool], clusters: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    passes: dict[str, list[bool]] = defaultdict(list)
    for row, good in zip(rows, passed, strict=True):
        passes[row["task_id"]].append(good)
    fewest = min((len(each) for each in passes.values()), default=0)
    found = []
    for k in (k for k in KS if k <= fewest):
        counted = {task: (len(each), sum(each)) for task, each in passes.items()}
        together = _together({task: stats.pass_at_k(*each, k) for task, each in counted.items()}, clusters or {})
        if clusters:
            mean = stats.mean_over_clusters(together)
        else:
            mean = stats.pass_at_k_over_problems(list(counted.values()), k)
        score = Score(f"pass@{k}", mean.value, mean.low, mean.high, mean.n, mean.interval)
        counts = {"passed": sum(map(sum, passes.values())), "samples": len(rows)}
        counts |= {"clusters": len(together)} if clusters else {}
        found.append({**asdict(score), "standard_error": mean.standard_error, **counts})
    return found


def _together(rates: Mapping[str, float], clusters: Mapping[str, str]) -> list[list[float]]:
    """The rates of problems that belong together, such as the gaps of one solution."""
    found: dict[str, list[float]] = defaultdict(list)
    for task, rate in rates.items():
        found[clusters.get(task, task)].append(rate)
    return list(found.values())


def clusters_of(data: BenchmarkData) -> dict[str, str]:
    """Task -> the problem whose gap it is, for benchmarks of gaps; else empty."""
    return {each.task_id: str(each.extra["problem"]) for each in data.problems if "problem" in each.extra}


def score_name(data: BenchmarkData, score: Mapping[str, Any]) -> dict[str, str]:
    """What a suite's score is called: the last suite has the benchmark's own name."""
    return {"benchmark": f"{data.name}/base"} if score.get("suite") == "base" else {}
