"""A file imports its own room and lower floors only; the house is in docs/tour.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "codeup"
FLOORS = [
    ["types", "errors"],
    ["recipe", "recipe_checks", "recipe_text", "plugins", "artifacts", "stats", "power", "repeats", "executors"],
    ["chat", "data", "languages", "sandbox", "benchmarks", "engines", "nano"],
    ["train", "evaluate", "decontaminate", "codecheck", "provenance", "report", "export", "serve", "models"],
    ["steps", "study", "run", "bench", "interop", "planning", "prepared", "synth", "publishing", "judging"],
    ["cli", "__main__"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
NEIGHBOURS = {
    ("recipe", "recipe_text"),
    ("recipe", "executors"),
    ("recipe", "recipe_checks"),
    ("recipe_checks", "recipe_text"),
    ("recipe_checks", "recipe"),
    ("repeats", "stats"),
    ("repeats", "power"),
    ("recipe_checks", "plugins"),
    ("executors", "artifacts"),
    ("__main__", "cli"),
}
"""Pairs on one floor that are one thing in two files (a recipe and its text, estimators), or a name lookup."""

HEAVY = {"torch", "transformers", "peft", "accelerate", "vllm", "ray", "starlette", "uvicorn", "matplotlib", "trl"}
LIGHT_FLOORS = {0, 1, 5}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> list[str]:
    """Dotted names of modules a file imports, `from codeup import x` counted as codeup.x."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room they reach into"
            names += (
                [f"codeup.{alias.name}" for alias in node.names] if node.module == "codeup" else [node.module or ""]
            )
    return names


def violations(path: Path, text: str) -> list[str]:
    room = room_of(path)
    found = []
    for name in imported(ast.parse(text)):
        if not name.startswith("codeup.") or name == "codeup.__version__":
            continue
        other = name.split(".")[1]
        if other != room and (room, other) not in NEIGHBOURS and FLOOR[other] >= FLOOR[room]:
            found.append(f"{path.relative_to(ROOT)} (floor {FLOOR[room]}) imports {other} (floor {FLOOR[other]})")
    return found


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py" or p.parent != ROOT], ids=str)
def test_a_file_imports_only_its_room_and_lower_floors(path: Path) -> None:
    assert violations(path, path.read_text()) == []


def test_an_upward_and_a_sideways_import_are_noticed() -> None:
    assert violations(ROOT / "chat" / "x.py", "from codeup.train import sft")
    assert violations(ROOT / "chat" / "x.py", "import codeup.data.files")
    assert violations(ROOT / "stats.py", "from codeup import run")


@pytest.mark.parametrize("path", [p for p in FILES if FLOOR.get(room_of(p), 0) in LIGHT_FLOORS], ids=str)
def test_light_floors_import_no_heavy_library_at_the_top(path: Path) -> None:
    top = ast.Module([n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.FunctionDef)], [])
    assert not {name.split(".")[0] for name in imported(top)} & HEAVY


def test_every_file_belongs_to_a_floor() -> None:
    assert {room_of(path) for path in FILES} - {"__init__"} <= set(FLOOR)
