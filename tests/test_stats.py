"""Estimators against closed forms and scipy."""

from __future__ import annotations

import itertools
import math

import pytest
from scipy import stats as oracle

from codeup.stats import compare_paired, mcnemar_exact, pass_at_k, wilson


@pytest.mark.parametrize(
    ("n", "c", "k"), [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 3), (10, 3, 10), (7, 0, 2), (6, 6, 2)]
)
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int, c: int, k: int) -> None:
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, 1, 4), (3, -1, 1), (0, 0, 1)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@k needs"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (79, 164), (1, 378)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    expected = oracle.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (10, 2), (2, 10), (30, 30), (70, 0)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    expected = oracle.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_a_paired_comparison_counts_the_table_and_brackets_the_difference() -> None:
    a = [True] * 60 + [False] * 40
    b = [True] * 30 + [False] * 30 + [True] * 10 + [False] * 30
    pair = compare_paired(a, b)
    assert (pair.both, pair.only_a, pair.only_b, pair.neither) == (30, 30, 10, 30)
    assert pair.difference == pytest.approx(0.2)
    normal = 1.96 * math.sqrt((0.4 - 0.04) / 100)
    assert pair.low == pytest.approx(0.2 - normal, abs=0.02)
    assert pair.high == pytest.approx(0.2 + normal, abs=0.02)


def test_models_that_agree_everywhere_cannot_be_told_apart() -> None:
    pair = compare_paired([True, False], [True, False])
    assert (pair.p_value, pair.difference, pair.low, pair.high) == (1.0, 0.0, 0.0, 0.0)
