"""Calibration: canonical solutions run first, failures are listed, and only a list takes a problem out of the score."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from codeup.benchmarks import humaneval_x
from codeup.cli.app import app
from codeup.errors import UserError
from codeup.evaluate import calibrate
from codeup.sandbox.limits import Limits
from codeup.types import BenchmarkData

ROWS = [
    {
        "task_id": f"Python/{number}", "prompt": "def twice(x):\n", "declaration": "def twice(x):\n",
        "canonical_solution": body, "test": "def check(f):\n    assert f(2) == 4\n\ncheck(twice)\n",
    }
    for number, body in enumerate(("    return 2 * x\n", "    return x\n", ""))
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchmarkData:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return humaneval_x.load(path)


def test_failures_are_listed_with_a_cause_and_problems_without_a_solution_counted(data: BenchmarkData) -> None:
    found = calibrate.calibrate(data, limits=Limits(cpu_s=2))
    assert (found.passed, found.of, found.lacking) == (1, 2, ("Python/2",))
    assert [row["task_id"] for row in found.failed] == ["Python/1"]
    assert "returned 2" in found.failed[0]["detail"]
    assert "1 of 2" in found.text() and "Python/1 FAILED" in found.text()


@pytest.mark.parametrize(
    ("lines", "more", "says"),
    [
        ('{"task_id": "Python/0", "completion": "    return 2 * x"}\n', ["--pass-at", "5"], "Python/0 has 1"),
        ('{"task_id": "Python/0", "completion": "    ret', [], "s.jsonl:1"),
        ('{"task_id": "Python/7", "completion": ""}\n', [], "Python/7"),
    ],
)
def test_what_is_wrong_with_samples_is_told_before_the_calibration(
    data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, more: list[str], says: str
) -> None:
    monkeypatch.setattr(calibrate, "calibrate", lambda *_, **__: pytest.fail("it calibrated first"))
    (tmp_path / "s.jsonl").write_text(lines)
    asked = ["evaluate", "--benchmark", "humaneval-x", "--data", str(tmp_path / "rows.jsonl"), *more]
    found = CliRunner().invoke(app, [*asked, "--samples", str(tmp_path / "s.jsonl")])
    assert found.exit_code == 2 and says in " ".join(found.output.split()), found.output


def test_given_programs_that_look_like_markdown_are_told_of(data: BenchmarkData, tmp_path: Path) -> None:
    code = "def twice(x):\n    return 2 * x\n"
    (first, *_) = data.problems
    asked = ["evaluate", "--benchmark", "humaneval-x", "--data", str(tmp_path / "rows.jsonl"), "--partial"]
    for text, raw, told, score in (
        ("solution", f"```python\n{code}```", True, "0.000"), ("solution", code, False, "1.000"),
        ("raw", f"```python\n{code}```", False, "1.000"),
    ):  # fmt: skip
        row = {"task_id": first.task_id, "index": 0, "form": "chat", "finish": "stop", "tokens": 0, text: raw}
        (tmp_path / "s.jsonl").write_text(json.dumps(row))
        found = CliRunner().invoke(app, [*asked, "--samples", str(tmp_path / "s.jsonl")]).stdout
        assert ("1 of the given programs hold Markdown fences" in found) == told and score in found, found


def test_what_lacked_a_library_is_run_again(data: BenchmarkData, tmp_path: Path) -> None:
    """Somebody may have installed it."""
    found = calibrate.calibrate(data, limits=Limits(cpu_s=2))
    (path,) = (tmp_path / "cache").rglob("calibration/*.json")
    text = path.read_text()
    path.write_text(
        re.sub(r'"detail": ".*returned 2.*"', '"detail": "fatal error: any.hpp: No such file or directory"', text)
    )
    assert path.read_text() != text and calibrate.calibrate(data, limits=Limits(cpu_s=2)) == found
    assert path.read_text() == text


def test_what_is_known_is_not_run_again(data: BenchmarkData, monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate.calibrate(data, limits=Limits(cpu_s=2))
    monkeypatch.setattr(calibrate, "Pool", None)  # opening one would be an error
    assert calibrate.calibrate(data, limits=Limits(cpu_s=2)) == first
    with pytest.raises(TypeError):
        calibrate.calibrate(data, limits=Limits(cpu_s=3))  # other limits are another question
    monkeypatch.setattr(calibrate.whole, "versions", lambda problems: {"python": "Python 4"})
    with pytest.raises(TypeError):
        calibrate.calibrate(data, limits=Limits(cpu_s=2))  # and so is another tool


def test_only_a_list_leaves_problems_out_and_every_one_has_a_cause(data: BenchmarkData, tmp_path: Path) -> None:
    found = calibrate.calibrate(data, limits=Limits(cpu_s=2))
    assert calibrate.excluded(data, "", found) == {}
    causes = calibrate.excluded(data, "calibration", found)
    assert list(causes) == ["Python/1", "Python/2"]
    left = calibrate.without(data, causes)
    assert [problem.task_id for problem in left.problems] == ["Python/0"]
    assert left.not_asked == ("Python/1", "Python/2") and "2 excluded" in left.version
    (tmp_path / "list").write_text("# note\nPython/1 its solution is wrong\n")
    assert calibrate.excluded(data, str(tmp_path / "list"), None) == {"Python/1": "its solution is wrong"}
    part = replace(data, problems=data.problems[1:], not_asked=("Python/0",))
    (tmp_path / "list").write_text("Python/0 not of this part\nPython/1 its solution is wrong\n")
    assert calibrate.excluded(part, str(tmp_path / "list"), None) == {"Python/1": "its solution is wrong"}
    (tmp_path / "list").write_text("Python/1\n")
    with pytest.raises(UserError, match="no cause"):
        calibrate.excluded(data, str(tmp_path / "list"), None)
    (tmp_path / "list").write_text("Python/9 something\n")
    with pytest.raises(UserError, match="not in this benchmark"):
        calibrate.excluded(data, str(tmp_path / "list"), None)


def test_a_score_without_calibration_says_so(data: BenchmarkData) -> None:
    assert "not calibrated" in calibrate.reported(None, {})["calibration"]
    assert calibrate.reported(calibrate.calibrate(data, limits=Limits(cpu_s=2)), {})["calibration"]["passed"] == 1


def test_packaged_lists_name_problems_and_causes() -> None:
    for path in calibrate.KNOWN.glob("*.json"):
        listed = json.loads(path.read_text(encoding="utf-8"))
        assert listed and all("/" in task and len(cause) > 10 for task, cause in listed.items())
