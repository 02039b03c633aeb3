"""Estimators against closed forms, scipy, values of statsmodels 0.15.0, and simulations with fixed seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as oracle

from codeup import power
from codeup.power import connor, detectable_paired, detectable_rates, detectable_unpaired, mcnemar_power
from codeup.stats import (
    bootstrap_mean,
    compare_clusters,
    compare_paired,
    compare_rates,
    mcnemar_exact,
    mean_over_clusters,
    mean_over_problems,
    pass_at_k,
    pass_at_k_over_problems,
    tango,
    tango_of_rates,
    wilson,
)


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
    pair = compare_paired([True] * 6 + [False] * 6, [True] * 6 + [False] * 6)
    assert (pair.p_value, pair.difference) == (1.0, 0.0)
    end = 1.959964**2 / (12 + 1.959964**2)  # Tango's equation for no difference on 12 problems
    assert (pair.low, pair.high) == pytest.approx((-end, end), abs=1e-6)


@pytest.mark.parametrize(("n", "gained"), [(164, 100), (100, 60)])
def test_a_large_gain_without_losses_has_wilsons_interval(n: int, gained: int) -> None:
    assert tango(n, gained, 0) == pytest.approx(wilson(gained, n), abs=1e-9)


@pytest.mark.parametrize(("n", "only_a", "only_b"), [(20, 3, 1), (44, 1, 3), (12, 2, 2)])
def test_the_ends_of_tangos_interval_are_what_the_score_test_just_allows(n: int, only_a: int, only_b: int) -> None:
    for end in tango(n, only_a, only_b):

        def unlikeliness(b: float, end: float = end) -> float:
            """Of shares a = b + end and b of problems on which only one of the two passes."""
            rest = 1 - 2 * b - end
            return -(only_a * math.log(b + end) + only_b * math.log(b) + (n - only_a - only_b) * math.log(rest))

        edges = (max(1e-9, -end + 1e-9), (1 - end) / 2 - 1e-9)
        b = optimize.minimize_scalar(unlikeliness, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
        z = (only_a - only_b - n * end) / math.sqrt(n * (2 * b + end - end**2))
        assert abs(z) == pytest.approx(1.959964, abs=1e-4)


@pytest.mark.parametrize(("plus", "minus"), [(60, 20), (5, 2), (100, 0)])
def test_exchanging_the_models_exchanges_the_signs_of_the_interval(plus: int, minus: int) -> None:
    a = [True] * plus + [False] * (200 - plus)
    b = [False] * plus + [True] * minus + [False] * (200 - plus - minus)
    one, other = compare_paired(a, b), compare_paired(b, a)
    assert (one.low, one.high) == (-other.high, -other.low)
    assert one.low < one.difference < one.high


def test_the_standard_error_is_that_of_the_problems() -> None:
    score = pass_at_k_over_problems([(2, 1), (2, 0), (2, 2), (2, 1)], 1)
    assert score.value == 0.5  # rates 0.5, 0, 1, 0.5: their variance is (0 + 0.25 + 0.25 + 0) / 3
    assert score.standard_error == pytest.approx(math.sqrt(0.5 / 3 / 4))
    rates = [0.1, 0.4, 0.4, 0.9, 0.2]
    assert mean_over_problems(rates).standard_error == pytest.approx(oracle.sem(rates))


def test_one_problem_has_no_standard_error_and_none_has_no_score() -> None:
    assert mean_over_problems([1.0]).standard_error is None
    with pytest.raises(ValueError, match="one value in"):
        mean_over_problems([])
    with pytest.raises(ValueError, match="one value in"):
        mean_over_problems([0.5, 1.5])


def test_one_sample_each_has_the_wilson_interval() -> None:
    score = pass_at_k_over_problems([(1, 1)] * 79 + [(1, 0)] * 85, 1)
    assert (score.low, score.high, score.interval) == (*wilson(79, 164), "wilson-95")


def test_several_samples_have_the_cluster_bootstrap_which_is_narrower() -> None:
    rates = [0.2, 0.4, 0.6, 0.8] * 25
    score = mean_over_problems(rates)
    assert score.interval == "bootstrap-95" and (score.low, score.high) == bootstrap_mean(rates)
    low, high = wilson(50, 100)
    assert score.high - score.low < 0.5 * (high - low)


def test_a_mean_of_nearly_only_zeros_keeps_the_wide_interval() -> None:
    few, enough = mean_over_problems([0.5] * 9 + [0.0] * 91), mean_over_problems([0.5] * 10 + [0.0] * 90)
    assert (few.interval, enough.interval) == ("wilson-95", "bootstrap-95")
    assert (few.low, few.high) == wilson(4.5, 100)
    assert mean_over_problems([0.5] * 9 + [1.0] * 91).interval == "wilson-95"


def test_rates_that_are_all_the_same_do_not_make_a_score_certain() -> None:
    score = mean_over_problems([0.75] * 164)
    assert (score.interval, score.low, score.high) == ("wilson-95", *wilson(123, 164))
    clusters = mean_over_clusters([[1.0, 0.0]] * 40)
    assert (clusters.interval, clusters.low, clusters.high) == ("wilson-95 of clusters", *wilson(20, 40))


def test_the_bootstrap_is_seeded_and_agrees_with_scipy() -> None:
    rates = list(np.random.default_rng(5).beta(0.5, 0.7, size=120))
    assert bootstrap_mean(rates, seed=1) == bootstrap_mean(rates, seed=1) != bootstrap_mean(rates, seed=2)
    expected = oracle.bootstrap(
        (rates,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    width = expected.high - expected.low
    assert bootstrap_mean(rates) == pytest.approx((expected.low, expected.high), abs=0.04 * width)


def test_large_sets_are_resampled_in_pieces_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, ...]] = []
    percentile = np.percentile

    def watch(values: np.ndarray, points: list[float]) -> np.ndarray:
        drawn.append(values.shape)
        return np.asarray(percentile(values, points))

    monkeypatch.setattr(np, "percentile", watch)
    bootstrap_mean([0.0, 1.0] * 400, draws=2_501)  # 1,250 resamples of 800 at once: two full pieces and one
    assert drawn == [(2_501,)]


def covered(samples: int, problems: int, runs: int) -> tuple[float, float]:
    """How often the bootstrap and the Wilson interval hold the truth: pass rates Beta(0.5, 0.5), mean 0.5."""
    rng, hits, wide = np.random.default_rng(20), 0, 0
    for _ in range(runs):
        passes = rng.binomial(samples, rng.beta(0.5, 0.5, size=problems))
        score = pass_at_k_over_problems([(samples, int(c)) for c in passes], 1)
        hits += score.low <= 0.5 <= score.high
        low, high = wilson(float(passes.sum()) / samples, problems)
        wide += low <= 0.5 <= high
    return hits / runs, wide / runs


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    clustered, wide = covered(samples=8, problems=80, runs=400)
    assert 0.92 <= clustered <= 0.97  # 400 runs of a 95 % interval: 0.95 +- 0.022
    assert wide >= 0.97  # Wilson on mean pass rates errs on the wide side
    single, _ = covered(samples=1, problems=80, runs=400)
    assert 0.92 <= single <= 0.98


def test_samples_of_one_problem_are_not_counted_as_independent() -> None:
    rng, naive, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        passes = rng.binomial(8, rng.beta(0.5, 0.5, size=80))
        low, high = wilson(float(passes.sum()), 8 * 80)  # the mistake: n = samples
        naive += low <= 0.5 <= high
    assert naive / runs < 0.8  # the negative control of the test above


def test_rates_of_one_sample_compare_as_the_paired_table_does() -> None:
    a = [1.0] * 60 + [0.0] * 40
    b = [1.0] * 30 + [0.0] * 30 + [1.0] * 10 + [0.0] * 30
    rates, pair = compare_rates(a, b), compare_paired([x == 1 for x in a], [x == 1 for x in b])
    assert (rates.higher_a, rates.higher_b, rates.equal) == (30, 10, 60)
    assert rates.difference == pytest.approx(pair.difference)
    assert (rates.low, rates.high) == pytest.approx((pair.low, pair.high), abs=0.011)  # a step of 1/100
    assert rates.standard_error == pytest.approx(math.sqrt((0.4 - 0.04) / 99))


def test_few_differing_rates_have_an_interval_as_wide_as_wins_and_losses_of_their_size() -> None:
    few = compare_rates([0.5] * 8 + [0.0] * 92, [0.0] * 7 + [1.0] + [0.0] * 92)
    assert (few.interval, few.low, few.high) == ("tango-95", *tango(100, 3.5, 0.5))
    assert few.low < 0 < few.difference  # seven to one, by halves
    assert tango_of_rates([0.25] * 100) == pytest.approx(wilson(25, 100), abs=1e-9)
    halves = compare_clusters([[0.5, 0.5]] * 3 + [[0.0, 0.0, 0.0]] * 37)
    assert (halves.interval, halves.low, halves.high) == ("tango-95 of clusters", *tango(40, 40 * 3 / 117, 0))


def test_paired_rates_ask_for_the_same_problems() -> None:
    with pytest.raises(ValueError, match="same problems"):
        compare_rates([0.5], [0.5, 0.5])
    assert compare_rates([0.5], [0.25]).spread is None


def test_the_paired_interval_holds_the_true_difference_and_pairing_pays() -> None:
    rng, hits, runs, narrower = np.random.default_rng(11), 0, 300, 0
    for _ in range(runs):
        skill = rng.uniform(0.1, 0.8, size=60)
        a, b = rng.binomial(6, skill + 0.1) / 6, rng.binomial(6, skill) / 6
        found = compare_rates(list(a), list(b), draws=2_000)
        hits += found.low <= 0.1 <= found.high
        apart = 2 * 1.96 * math.sqrt(np.var(a, ddof=1) / 60 + np.var(b, ddof=1) / 60)
        narrower += found.high - found.low < apart
    assert 0.91 <= hits / runs <= 0.98
    assert narrower == runs


@pytest.mark.parametrize(("n", "discordance", "difference"), [(20, 0.4, 0.3), (60, 0.25, 0.1), (164, 0.15, 0.087)])
def test_the_power_of_mcnemar_is_what_a_simulation_finds(n: int, discordance: float, difference: float) -> None:
    rng, runs = np.random.default_rng(1), 4_000
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    tables = rng.multinomial(n, shares, size=runs)
    found = sum(mcnemar_exact(int(a), int(b)) <= 0.05 for a, b, _ in tables) / runs
    assert mcnemar_power(n, discordance, difference) == pytest.approx(found, abs=3 * math.sqrt(0.25 / runs))


def test_power_at_its_ends() -> None:
    assert mcnemar_power(10, 0.0, 0.0) == 0.0
    assert mcnemar_power(5, 1.0, 1.0) == 0.0  # five to nothing is p = 0.0625
    assert mcnemar_power(6, 1.0, 1.0) == 1.0  # six to nothing is p = 0.03125
    assert mcnemar_power(6, 1.0, 0.0) == pytest.approx(2 / 64)  # all six on one side, either side
    with pytest.raises(ValueError, match="discordance"):
        mcnemar_power(10, 0.1, 0.2)


def test_the_rejected_tables_are_those_of_mcnemar() -> None:
    for m in range(60):
        tail = power._largest_tail(m, 0.05)
        assert [mcnemar_exact(k, m - k) <= 0.05 for k in range(m // 2 + 1)] == [k <= tail for k in range(m // 2 + 1)]


@pytest.mark.parametrize(("n", "discordance"), [(20, 0.4), (50, 0.3), (164, 0.15), (378, 0.2)])
def test_the_detectable_difference_is_the_smallest_with_that_power(n: int, discordance: float) -> None:
    found = detectable_paired(n, discordance)
    assert found is not None and found < discordance
    assert mcnemar_power(n, discordance, found) >= 0.8 > mcnemar_power(n, discordance, found - 1e-5)
    approximate = connor(n, discordance)
    assert approximate is not None and approximate < found < 1.05 * approximate


def test_connor_satisfies_his_own_sample_size() -> None:
    difference = connor(2_000, 0.2)
    assert difference is not None and difference == detectable_paired(2_000, 0.2)
    z_alpha, z_power = oracle.norm.ppf([0.975, 0.8])
    needed = (z_alpha * math.sqrt(0.2) + z_power * math.sqrt(0.2 - difference**2)) ** 2 / difference**2
    assert needed == pytest.approx(2_000)
    miettinen = (z_alpha * 0.2 + z_power * math.sqrt(0.04 - difference**2 * 3.2 / 4)) ** 2 / (0.2 * difference**2)
    assert miettinen == pytest.approx(2_000, rel=0.05)  # Miettinen 1968, Biometrics 24, 339-352: his approximation


def test_models_that_rarely_disagree_have_a_floor_below_which_nothing_shows() -> None:
    floor = detectable_paired(164, 0.0)
    assert floor is not None and floor == detectable_paired(164, 0.01)
    assert oracle.binom.sf(5, 164, floor) == pytest.approx(0.8, abs=1e-4)  # six to nothing, or nothing at all
    assert detectable_paired(5, 0.5) is None


def test_several_samples_detect_by_the_spread_of_differences() -> None:
    assert detectable_rates(100, 0.5) == pytest.approx((1.959964 + 0.841621) * 0.05, rel=1e-6)


@pytest.mark.parametrize(("n", "rate"), [(164, 0.4), (378, 0.3), (50, 0.0), (500, 0.05), (164, 0.9)])
def test_the_unpaired_difference_has_that_power(n: int, rate: float) -> None:
    gain = detectable_unpaired(n, rate)
    assert gain is not None
    one, two = rate, rate + gain
    pooled = (one + two) / 2
    null, apart = math.sqrt(2 * pooled * (1 - pooled) / n), math.sqrt((one * (1 - one) + two * (1 - two)) / n)
    assert oracle.norm.sf((oracle.norm.ppf(0.975) * null - gain) / apart) == pytest.approx(0.8, abs=1e-4)


# statsmodels 0.15.0: power_proportions_2indep(diff, prop2, nobs1).power and contingency_tables.mcnemar(exact=True)
@pytest.mark.parametrize(
    ("gain", "rate", "n", "power"),
    [(0.15397296644619252, 0.4, 164, 0.8000007585857848), (0.09694978009986305, 0.3, 378, 0.8000008678276517)],
)
def test_the_unpaired_difference_agrees_with_statsmodels(gain: float, rate: float, n: int, power: float) -> None:
    assert detectable_unpaired(n, rate, power=power) == pytest.approx(gain, abs=3e-6)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [(10, 2, 0.03857421875), (30, 10, 0.0022214337732293643), (87, 0, 1.29246970711e-26)],
)
def test_mcnemar_agrees_with_statsmodels(only_a: int, only_b: int, p_value: float) -> None:
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p_value, rel=1e-9)


def test_a_perfect_rate_has_nothing_above_it() -> None:
    assert detectable_unpaired(164, 1.0) is None and detectable_unpaired(3, 0.5) is None


@pytest.mark.parametrize("call", [lambda: detectable_paired(0, 0.1), lambda: detectable_unpaired(10, 1.1)])
def test_impossible_questions_of_power_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="needs n >= 1"):
        call()


def test_a_mean_over_clusters_is_as_sure_as_its_clusters_and_not_as_its_values() -> None:
    alone = [[float(place % 2)] for place in range(60)]
    tens = [[value] * 10 for (value,) in alone]  # each value said ten times
    once, often = mean_over_clusters(alone), mean_over_clusters(tens)
    assert (once.value, often.value, once.n, often.n) == (0.5, 0.5, 60, 600)
    assert often.low == pytest.approx(once.low, abs=0.01) and often.high == pytest.approx(once.high, abs=0.01)
    assert often.standard_error == pytest.approx(once.standard_error) == pytest.approx(0.5 / math.sqrt(59))
    as_if_independent = mean_over_problems([value for each in tens for value in each])
    assert often.high - often.low > 2.5 * (as_if_independent.high - as_if_independent.low)


def test_a_larger_cluster_weighs_more_and_too_few_clusters_get_a_wide_interval() -> None:
    found = mean_over_clusters([[1.0] * 8, [0.0, 0.0]])
    assert (found.value, found.n, found.interval) == (0.8, 10, "wilson-95 of clusters")
    assert (found.low, found.high) == wilson(1.6, 2)
    # (8 - 0.8 * 8)^2 + (0 - 0.8 * 2)^2 = 5.12, times 2 / 1, root, over 10
    assert found.standard_error == pytest.approx(math.sqrt(10.24) / 10)
    with pytest.raises(ValueError, match="0 values in 1 clusters"):
        mean_over_clusters([[]])
