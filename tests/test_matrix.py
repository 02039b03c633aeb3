"""Several languages at once: every file of answers finds its data, and what is missing is never a zero."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeup.benchmarks import humaneval_x
from codeup.cli.app import app
from codeup.errors import UserError
from codeup.evaluate import matrix

LANGUAGES = {"Python": "python", "JavaScript": "javascript"}
SOLUTIONS = {
    "Python": ("def f(x):\n", "    return 2 * x\n", "def check(f):\n    assert f(2) == 4\n\ncheck(f)\n"),
    "JavaScript": (
        "const f = (x) => {\n",
        "  return 2 * x\n}\n",
        "const t = () => {\n  console.assert(f(2) === 4)\n}\nt()\n",
    ),
}  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    data, answers = tmp_path / "data", tmp_path / "answers"
    for title, (prompt, body, tests) in SOLUTIONS.items():
        row = {"prompt": prompt, "declaration": prompt, "canonical_solution": body, "test": tests, "example_test": ""}
        write(data / f"{title}.jsonl", [{"task_id": f"{title}/{n}", **row} for n in range(2)])
        right = [{"task_id": f"{title}/{n}", "completion": body} for n in range(2)]
        write(answers / "tuned" / f"{title}.jsonl", right)
    wrong = [{**right[0], "completion": SOLUTIONS["JavaScript"][1].replace("2 * x", "x")}, right[1]]
    write(answers / "base" / "js.jsonl", wrong)
    return data, answers


def test_variants_are_rows_and_a_missing_file_is_not_a_zero(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data, answers = folders
    asked = ["evaluate", "--benchmark", "humaneval-x", "--languages", "python,javascript", "--data", str(data)]
    asked += ["--samples", str(answers), "--out", str(tmp_path / "out"), "--workers", "1", "--no-calibration"]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout.splitlines()[-1])
    cells = {row["name"]: {name: (c["value"], c["n"]) for name, c in row["cells"].items()} for row in made["rows"]}
    assert cells == {
        "base": {"javascript": (0.5, 2)},
        "tuned": {"python": (1.0, 2), "javascript": (1.0, 2)},
    }
    lines = matrix.text(made).splitlines()
    assert lines[0].split()[-2:] == ["python", "javascript"]
    assert (
        lines[1].startswith("base") and " -  " in lines[1] and "0.500 [" in lines[1] and lines[2].count("1.000 [") == 2
    )


def test_what_does_not_fit_is_named(folders: tuple[Path, Path]) -> None:
    data, answers = folders
    with pytest.raises(UserError, match="no file is in rust"):
        matrix.load(humaneval_x, data, ["python", "rust"])
    with pytest.raises(UserError, match="is not a folder"):
        matrix.load(humaneval_x, data / "Python.jsonl", ["python"])
    datas = matrix.load(humaneval_x, data, ["python"])
    assert [cell.row for cell in matrix.cells(datas, answers)] == ["tuned"]
    write(answers / "tuned" / "again.jsonl", [{"task_id": "Python/0", "completion": ""}])
    with pytest.raises(UserError, match="a second file of tuned answers python"):
        matrix.cells(datas, answers)
    with pytest.raises(UserError, match="holds no answers"):
        matrix.cells(datas, data.parent / "answers" / "base")
