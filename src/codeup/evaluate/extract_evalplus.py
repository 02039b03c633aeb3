"""EvalPlus's sanitizer, for comparing with scores that were made through it: the same program from the same text.

    text -> the longest run of lines that parses -> imports, and what the entry point reaches of the top-level
            definitions that it keeps                -> program; nothing kept: the run of lines itself

Rules as in EvalPlus 0.3.1 (evalplus/sanitize.py), stated anew over Python's own syntax tree:
  * Run: most non-blank lines, the first of equals, at least two lines; if there is none, the text's first line.
  * Kept: `import`, `from` (not `from __future__`), classes, functions in which a `return` occurs, `name = ...` and
    `name: T = ...`. The first kept definition of a name wins. Everything else at the top level is dropped, decorated
    functions and classes too.
  * Reached: a definition reaches every name written anywhere in it. Imports stay whether reached or not.
It breaks correct programs (docs/evaluation.md shows how); our own rules are in extract.py. Comments at the edge of a
definition may stay where EvalPlus drops them, or the reverse.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from codeup.languages import python

MOST_LINES_PARSED = 400_000
"""Bound on the search, counted in lines given to the parser (a few seconds). An answer of 200 lines of prose and code
needs about 20,000. Where it is reached, the best run so far is taken and the rule is "evalplus-limited"."""


@dataclass(frozen=True, slots=True)
class Run:
    """The longest run of lines that parses, and whether the search was ended by its bound."""

    text: str
    limited: bool = False


def sanitize(text: str, entry_point: str, budget: int = MOST_LINES_PARSED) -> Run:
    """The program in a text by EvalPlus's rules."""
    found = longest_run(text, budget)
    kept = _kept(found.text, entry_point).strip()
    return Run(kept or found.text, found.limited)


def longest_run(text: str, budget: int = MOST_LINES_PARSED) -> Run:
    """EvalPlus tries all O(n^2) runs; here a failed parse says which shorter runs cannot parse either.

    For each first line the last line is moved up from the end, past all that the parser has ruled out, until a run
    parses or can no longer be longer than the best one.
    """
    lines = text.split("\n")
    filled = list(accumulate((bool(line.strip()) for line in lines), initial=0))  # filled[j] of lines[:j] are not blank
    best, first, last = 0, 0, 0
    for start in range(len(lines)):
        end = len(lines) - 1
        if filled[-1] - filled[start] <= best:
            break
        while end > start and filled[end + 1] - filled[start] > best:
            if (budget := budget - (end + 1 - start)) < 0:
                return Run("\n".join(lines[first : last + 1]), limited=True)
            broken = python.broken_from("\n".join(lines[start : end + 1]))
            if not broken:
                end = _first_of_equals(filled, end, start, lines)
                best, first, last = filled[end + 1] - filled[start], start, end
            end = min(end, start + broken - 1) - 1 if broken else start
    return Run("\n".join(lines[first : last + 1]))


def _first_of_equals(filled: list[int], end: int, start: int, lines: list[str]) -> int:
    """The shortest run that holds as many non-blank lines and parses: blank lines at the end do not count."""
    same = [j for j in range(start + 1, end) if filled[j + 1] == filled[end + 1]]
    return next((j for j in same if not python.broken_from("\n".join(lines[start : j + 1]))), end)


def _kept(code: str, entry_point: str) -> str:
    """Imports, then the definitions that the entry point reaches, in order; empty where nothing is kept."""
    tree = python.parse(code) or python.parse(code := code.lstrip())  # a first line alone may be indented
    if tree is None:
        return ""
    parts: list[ast.stmt] = []
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__"):
            parts.append(node)
        elif (name := _defines(node)) and name not in definitions:
            definitions[name] = node
    reached, waiting = {entry_point}, [entry_point]
    while waiting:
        found = definitions.get(waiting.pop())
        new = set(_names(found)) - reached if found else set()
        reached |= new
        waiting += new
    parts += [node for name, node in definitions.items() if name in reached]
    return "\n".join(ast.get_source_segment(code, node) or "" for node in parts)


def _defines(node: ast.stmt) -> str | None:
    """The name under which EvalPlus keeps a top-level statement: for `a, b = c` and `t[0] = c` it is c."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        returns = isinstance(node, ast.ClassDef) or any(isinstance(inner, ast.Return) for inner in ast.walk(node))
        return node.name if returns and not node.decorator_list else None
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(target, ast.Name):
        return target.id if target.col_offset == node.col_offset else None  # not `(a) = 1`
    chained = isinstance(node, ast.Assign) and len(node.targets) > 1
    return node.value.id if isinstance(node.value, ast.Name) and not chained else None


def _names(node: ast.AST) -> Iterator[str]:
    """Every identifier written in a piece of code, also those of attributes, arguments and f-strings."""
    for inner in ast.walk(node):
        for field, value in ast.iter_fields(inner):
            if isinstance(inner, ast.Constant) or field == "type_comment":
                continue
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    yield from text.split(".")
