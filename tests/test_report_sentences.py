"""A sentence of the report says what its test supports, and no more."""

from __future__ import annotations

import doctest
from html import unescape
from typing import Any

import pytest
from report_fixture import make_small_study, make_study

from codeup.report import numbers, png, sentences, view
from codeup.report.build import render
from codeup.report.sentences import UNCLEAR, conclusion, finding, holm, sentence

ORDER = ["base", "instruct-math-code"]


def pair(**changes: Any) -> dict[str, Any]:
    """a = instruct-math-code solves 101 of 150, b = base solves 9."""
    return make_small_study()["comparisons"][0] | changes


def test_the_sentence_reads_as_the_project_promises() -> None:
    expected = "instruct-math-code vs base: +0.61 [0.53, 0.69], p < 0.001, n = 150"
    assert sentence(finding(pair(), ORDER)) == expected
    assert expected in unescape(render(make_small_study()))


def test_the_sentence_is_the_same_whichever_side_was_called_a() -> None:
    turned = pair(a="base", b="instruct-math-code", form_a="base", form_b="chat", only_a=1, only_b=93)
    turned |= {"difference": -92 / 150, "low": -0.69, "high": -0.53}
    assert finding(turned, ORDER) == finding(pair(), ORDER)
    b_minus_a = turned | {"difference": 92 / 150, "low": 0.53, "high": 0.69}
    assert finding(b_minus_a, ORDER) == finding(pair(), ORDER)


def test_a_loss_is_said_as_a_loss() -> None:
    worse = finding(pair(only_a=1, only_b=93, difference=-92 / 150, low=-0.69, high=-0.53), ORDER)
    assert worse.direction == "worse"
    assert sentence(worse) == "instruct-math-code vs base: −0.61 [−0.69, −0.53], p < 0.001, n = 150"


@pytest.mark.parametrize(
    "changes",
    [
        {"p_value": 0.05},
        {"p_value": 0.2},
        {"p_value": 0.049, "low": -0.001},
        {"p_value": 0.049, "low": 0.0},
        {"p_value": float("nan")},
    ],
)
def test_no_difference_is_claimed_when_p_or_the_interval_does_not_support_it(changes: dict[str, float]) -> None:
    found = finding(pair(**changes), ORDER)
    assert found.direction == "unclear"
    assert sentence(found).endswith(f": {UNCLEAR}")


def test_a_difference_that_its_counts_contradict_is_refused() -> None:
    with pytest.raises(ValueError, match="contradicts its counts"):
        finding(pair(difference=0.5), ORDER)


def test_an_interval_that_leaves_out_zero_never_prints_as_touching_it() -> None:
    found = finding(
        pair(only_a=13, only_b=3, both=60, neither=74, difference=10 / 150, low=0.0033, high=0.13, p_value=0.02), ORDER
    )
    assert sentence(found) == "instruct-math-code vs base: +0.067 [0.003, 0.130], p = 0.020, n = 150"


def test_the_headline_says_rises_only_when_the_test_does() -> None:
    study = make_small_study()
    assert "<h1>nano pass@1 rises from 0.060 to 0.673</h1>" in render(study)
    study["comparisons"] = [pair(p_value=0.3)]
    assert "<h1>nano pass@1 shows no difference: 0.060 and 0.673</h1>" in render(study)
    assert UNCLEAR in render(study)
    study["comparisons"] = []
    assert "<h1>nano pass@1 0.673</h1>" in render(study)


def test_the_headline_uses_the_base_form_that_leaves_the_smaller_gain() -> None:
    study = make_small_study()
    chat_base = study["scores"][0] | {"form": "chat", "value": 0.2, "passed": 30}
    study["scores"].insert(1, chat_base)
    smaller = pair(form_b="chat", both=29, only_a=72, only_b=1, neither=48, difference=71 / 150, low=0.39, high=0.55)
    study["comparisons"].append(smaller)
    html = render(study)
    assert "<h1>nano pass@1 rises from 0.200 to 0.673</h1>" in html
    assert "instruct-math-code vs base (chat form): +0.47" in html
    assert "instruct-math-code vs base (base form): +0.61" in html


def test_marks_in_the_study_table_follow_the_tests() -> None:
    study = make_study()
    called, found = view.names(study), view.findings(study)
    rows = {
        row["model"]: [cell["mark"] for cell in row["cells"]] for row in view.study_table(study, called, found)["rows"]
    }
    assert rows == {
        "base": ["", "", "", ""],
        "code": ["▲", "▲", "▲", "▲"],
        "instruct-code": ["▲", "▲", "▲", "▲"],
        "math-code": ["≈", "≈", "▲", "▲"],
        "instruct-math-code": ["▲", "▲", "▲", "▲"],
    }


def test_a_mark_against_a_base_with_two_forms_is_that_of_the_least_certain_test() -> None:
    study = make_small_study()
    study["comparisons"].append(pair(form_b="chat", p_value=0.2))
    rows = view.study_table(study, view.names(study), view.findings(study))["rows"]
    assert [cell["mark"] for cell in rows[1]["cells"]] == ["≈"]


def test_holm_is_as_computed_by_hand() -> None:
    # sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to 0.06), 0.2 * 1
    assert holm([0.2, 0.01, 0.03, 0.02]) == pytest.approx([0.2, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_conclusion_counts_what_is_clear_and_what_survives_correction() -> None:
    clear, border = finding(pair(), ORDER), finding(pair(p_value=0.04), ORDER)
    unclear = finding(pair(p_value=0.4), ORDER)
    text = conclusion([clear, border, unclear])
    assert text.startswith(f"2 of 3 comparisons show a difference (p < 0.05); 1 is {UNCLEAR}.")
    assert text.endswith("(Holm), 1 remains.")
    assert conclusion([unclear]) == f"The two models are {UNCLEAR}." and conclusion([]) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.p_value(0.0009), "p < 0.001"),
        (numbers.p_value(0.001), "p = 0.001"),
        (numbers.p_value(0.04996), "p = 0.0500"),
        (numbers.p_value(0.0497), "p = 0.0497"),
        (numbers.p_value(1.0), "p = 1.000"),
        (numbers.signed(-0.001), "0.00"),
        (numbers.signed(0.001), "0.00"),
        (numbers.signed(-0.25), "−0.25"),
        (numbers.fixed(-0.0001), "0.000"),
        (numbers.fixed(None), "–"),
        (numbers.fixed(float("inf")), "–"),
        (numbers.count(1066543), "1,066,543"),
        (numbers.compact(999), "999"),
        (numbers.compact(12_345), "12.3 k"),
        (numbers.compact(999_949), "1.00 M"),
        (numbers.compact(216_000_000), "216 M"),
        (numbers.duration(0.0), "0.00 s"),
        (numbers.duration(59.6), "1 min 00 s"),
        (numbers.duration(3599.7), "1 h 00 min"),
        (numbers.duration(67_980), "18 h 53 min"),
        (numbers.percent(1, 8), "12.5 %"),
        (numbers.percent(0, 0), "–"),
        (numbers.plain(3.8e-6), "3.8e−06"),
        (numbers.plain(True), "yes"),
    ],
)
def test_numbers_look_the_same_everywhere(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize("module", [sentences, png])
def test_examples_in_docstrings_hold(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
