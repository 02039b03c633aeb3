"""A step is made again when the code that makes its result has changed: its CODE names every file it reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeup import plugins

ROOT = Path(__file__).parent.parent / "src" / "codeup"
ELSEWHERE = ("types.py", "errors.py", "plugins.py", "artifacts.py", "models.py", "recipe", "executors", "nano")
"""Shapes, names and places: what a result is does not depend on them (a base is identified by its weights)."""
TRIED = ("sandbox", "languages")
APART = {
    "prepare": TRIED,  # in the spec, as `tools`, where the rows' code is tried
    "pairs": (*TRIED, "evaluate/extract"),  # of an answer, pairs take the text
    "sft": (
        "sandbox",
        "languages",
        "engines",
        "benchmarks",
        "evaluate",
        "stats.py",
        "steps",
    ),  # select.code in the spec
    "generate": ("languages", "evaluate/extract", "train", "steps/merge.py"),  # one function: where a model lies
    "judge": ("chat", "engines", "train", "steps"),  # answers are made already; one function: where problems lie
    "report": ("chat", "languages", "evaluate"),  # answers.py reads what they wrote
}
"""What a step reaches and its CODE leaves out, because it is in the spec or in an input, or is never called."""
APART["dpo"] = APART["sft"]


def reached(start: Path) -> set[Path]:
    """The files of the package that a file imports, at the top or in its functions, and those that they import."""
    found: set[Path] = set()
    queue = [start]
    while queue:
        new = set(imported(queue.pop())) - found
        found |= new
        queue += new
    return found


def imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "codeup":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (file for name in names if (file := file_of(name) or file_of(str(node.module))))


def file_of(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split(".")[1:])
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@pytest.mark.parametrize("kind", plugins.names("steps"))
def test_the_code_of_a_step_is_all_that_its_result_is_made_by(kind: str) -> None:
    named = plugins.load("steps", kind).CODE
    files = {file.relative_to(ROOT).as_posix() for file in reached(ROOT / "steps" / f"{kind}.py")}
    left_out = {file for file in files if not file.startswith((*named, *ELSEWHERE, *APART.get(kind, ())))}
    assert left_out - {"__init__.py"} == set()


def test_imports_are_followed_into_functions_and_through_other_files() -> None:
    files = {file.relative_to(ROOT).as_posix() for file in reached(ROOT / "steps" / "report.py")}
    assert {"report/build.py", "repeats.py", "evaluate/answers.py", "evaluate/prompts.py"} <= files
    assert "train/sft.py" not in files
