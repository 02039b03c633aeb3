"""The smallest difference that a comparison on so many problems can show.

    164 problems, 15 % discordant   ->   0.087: exact McNemar finds a true difference of that size in 80 % of cases

Covers two models on the same problems by one sample each (exact McNemar) or by pass rates, and a model against a
published number. What was found, as opposed to what could be, is in stats.py.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

EXACT_UP_TO = 1000
"""Problems up to which the power of McNemar's test is summed exactly; beyond, a closed form is within 3 %."""


def mcnemar_power(n: int, discordance: float, difference: float, *, alpha: float = 0.05) -> float:
    """Chance that the two-sided exact McNemar test on n shared problems finds a difference of pass rates.

    `discordance` is the share of problems on which exactly one model passes; the difference cannot exceed it. Summed
    over the number m of discordant problems, Binomial(n, discordance), and how many of them favour each side,
    Binomial(m, (1 + difference / discordance) / 2): the exact unconditional power of Duffy 1984 (Biometrics 40,
    1005-1015).

    >>> mcnemar_power(6, 1.0, 1.0), mcnemar_power(5, 1.0, 1.0)  # five to nothing is p = 0.0625
    (1.0, 0.0)
    """
    if n < 1 or not 0.0 <= abs(difference) <= discordance <= 1.0:
        raise ValueError(f"needs n >= 1 and |difference| <= discordance <= 1, got {n}, {difference}, {discordance}")
    if discordance == 0.0:
        return 0.0
    favour = (1 + difference / discordance) / 2
    reach = 8 * math.sqrt(n * discordance * (1 - discordance)) + 8  # beyond it lies less than 1e-12
    found = 0.0
    for m in range(max(0, math.ceil(n * discordance - reach)), min(n, math.floor(n * discordance + reach)) + 1):
        tail = _largest_tail(m, alpha)
        rejected = sum(_binomial(i, m, favour) + _binomial(m - i, m, favour) for i in range(tail + 1))
        found += _binomial(m, n, discordance) * rejected
    return min(1.0, found)


def detectable_paired(n: int, discordance: float, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Smallest difference of pass rates that exact McNemar on n shared problems finds with this power.

    `mcnemar_power` solved for the difference by bisection; `discordance` may be an estimate. Above EXACT_UP_TO
    problems the closed form of Connor 1987 (Biometrics 43, 207-211) takes its place: n d^2 = (z_alpha sqrt(q) +
    z_power sqrt(q - d^2))^2. It describes the test without its exactness: 4 % smaller at n = 164, 2 % at n = 1140.

    A difference cannot exceed the discordance q: where all of it would not be enough, the answer is the smallest
    discordance that would be. None where nothing would be found.

    >>> round(detectable_paired(164, 0.15), 3), detectable_paired(5, 0.5)
    (0.087, None)
    """
    if n < 1 or not 0.0 <= discordance <= 1.0:
        raise ValueError(f"needs n >= 1 and a discordance in [0, 1], got n={n}, discordance={discordance}")
    if n > EXACT_UP_TO:
        return connor(n, discordance, alpha=alpha, power=power)
    return _smallest(lambda d: mcnemar_power(n, max(discordance, d), d, alpha=alpha) >= power, 1.0)


def connor(n: int, discordance: float, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Connor's sample size (see `detectable_paired`) solved for the difference.

    Squaring gives d = K sqrt(q) with K = (z_alpha sqrt(n) + z_power sqrt(n - z_alpha^2 + z_power^2)) / (n + z_power^2);
    where that exceeds q, d = q = K^2.
    """
    z_alpha, z_power = _normal(1 - alpha / 2), _normal(power)
    inner = n - z_alpha**2 + z_power**2
    if inner < 0:
        return None
    k = (z_alpha * math.sqrt(n) + z_power * math.sqrt(inner)) / (n + z_power**2)
    found = k * max(math.sqrt(discordance), k)
    return found if found <= 1.0 else None


@functools.cache
def _largest_tail(m: int, alpha: float) -> int:
    """The most problems on the smaller side, of m discordant ones, at which exact McNemar rejects; -1 for none."""
    tail, ways, below = -1, 1, 0  # ways: how many choices of tail + 1 out of m
    while 2 * (tail + 1) < m:
        below += ways
        if 2 * below / 2**m > alpha:
            break
        tail += 1
        ways = ways * (m - tail) // (tail + 1)
    return tail


def _binomial(k: int, n: int, p: float) -> float:
    if p in (0.0, 1.0):
        return float(k == n * p)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _smallest(enough: Callable[[float], bool], most: float) -> float | None:
    """The smallest value in (0, most] that is enough, by bisection to 1e-6, or None."""
    low, high = 0.0, most
    if high <= 0.0 or not enough(high):
        return None
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_rates(n: int, spread: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest difference of mean pass rates found with this power on n shared problems, several samples each.

    (z_alpha + z_power) * spread / sqrt(n), with `spread` the standard deviation of the per-problem differences, which
    holds the chance of the samples already (Miller 2024, arXiv 2411.00640, section 5).
    """
    if n < 1 or spread < 0:
        raise ValueError(f"needs n >= 1 and a spread >= 0, got n={n}, spread={spread}")
    return (_normal(1 - alpha / 2) + _normal(power)) * spread / math.sqrt(n)


def detectable_unpaired(n: int, rate: float, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Smallest gain over `rate` that two separate groups of n problems show with this power: two-sided z test.

    The test to expect when only a published number is known, not its verdicts. Sample size of Fleiss, Levin and Paik
    2003 (Statistical Methods for Rates and Proportions, formula 4.14 without continuity correction), solved for the
    difference by bisection. None where even a gain to 1 would not be found.

    >>> round(detectable_unpaired(164, 0.4), 3)
    0.154
    """
    if n < 1 or not 0.0 <= rate <= 1.0:
        raise ValueError(f"needs n >= 1 and a rate in [0, 1], got n={n}, rate={rate}")
    z_alpha, z_power = _normal(1 - alpha / 2), _normal(power)

    def shown(gain: float) -> bool:
        other, middle = rate + gain, rate + gain / 2
        apart = rate * (1 - rate) + other * (1 - other)
        needed = z_alpha * math.sqrt(2 * middle * (1 - middle)) + z_power * math.sqrt(max(0.0, apart))
        return gain * math.sqrt(n) >= needed

    return _smallest(shown, 1.0 - rate)


def _normal(share: float) -> float:
    """The point of the standard normal distribution below which this share of it lies."""
    from statistics import NormalDist  # late: it loads more than it looks

    return NormalDist().inv_cdf(share)
