"""A right program made wrong in small ways: tests that let the wrong ones pass prove little.

    return x + 1 if x > 0 else 0        operator    return x - 1 if x > 0 else 0
                                        comparison  return x + 1 if x >= 0 else 0
                                        constant    return x + 2 if x > 0 else 0
                                        negated     return x + 1 if not x > 0 else 0
    wholesale: the function returns None; its first argument; a value that the tests expect

Each mutant has one change, made in the syntax tree (DeMillo, Lipton, Sayward 1978). A mutant that cannot behave
differently exists (`x >= 0` where x is never 0), so not every small one need fail; every wholesale one must. Text in,
text out; nothing is executed here.
"""

from __future__ import annotations

import ast
import copy
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codeup.languages import python

MOST = 12
"""Small mutants of one program."""
CONSTANTS = 3
"""Of the values that tests expect, those they expect most often."""
_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed program, and what was changed. Wholesale ones replace what the function does."""

    program: str
    change: str
    wholesale: bool = False


def mutants(program: str, entry_point: str, expected: Sequence[str]) -> list[Mutant]:
    """The wholesale ones first, then up to MOST small ones, spread over the kinds of change; always the same ones."""
    tree = python.parse(program)
    assert tree is not None, "mutants of a program that does not parse"
    found = list(_wholesale(program, entry_point, expected))
    try:
        return found + list(_small(tree, program))
    except RecursionError:  # nested thousands deep
        return found


def _small(tree: ast.Module, program: str) -> Iterator[Mutant]:
    """Up to MOST different programs with one change, the kinds of change by turns."""
    places: dict[str, list[int]] = {}
    for kind, place in _places(tree):
        places.setdefault(kind, []).append(place)
    draw = random.Random(program)
    for each in places.values():
        draw.shuffle(each)
    by_turns = itertools.zip_longest(*([(kind, place) for place in each] for kind, each in places.items()))
    seen = {ast.unparse(tree)}
    for kind, place in (chosen for turn in by_turns for chosen in turn if chosen):
        changed = copy.deepcopy(tree)
        node = next(itertools.islice(ast.walk(changed), place, None))
        line = getattr(node, "lineno", 0)
        _change(kind, node)
        text = ast.unparse(ast.fix_missing_locations(changed))
        if text not in seen:
            seen.add(text)
            yield Mutant(text, f"{kind} in line {line}")
        if len(seen) > MOST:
            return


def _wholesale(program: str, entry_point: str, expected: Sequence[str]) -> Iterator[Mutant]:
    head = f"{program}\n\ndef {entry_point}(*arguments, **keywords):\n    "
    yield Mutant(head + "return None\n", "returns None", True)
    yield Mutant(head + "return [*arguments, *keywords.values()][0]\n", "returns its first argument", True)
    for value, _ in Counter(expected).most_common(CONSTANTS):
        yield Mutant(head + f"return {value}\n", f"always returns {value[:40]}", True)


def _places(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Kinds of change, and where in `ast.walk` order they can be made."""
    docs = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}  # type: ignore[attr-defined]
    for place, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
            yield "comparison", place
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _ARITHMETIC:
            yield "operator", place
        elif isinstance(node, ast.BoolOp):
            yield "and/or", place
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            yield "negated condition", place
        elif (
            isinstance(node, ast.Constant) and id(node) not in docs and isinstance(node.value, bool | int | str | float)
        ):
            yield "constant", place
        elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield "return", place
        elif isinstance(node, ast.Break | ast.Continue):
            yield "jump", place


def _has_docstring(node: ast.AST) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    return isinstance(node, kinds) and bool(node.body) and ast.get_docstring(node, clean=False) is not None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _change(kind: str, node: ast.AST) -> None:
    """Make one change in place."""
    if isinstance(node, ast.Compare):
        node.ops[0] = _COMPARE[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        node.op = _ARITHMETIC[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant):
        node.value = _other(node.value)
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Break | ast.Continue):
        node.__class__ = ast.Pass  # type: ignore[assignment]
    else:
        raise AssertionError(kind)


def _other(value: object) -> bool | int | float | str:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return "" if value else "_"
