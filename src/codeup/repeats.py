"""Scores of models that were trained several times: how much is the seed's luck, how much that of the problems.

    seed 1   1 1 0 0 1 ...   0.48        y[s, i]: did the model of seed s solve problem i (or its share of samples)
    seed 2   1 0 0 0 1 ...   0.42
    seed 3   1 1 1 0 1 ...   0.51        mean 0.47

Two things are drawn by chance, seeds and problems, and each touches all results in its row or column: the two-way
crossed random-effects model y[s, i] = m + seed_s + problem_i + rest_si without replication. Its variance components
come from mean squares (Searle, Casella and McCulloch 1992, Variance Components, section 4.3); S seeds, n problems:

    var(rest) = MSE     var(seed) = (MSS - MSE) / n     var(problem) = (MSP - MSE) / S
    var(mean) = var(seed) / S + var(problem) / n + var(rest) / (S n) = (MSS + MSP - MSE) / (S n)

and the degrees of freedom of var(mean) from Satterthwaite 1946 (Biometrics Bulletin 2, 110-114). The same on the
differences of two models, paired by problem and seed, tests whether one is better.

In simulation (tests/measure_coverage.py: 164 problems, three seeds, whose pass@1 have a standard deviation of 0 to
0.03) an interval holds the truth in 95 to 97 % of studies; where they differ by 0.1, in 90 to 92 %: three seeds say
little about a spread.
Does not cover: other bases, other data, other machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from codeup import power, stats

FEWEST_DISCORDANT = 25
"""Problems on which two models must differ before the normal form of a paired test is trusted alone; the usual bound
for McNemar's test (Siegel and Castellan 1988, section 5.1). With fewer, p is at least that of the exact sign test."""

Grid = Sequence[Sequence[float]]
"""One row per seed, one column per problem."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance components of a grid as standard deviations, and the standard error of its mean.

    `seeds_sd` is that of the seeds' means as observed (None for one seed); `seed_sd` is what remains of it once the
    luck of single problems is taken out (0 where nothing remains). `problem_error` is the standard error of the mean if
    these very models met other problems; `error` is that with other seeds as well, `df` its degrees of freedom.
    """

    mean: float
    seeds: int
    n: int
    seeds_sd: float | None
    seed_sd: float | None
    problem_error: float
    error: float
    df: float


def spread(grid: Grid) -> Spread:
    """Take the variance of a mean over seeds and problems apart. At least two problems; one seed has no seed part.

    >>> part = spread([[1, 1, 0, 0], [1, 0, 0, 0]])
    >>> part.mean, round(part.seeds_sd, 4), round(part.error, 4)
    (0.375, 0.1768, 0.2394)
    """
    seeds, n = len(grid), len(grid[0]) if grid else 0
    if n < 2 or any(len(row) != n for row in grid):
        raise ValueError(f"variance components need the same two or more problems for each seed, got {seeds} x {n}")
    of_seeds = [math.fsum(row) / n for row in grid]
    of_problems = [math.fsum(column) / seeds for column in zip(*grid, strict=True)]
    mean = math.fsum(of_seeds) / seeds
    problems = seeds * math.fsum((value - mean) ** 2 for value in of_problems) / (n - 1)  # MSP
    if seeds == 1:
        error = math.sqrt(problems / n)
        return Spread(mean, 1, n, None, None, error, error, n - 1.0)
    between = n * math.fsum((value - mean) ** 2 for value in of_seeds) / (seeds - 1)  # MSS
    rest = math.fsum(
        (y - a - b + mean) ** 2
        for row, a in zip(grid, of_seeds, strict=True)
        for y, b in zip(row, of_problems, strict=True)
    ) / ((seeds - 1) * (n - 1))  # MSE
    total = between + problems - rest
    if total > problems:
        df = total**2 / (between**2 / (seeds - 1) + problems**2 / (n - 1) + rest**2 / ((seeds - 1) * (n - 1)))
    else:  # no trace of the seeds: what is left is the luck of the problems
        total, df = problems, n - 1.0
    return Spread(
        mean=mean,
        seeds=seeds,
        n=n,
        seeds_sd=math.sqrt(between / n),
        seed_sd=math.sqrt(max(0.0, between - rest) / n),
        problem_error=math.sqrt(problems / (seeds * n)),
        error=math.sqrt(total / (seeds * n)),
        df=min(max(df, float(min(seeds, n) - 1)), n - 1.0),
    )


@dataclass(frozen=True, slots=True)
class Repeated:
    """The mean score of a model over its seeds with a 95 % interval that holds seeds and problems."""

    value: float
    low: float
    high: float
    interval: str
    spread: Spread | None


def mean_over_seeds(grid: Grid, *, seed: int = 0) -> Repeated:
    """The mean over seeds and problems with its interval. One seed: `stats.mean_over_problems`.

    Several: Wilson's interval with the number of problems that would give this standard error, mean (1 - mean) /
    error^2, and Student's t in place of z: inside [0, 1], and of positive width at 0 and 1. The effective number of
    problems is that of Korn and Graubard 1998 (Survey Methodology 24, 193-201); it is at most n where fewer than
    stats.FEWEST_MIXED problems are solved, or missed, by some seed, as there the error itself cannot be measured.
    """
    if len(grid) == 1:
        alone = stats.mean_over_problems(grid[0], seed=seed)
        part = spread(grid) if len(grid[0]) > 1 else None
        return Repeated(alone.value, alone.low, alone.high, alone.interval, part)
    part = spread(grid)
    columns = list(zip(*grid, strict=True))
    solved, missed = sum(any(column) for column in columns), sum(any(y < 1 for y in column) for column in columns)
    coin = part.mean * (1 - part.mean)
    effective = coin / part.error**2 if part.error > 0 else float(part.n)
    if min(solved, missed) < stats.FEWEST_MIXED:
        effective = min(effective, float(part.n))
    low, high = _wilson(part.mean, effective, student_t(0.975, part.df))
    return Repeated(part.mean, low, high, f"wilson-95 over problems and {part.seeds} seeds", part)


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """As stats.wilson, for a number of trials that need not be whole."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Difference:
    """a - b over problems and seeds: 95 % interval, two-sided p, and the smallest true difference that a study of this
    size would find in 80 % of cases at 5 % (None: none would be)."""

    difference: float
    low: float
    high: float
    p_value: float
    detectable: float | None
    test: str
    n: int
    seeds: int
    higher_a: int
    higher_b: int


def compare_repeated(a: Grid, b: Grid, *, seed: int = 0) -> Difference:
    """Is A better than B? Grids over the same problems; a model without seeds (the base) has one row.

    One row of single answers each: exact McNemar, as `stats.compare_paired`. Otherwise Student's t on the differences
    paired by problem and seed, with the error and degrees of freedom of `spread`; where the models differ on fewer than
    FEWEST_DISCORDANT problems, p is at least that of the exact sign test over problems, and where the differences
    `stats.hardly_vary` the interval is at least as wide as Tango's.
    """
    rows = max(len(a), len(b))
    if {len(a), len(b)} - {1, rows} or len(a[0]) != len(b[0]):
        raise ValueError(f"a comparison needs equal problems and seeds, or one row; got {len(a)} and {len(b)} rows")
    left, right = (list(grid) * (rows // len(grid)) for grid in (a, b))
    grid = [[x - y for x, y in zip(one, two, strict=True)] for one, two in zip(left, right, strict=True)]
    means = [math.fsum(column) for column in zip(*grid, strict=True)]
    higher_a, higher_b, n = sum(m > 1e-12 for m in means), sum(m < -1e-12 for m in means), len(means)
    if rows == 1 and all(y in (0, 1) for y in (*a[0], *b[0])):
        pair = stats.compare_paired([y == 1 for y in a[0]], [y == 1 for y in b[0]], seed=seed)
        found = power.detectable_paired(n, (higher_a + higher_b) / n)
        ends = (pair.difference, pair.low, pair.high, pair.p_value, found)
        return Difference(*ends, "exact McNemar", n, 1, higher_a, higher_b)
    part = spread(grid)
    exact = stats.mcnemar_exact(higher_a, higher_b)
    shares = [m / rows for m in means]
    if part.error == 0:
        p, (low, high) = 1.0 if part.mean == 0 else exact, stats.tango_of_rates(shares)
        return Difference(part.mean, low, high, p, None, "exact sign", n, rows, higher_a, higher_b)
    p = 2 * student_t_tail(abs(part.mean) / part.error, part.df)
    test = f"paired t, {part.df:.1f} degrees of freedom"
    if higher_a + higher_b < FEWEST_DISCORDANT and exact > p:
        p, test = exact, "exact sign"
    reach = student_t(0.975, part.df)
    found = (reach + student_t(0.8, part.df)) * part.error
    low, high = max(-1.0, part.mean - reach * part.error), min(1.0, part.mean + reach * part.error)
    if stats.hardly_vary(shares):
        wider = stats.tango_of_rates(shares)
        low, high = min(low, wider[0]), max(high, wider[1])
    return Difference(
        part.mean, low, high, min(1.0, p), found if found <= 1 else None, test, n, rows, higher_a, higher_b
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment for several tests (Holm 1979): sorted p times (m - rank), made monotone, at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = running
    return adjusted


# ---------------------------------------------------------------------------------------------------------- Student's t


def student_t_tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0: half the regularised incomplete beta function of df / (df + t^2) at (df / 2, 1 / 2)."""
    if t < 1:  # the complement: here the argument itself would lose its last digits
        return 0.5 - 0.5 * _incomplete_beta(t * t / (df + t * t), 0.5, df / 2)
    return 0.5 * _incomplete_beta(df / (df + t * t), df / 2, 0.5)


def student_t(share: float, df: float) -> float:
    """The point below which this share (at least a half) of Student's distribution lies, by bisection.

    >>> round(student_t(0.975, 2), 3), round(student_t(0.975, 1e6), 3)
    (4.303, 1.96)
    """
    low, high = 0.0, 1.0
    while student_t_tail(high, df) > 1 - share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_tail(middle, df) > 1 - share else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by its continued fraction (DLMF 8.17.22), evaluated by the modified method of Lentz."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):  # there the fraction converges slowly, and that of the complement fast
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1.0 + term / c, 1.0 / (1.0 + term * d)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return scale * value / a
