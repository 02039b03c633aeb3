"""From verdicts to pass@k: what stands in scores.json.

    rows of verdicts.jsonl -> (samples, passes) of each problem -> pass@k with n, standard error and interval

The score is the unbiased pass@k of Chen et al. 2021 (stats.py). Runs nothing and reads no file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from codeup import stats
from codeup.errors import UserError
from codeup.types import BenchmarkData, Outcome, Score

KS = (1, 10, 100)
"""The usual ones, of Chen et al. 2021."""


def check_pass_at(pass_at: Sequence[int], tasks: Iterable[str]) -> None:
    """Raise UserError where a problem has fewer samples than a k, or none can have; `tasks` names one for each sample.

    From n samples nothing can be said about n + 1 tries without knowing what the next one would be.
    """
    if wrong := [k for k in pass_at if k < 1]:
        raise UserError(f"pass@{wrong[0]} is of no sample", where="--pass-at", mend="give numbers from 1")
    task, fewest = min(Counter(tasks).items(), key=lambda each: each[1], default=("", 0))
    if fewest and pass_at and max(pass_at) > fewest:
        raise UserError(
            f"pass@{max(pass_at)} needs {max(pass_at)} samples of every problem, and {task} has {fewest}",
            where="--pass-at",
            mend=f"ask for at most {fewest}, or generate more samples",
        )


def scores(
    rows: Sequence[Mapping[str, Any]], clusters: Mapping[str, str] | None = None, pass_at: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """pass@1 and pass@k for k in `pass_at`, with n problems, standard error and interval.

    Unless any are asked for: 10, 100, and the number of samples, as far as each problem has samples.

    The interval treats problems as drawn from a wider set, each with all its samples (`stats.mean_over_problems`), or
    with `clusters`, task -> cluster, whole clusters of them (`stats.mean_over_clusters`).
    Rows with suites give a score for each: a sample passes a suite when it passes that one and those before it.
    """
    names = [key.removesuffix("_status") for key in rows[0] if key.endswith("_status")] if rows else []
    if not names:
        return _scores(rows, [row["outcome"] == Outcome.PASSED for row in rows], clusters, pass_at)
    found = []
    for place, name in enumerate(names):
        passed = [all(row[f"{each}_status"] == "pass" for each in names[: place + 1]) for row in rows]
        found += [{**score, "suite": name} for score in _scores(rows, passed, None, pass_at)]
    return found


def _scores(
    rows: Sequence[Mapping[str, Any]],
    passed: Sequence[bool],
    clusters: Mapping[str, str] | None,
    pass_at: Sequence[int],
) -> list[dict[str, Any]]:
    passes: dict[str, list[bool]] = defaultdict(list)
    for row, good in zip(rows, passed, strict=True):
        passes[row["task_id"]].append(good)
    fewest = min((len(each) for each in passes.values()), default=0)
    found = []
    for k in sorted({1, *pass_at} if pass_at else {*(k for k in KS if k <= fewest), fewest} - {0}):
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
