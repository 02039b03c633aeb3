"""The table of a study: rows are the base and the variants, columns the benchmarks, with what makes a number credible.

    rows    base, code, full               passed   {(full@1, nano): {nano/0: 1.0, nano/1: 0.0 ...}, ...}
    -> {"benchmarks": ["nano"], "seeds": [1, 2], "compare_to": "code", "tests": 2, "rows": [
         {"name": "full", "stages": ["instruct", "code"], "models": ["full@1", "full@2"], "cost": {...},
          "cells": {"nano": {"value": 0.31, "low": 0.22, "high": 0.41, "n": 164, "seeds": 2, "seeds_sd": 0.02,
                             "against": "code", "difference": 0.06, "p_value": 0.03, "p_holm": 0.06,
                             "detectable": 0.08, ...}}}]}

Every value is pass@1, the mean over problems and seeds; estimators and tests are those of repeats.py. The p-values are
corrected together (Holm), over all rows and benchmarks. Where the reference is the best row, which is found by looking
at these very scores, the correction counts every pair of rows. Not covered: pass@k for k above 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from codeup import repeats

Rates = Mapping[str, float]
"""Task -> share of its answers that passed."""
BEST, BEFORE = "best", "before"
COSTS = ("seconds", "compute", "tokens", "trained_tokens")


def make_table(
    rows: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    passed: Mapping[tuple[str, str], Rates],
    forms: Mapping[tuple[str, str], str],
    trainings: Sequence[Mapping[str, Any]],
    *,
    compare_to: str,
) -> dict[str, Any]:
    """`rows` are name -> (stages, models, one per seed); `passed` and `forms` are by model and benchmark; `trainings`
    are {chain, seed, seconds, threads, device, tokens, trained_tokens}. Returns plain JSON as drawn above."""
    benchmarks = list(dict.fromkeys(benchmark for _, benchmark in passed))
    grids = Grids(rows, passed)
    tests = _tests(list(rows), benchmarks, grids, compare_to)
    adjusted = dict(zip(tests, repeats.holm([found.p_value for found in tests.values()]), strict=True))
    costs = _costs({name: stages for name, (stages, _) in rows.items()}, trainings)
    seeds = [training["seed"] for training in trainings if training["seed"] is not None]
    made = []
    for name, (stages, models) in rows.items():
        cells = {}
        for benchmark in benchmarks:
            if not grids.has(name, benchmark):
                continue
            against = _reference(name, list(rows), benchmark, grids, compare_to)
            key = (name, against, benchmark) if (name, against, benchmark) in tests else (against, name, benchmark)
            cell = _cell(name, models, benchmark, grids, forms)
            cells[benchmark] = cell | _against(key, name, against, tests, adjusted)
        made.append({"name": name, "stages": list(stages), "models": list(models), "cost": costs[name], "cells": cells})
    return {
        "benchmarks": benchmarks,
        "metric": "pass@1",
        "seeds": list(dict.fromkeys(seeds)) or None,
        "compare_to": compare_to,
        "tests": len(tests),
        "rows": made,
    }


class Grids:
    """The results of a row on a benchmark, one line per seed and one column per problem that every model was asked."""

    def __init__(
        self, rows: Mapping[str, tuple[Sequence[str], Sequence[str]]], passed: Mapping[tuple[str, str], Rates]
    ) -> None:
        self.rows, self.passed = rows, passed

    def has(self, row: str, benchmark: str) -> bool:
        return all((model, benchmark) in self.passed for model in self.rows[row][1])

    def of(self, row: str, benchmark: str) -> list[list[float]]:
        models = [model for model, other in self.passed if other == benchmark]
        shared = sorted(set.intersection(*(set(self.passed[model, benchmark]) for model in models)))
        return [[self.passed[model, benchmark][task] for task in shared] for model in self.rows[row][1]]

    def mean(self, row: str, benchmark: str) -> float:
        grid = self.of(row, benchmark)
        return sum(map(sum, grid)) / sum(map(len, grid))

    def compare(self, a: str, b: str, benchmark: str) -> repeats.Difference:
        return repeats.compare_repeated(self.of(a, benchmark), self.of(b, benchmark))


Key = tuple[str, str, str]
"""(row, reference row, benchmark)."""


def _tests(names: Sequence[str], benchmarks: Sequence[str], grids: Grids, to: str) -> dict[Key, repeats.Difference]:
    """The family of tests that the table makes; with the best row as reference, every pair."""
    found = {}
    for benchmark in benchmarks:
        here = [name for name in names if grids.has(name, benchmark)]
        if to in here:
            pairs = [(name, to) for name in here if name != to]
        elif to == BEFORE:
            pairs = [(after, before) for before, after in itertools.pairwise(here)]
        else:
            pairs = list(itertools.combinations(here, 2))
        found.update({(a, b, benchmark): grids.compare(a, b, benchmark) for a, b in pairs})
    return found


def _reference(name: str, names: Sequence[str], benchmark: str, grids: Grids, to: str) -> str:
    """The row that this one is tested against; itself where there is none."""
    here = [other for other in names if grids.has(other, benchmark)]
    if to in here:
        return to
    if to == BEFORE:
        return here[max(0, here.index(name) - 1)]
    return max(here, key=lambda other: grids.mean(other, benchmark))


def _cell(
    name: str, models: Sequence[str], benchmark: str, grids: Grids, forms: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    grid = grids.of(name, benchmark)
    score = repeats.mean_over_seeds(grid)
    part = score.spread
    return {
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "interval": score.interval,
        "n": len(grid[0]),
        "seeds": len(grid),
        "form": forms.get((models[0], benchmark), ""),
        "by_model": {model: sum(row) / len(row) for model, row in zip(models, grid, strict=True)},
        "seeds_sd": part.seeds_sd if part else None,
        "seed_sd": part.seed_sd if part else None,
        "problem_error": part.problem_error if part else None,
        "standard_error": part.error if part else None,
    }


def _against(
    key: Key, name: str, against: str, tests: Mapping[Key, repeats.Difference], adjusted: Mapping[Key, float]
) -> dict[str, Any]:
    """The test of a row against its reference, as this row minus the reference; nothing where it is the reference."""
    if name == against:
        return {"against": None}
    found = asdict(tests[key])
    if key[0] != name:
        found |= {"difference": -found["difference"], "low": -found["high"], "high": -found["low"]}
    return {
        "against": against,
        "difference": found["difference"],
        "difference_low": found["low"],
        "difference_high": found["high"],
        "p_value": found["p_value"],
        "p_holm": adjusted[key],
        "detectable": found["detectable"],
        "test": found["test"],
    }


def _costs(chains: Mapping[str, Sequence[str]], trainings: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each row's training took over all seeds: `alone` counts all its stages, `share` divides a stage that
    several rows build on evenly among them, so that the shares add up to what the study took.

    Chains x: [a, b] and y: [a], a took 10 and b 4: x alone 14, share 9; y alone 10, share 5.
    """
    units = {"CPU-minutes" if training["device"] == "cpu" else "GPU-hours" for training in trainings}
    made: dict[str, dict[str, Any]] = {}
    for name, chain in chains.items():
        cost: dict[str, Any] = {"unit": " + ".join(sorted(units)), "trainings": 0}
        cost |= {f"{what}_{how}": 0.0 for what in COSTS for how in ("alone", "share")}
        for training in trainings:
            done = tuple(training["chain"])
            if tuple(chain[: len(done)]) != done:
                continue
            users = sum(tuple(other[: len(done)]) == done for other in chains.values())
            cost["trainings"] += 1
            for what in COSTS:
                cost[f"{what}_alone"] += _spent(training, what)
                cost[f"{what}_share"] += _spent(training, what) / users
        made[name] = {key: round(value, 4) if isinstance(value, float) else value for key, value in cost.items()}
    return made


def _spent(training: Mapping[str, Any], what: str) -> float:
    """One figure of a training; `compute` is seconds times threads in minutes, or seconds of a GPU in hours."""
    if what != "compute":
        return float(training[what])
    seconds = float(training["seconds"])
    return seconds * training["threads"] / 60 if training["device"] == "cpu" else seconds / 3600
