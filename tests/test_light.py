"""The command answers before heavy libraries are loaded. Measured in imports, not in seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "accelerate", "pyarrow", "matplotlib", "numpy", "yaml", "rich")
"""pydantic is not listed: typer itself loads it to convert some arguments."""

PROBE = """
import sys
sys.argv = ["codeup", *{argv!r}]
from codeup.cli.app import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("HEAVY:", [name for name in {heavy!r} if name in sys.modules])
"""


def loaded(argv: list[str], heavy: tuple[str, ...]) -> str:
    code = PROBE.format(argv=argv, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"], ["list", "benchmarks"]])
def test_help_and_lists_load_nothing_heavy(argv: list[str]) -> None:
    assert loaded(argv, HEAVY) == "HEAVY: []"


def test_a_recipe_is_checked_without_torch() -> None:
    assert loaded(["check", "recipes/nano.yaml"], ("torch", "transformers", "peft", "matplotlib")) == "HEAVY: []"
