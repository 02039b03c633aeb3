"""Imports that a benchmark's own grader puts before every program, whose authors could rely on them.

    starter code      class Solution:
                          def rev(self, xs: List[int]) -> List[int]:     List is imported by the grader, not the answer
    with_imports()    from typing import List                            only what the code names, on a line of its own
                      class Solution: ...

The lists say the same as APPS's testing_util.py (hendrycks/apps) and LiveCodeBench's (lcb_runner/evaluation).
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Sequence

Given = Sequence[tuple[str, Sequence[str]]]
"""Modules with the names taken from each: "*" is all of them, no names the module itself."""

APPS: Given = (
    ("sys", ()), ("time", ()),
    ("itertools", ()), ("itertools", ("accumulate", "product", "permutations", "combinations")),
    ("collections", ()), ("collections", ("Counter", "OrderedDict", "deque", "defaultdict", "ChainMap")),
    ("functools", ("lru_cache",)), ("math", ()),
    ("math", ("sqrt", "sin", "cos", "tan", "ceil", "fabs", "floor", "gcd", "exp", "log", "log2")), ("fractions", ()),
    ("typing", ("List", "Tuple")), ("numpy", ("np",)), ("random", ()), ("heapq", ()), ("heapq", "*"),
)  # fmt: skip

_LIVECODEBENCH = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json",
)  # fmt: skip
LIVECODEBENCH: Given = (
    *((module, "*") for module in _LIVECODEBENCH), ("builtins", "*"), ("typing", "*"),
    *((module, ()) for module in _LIVECODEBENCH),
)  # fmt: skip
DEEP = "import sys; sys.setrecursionlimit(50000)"
"""LiveCodeBench's grader lets programs call this deep."""

LEAVES = "import builtins, sys; builtins.exit = builtins.quit = sys.exit"
"""What Python's module `site` does, which programs run without. Nor have they a /dev/stdin, which is file 0."""

GIVEN: dict[str, tuple[str, Given]] = {"apps": ("", APPS), "livecodebench": (DEEP, LIVECODEBENCH)}


def with_imports(code: str, benchmark: str) -> str:
    """A program behind the imports of the benchmark's grader that it names; those from __future__ stay first.

    >>> with_imports("def f(x: List[int]): return sqrt(x[0])\\n", "apps")
    'from math import sqrt; from typing import List\\ndef f(x: List[int]): return sqrt(x[0])\\n'
    """
    first, given = GIVEN[benchmark]
    code = re.sub(r"""\bopen\(\s*(["'])/dev/stdin\1""", "open(0", code)
    words = set(re.findall(r"[A-Za-z_]\w*", code))
    leaves = [LEAVES] if words & {"exit", "quit"} else []
    parts = [
        *([first] if first else []),
        *leaves,
        *(line for module, names in given if (line := _line(module, names, words))),
    ]
    if not parts:
        return code
    lines = code.split("\n")
    place = max((n for n, line in enumerate(lines, 1) if line.startswith("from __future__")), default=0)
    return "\n".join([*lines[:place], "; ".join(parts), *lines[place:]])


def _line(module: str, names: Sequence[str], words: set[str]) -> str:
    """One import, as far as the words ask for it."""
    if names == "*":
        return f"from {module} import *" if words & _public(module) else ""
    if names == ("np",):
        return f"import {module} as np" if "np" in words else ""
    if not names:
        return f"import {module}" if module in words else ""
    used = [name for name in names if name in words]
    return f"from {module} import {', '.join(used)}" if used else ""


@functools.cache
def _public(module: str) -> frozenset[str]:
    """What a star takes from a module of Python's library."""
    loaded = importlib.import_module(module)
    return frozenset(getattr(loaded, "__all__", [name for name in dir(loaded) if not name.startswith("_")]))
