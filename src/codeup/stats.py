"""Estimators and intervals behind every printed score.

Covers: unbiased pass@k with its standard error over problems, the Wilson interval of a proportion, a seeded bootstrap
over problems or over clusters of them, exact McNemar and the paired bootstrap for two models on the same problems.
Problems are the units of chance: several samples of one problem are one cluster and are drawn together. Does not cover:
differences between training seeds (repeats.py), and what difference so many problems can show (power.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""
FEWEST_MIXED = 10
"""Problems that must differ from the commonest value before the bootstrap of their mean is trusted; with fewer it is
too narrow, and without any it has no width."""
DRAWS = 10_000
"""Bootstrap resamples: the ends of a 95 % interval then move by about 1 % of its width from seed to seed."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of k samples passes, from c passes in n samples.

    1 - C(n-c, k) / C(n, k), computed as a product as in Chen et al. 2021 (arXiv 2107.03374, section 2.1).

    >>> pass_at_k(2, 1, 1), pass_at_k(10, 3, 5)
    (0.5, 0.9166666666666666)
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); stays inside [0, 1] and is sane at 0 and n successes.

    `successes` may be fractional: the mean of per-problem pass rates times n.

    >>> low, high = wilson(79, 164)
    >>> round(low, 4), round(high, 4)
    (0.4065, 0.5577)
    """
    if n <= 0:
        raise ValueError("an interval needs at least one problem")
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over n problems: standard error (None for one problem), 95 % interval, and how the interval was made."""

    value: float
    standard_error: float | None
    low: float
    high: float
    n: int
    interval: str


def mean_over_problems(values: Sequence[float], *, seed: int = 0) -> Mean:
    """The mean of one value in [0, 1] per problem, such as its pass rate, with a 95 % interval over problems.

    The standard error is sd(values) / sqrt(n). It holds the chance of the problems and of their samples together
    (Miller 2024, arXiv 2411.00640, section 2), so nothing is added for samples. The interval:

    - "wilson-95" where every value is 0 or 1, as with one sample per problem;
    - "bootstrap-95" for pass rates in between: problems are drawn with replacement, each with all its samples;
    - "wilson-95" again where fewer than FEWEST_MIXED values differ from the commonest one, such as 0 or 1. It is then
      too wide rather than too narrow, since a rate in [0, 1] never varies more than a coin of the same mean.
    """
    n = len(values)
    if n == 0 or not all(0.0 <= value <= 1.0 for value in values):
        raise ValueError(f"a mean over problems needs one value in [0, 1] for each, got {n} values")
    mean = math.fsum(values) / n
    if all(value in (0.0, 1.0) for value in values) or hardly_vary(values):
        low, high = wilson(mean * n, n)
        return Mean(mean, _standard_error(values), low, high, n, "wilson-95")
    low, high = bootstrap_mean(values, seed=seed)
    return Mean(mean, _standard_error(values), low, high, n, "bootstrap-95")


def hardly_vary(values: Sequence[float]) -> bool:
    """Whether fewer than FEWEST_MIXED values differ from the commonest one: they do not show how much they vary.

    >>> hardly_vary([0.0] * 100 + [0.5] * 9), hardly_vary([0.0] * 100 + [0.5] * 10), hardly_vary([0.75] * 100)
    (True, False, True)
    """
    return len(values) - max(Counter(round(value, 12) for value in values).values()) < FEWEST_MIXED


def mean_over_clusters(clusters: Sequence[Sequence[float]], *, seed: int = 0, draws: int = DRAWS) -> Mean:
    """The mean of values in [0, 1] that come in clusters drawn together, such as the gaps of one solution.

    The value is the mean over all values, so a larger cluster weighs more: a ratio of two sums over clusters. The
    standard error is the ratio's by linearisation (Cochran 1977, section 2.11); the interval draws whole clusters with
    replacement, "cluster-bootstrap-95". Where the clusters' rates hardly vary it is Wilson's, with the number of
    clusters in place of the number of values, as if each had said one thing only.

    >>> mean_over_clusters([[1.0, 1.0], [0.0], [1.0, 0.0, 0.0]]).value
    0.5
    """
    sizes, sums = [len(each) for each in clusters], [math.fsum(each) for each in clusters]
    n, k = sum(sizes), len(clusters)
    if not n or not all(sizes) or not all(0.0 <= value <= 1.0 for each in clusters for value in each):
        raise ValueError(f"a mean over clusters needs values in [0, 1] in each, got {n} values in {k} clusters")
    mean = math.fsum(sums) / n
    rest = math.fsum((total - mean * size) ** 2 for total, size in zip(sums, sizes, strict=True))
    error = math.sqrt(rest * k / (k - 1)) / n if k > 1 else None
    if hardly_vary([total / size for total, size in zip(sums, sizes, strict=True)]):
        low, high = wilson(mean * k, k)
        return Mean(mean, error, low, high, n, "wilson-95 of clusters")
    low, high = _bootstrap_ratio(sums, sizes, seed=seed, draws=draws)
    return Mean(mean, error, low, high, n, "cluster-bootstrap-95")


def _bootstrap_ratio(above: Sequence[float], below: Sequence[int], *, seed: int, draws: int) -> tuple[float, float]:
    """Percentiles (95 %) of a ratio of two sums over resampled clusters."""
    import numpy as np  # late: floor 1 stays light

    pairs = np.array([above, below], dtype=np.float64).T
    rng = np.random.default_rng([seed, len(pairs)])
    at_once = max(1, 1_000_000 // len(pairs))
    ratios = []
    for done in range(0, draws, at_once):
        drawn = pairs[rng.integers(len(pairs), size=(min(at_once, draws - done), len(pairs)))].sum(axis=1)
        ratios.append(drawn[:, 0] / drawn[:, 1])
    low, high = np.percentile(np.concatenate(ratios), [2.5, 97.5])
    return float(low), float(high)


def pass_at_k_over_problems(counts: Sequence[tuple[int, int]], k: int) -> Mean:
    """pass@k of a benchmark from (samples, passes) of each problem.

    >>> score = pass_at_k_over_problems([(2, 1), (2, 0), (2, 2), (2, 1)], 1)
    >>> score.value, round(score.standard_error, 4)
    (0.5, 0.2041)
    """
    return mean_over_problems([pass_at_k(n, c, k) for n, c in counts])


def bootstrap_mean(values: Sequence[float], *, seed: int = 0, draws: int = DRAWS) -> tuple[float, float]:
    """Percentile bootstrap (95 %) of a mean: `draws` resamples of the values with replacement (Efron 1979).

    With one value per problem this is the cluster bootstrap: a problem is drawn with all of its samples.
    """
    import numpy as np  # late: floor 1 stays light

    given = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng([seed, len(given)])
    at_once = max(1, 1_000_000 // len(given))  # resamples held in memory together
    means = [
        given[rng.integers(len(given), size=(min(at_once, draws - done), len(given)))].mean(axis=1)
        for done in range(0, draws, at_once)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def _standard_error(values: Sequence[float]) -> float | None:
    spread = _spread(values)
    return None if spread is None else spread / math.sqrt(len(values))


def _spread(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1 below the line; None for a single value."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar p-value: is A better than B on the problems where exactly one of them passed?

    Twice the smaller tail of Binomial(only_a + only_b, 1/2), at most 1 (McNemar 1947, exact form).

    >>> mcnemar_exact(10, 2)
    0.03857421875
    """
    n, smaller = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(smaller + 1)) / 2**n)


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same problems: the 2x2 table, the difference a - b with its interval, the p-value."""

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    low: float
    high: float
    p_value: float


def compare_paired(a: Sequence[bool], b: Sequence[bool], *, seed: int = 0, draws: int = DRAWS) -> Paired:
    """Compare two models problem by problem: exact McNemar, and the difference with a 95 % interval.

    `a[i]` and `b[i]` are the results of one sample each on the same problem i; `compare_rates` takes several. The
    interval is a percentile bootstrap, and where the models differ on fewer than FEWEST_MIXED problems Tango's: drawing
    from problems on which nothing differs would give no width at all. Exchanging a and b exchanges its signs.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same problems on both sides, got {len(a)} and {len(b)}")
    n = len(a)
    both = sum(x and y for x, y in zip(a, b, strict=True))
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    if only_a + only_b < FEWEST_MIXED:
        low, high = tango(n, only_a, only_b)
    elif only_a >= only_b:
        low, high = _bootstrap_difference(n, only_a, only_b, seed=seed, draws=draws)
    else:
        below, above = _bootstrap_difference(n, only_b, only_a, seed=seed, draws=draws)
        low, high = -above, -below
    return Paired(
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=n - both - only_a - only_b,
        difference=(only_a - only_b) / n,
        low=low,
        high=high,
        p_value=mcnemar_exact(only_a, only_b),
    )


def tango(n: int, only_a: float, only_b: float, z: float = Z95) -> tuple[float, float]:
    """Score interval of a paired difference (only_a - only_b) / n (Tango 1998, Statistics in Medicine 17, 891-908).

    Its ends are the differences that the score test, with the other proportion at its likeliest, just does not reject.
    Counts may be fractional, as in `tango_of_rates`.

    >>> low, high = tango(12, 0, 0)  # z^2 / (n + z^2)
    >>> round(low, 4), round(high, 4)
    (-0.2425, 0.2425)
    """

    def score(d: float) -> float:
        linear = (2 * n - only_a + only_b) * d - only_a - only_b
        likeliest = (math.sqrt(max(0.0, linear**2 + 8 * n * only_b * d * (1 - d))) - linear) / (4 * n)
        variance = n * (2 * likeliest + d * (1 - d))
        return (only_a - only_b - n * d) / math.sqrt(variance) if variance > 0 else 0.0

    middle = (only_a - only_b) / n
    return _where(lambda d: score(d) > z, -1.0, middle), _where(lambda d: score(d) >= -z, middle, 1.0)


def tango_of_rates(differences: Sequence[float], n: int | None = None) -> tuple[float, float]:
    """Tango's interval of a mean of differences in [-1, 1], each counted by its size, over `n` of them.

    Too wide rather than too narrow: a difference never varies more than a win, a tie or a loss of the same mean size.
    `n` is the number of independent parts where that is fewer, such as the clusters of the differences.

    >>> tango_of_rates([0.5, 0.5, 0.0, -1.0]) == tango(4, 1, 1)
    True
    """
    share = (n or len(differences)) / len(differences)
    gained, lost = math.fsum(max(d, 0.0) for d in differences), math.fsum(max(-d, 0.0) for d in differences)
    return tango(n or len(differences), gained * share, lost * share)


def _where(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that holds from `low` on ends, to within 1e-12; `high` if it never does."""
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def _bootstrap_difference(n: int, plus: int, minus: int, *, seed: int, draws: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean of n values of which `plus` are +1, `minus` are -1 and the rest 0.

    Resampling problems with replacement makes the two counts multinomial, so two binomial draws stand for n draws.
    """
    import numpy as np  # late: floor 1 stays light

    rng = np.random.default_rng([seed, n, plus, minus])
    ups = rng.binomial(n, plus / n, size=draws)
    downs = rng.binomial(n - ups, minus / (n - plus) if n > plus else 0.0)
    low, high = np.percentile((ups - downs) / n, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class PairedRates:
    """Two models on the same problems by their pass rates: on how many each is ahead, the difference a - b with its
    standard error and interval and how that was made, and `spread`, the standard deviation of the per-problem
    differences."""

    higher_a: int
    higher_b: int
    equal: int
    difference: float
    standard_error: float | None
    low: float
    high: float
    interval: str
    spread: float | None


def compare_rates(a: Sequence[float], b: Sequence[float], *, seed: int = 0, draws: int = DRAWS) -> PairedRates:
    """Compare two models by per-problem pass rates, several samples each: bootstrap of the mean paired difference.

    `a[i]` and `b[i]` are the shares of samples that pass on the same problem i. The problem is the cluster: both
    models' samples of it are drawn together. McNemar's test does not apply; an interval without 0 takes its place. It
    is a percentile bootstrap, "bootstrap-95", and where the differences `hardly_vary`, Tango's, "tango-95".

    >>> compare_rates([1.0, 0.5, 0.0], [0.5, 0.5, 0.5]).difference
    0.0
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same problems on both sides, got {len(a)} and {len(b)}")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    few = hardly_vary(differences)
    low, high = tango_of_rates(differences) if few else bootstrap_mean(differences, seed=seed, draws=draws)
    higher_a, higher_b = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return PairedRates(
        higher_a=higher_a,
        higher_b=higher_b,
        equal=len(differences) - higher_a - higher_b,
        difference=math.fsum(differences) / len(differences),
        standard_error=_standard_error(differences),
        low=low,
        high=high,
        interval="tango-95" if few else "bootstrap-95",
        spread=_spread(differences),
    )


def compare_clusters(differences: Sequence[Sequence[float]], *, seed: int = 0, draws: int = DRAWS) -> PairedRates:
    """Compare two models on values that come in clusters, such as the gaps of one solution: whole clusters are drawn.

    `differences` holds a - b of every value, by cluster. The difference is the mean over values, as in
    `mean_over_clusters`, its standard error and interval are over clusters, and so is on how many each is ahead; where
    clusters `hardly_vary` the interval is Tango's with their number.

    >>> found = compare_clusters([[1.0, 1.0], [0.0], [-1.0, 0.0, 0.0]])
    >>> found.higher_a, found.higher_b, found.equal, round(found.difference, 4)
    (1, 1, 1, 0.1667)
    """
    sums, sizes = [math.fsum(each) for each in differences], [len(each) for each in differences]
    n, k = sum(sizes), len(differences)
    if not n or not all(sizes):
        raise ValueError(f"a comparison over clusters needs a value in each, got {n} values in {k} clusters")
    mean = math.fsum(sums) / n
    rest = math.fsum((total - mean * size) ** 2 for total, size in zip(sums, sizes, strict=True))
    error = math.sqrt(rest * k / (k - 1)) / n if k > 1 else None
    few = hardly_vary([total / size for total, size in zip(sums, sizes, strict=True)])
    if few:
        low, high = tango_of_rates([value for each in differences for value in each], k)
    else:
        low, high = _bootstrap_ratio(sums, sizes, seed=seed, draws=draws)
    interval = "tango-95 of clusters" if few else "cluster-bootstrap-95"
    ahead, behind = sum(total > 0 for total in sums), sum(total < 0 for total in sums)
    spread = None if error is None else error * math.sqrt(k)
    return PairedRates(ahead, behind, k - ahead - behind, mean, error, low, high, interval, spread)
