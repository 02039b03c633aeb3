"""Two sets of verdicts: the paired answer, what it rests on, and a warning wherever they do not mean the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codeup import power, stats
from codeup.cli.comparing import lines
from codeup.errors import UserError
from codeup.evaluate.compare import compare, read_side

ABOUT = {"benchmark": "humaneval", "data_sha256": "d" * 64, "data_version": "v1", "limits": {"cpu_s": 10.0}}


def side(folder: Path, passes: Sequence[Sequence[bool]], about: dict[str, Any] | None = None, **more: Any) -> Path:
    """A folder of verdicts: `passes[i]` are the samples of task i."""
    rows = [
        {"task_id": f"T/{i}", "index": j, "outcome": "PASSED" if good else "FAILED", **more}
        for i, each in enumerate(passes)
        for j, good in enumerate(each)
    ]
    return write(folder, rows, about)


def write(folder: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "scores.json").write_text(json.dumps({**ABOUT, **(about or {})}))
    return folder


def single(passed: int, of: int) -> list[list[bool]]:
    return [[i < passed] for i in range(of)]


def test_one_sample_each_is_compared_by_the_paired_table(tmp_path: Path) -> None:
    found = compare(side(tmp_path / "a", single(60, 100)), side(tmp_path / "b", single(40, 100)))
    assert (found["both"], found["only_a"], found["only_b"], found["neither"], found["n"]) == (40, 20, 0, 40, 100)
    assert found["p_value"] == stats.mcnemar_exact(20, 0) and found["difference"] == pytest.approx(0.2)
    assert (found["score_a"]["low"], found["score_a"]["high"]) == stats.wilson(60, 100)
    assert found["detectable"]["paired"] == power.detectable_paired(100, 0.2)
    assert found["detectable"]["unpaired"] == power.detectable_unpaired(100, 0.4)
    assert found["warnings"] == [] and found["better"] == "a"
    assert found["sentence"].startswith("The data support that A is better than B (+0.200, 95 % [+0.")


def test_the_sentence_follows_the_sides(tmp_path: Path) -> None:
    found = compare(side(tmp_path / "a", single(40, 100)), side(tmp_path / "b", single(60, 100)))
    assert found["better"] == "b" and found["difference"] == pytest.approx(-0.2)
    assert found["sentence"].startswith("The data support that B is better than A (+0.200, 95 % [+0.")


def test_a_difference_inside_the_noise_is_not_called_better(tmp_path: Path) -> None:
    found = compare(side(tmp_path / "a", single(44, 100)), side(tmp_path / "b", single(40, 100)))
    assert found["p_value"] == 0.125 and found["better"] is None  # four to nothing; the interval alone leaves out 0
    smallest = found["detectable"]["paired"]
    assert f"a true difference of {smallest:.3f} would be found in 80% of such comparisons" in found["sentence"]
    same = compare(tmp_path / "a", tmp_path / "a")
    assert same["better"] is None and same["difference"] == 0.0


def test_a_handful_of_problems_shows_nothing_and_says_so(tmp_path: Path) -> None:
    found = compare(side(tmp_path / "a", single(5, 5)), side(tmp_path / "b", single(0, 5)))
    assert found["better"] is None and "so few problems" in found["sentence"]


def test_several_samples_are_compared_by_pass_rates(tmp_path: Path) -> None:
    good = [[True, True, i % 3 == 0, False] for i in range(60)]
    poor = [[True, False, i % 3 == 0, False] for i in range(60)]
    found = compare(side(tmp_path / "a", good), side(tmp_path / "b", poor))
    assert found["difference"] == pytest.approx(0.25) and found["p_value"] == 2 * 0.5**60
    assert (found["higher_a"], found["higher_b"], found["equal"]) == (60, 0, 0)
    assert (found["low"], found["high"]) == pytest.approx(
        stats.wilson(15, 60)
    )  # each differs by 0.25: nothing to resample
    assert found["better"] == "a" and found["score_a"]["samples_per_problem"] == [4, 4]
    assert found["score_a"]["interval"] == "bootstrap-95" and found["test"] == "exact sign over problems"
    mixed = [[True, i % 4 < 1, i % 3 == 0, i % 2 == 0] for i in range(60)]
    found = compare(side(tmp_path / "c", mixed), side(tmp_path / "d", poor))
    assert (found["interval"], found["test"], found["p_value"]) == ("bootstrap-95", "bootstrap over problems", None)


def test_a_few_problems_of_several_samples_are_no_proof(tmp_path: Path) -> None:
    """Four problems to nothing: a percentile bootstrap leaves 0 out, where the exact test says p = 0.125."""
    good = [[True] * 2 if i < 64 else [False] * 2 for i in range(164)]
    poor = [[True] * 2 if i < 60 else [False] * 2 for i in range(164)]
    found = compare(side(tmp_path / "a", good), side(tmp_path / "b", poor))
    assert (found["better"], found["p_value"], found["interval"]) == (None, 0.125, "tango-95")
    same = compare(tmp_path / "a", tmp_path / "a")
    assert (same["difference"], same["p_value"]) == (0.0, 1.0)
    end = 1.959964**2 / (164 + 1.959964**2)  # as for one sample: what never differed is no proof of sameness
    assert (same["low"], same["high"]) == pytest.approx((-end, end), abs=1e-6)
    assert "sign test p = 0.125" in "\n".join(lines(found))


def test_unequal_numbers_of_samples_are_compared_with_a_warning(tmp_path: Path) -> None:
    found = compare(side(tmp_path / "a", [[True, False]] * 20), side(tmp_path / "b", [[False]] * 20))
    assert found["warnings"] == ["samples per problem differ: A has 2, B has 1"]


@pytest.mark.parametrize(
    ("about", "warning"),
    [
        ({"benchmark": "nano"}, "the benchmarks differ: humaneval and nano"),
        ({"data_sha256": "e" * 64}, f"the data files (sha256) differ: {'d' * 64} and {'e' * 64}"),
        ({"compat": "evalplus-0.3.1"}, "the rules of judging differ: null and evalplus-0.3.1"),
        ({"limits": {"cpu_s": 1.0}}, 'the limits of a program differ: {"cpu_s": 10.0} and {"cpu_s": 1.0}'),
    ],
)
def test_scores_that_do_not_mean_the_same_carry_a_warning(tmp_path: Path, about: dict[str, Any], warning: str) -> None:
    a, b = side(tmp_path / "a", single(3, 9)), side(tmp_path / "b", single(4, 9), about)
    assert compare(a, b)["warnings"] == [warning]


def test_verdicts_without_scores_are_of_unknown_origin(tmp_path: Path) -> None:
    a, b = side(tmp_path / "a", single(3, 9)), side(tmp_path / "b", single(4, 9))
    (b / "scores.json").write_text("{")
    assert compare(a, b)["warnings"] == [
        "B has no readable scores.json beside its verdicts: what was judged is not known"
    ]


def test_problems_on_one_side_are_left_out_and_named(tmp_path: Path) -> None:
    found = compare(side(tmp_path / "a", single(3, 9)), side(tmp_path / "b", single(3, 5)))
    assert (found["n"], found["left_out"], found["score_a"]["n"]) == (5, 4, 5)
    assert found["warnings"] == ["4 problems have a verdict on one side only: T/5, T/6, T/7 and 1 more"]
    (warning,) = compare(tmp_path / "b", side(tmp_path / "c", single(3, 8)))["warnings"]
    assert warning == "3 problems have a verdict on one side only: T/5, T/6, T/7"


def evalplus(folder: Path, statuses: Sequence[tuple[str, str]]) -> Path:
    rows = [
        {"task_id": f"T/{i}", "index": 0, "base_status": base, "plus_status": plus,
         "outcome": "PASSED" if base == plus == "pass" else "FAILED"}
        for i, (base, plus) in enumerate(statuses)
    ]  # fmt: skip
    return write(folder, rows)


def test_a_suite_is_chosen_and_plus_needs_base_too(tmp_path: Path) -> None:
    a = evalplus(tmp_path / "a", [("pass", "pass"), ("pass", "fail"), ("fail", "pass"), ("timeout", "timeout")])
    b = evalplus(tmp_path / "b", [("fail", "fail")] * 4)
    assert compare(a, b, suite="base")["only_a"] == 2
    plus = compare(a, b)
    assert (plus["only_a"], plus["suite"]) == (1, "plus") and plus["warnings"] == []
    with pytest.raises(UserError, match="no suite 'extra'"):
        compare(a, b, suite="extra")


def test_plus_against_verdicts_of_base_only_is_base_on_both_sides(tmp_path: Path) -> None:
    a = evalplus(tmp_path / "a", [("pass", "fail")] * 3)
    b = side(tmp_path / "b", single(3, 3), None, base_status="pass")
    for found in (compare(a, b), compare(b, a)):
        assert (found["suite"], found["both"], found["warnings"]) == ("base", 3, [])


def test_a_suite_against_none_is_base_with_a_warning(tmp_path: Path) -> None:
    a, b = evalplus(tmp_path / "a", [("pass", "fail")] * 3), side(tmp_path / "b", single(0, 3))
    found = compare(a, b)
    assert found["only_a"] == 3
    assert found["warnings"] == ["the suites differ: A's base verdicts against B's, which know no suites"]
    with pytest.raises(UserError, match="not of a plus suite"):
        compare(a, b, suite="plus")


def test_a_run_folder_stands_for_its_only_verdicts(tmp_path: Path) -> None:
    side(tmp_path / "run" / "steps" / "judge-x-1", single(3, 9))
    assert len(read_side(tmp_path / "run").passes) == 9
    side(tmp_path / "run" / "steps" / "judge-y-2", single(3, 9))
    with pytest.raises(UserError, match=r"name one of: steps/judge-x-1, steps/judge-y-2"):
        read_side(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no verdicts"),
        ('{"task_id": "a", "index": 0, "outcome": "PASSED"}\n{"task_id": "a", "ind', ":2: is not a verdict"),
        ('{"task_id": "a", "index": 0, "outcome": "WON"}\n', ":1: is not a verdict"),
        ('{"task_id": "a", "index": 0, "outcome": "PASSED"}\n' * 2, ":2: sample 0 of a occurs twice"),
        ("[1]\n", ":1: is not a verdict"),
    ],
)
def test_what_is_not_a_verdict_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "verdicts.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        read_side(tmp_path)


def test_different_benchmarks_share_no_problem(tmp_path: Path) -> None:
    other = write(tmp_path / "b", [{"task_id": "U/0", "index": 0, "outcome": "PASSED"}])
    with pytest.raises(UserError, match="no problem has a verdict on both sides"):
        compare(side(tmp_path / "a", single(1, 2)), other)


def test_gaps_of_one_problem_are_one_piece_of_evidence(tmp_path: Path) -> None:
    """Ten gaps each of thirty problems, B lost all of two problems: of gaps 20 to nothing, of problems 2 to nothing."""

    def gaps(name: str, lost: int, about: dict[str, Any]) -> Path:
        rows = [
            {"task_id": f"T/{i}/L{j}", "index": 0, "outcome": "FAILED" if i < lost else "PASSED"}
            for i in range(30)
            for j in range(10)
        ]
        return write(tmp_path / name, rows, about)

    clustered = {"scores": [{"metric": "pass@1", "clusters": 30}]}
    found = compare(gaps("a", 0, clustered), gaps("b", 2, clustered))
    assert (found["higher_a"], found["higher_b"], found["equal"]) == (2, 0, 28)
    assert (found["n"], found["better"], found["p_value"]) == (300, None, 0.5)
    assert found["difference"] == pytest.approx(20 / 300)
    assert (found["low"], found["high"]) == stats.tango(30, 2, 0)
    assert found["standard_error"] == pytest.approx((2 * 28 / 30 / 29) ** 0.5 / 30**0.5)
    assert found["score_b"]["interval"] == "wilson-95 of clusters" and "30 problems" in found["test"]
    alone = compare(gaps("c", 0, {}), gaps("d", 2, {}))
    assert alone["better"] == "a" and alone["p_value"] == pytest.approx(2 * 0.5**20)
