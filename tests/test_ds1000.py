"""DS-1000: answers are put into a given program; a library that is missing is an error and never a zero."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ds1000_fixture import ABSENT, ROWS, SHUFFLED, SQUARES
from typer.testing import CliRunner

from codeup.benchmarks import ds1000
from codeup.cli.app import app
from codeup.errors import UserError
from codeup.evaluate import calibrate, libraries, prompts, whole
from codeup.evaluate.programs import judge_one
from codeup.evaluate.samples import program_of
from codeup.sandbox import packages
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool
from codeup.types import BenchmarkData, Outcome, Problem, Sample

pytest.importorskip("pandas", reason="pandas is not installed (pip install -c constraints.txt '.[ds1000]')")
FORGERIES = {
    "ends early": "import os\nos._exit(0)",
    "ends politely": "raise SystemExit(0)",
    "ends at exit": "import atexit, os\natexit.register(os._exit, 0)\nraise ValueError",
    "prints": "print('PASSED'); print(1)\nresult = None",
    "replaces the library's comparison": "np.testing.assert_allclose = lambda *a, **k: None\nresult = 0",
    "replaces the tests' comparison": (
        "import sys\nsys._getframe(1).f_globals['exec_test'] = lambda *a: 1\nframe = sys._getframe(1)\n"
        "while frame:\n    if 'exec_test' in frame.f_globals:\n        frame.f_globals['exec_test'] = lambda *a: 1\n"
        "    frame = frame.f_back\nresult = 0"
    ),
    "replaces what raises": "import builtins\nbuiltins.len = lambda x: 2\nresult = 0",
}


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "ds1000.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkData:
    loaded: BenchmarkData = ds1000.load(write(tmp_path_factory.mktemp("ds"), ROWS))
    return loaded


@pytest.fixture(scope="module")
def pool(data: BenchmarkData) -> Iterator[Pool]:
    limits = whole.limits_for(Limits())
    with Pool(1, limits, **whole.opened(data.problems)) as opened:
        yield opened


def by_id(data: BenchmarkData, number: int) -> Problem:
    return next(problem for problem in data.problems if problem.task_id == f"DS-1000/{number}")


def test_the_reference_code_passes_and_each_run_of_the_program_is_a_check(data: BenchmarkData, pool: Pool) -> None:
    verdicts = {each.task_id: judge_one(each, each.canonical_solution, pool=pool) for each in data.problems}
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.PASSED}, verdicts
    assert verdicts["DS-1000/291"].checks == 2 and verdicts["DS-1000/0"].checks == 1


@pytest.mark.parametrize(
    ("code", "outcome", "says"),
    [
        ("result = a", Outcome.FAILED, "Not equal"),
        ("result = np.array([x * x for x in a])", Outcome.FAILED, "AssertionError"),  # test_string forbids the loop
        ("result = (a", Outcome.COMPILE, "SyntaxError"),
        ("result = missing", Outcome.FAILED, "NameError"),
        ("import seaborn_that_is_not_there", Outcome.FAILED, "ModuleNotFoundError"),
        ("import codeup", Outcome.FAILED, "ModuleNotFoundError"),
        ("open('/etc/passwd')", Outcome.FAILED, "Error"),
        ("  ", Outcome.NO_CODE, "no code"),
    ],
)
def test_what_is_wrong_has_its_outcome(data: BenchmarkData, pool: Pool, code: str, outcome: Outcome, says: str) -> None:
    verdict = judge_one(by_id(data, 291), code, pool=pool)
    assert verdict.outcome == outcome and says in verdict.detail, verdict


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_pass_does_not_pass(data: BenchmarkData, pool: Pool, name: str) -> None:
    verdict = judge_one(by_id(data, 291), FORGERIES[name], pool=pool)
    assert verdict.outcome in (Outcome.FAILED, Outcome.EXITED), verdict


def test_libraries_are_those_of_the_context_and_of_the_program_it_holds(data: BenchmarkData) -> None:
    assert by_id(data, 0).extra["libraries"] == ("pandas", "numpy")
    assert by_id(data, 511).extra["libraries"] == ("matplotlib", "numpy")
    text = 'import a.b as c, os\nprogram = r"""\n    from scipy.stats import norm\n"""\n# import no\nimport the data\n'
    assert ds1000.imported(text) == ["a", "scipy"]


def test_a_missing_library_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = ds1000.load(write(tmp_path, [SQUARES, ABSENT]))
    with pytest.raises(UserError, match=r"no_such_library_of_codeup \(1 problems\)"):
        whole.imports(data.problems)
    cause = "the library tensorflow is not installed"
    expected = "the libraries tensorflow, no_such_library_of_codeup are not installed"
    assert libraries.missing(data.problems)["DS-1000/700"] in (
        expected,
        cause.replace("tensorflow", "no_such_library_of_codeup"),
    )


def test_a_package_is_shown_with_what_it_needs_and_nothing_else() -> None:
    found = packages.located(["pandas"])
    assert {"pandas", "numpy", "dateutil"} <= found.keys()
    assert not {"codeup", "torch", "pytest"} & found.keys()
    assert set(packages.located()) <= {"numpy", "numpy.libs"}


def evaluate(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(app, ["evaluate", "--benchmark", "ds1000", "--json", "--workers", "1", *arguments])
    good = done.exit_code == 0
    return done.exit_code, json.loads(done.stdout.strip().split("\n")[-1]) if good else {}, done.stderr


def test_the_command_calibrates_scores_and_refuses_what_it_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, samples = write(tmp_path, [SHUFFLED, SQUARES, ABSENT]), tmp_path / "s.jsonl"
    rows = [{"task_id": "DS-1000/0", "solution": "result = df.iloc[List]"},
            {"task_id": "DS-1000/291", "completion": "result = a + 1\n</code>\nEND SOLUTION"},
            {"task_id": "DS-1000/700", "solution": "result = a"}]  # fmt: skip
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("--data", str(path), "--samples", str(samples))
    code, _, said = evaluate(*given)
    assert code == 2 and "no_such_library_of_codeup" in said and ".[ds1000]" in said
    code, found, _ = evaluate(*given, "--exclude", "missing-libraries")
    assert (code, found["outcomes"]) == (0, {"FAILED": 1, "PASSED": 1})
    assert found["scores"][0]["n"] == 2 and list(found["excluded"]) == ["DS-1000/700"]
    assert found["calibration"]["passed"] == 2 and found["calibration"]["tools"]["pandas"].startswith("pandas ")


def test_an_answer_is_the_first_block_with_its_indentation_or_what_stands_in_its_tags(data: BenchmarkData) -> None:
    problem = by_id(data, 5)
    answers = {
        "Sure:\n```python\n    return df.sum()\n```\nor\n```python\nx\n```": "    return df.sum()",
        "<code>\nresult = 1\n</code> as you see": "\nresult = 1\n",
        "result = 2\n# SOLUTION END\nmore": "result = 2\n",
        "```sql\nselect 1\n```": "",
    }
    for raw, code in answers.items():
        assert program_of(Sample(problem.task_id, 0, "chat", raw, "stop"), problem, ds1000).code == code, raw
    assert ds1000.program_from_completion(problem, "```python\nx = 1\n```\ny") == "\nx = 1\n"
    assert prompts.ask("default", ds1000, problem, "base").text == "Problem:\nAdd up the columns in a function.\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metadata": {"library": "Cobol", "problem_id": 1}}, "metadata is"),
        ({"metadata": None}, "metadata is"),
        ({"code_context": "def test_execution(x): pass"}, r"no \[insert\]"),
        ({"reference_code": 3}, "no text in reference_code"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        ds1000.load(write(tmp_path, [{**SQUARES, **change}]))
    with pytest.raises(UserError, match="none is named"):
        ds1000.load(None)


def test_calibration_knows_versions_of_libraries(data: BenchmarkData) -> None:
    assert {"python", "numpy", "pandas", "matplotlib"} <= whole.versions(data.problems).keys()
    assert calibrate.applies(data)
