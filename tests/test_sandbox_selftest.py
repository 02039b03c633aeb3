"""The attack corpus: no attack passes, nothing is left, and the checks themselves can see."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from codeup.errors import UserError
from codeup.sandbox import scratch, seccomp
from codeup.sandbox.attacks import ATTACKS, CONTROLS, Attack
from codeup.sandbox.selftest import JUDGE_MB, SelftestReport, bait, peak_mb, selftest


@pytest.fixture(scope="module")
def report() -> SelftestReport:
    return selftest()


def test_the_sandbox_holds_against_every_attack(report: SelftestReport) -> None:
    assert report.passed == []
    assert report.changed_outside == ()
    assert report.survivors == ()
    assert report.messages == 0
    assert report.garbled == []


def test_the_judge_stays_up_and_within_its_memory(report: SelftestReport) -> None:
    assert report.judge_stayed
    assert len(report.judge_mb) == 2
    assert 5 < max(report.judge_mb) <= JUDGE_MB


def test_honest_programs_pass_and_the_search_for_survivors_sees(report: SelftestReport) -> None:
    assert report.refused_controls == []
    assert report.sees_survivors
    assert report.held
    assert f"0 of {len(ATTACKS)} attacks passed" in report.text()


def test_the_corpus_is_numbered_without_gaps_and_covers_the_four_kinds() -> None:
    numbers = [attack.number for attack in ATTACKS]
    assert sorted(numbers) == list(range(1, len(ATTACKS) + 1)) and len(ATTACKS) >= 90
    assert len({control.number for control in CONTROLS}) == len(CONTROLS) >= 8
    assert not {control.number for control in CONTROLS} & set(numbers)
    assert min(Counter(attack.kind for attack in ATTACKS).values()) >= 15
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


def test_an_attack_that_worked_would_be_reported(report: SelftestReport) -> None:
    honest = Attack(1, "escape", "answers rightly", "def add(a, b):\n    return a + b\n")
    assert not selftest(attacks=[honest], workers=1).held
    assert not replace(report, survivors=(1,)).held
    assert not replace(report, changed_outside=("/x",)).held
    assert not replace(report, sees_survivors=False).held
    assert not replace(report, judge_mb=(10, JUDGE_MB + 1)).held
    assert not replace(report, judge_stayed=False).held
    assert not replace(report, messages=1).held
    garbled = replace(report.results[0], detail="\x1b[2J")
    assert not replace(report, results=(*report.results, garbled)).held


def test_without_namespaces_landlock_and_seccomp_hold_too() -> None:
    found = selftest(off=("namespaces",))
    assert found.level == "confined"
    assert found.held, found.text()


def test_without_seccomp_attacks_on_other_processes_are_seen_to_work() -> None:
    chosen = [attack for attack in ATTACKS if attack.number in (5, 54, 77)]
    found = selftest(attacks=chosen, off=("seccomp",))
    assert found.level == "confined"
    assert {row.number for row in found.passed} == {54, 77}  # no shell to run, yet processes to start


def test_without_any_layer_the_attacks_are_seen_to_work() -> None:
    chosen = [attack for attack in ATTACKS if attack.number in (1, 3, 8, 83, 105)]
    found = selftest(attacks=chosen, off=("namespaces", "landlock", "seccomp"), allow_unsafe=True)
    assert not found.held
    assert {row.number for row in found.passed} == {1, 3, 8, 83, 105}
    assert any(path.endswith("planted") for path in found.changed_outside)
    assert found.messages == 1


def test_an_unknown_layer_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UserError, match="choose from namespaces, landlock, seccomp"):
        selftest(off=("firewall",))


def test_the_bait_shows_every_kind_of_change() -> None:
    with bait() as laid:
        kept = laid.outside / "kept"
        changes = (
            lambda: kept.chmod(0o600),
            lambda: os.utime(kept, (1, 1)),
            lambda: kept.write_text("new"),
            kept.unlink,
        )
        for change in changes:
            before = laid.state()
            assert laid.state() == before
            change()
            assert laid.state() != before


def test_the_peak_memory_of_a_process_is_read() -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("this system has no /proc")
    assert 5 < peak_mb(os.getpid()) < 100_000
    assert peak_mb(2**22 + 1) == 0


def test_a_scratch_of_any_shape_is_emptied_and_links_are_not_followed(tmp_path: Path) -> None:
    room, other = tmp_path / "room", tmp_path / "other"
    (room / "inner").mkdir(parents=True)
    other.mkdir()
    (other / "kept").touch()
    (room / "inner" / "link").symlink_to(other)
    (room / "link").symlink_to(other)
    here = os.getcwd()
    try:
        os.chdir(room)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    (room / "inner").chmod(0)
    assert scratch.size(str(room), os.getpid()) == scratch.ENDLESS
    scratch.empty(str(room))
    assert list(room.iterdir()) == []
    assert list(other.iterdir()) == [other / "kept"]


def test_files_without_a_name_are_counted(tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("this system has no /proc")
    before = scratch.nameless(os.getpid())
    with open(tmp_path / "file", "wb") as file:
        os.unlink(tmp_path / "file")
        file.write(bytes(3 << 20))
        file.flush()
        assert scratch.nameless(os.getpid()) - before >= 3 << 20


@pytest.mark.parametrize("machine", sorted(seccomp.ARCHITECTURES))
@pytest.mark.parametrize("guard_files", [True, False])
def test_every_jump_of_the_filter_stays_inside_it(machine: str, guard_files: bool) -> None:
    code = seccomp.program(machine, 4711, guard_files=guard_files)
    lines = [(code[at], code[at + 2], code[at + 3]) for at in range(0, len(code), 8)]  # operation, jumps
    assert len(lines) < 4096  # BPF_MAXINSNS
    assert lines[-1][0] == seccomp.RETURN
    targets = [at + 1 + max(yes, no) for at, (operation, yes, no) in enumerate(lines) if operation != seccomp.RETURN]
    assert max(targets) < len(lines)
