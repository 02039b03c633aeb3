"""Libraries that problems need (DS-1000): what is installed, which problems cannot run without the rest, versions.

    problem.extra["libraries"] = ("pandas", "numpy")     names as they are imported
    needed([...])                                        ("numpy", "pandas", ...) for the sandbox, or UserError
    missing([...])                                       {"DS-1000/512": "the library tensorflow is not installed"}
    lacks({"detail": "fatal error: boost/any.hpp: No such file or directory"})         True

A problem without its library measures this machine: it is refused, or left out by `--exclude missing-libraries`, which
results repeat. Which versions are right for a benchmark nobody can say but its calibration.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from codeup.errors import UserError, installs
from codeup.types import Problem

LACKING = re.compile(
    r"No such file or directory|[Cc]annot find (?:module|package|-l)|can't find crate|package \S+ does not exist|"
    r"unresolved import|No module named|cannot load such file|Can't locate|is not in (?:std|GOROOT)"
)
"""What tools say of a library or file that is not there."""


def needed(problems: Sequence[Problem]) -> tuple[str, ...]:
    """The libraries of these problems. Raises UserError naming those not installed and how many problems need each."""
    names = _names(problems)
    lacking = Counter(name for problem in problems for name in _of(problem) if not installed(name))
    if lacking:
        each = ", ".join(f"{name} ({count} problems)" for name, count in sorted(lacking.items()))
        raise UserError(
            f"libraries of this benchmark are not installed: {each}",
            mend=f"{installs('ds1000')}, or leave these problems out with --exclude missing-libraries",
        )
    return names


def missing(problems: Sequence[Problem]) -> dict[str, str]:
    """Task -> cause, of the problems whose library is not installed."""
    lacking = {problem.task_id: [name for name in _of(problem) if not installed(name)] for problem in problems}
    return {
        task: f"the library {', '.join(names)} is not installed" if len(names) == 1 else _several(names)
        for task, names in lacking.items()
        if names
    }


def _several(names: list[str]) -> str:
    return f"the libraries {', '.join(names)} are not installed"


def versions(problems: Sequence[Problem]) -> dict[str, str]:
    """Library -> "library version", of those that are installed."""
    return {name: f"{name} {number}" for name in _names(problems) if (number := _version(name))}


def lacks(row: Mapping[str, Any]) -> bool:
    """Whether a verdict's detail names a library or file that is missing, which may be there today."""
    return LACKING.search(row["detail"]) is not None


def _of(problem: Problem) -> tuple[str, ...]:
    return tuple(problem.extra.get("libraries", ()))


def _names(problems: Sequence[Problem]) -> tuple[str, ...]:
    return tuple(sorted({name for problem in problems for name in _of(problem)}))


@functools.cache
def installed(name: str) -> bool:
    """Whether a package can be found, without importing it."""
    return importlib.util.find_spec(name) is not None


@functools.cache
def _version(name: str) -> str:
    owners = _owners().get(name, ())
    return importlib.metadata.version(owners[0]) if owners else ""


@functools.cache
def _owners() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
