"""The self-test of other languages sees what it should: holes, changes outside, and a control that is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codeup.errors import UserError
from codeup.evaluate import language_attacks, language_selftest, whole
from codeup.evaluate.language_selftest import Found, LanguageReport


def test_quick_attacks_of_one_language_are_all_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        whole.tools("perl")
    except UserError as error:
        pytest.skip(str(error))
    report = language_selftest.selftest(["perl"])
    assert report.held, report.text()
    assert {row.outcome for row in report.results if row.name == "control"} == {"PASSED"}
    task = replace(language_attacks.TASKS["perl"], attacks={"answers rightly": language_attacks.TASKS["perl"].right})
    monkeypatch.setitem(language_attacks.TASKS, "perl", task)
    monkeypatch.setitem(language_attacks.ESCAPES, "perl", {})
    assert [row.name for row in language_selftest.selftest(["perl"]).passed] == ["answers rightly"]


def test_a_report_does_not_hold_with_a_hole_a_refused_control_a_change_or_a_survivor() -> None:
    good = (Found("cpp", "control", "PASSED", "", 0.1), Found("cpp", "exits", "EXITED", "", 0.1))
    report = LanguageReport(good, {}, (), (), 1.0)
    assert report.held
    assert not replace(report, results=(good[0], replace(good[1], outcome="PASSED"))).held
    assert not replace(report, results=(replace(good[0], outcome="FAILED"), good[1])).held
    assert not replace(report, changed_outside=("x",)).held
    assert not replace(report, survivors=(1,)).held
