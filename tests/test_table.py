"""The study's table and the claims it supports: every figure by hand, every claim with the data that refuse it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from codeup import power, repeats, stats
from codeup.report import claims, table, table_files

Rows = dict[str, tuple[list[str], list[str]]]
ROWS: Rows = {
    "base": ([], ["base"]),
    "code": (["code"], ["code"]),
    "math-code": (["math", "code"], ["math-code"]),
    "full": (["instruct", "math", "code"], ["full"]),
}


def results(**solved: Sequence[int]) -> dict[tuple[str, str], dict[str, float]]:
    """Of 100 problems on benchmark `b`, the numbers that each model solves."""
    return {
        (model.replace("_", "-"), "b"): {f"b/{i:03d}": float(i in set(numbers)) for i in range(100)}
        for model, numbers in solved.items()
    }


PASSED = results(base=range(2), code=range(30), math_code=[*range(4, 30), *range(90, 99)], full=range(60))


def training(chain: str, seconds: float = 60.0, seed: int | None = None, **more: Any) -> dict[str, Any]:
    what = {"chain": chain.split(), "seed": seed, "seconds": seconds, "threads": 2, "device": "cpu"}
    return {**what, "tokens": 1000, "trained_tokens": 500, **more}


TRAININGS = [training(c) for c in ("code", "instruct", "instruct math", "instruct math code", "math", "math code")]


def made(
    passed: Mapping[tuple[str, str], Mapping[str, float]] = PASSED, rows: Rows = ROWS, to: str = "code"
) -> dict[str, Any]:
    return table.make_table(rows, passed, {("base", "b"): "chat"}, TRAININGS, compare_to=to)


def cells(of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row["cells"]["b"] for row in of["rows"]}


def test_values_intervals_and_tests_against_a_chosen_row() -> None:
    found = cells(made())
    assert found["code"]["value"] == 0.30
    assert (found["code"]["low"], found["code"]["high"]) == stats.wilson(30, 100)
    assert found["code"]["against"] is None and "p_value" not in found["code"]
    # full and code: both solve 0..29, full alone 30..59: exact McNemar 30 : 0 = 2 / 2^30
    assert found["full"]["difference"] == pytest.approx(0.30)
    assert found["full"]["p_value"] == pytest.approx(2 / 2**30)
    # math-code and code: 9 problems only math-code, 4 only code
    assert found["math-code"]["difference"] == pytest.approx(0.05)
    assert found["math-code"]["p_value"] == stats.mcnemar_exact(9, 4) == pytest.approx(0.2668457)
    assert found["math-code"]["detectable"] == power.detectable_paired(100, 0.13)
    # base: code alone 2..29: 28 : 0
    assert found["base"]["difference"] == pytest.approx(-0.28)
    assert found["base"]["difference_high"] < 0


def test_p_values_are_corrected_over_the_whole_table() -> None:
    found = cells(made())
    # three tests: 2 / 2^30 (full) * 3, 2 / 2^28 (base) * 2, 0.2668 * 1
    assert found["full"]["p_holm"] == pytest.approx(3 * 2 / 2**30)
    assert found["base"]["p_holm"] == pytest.approx(2 * 2 / 2**28)
    assert found["math-code"]["p_holm"] == pytest.approx(0.2668457)
    twice = {**PASSED, **{(model, "c"): rates for (model, _), rates in PASSED.items()}}
    assert made(twice)["tests"] == 6
    assert cells(made(twice))["full"]["p_holm"] == pytest.approx(6 * 2 / 2**30)


def test_before_tests_each_row_against_the_row_above() -> None:
    of = made(to="before")
    assert [cell["against"] for cell in cells(of).values()] == [None, "base", "code", "math-code"]
    assert of["tests"] == 3
    assert cells(of)["math-code"]["difference"] == pytest.approx(0.05)


def test_best_tests_against_the_best_row_and_counts_every_pair() -> None:
    of = made(to="best")
    assert [cell["against"] for cell in cells(of).values()] == ["full", "full", "full", None]
    assert of["tests"] == 6
    assert cells(of)["code"]["difference"] == pytest.approx(-0.30)
    assert cells(of)["code"]["p_value"] == pytest.approx(2 / 2**30)
    assert cells(of)["base"]["p_holm"] == pytest.approx(6 * 2 / 2**58), "the smallest of six, not of three"


def seeded(**solved: Sequence[Sequence[int]]) -> tuple[Rows, dict[tuple[str, str], dict[str, float]]]:
    rows: Rows = {}
    passed: dict[tuple[str, str], dict[str, float]] = {}
    for name, runs in solved.items():
        names = [f"{name}@{seed}" for seed in range(1, len(runs) + 1)] if name != "base" else ["base"]
        rows[name] = ([] if name == "base" else [name], names)
        for model, numbers in zip(names, runs, strict=True):
            passed |= {(model, "b"): results(m=numbers)["m", "b"]}
    return rows, passed


def test_with_seeds_the_row_is_the_mean_and_says_how_far_the_seeds_are_apart() -> None:
    rows, passed = seeded(base=[range(10)], code=[range(30), range(40), range(50)])
    cell = cells(made(passed, rows, to="base"))["code"]
    assert cell["value"] == pytest.approx(0.40)
    assert cell["seeds_sd"] == pytest.approx(0.10), "of 0.3, 0.4, 0.5"
    assert cell["by_model"] == {"code@1": 0.3, "code@2": 0.4, "code@3": 0.5}
    assert (cell["n"], cell["seeds"]) == (100, 3)
    alone = stats.wilson(40, 100)
    assert cell["low"] < alone[0] and cell["high"] > alone[1], "wider than the problems alone would make it"
    grid = [[float(i < k) for i in range(100)] for k in (30, 40, 50)]
    base = [[float(i < 10) for i in range(100)]]
    assert cell["p_value"] == repeats.compare_repeated(grid, base).p_value


def test_cost_counts_shared_stages_once_and_the_shares_add_up() -> None:
    cost = {row["name"]: row["cost"] for row in made()["rows"]}
    # 60 s on two threads are 2 CPU-minutes; full has three stages of its own, math-code two, code one
    assert [cost[name]["compute_alone"] for name in ("base", "code", "math-code", "full")] == [0, 2, 4, 6]
    rows: Rows = {"x": (["a", "b"], ["x"]), "y": (["a"], ["y"])}
    passed = {("x", "b"): {"t": 1.0}, ("y", "b"): {"t": 1.0}} | {}
    passed = {key: {**rates, "u": 0.0} for key, rates in passed.items()}
    of = table.make_table(rows, passed, {}, [training("a", 600), training("a b", 240)], compare_to="x")
    x, y = (row["cost"] for row in of["rows"])
    assert (x["seconds_alone"], x["seconds_share"]) == (840, 540)
    assert (y["seconds_alone"], y["seconds_share"]) == (600, 300)
    assert x["trained_tokens_share"] + y["trained_tokens_share"] == 1000
    assert x["unit"] == "CPU-minutes"


def test_cost_on_a_gpu_is_in_gpu_hours() -> None:
    rows: Rows = {"x": (["a"], ["x"])}
    passed = {("x", "b"): {"t": 1.0, "u": 0.0}}
    of = table.make_table(rows, passed, {}, [training("a", 5400, device="cuda:0")], compare_to="best")
    assert (of["rows"][0]["cost"]["compute_alone"], of["rows"][0]["cost"]["unit"]) == (1.5, "GPU-hours")
    assert of["tests"] == 0


# -------------------------------------------------------------------------------------------------------------- claims


def found_claims(passed: dict[tuple[str, str], dict[str, float]], rows: Rows = ROWS) -> dict[str, dict[str, Any]]:
    chains = {name: stages for name, (stages, _) in rows.items()}
    return {each["claim"]: each for each in claims.claims(chains, ["b"], table.Grids(rows, passed), {"b": "Bench"})}


def test_claims_are_those_that_a_reader_of_the_published_table_makes() -> None:
    assert list(found_claims(PASSED)) == [
        "code is better than base",
        "math-code is better than base",
        "full is better than base",
        "math before code helps",
        "instruct before math → code helps",
        "full is the best row",
    ]


def test_a_claim_is_supported_open_or_contradicted_by_its_test() -> None:
    found = found_claims(PASSED)
    assert found["full is better than base"]["verdict"] == "supported"
    assert found["math before code helps"]["verdict"] == "open"
    turned = found_claims({**PASSED, **results(math_code=range(5))})
    assert turned["math before code helps"]["verdict"] == "contradicted"
    assert turned["math before code helps"]["difference"] == pytest.approx(-0.25)


def test_a_test_that_was_made_the_other_way_round_is_turned_with_its_interval() -> None:
    turned = cells(made(results(base=range(2), code=range(60), math_code=range(20), full=range(30)), to="best"))["full"]
    plain = cells(made(PASSED, to="best"))["code"]  # 30 problems behind the best row, as in the other study
    assert (turned["against"], plain["against"]) == ("code", "full")
    assert turned["difference"] == plain["difference"] == pytest.approx(-0.3)
    for end in ("difference_low", "difference_high"):
        assert turned[end] == pytest.approx(plain[end])
    assert turned["difference_low"] < -0.3 < turned["difference_high"] < 0


def test_a_row_that_is_behind_another_is_not_the_best_and_nothing_more_is_claimed() -> None:
    best = found_claims(results(base=range(2), code=range(50), math_code=range(20), full=range(30)))
    claim = best["full is the best row"]
    assert (claim["b"], claim["difference"], claim["p_value"]) == ("code", pytest.approx(-0.2), 1.0)
    assert claim["verdict"] == "open"


def test_against_one_other_row_the_best_is_no_claim_of_its_own() -> None:
    rows: Rows = {"base": ([], ["base"]), "code": (["code"], ["code"])}
    assert list(found_claims(results(base=range(2), code=range(30)), rows)) == ["code is better than base"]


def test_a_stage_that_is_repeated_is_one_claim() -> None:
    rows: Rows = {"a": (["a"], ["a"]), "aa": (["a", "a"], ["aa"])}
    found = claims.claims(
        {"a": ["a"], "aa": ["a", "a"]}, ["b"], table.Grids(rows, results(a=range(9), aa=range(20))), {}
    )
    assert [each["claim"] for each in found] == ["a before a helps"]


def test_the_text_of_a_claim_is_made_of_its_numbers() -> None:
    text = found_claims(PASSED)["math before code helps"]["text"]
    smallest = power.detectable_paired(100, 0.13)
    assert text.startswith(
        "math before code helps on Bench: not distinguishable at n = 100 (math-code − code: +0.050 ["
    )
    assert "p = 0.267, corrected 0.267" in text
    assert f"a difference of {smallest:.3f} would be found in 80 % of such studies" in text
    good = found_claims(PASSED)["full is better than base"]["text"]
    assert good.startswith("full is better than base on Bench: supported at n = 100 (full − base: +0.580 [")
    assert "would be found" not in good


def test_a_p_below_5_percent_that_does_not_survive_the_correction_supports_nothing() -> None:
    # math-code alone solves 8 problems, code alone 1: p = 0.039; full is as math-code, so two claims have p = 1, and
    # the third largest of six is multiplied by 3
    solved = [*range(1, 30), *range(90, 98)]
    passed = {**PASSED, **results(math_code=solved, full=solved)}
    claim = found_claims(passed)["math before code helps"]
    assert claim["p_value"] == pytest.approx(stats.mcnemar_exact(8, 1)) and claim["p_value"] < 0.05
    assert claim["p_holm"] == pytest.approx(3 * stats.mcnemar_exact(8, 1))
    assert claim["verdict"] == "open"


def test_the_best_row_is_as_well_supported_as_its_weakest_comparison() -> None:
    best = found_claims(PASSED)["full is the best row"]
    assert (best["b"], best["verdict"]) == ("math-code", "supported")
    assert best["p_value"] == stats.mcnemar_exact(30 + 4, 9)
    beaten = found_claims({**PASSED, **results(code=range(61))})["full is the best row"]
    assert (beaten["b"], beaten["p_value"], beaten["verdict"]) == ("code", 1.0, "open")


def test_two_orders_of_the_same_stages_are_compared() -> None:
    rows: Rows = {"ab": (["a", "b"], ["ab"]), "ba": (["b", "a"], ["ba"])}
    assert list(found_claims(results(ab=range(9), ba=range(5)), rows)) == ["b → a is better than a → b"]


def test_more_seeds_are_named_in_the_claim() -> None:
    rows, passed = seeded(base=[range(10)], code=[range(10, 14), range(9, 14), range(10, 15)])
    text = found_claims(passed, rows)["code is better than base"]["text"]
    assert "not distinguishable at n = 100 with 3 seeds" in text


def test_the_summary_counts_the_verdicts() -> None:
    found = list(found_claims(PASSED).values())
    said = claims.summary(found)
    assert said == (
        "5 of 6 claims are supported, 1 not distinguishable (p < 0.05, corrected for 6 tests by Holm's method)."
    )
    assert claims.summary([]) == ""


# --------------------------------------------------------------------------------------------------------------- texts


def study_of(to: str = "code") -> dict[str, Any]:
    return claims.study_tables(ROWS, PASSED, {("base", "b"): "chat"}, TRAININGS, compare_to=to, labels={"b": "Bench"})


def test_every_form_of_the_table_holds_the_same_numbers() -> None:
    files = table_files.written({**study_of(), "labels": {"b": "Bench"}})
    assert set(files) == {"table.txt", "table.md", "table.csv", "table.json"}
    for name in ("table.txt", "table.md"):
        assert "0.300 [0.219, 0.396]" in files[name]
        assert "math before code helps on Bench" in files[name]
        assert "vs code" in files[name]
    lines = list(csv.DictReader(io.StringIO(files["table.csv"])))
    assert [line["model"] for line in lines] == list(ROWS)
    assert float(lines[2]["p_value"]) == stats.mcnemar_exact(9, 4)
    assert lines[1]["p_value"] == ""
    assert lines[3]["compute_alone"] == "6.0"


def test_the_terminal_table_has_one_line_per_row_and_the_base_its_form() -> None:
    text = table_files.terminal(study_of()["table"], {})
    head, *lines = text.splitlines()
    assert head.split()[:4] == ["model", "stages", "pass@1", "n"]
    assert [line.split()[0] for line in lines] == list(ROWS)
    assert lines[0].startswith("base (chat form)")
    assert "sd of seeds" not in head
    assert max(map(len, text.splitlines())) < 170


def test_the_best_row_carries_its_warning() -> None:
    assert any("chosen by these scores" in line for line in table_files.notes(study_of("best")["table"]))
    assert not any("chosen by these scores" in line for line in table_files.notes(study_of()["table"]))


def test_a_study_without_scores_has_no_table() -> None:
    assert claims.study_tables(ROWS, {}, {}, TRAININGS, compare_to="best", labels={}) == {}
    assert table_files.written({}) == {}
