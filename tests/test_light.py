"""The command answers before heavy libraries are loaded. Measured in imports, not in seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the first day, when `nano` has not been merged yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


HEAVY = ("torch", "transformers", "peft", "accelerate", "pyarrow", "matplotlib", "numpy", "yaml", "rich")
"""pydantic is not listed: typer itself loads it to convert some arguments."""

PROBE = """
import sys
sys.argv = ["codeup", *{argv!r}]
from codeup.cli.app import main
try:
    main()
except SystemExit as stop:
    assert (stop.code or 0) == {code}, stop.code
print("HEAVY:", [name for name in {heavy!r} if name in sys.modules])
"""


LEARNING = ("torch", "transformers", "peft", "accelerate", "tokenizers", "datasets", "matplotlib")


def loaded(argv: list[str], heavy: tuple[str, ...], *, code: int = 0) -> str:
    probe = PROBE.format(argv=argv, heavy=heavy, code=code)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"], ["list", "benchmarks"]])
def test_help_and_lists_load_nothing_heavy(argv: list[str]) -> None:
    assert loaded(argv, HEAVY) == "HEAVY: []"


def test_a_recipe_is_checked_without_torch() -> None:
    assert loaded(["check", "recipes/nano.yaml"], LEARNING) == "HEAVY: []"


RECIPE = "recipes/nano.yaml"
ANSWERS = ["generate", "--model", "nano", "--benchmark", "nano", "--out", "never-written.jsonl"]
MISTAKES = [
    ["run", RECIPE, "model.base=./missing"],
    ["check", RECIPE, "model.base=missing"],
    ["plan", RECIPE, "--gpu", "missing"],
    ["plan", RECIPE, "--price", "3"],
    ["plan", RECIPE, "--utilisation", "7"],
    ["plan", RECIPE, "--cluster", "2x2"],
    ["plan", RECIPE, "model.base=missing/of/here"],
    ["plan", RECIPE, "stages.code.method=full"],
    ["train", RECIPE, "--stage", "missing"],
    ["merge", "--model", "./missing", "--adapter", "missing", "--out", "never-written"],
    ["merge", "--model", "nano-base", "--adapter", "tests", "--out", "never-written"],
    [*ANSWERS, "--prompt", "missing"],
    [*ANSWERS, "--data", "missing"],
    ["chat", "./missing"],
    ["serve", "nano", "--adapter", "x=tests"],
    ["serve", "nano", "--dtype", "missing"],
    ["serve", "nano", "--device", "missing"],
    ["serve", "nano", "--template", "missing"],
    ["export", "gguf", "nano-base", "--adapter", "missing"],
    ["data", "inspect", "README.md", "--source", "missing"],
]
"""What was told only after five to twelve seconds of loading libraries, or not at all."""


@pytest.mark.parametrize("argv", MISTAKES, ids=" ".join)
def test_a_mistake_is_told_before_libraries_of_learning_are_loaded(argv: list[str]) -> None:
    assert loaded(argv, LEARNING, code=2) == "HEAVY: []"


def test_a_base_of_the_hub_is_no_mistake_and_is_said_to_be_unchecked() -> None:
    """Offline nobody can know whether it exists."""
    code = PROBE.format(argv=["check", RECIPE, "model.base=someone/something"], heavy=LEARNING, code=0)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    *_, line, heavy = done.stdout.strip().splitlines()
    assert heavy == "HEAVY: []" and "whether the Hub has it is seen when the study runs" in line
