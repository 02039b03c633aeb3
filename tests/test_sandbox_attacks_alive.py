"""The attacks are alive: a judge that makes the usual mistakes is fooled. Else "none passed" would prove nothing.

The naive judge runs in namespaces of its own, where nothing outside can be harmed; attacks that would burden the
machine are not run here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import codeup
from codeup.sandbox.attacks import ATTACKS, CONTROLS

JUDGE = Path(__file__).with_name("naive_judge.py")
APART = [
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--net",
    "--ipc",
    "--uts",
    "--mount-proc",
]

ELSEWHERE = {
    9: "the namespace has no network to send to",
    14: "the namespace has no process to kill",
    15: "it stops the judge, so nobody says that it was fooled",
    18: "needs more than one user id",
    22: "waits on the descriptor that it found",
    90: "needs the machine's root",
    96: "needs a kernel with x32",
    99: "needs the machine's root, or a kernel log open to all",
    102: "needs a terminal",
    33: "Python 3.9 made `assert` immune",
    35: "needs a judge that compares with !=",
    36: "needs tests with a single case",
    61: "needs a judge that retries elsewhere",
    125: "needs a judge that compares types in the program's process",
    126: "needs this sandbox's runner",
    128: "needs a judge that compares exceptions",
    134: "needs a judge that reads a signal as success",
    141: "needs a judge that sends expected values",
    144: "needs a judge that starts pytest in the folder",
    145: "needs a judge that prints what it is told",
    55: "its thread acts a moment later",
    56: "needs a second run in the same folder",
    57: "needs a second run in the same folder",
    59: "it only waits",
    60: "acts when the interpreter ends by itself",
    174: "acts later",
    182: "needs whoever cleans up to follow links",
    183: "needs whoever cleans up to recurse",
    184: "needs whoever cleans up not to be root",
    185: "needs whoever cleans up to be slow",
}
"""Attacks that this judge cannot show to be alive, and what it would take."""


def naive(numbers: list[int]) -> dict[int, str]:
    """What the naive judge says of each program."""
    if shutil.which("unshare") is None or subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces to try attacks in")
    environment = {**os.environ, "PYTHONPATH": str(Path(codeup.__file__).parent.parent)}
    command = [*APART, sys.executable, str(JUDGE), *map(str, numbers)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert found.returncode == 0, found.stderr
    return {int(number): verdict for number, verdict in json.loads(found.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("kind", ["escape", "forge", "linger"])
def test_a_naive_judge_is_fooled(kind: str) -> None:
    numbers = [attack.number for attack in ATTACKS if attack.kind == kind and attack.number not in ELSEWHERE]
    verdicts = naive(numbers)
    assert {number: said for number, said in verdicts.items() if said not in ("fooled", "changed")} == {}
    assert len(verdicts) == len(numbers) >= 8


def test_the_naive_judge_accepts_honest_programs_and_refuses_a_wrong_one() -> None:
    assert set(naive([control.number for control in CONTROLS]).values()) == {"fooled"}
    assert naive([35])[35] == "refused"  # NaN is wrong for everybody
