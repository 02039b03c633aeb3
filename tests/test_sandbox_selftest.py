"""The attack corpus: no attack passes, nothing is left, and the checks themselves can see."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from codeup.sandbox.attacks import ATTACKS, CONTROLS, Attack
from codeup.sandbox.selftest import SelftestReport, selftest


@pytest.fixture(scope="module")
def report() -> SelftestReport:
    return selftest()


def test_the_sandbox_holds_against_every_attack(report: SelftestReport) -> None:
    assert report.passed == []
    assert report.changed_outside == ()
    assert report.survivors == ()


def test_honest_programs_pass_and_the_search_for_survivors_sees(report: SelftestReport) -> None:
    assert report.refused_controls == []
    assert report.sees_survivors
    assert report.held
    assert f"0 of {len(ATTACKS)} attacks passed" in report.text()


def test_the_corpus_is_numbered_once_and_covers_the_four_kinds() -> None:
    numbers = [attack.number for attack in (*ATTACKS, *CONTROLS)]
    assert len(set(numbers)) == len(numbers)
    assert {kind for kind, n in Counter(a.kind for a in ATTACKS).items() if n >= 6} == {
        "escape",
        "forge",
        "exhaust",
        "linger",
    }


def test_an_attack_that_worked_would_be_reported(report: SelftestReport) -> None:
    honest = Attack(1, "escape", "answers rightly", "def add(a, b):\n    return a + b\n")
    assert not selftest(attacks=[honest], workers=1).held
    assert not replace(report, survivors=(1,)).held
    assert not replace(report, changed_outside=("/x",)).held
    assert not replace(report, sees_survivors=False).held


def test_without_namespaces_landlock_and_seccomp_hold_too() -> None:
    chosen = [attack for attack in ATTACKS if attack.kind in ("escape", "linger") or attack.number in (43, 44, 45)]
    found = selftest(attacks=chosen, off=("namespaces",))
    assert found.level == "confined"
    assert found.held, found.text()


def test_without_any_layer_the_attacks_are_seen_to_work() -> None:
    chosen = [attack for attack in ATTACKS if attack.number in (1, 3, 8)]
    found = selftest(attacks=chosen, off=("namespaces", "landlock", "seccomp"), allow_unsafe=True)
    assert not found.held
    assert {row.number for row in found.passed} == {1, 3, 8}
    assert any(path.endswith("planted") for path in found.changed_outside)
