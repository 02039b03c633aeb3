"""Estimators and intervals behind every printed score.

Covers: unbiased pass@k, the Wilson interval of a proportion, exact McNemar for two models on the same problems, and a
seeded bootstrap over problems. Does not cover: differences between training seeds, which need repeated training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


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


def compare_paired(a: Sequence[bool], b: Sequence[bool], *, seed: int = 0, draws: int = 10_000) -> Paired:
    """Compare two models problem by problem: exact McNemar, and a percentile bootstrap of the difference (95 %).

    `a[i]` and `b[i]` are the results on the same problem i.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same problems on both sides, got {len(a)} and {len(b)}")
    n = len(a)
    both = sum(x and y for x, y in zip(a, b, strict=True))
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    low, high = _bootstrap_difference(n, only_a, only_b, seed=seed, draws=draws)
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
