"""A file's name is its name: find a room's module by the name a recipe uses.

`load("benchmarks", "humaneval_plus")` imports `codeup.benchmarks.humaneval_plus`; a dotted name imports the user's own
module. There is no registry: adding a file is all it takes. `describe` reads docstrings without importing anything, so
`codeup list` needs no heavy library.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from codeup.errors import UserError

KINDS = {
    "sources": "codeup.data.sources",
    "rules": "codeup.data.rules",
    "filters": "codeup.data.filters",
    "languages": "codeup.languages",
    "benchmarks": "codeup.benchmarks",
    "engines": "codeup.engines",
    "steps": "codeup.steps",
}
"""What can be extended by one file, and the package the file lives in."""

NEEDED = {"benchmarks": ("load",)}
"""What a module of the user's own must have; sources are checked where they are used (data/load.py)."""


def module_name(name: str) -> str:
    """The Python spelling of a plugin's name.

    >>> module_name("humaneval+"), module_name("WizardLM-evol")
    ('humaneval_plus', 'wizardlm_evol')
    """
    return name.replace("+", "_plus").replace("-", "_").lower()


def names(kind: str) -> list[str]:
    """Names available in the package, sorted. Files starting with an underscore are helpers, not plugins."""
    return sorted(path.stem for path in _folder(kind).glob("*.py") if not path.stem.startswith("_"))


def describe(kind: str) -> list[tuple[str, str]]:
    """(name, first docstring line) of every plugin of a kind, read from the source text."""
    rows = []
    for name in names(kind):
        doc = ast.get_docstring(ast.parse((_folder(kind) / f"{name}.py").read_text(encoding="utf-8")))
        rows.append((name, (doc or "").split("\n")[0]))
    return rows


def check(kind: str, name: str) -> None:
    """Raise UserError unless `name` can be loaded; imports nothing, so it is safe before heavy libraries are wanted."""
    if "." in name:
        try:
            found = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            found = False
        if not found:
            raise UserError(f"no Python module {name!r} can be imported", mend="put its folder on PYTHONPATH")
    elif module_name(name) not in names(kind):
        close = difflib.get_close_matches(module_name(name), names(kind), n=1)
        raise UserError(
            f"no {kind[:-1]} is called {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
            mend=f"one of: {', '.join(names(kind))}; or a dotted name of your own module",
        )


def load(kind: str, name: str) -> ModuleType:
    """Import the module behind a name. Raises UserError for an unknown name, listing the known ones."""
    check(kind, name)
    module = importlib.import_module(name if "." in name else f"{KINDS[kind]}.{module_name(name)}")
    if lacking := [each for each in NEEDED.get(kind, ()) if not hasattr(module, each)]:
        mend = f"name a module with {', '.join(NEEDED[kind])}, or one of `codeup list {kind}`"
        raise UserError(f"the module {name!r} is no {kind[:-1]}: it has no {', '.join(lacking)}", mend=mend)
    return module


def _folder(kind: str) -> Path:
    if kind not in KINDS:
        raise UserError(f"there is no kind {kind!r}", mend=f"one of: {', '.join(KINDS)}")
    return Path(__file__).parent.joinpath(*KINDS[kind].split(".")[1:])
