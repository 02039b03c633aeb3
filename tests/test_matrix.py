"""Several languages at once: every file of answers finds its data, and what is missing is never a zero."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeup import recipe as recipes
from codeup import study
from codeup.benchmarks import humaneval_x
from codeup.cli import scoring
from codeup.cli.app import app
from codeup.errors import UserError
from codeup.evaluate import matrix
from codeup.report import languages, view
from codeup.report.build import render
from codeup.steps import judge
from codeup.types import Artifact, Context, Step

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


RECIPE = (
    "{name: x, data_root: ROOT, model: {base: nano-base}, stages: [{name: s, data: d}], "
    "data: {d: {sources: [{source: alpaca, path: rows.json}]}}, evaluate: {base_forms: [base], benchmarks: ["
    "{name: nano, limit: 2}, {name: humaneval-x, path: data, languages: [python, javascript]}], "
    "require: [{model: base, benchmark: 'humaneval-x:javascript', at_least: 0.0}]}}"
)


def compiled(folder: Path, text: str = RECIPE) -> list[Step]:
    (folder / "rows.json").write_text('[{"instruction": "a", "input": "", "output": "b"}]')
    return study.compile_recipe(recipes.parse(text.replace("ROOT", str(folder))))


def test_one_executor_serves_all_files_of_a_matrix(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, answers = folders
    opened = []

    @contextmanager
    def once(name: str) -> Iterator[None]:
        opened.append(name)
        yield None

    monkeypatch.setattr(scoring.executors, "opened", once)
    asked = ["evaluate", "--benchmark", "humaneval-x", "--languages", "python", "--data", str(data), "--samples"]
    for name in ("tuned", "again"):
        write(answers / name / "Python.jsonl", [{"task_id": "Python/0", "completion": "    return 1\n"}])
    done = CliRunner().invoke(
        app, [*asked, str(answers), "--out", str(tmp_path / "o"), "--partial", "--no-calibration"]
    )
    assert (done.exit_code, opened) == (0, ["local"]), done.output


def test_a_recipe_names_languages_and_each_is_judged_as_a_benchmark_of_its_own(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    judged = {step.name: step for step in compiled(tmp_path) if step.kind == "judge"}
    assert list(judged)[:3] == ["judge-base-nano-base", "judge-base-humaneval-x-python-base",
                                "judge-base-humaneval-x-javascript-base"]  # fmt: skip
    spec = judged["judge-base-humaneval-x-javascript-base"].spec
    assert (spec["benchmark"]["language"], spec["at"]["path"]) == ("javascript", "data/JavaScript.jsonl")
    samples = tmp_path / "generate"
    write(
        samples / "samples.jsonl",
        [{"task_id": f"JavaScript/{n}", "completion": SOLUTIONS["JavaScript"][1]} for n in (0, 1)],
    )
    made = Artifact("g", "generate", str(samples), "", {"prompt0": "", "prompt0_ids": [], "prompt0_tokens": []}, 0.0)
    found = judge.run(judge.Spec.model_validate(spec), Context(tmp_path / "out", "judge", {"g": made}))
    (score,) = found["scores"]
    assert (score["benchmark"], score["languages"]) == ("humaneval_x:javascript", ["javascript"])
    assert (score["value"], score["n"]) == (1.0, 2)


def test_a_benchmark_of_python_alone_refuses_languages_and_a_threshold_names_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nano asks for Python only"):
        compiled(tmp_path, RECIPE.replace("{name: nano, limit: 2}", "{name: nano, path: ., languages: [cpp]}"))
    with pytest.raises(UserError, match="the study has no benchmark 'humaneval-x'"):
        compiled(tmp_path, RECIPE.replace("'humaneval-x:javascript'", "humaneval-x"))


def score(model: str, language: str, value: float, **more: Any) -> dict[str, Any]:
    return {"model": model, "benchmark": f"humaneval_x:{language}", "form": "chat", "metric": "pass@1", "value": value,
            "low": value - 0.1, "high": value + 0.1, "n": 164, "languages": [language], **more}  # fmt: skip


def test_the_page_has_a_matrix_of_models_and_languages_and_a_gap_where_nothing_was_asked() -> None:
    models = [{"name": "base", "stages": []}, {"name": "full", "stages": ["code"]}]
    scores = [score("base", "cpp", 0.3), score("full", "cpp", 0.4, excluded={"CPP/1": "x"}), score("full", "rust", 0.2)]
    study_ = {"models": models, "scores": scores, "labels": {"humaneval_x": "HumanEval-X"}}
    made = languages.matrices(study_, view.names(study_))
    (group,) = made["groups"]
    assert (group["benchmark"], group["languages"]) == ("HumanEval-X", ["C++", "Rust"])
    base, full = group["rows"]
    assert [cell and cell["value"] for cell in base["cells"]] == ["0.300", None]
    assert full["cells"][0]["note"] == "[0.30, 0.50], n=164, 1 excluded"
    nano = {**score("base", "python", 0.1), "benchmark": "nano"}
    assert languages.matrices({**study_, "scores": [*scores, nano]}, view.names(study_))["note"].endswith("only: nano.")
    page = render(study_)
    assert 'id="languages"' in page and "–</td>" in page and "HumanEval-X" in page


def test_a_study_of_python_alone_says_so_and_an_old_one_says_nothing() -> None:
    plain = {"model": "base", "benchmark": "nano", "metric": "pass@1", "value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    assert languages.ONLY_PYTHON in render({"scores": [{**plain, "languages": ["python"]}]})
    assert 'id="languages"' not in render({"scores": [plain]})
