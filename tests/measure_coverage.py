"""How often the intervals of a study with seeds hold the truth, by simulation: the figures of docs/study.md.

    python tests/measure_coverage.py            (a few minutes; --runs 300 for a rough look)

A study: S seeds answer n problems. Each problem has its own chance (Beta around the true rate), each seed moves all of
them by a normal draw on the scale of pass@1, cut to [0, 1]. The truth is the mean over 20,000 problems and seeds of the
same kind.
"""

from __future__ import annotations

import argparse
import random

from codeup import repeats

PROBLEMS = 164
SPREAD = 2.0
"""Beta(rate * SPREAD, (1 - rate) * SPREAD): most problems are solved nearly always or nearly never."""


def chance(draw: random.Random, rate: float) -> float:
    return draw.betavariate(rate * SPREAD, (1 - rate) * SPREAD)


def moved(probability: float, shift: float) -> float:
    return min(1.0, max(0.0, probability + shift))


def truth(draw: random.Random, rate: float, seed_sd: float) -> float:
    return sum(moved(chance(draw, rate), draw.gauss(0, seed_sd)) for _ in range(20_000)) / 20_000


def study(draw: random.Random, rate: float, seed_sd: float, seeds: int) -> list[list[float]]:
    chances = [chance(draw, rate) for _ in range(PROBLEMS)]
    shifts = [draw.gauss(0, seed_sd) for _ in range(seeds)]
    return [[float(draw.random() < moved(p, shift)) for p in chances] for shift in shifts]


def coverage(rate: float, seed_sd: float, seeds: int, runs: int) -> float:
    draw = random.Random(f"{rate} {seed_sd} {seeds}")
    true, hits = truth(draw, rate, seed_sd), 0
    for _ in range(runs):
        found = repeats.mean_over_seeds(study(draw, rate, seed_sd, seeds))
        hits += found.low <= true <= found.high
    return hits / runs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    print(f"share of {runs} studies of {PROBLEMS} problems whose 95 % interval holds the true rate")
    print("rate  sd of seeds   3 seeds   5 seeds")
    for rate in (0.15, 0.5):
        for seed_sd in (0.0, 0.01, 0.03, 0.1):
            shares = "   ".join(f"{coverage(rate, seed_sd, seeds, runs):7.3f}" for seeds in (3, 5))
            print(f"{rate:4.2f}  {seed_sd:11.2f}   {shares}")


if __name__ == "__main__":
    main()
