"""Seeds and problems are told apart: variance components by hand, Student's t against scipy, coverage by simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeup import power, repeats, stats


def drawn(generator: random.Random, seeds: int, n: int, seed_sd: float, mean: float = 0.0) -> list[list[float]]:
    """Results 0 or 1: a problem's difficulty, a seed's luck and their own luck, on a normal scale with a threshold."""
    difficulty = [generator.gauss(0, 1) for _ in range(n)]
    luck = [generator.gauss(0, seed_sd) for _ in range(seeds)]
    return [[float(mean + d + a + generator.gauss(0, 0.5) > 0) for d in difficulty] for a in luck]


def test_variance_components_by_hand() -> None:
    # Two seeds, four problems. Seed means 0.5 and 0.25, problem means 1, 0.5, 0, 0, grand mean 0.375.
    # MSS = 4 * 2 * 0.125^2 / 1 = 0.125      MSP = 2 * (0.390625 + 0.015625 + 2 * 0.140625) / 3 = 0.4583333
    # rest: +-(0.125, -0.375, 0.125, 0.125)^2 twice = 0.375 / 3 = 0.125 = MSE, so nothing of the seeds remains.
    part = repeats.spread([[1, 1, 0, 0], [1, 0, 0, 0]])
    assert part.seeds_sd == pytest.approx(math.sqrt(0.125 / 4))
    assert part.seed_sd == 0.0
    assert part.problem_error == part.error == pytest.approx(math.sqrt(0.4583333333 / 8))
    assert part.df == 3


def test_a_real_difference_between_seeds_is_in_the_error_and_costs_degrees_of_freedom() -> None:
    # Seed means 1, 0.5: MSS = 4 * 2 * 0.0625 = 0.5; problem means 1, 1, 0.5, 0.5: MSP = 2 * 4 * 0.0625 / 3 = 1 / 6;
    # rest: eight times 0.25^2 = 0.5 / 3 = 1 / 6. var(mean) = (1/2 + 1/6 - 1/6) / 8 = 1/16, seed_sd^2 = (1/2 - 1/6) / 4.
    # df = 0.5^2 / (0.25 / 1 + (1/36) / 3 + (1/36) / 3) = 0.25 / 0.2685185 = 0.931, raised to 2 - 1 = 1.
    part = repeats.spread([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert part.error == pytest.approx(0.25)
    assert part.seed_sd == pytest.approx(math.sqrt(1 / 12))
    assert part.problem_error == pytest.approx(math.sqrt(1 / 48))
    assert part.df == 1.0


def test_one_seed_has_only_the_error_of_its_problems() -> None:
    part = repeats.spread([[1, 1, 0, 0]])
    assert (part.seeds_sd, part.seed_sd, part.df) == (None, None, 3)
    assert part.error == part.problem_error == pytest.approx(math.sqrt(1 / 3 / 4))


def test_the_components_are_found_again_in_what_was_drawn_from_them() -> None:
    generator = random.Random(4)
    grids = []
    for _ in range(300):
        problems, seeds = [generator.gauss(0, 0.3) for _ in range(40)], [generator.gauss(0, 0.1) for _ in range(4)]
        grids.append([[p + s + generator.gauss(0, 0.2) for p in problems] for s in seeds])
    parts = [repeats.spread(grid) for grid in grids]
    between = [p.seed_sd**2 for p in parts if p.seed_sd is not None]
    assert math.fsum(between) / 300 == pytest.approx(0.01, rel=0.1)
    true = 0.01 / 4 + 0.09 / 40 + 0.04 / 160
    assert math.fsum(p.error**2 for p in parts) / 300 == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("bad", [[], [[1]], [[1, 0], [1]]])
def test_what_is_no_grid_is_refused(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="variance components need"):
        repeats.spread(bad)


@settings(max_examples=60, deadline=None)
@given(t=st.floats(0, 60), df=st.floats(1, 5000))
def test_student_t_as_scipy_has_it(t: float, df: float) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    assert repeats.student_t_tail(t, df) == pytest.approx(scipy_stats.t.sf(t, df), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("df", [1, 1.3, 2, 2.7, 10, 163, 1e5])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.975, 0.9995])
def test_points_of_student_t_as_scipy_has_them(share: float, df: float) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    assert repeats.student_t(share, df) == pytest.approx(scipy_stats.t.ppf(share, df), rel=1e-8, abs=1e-9)


def test_holm_by_hand() -> None:
    assert repeats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 p1, then 2 p3, then max(p2, 2 p3)
    assert repeats.holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert repeats.holm([0.04]) == [0.04]
    assert repeats.holm([]) == []
    assert repeats.holm([0.2, 0.001, 0.001, 0.02]) == pytest.approx([0.2, 0.004, 0.004, 0.04])


def test_the_interval_of_one_seed_is_that_of_its_problems() -> None:
    one = repeats.mean_over_seeds([[1.0] * 79 + [0.0] * 85])
    assert (one.low, one.high) == stats.wilson(79, 164)


def test_the_interval_stays_inside_and_has_a_width_where_nothing_was_solved() -> None:
    none = repeats.mean_over_seeds([[0.0] * 164] * 3)
    assert none.low == 0.0
    assert none.high == pytest.approx(stats.wilson(0, 164)[1], rel=0.03), "as for 164 problems, not for 492 answers"
    one = repeats.mean_over_seeds([[1.0] + [0.0] * 163, [0.0] * 164, [0.0] * 164])
    assert 0 < one.low < one.value == pytest.approx(1 / 492)
    assert one.high > stats.wilson(1, 492)[1]


def covered(make: object, seed_sd: float, runs: int = 400) -> float:
    """Share of simulated studies, three seeds on 100 problems, whose interval holds the true rate."""
    generator = random.Random(11)
    true = 0.5  # by symmetry, whatever the spreads
    hits = 0
    for _ in range(runs):
        low, high = make(drawn(generator, 3, 100, seed_sd))  # type: ignore[operator]
        hits += low <= true <= high
    return hits / runs


def both(grid: list[list[float]]) -> tuple[float, float]:
    found = repeats.mean_over_seeds(grid)
    return found.low, found.high


def problems_only(grid: list[list[float]]) -> tuple[float, float]:
    part = repeats.spread(grid)
    reach = repeats.student_t(0.975, part.n - 1) * part.problem_error
    return part.mean - reach, part.mean + reach


def test_the_interval_covers_the_truth_over_seeds_and_problems_and_one_over_problems_does_not() -> None:
    assert covered(both, 0.1) >= 0.93
    assert covered(both, 0.5) >= 0.89, "three seeds that differ wildly: a little too narrow, as the module says"
    assert covered(problems_only, 0.5) < 0.8, "the negative control: seeds left out"


def test_a_paired_test_of_no_difference_rejects_as_seldom_as_it_says() -> None:
    generator = random.Random(5)
    rejected = 0
    for _ in range(400):
        difficulty = [generator.gauss(0, 1) for _ in range(100)]
        sides = [
            [
                [float(d + a + generator.gauss(0, 0.5) > 0) for d in difficulty]
                for a in [generator.gauss(0, 0.5) for _ in range(3)]
            ]
            for _ in range(2)
        ]
        rejected += repeats.compare_repeated(sides[0], sides[1]).p_value < 0.05
    assert rejected / 400 <= 0.075


def test_a_clear_difference_is_found_and_the_luck_of_a_seed_is_not_taken_for_one() -> None:
    weak = [[1.0] * 40 + [0.0] * 60] * 3
    strong = [[1.0] * 70 + [0.0] * 30] * 3
    clear = repeats.compare_repeated(strong, weak)
    assert clear.difference == pytest.approx(0.3)
    assert clear.p_value < 1e-6
    assert 0.2 < clear.low < clear.high < 0.4
    lucky = [[1.0] * 90 + [0.0] * 10, [1.0] * 41 + [0.0] * 59, [1.0] * 39 + [0.0] * 61]
    luck = repeats.compare_repeated(lucky, weak)
    assert luck.difference == pytest.approx((0.5 + 0.01 - 0.01) / 3)
    assert luck.p_value > 0.2, "one seed of three was lucky on 50 problems"
    pooled = repeats.compare_repeated([[sum(c) / 3 for c in zip(*lucky, strict=True)]], [weak[0]])
    assert pooled.p_value < 0.001, "the negative control: with the seeds pooled it would look certain"


def test_one_answer_per_problem_and_one_seed_is_exact_mcnemar() -> None:
    a, b = [[1.0] * 60 + [0.0] * 40], [[1.0] * 50 + [0.0] * 8 + [1.0] * 2 + [0.0] * 40]
    found = repeats.compare_repeated(a, b)
    assert (found.test, found.higher_a, found.higher_b) == ("exact McNemar", 8, 0)
    assert found.p_value == 2 * 0.5**8
    assert found.detectable == power.detectable_paired(100, 0.08)


def test_a_model_without_seeds_stands_against_each_seed_of_the_other() -> None:
    base = [[0.0] * 100]
    tuned = [[1.0] * 50 + [0.0] * 50, [1.0] * 48 + [0.0] * 52, [1.0] * 52 + [0.0] * 48]
    found = repeats.compare_repeated(tuned, base)
    assert (found.seeds, found.higher_a, found.difference) == (3, 52, pytest.approx(0.5))
    assert repeats.compare_repeated(base, tuned).difference == pytest.approx(-0.5)


def test_few_discordant_problems_are_not_trusted_to_the_normal_form() -> None:
    # Four problems, all for A, in both seeds: t = 0.04 / (sd 0.197 / 10) = 2.03, p = 0.045; the sign test: 2 / 2^4.
    a, b = [[1.0] * 4 + [0.0] * 96] * 2, [[0.0] * 100] * 2
    found = repeats.compare_repeated(a, b)
    assert found.p_value == 0.125
    assert found.test == "exact sign"


def test_the_smallest_difference_that_would_be_found_by_hand() -> None:
    # d = 1 on 30 of 100 problems and -1 on 20, the same in three seeds: MSP = 3 * (50 - 100 * 0.01) / 99, so the error
    # is sqrt(49 / 99 / 100) = 0.070353; df 99: (1.98422 + 0.84515) * 0.070353 = 0.19905.
    d = [1.0] * 30 + [0.0] * 20 + [0.0] * 50
    e = [0.0] * 30 + [1.0] * 20 + [0.0] * 50
    found = repeats.compare_repeated([d] * 3, [e] * 3)
    assert found.detectable == pytest.approx(0.19905, abs=2e-5)
    assert found.p_value == pytest.approx(2 * repeats.student_t_tail(0.1 / 0.0703526, 99), rel=1e-4)


def test_equal_models_have_p_1_and_nothing_to_find() -> None:
    same = repeats.compare_repeated([[1.0, 0.0, 1.0]] * 2, [[1.0, 0.0, 1.0]] * 2)
    assert (same.p_value, same.difference, same.detectable) == (1.0, 0.0, None)


def test_equal_models_are_not_certainly_equal_and_few_differences_give_no_narrow_interval() -> None:
    same = [[0.0, 1.0] * 50] * 3
    found = repeats.compare_repeated(same, same)
    assert (found.low, found.high) == stats.tango(100, 0, 0) and found.high > 0.03
    one = [[0.0, 1.0] * 49 + [1.0, 1.0]] * 3
    few = repeats.compare_repeated(one, same)  # one problem of a hundred, in each of three seeds
    low, high = stats.tango(100, 1, 0)
    assert few.low <= low < 0 < high <= few.high and few.p_value == 1.0


def test_grids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="equal problems and seeds"):
        repeats.compare_repeated([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 3)
    with pytest.raises(ValueError, match="equal problems and seeds"):
        repeats.compare_repeated([[1.0, 0.0]], [[1.0]])
