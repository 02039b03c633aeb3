"""A model's tests as checks that may run outside the sandbox: calls with literals, compared with literals.

    assert add(1, 2) == 3                     assert candidate(1, 2) == 3
    xs = [3, 1]                          ->   assert sorted(candidate([3, 1])) == [1, 3]
    assert sorted(uniq(xs)) == [1, 3]
    with pytest.raises(ValueError):           a check that passes where the answer is that exception
        add("a", 2)

    assert add(1, helper()) == 3              left out: it would run code of the model in the judge's process

The tests a model writes are as hostile as its program. So they are read, not run: what is left after this module names
nothing but the function under test, a few harmless builtins and constants, and the program's own process never sees the
expected values. A program that exits, prints or overwrites `==` gains nothing. Not covered: tests with loops, classes,
files or their own helpers; they are counted as left out.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from codeup.languages import python
from codeup.sandbox import values

BUILTINS = frozenset({"abs", "sorted", "len", "list", "set", "tuple", "dict", "round", "sum", "min", "max", "frozenset",
                      "isinstance", "float", "int", "str", "bool"})  # fmt: skip
TYPES = frozenset({"int", "float", "str", "bool", "list", "tuple", "dict", "set", "frozenset", "bytes", "complex"})
_NODES = (
    ast.Expression, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict,
    ast.Load, ast.cmpop, ast.boolop, ast.unaryop, ast.Subscript, ast.Slice, ast.Starred, ast.keyword,
)  # fmt: skip
MOST_CHARACTERS = 20_000
MOST_CHECKS = 50
MOST_NODES = 100_000
"""Nodes of syntax that names are replaced by in one test section: each line may double what the one before it holds."""
LARGEST_INTEGER = 10**30
CLOSE = 1e-7


@dataclass(frozen=True, slots=True)
class Check:
    """One assertion as source, the function in it called `candidate`. `expected` are literals in it."""

    source: str
    expected: tuple[str, ...]
    raises: bool = False


@dataclass(frozen=True, slots=True)
class Checks:
    """What a test section proves: the function it is about, checks, and how many assertions were left out."""

    entry_point: str
    checks: tuple[Check, ...]
    left_out: int

    def source(self, *, reverse: bool = False) -> str:
        """`check(candidate)` for the sandbox's referee."""
        ordered = self.checks[::-1] if reverse else self.checks
        return PRELUDE + "def check(candidate):\n" + "\n".join(f"    {each.source}" for each in ordered) + "\n"


PRELUDE = """
def raises(name, call):
    try:
        call()
    except Exception as error:
        return str(error).split(":")[0] == name
    return False

def close(a, b, rel_tol=1e-9, abs_tol=0.0):
    return a == b or abs(a - b) <= max(rel_tol * max(abs(a), abs(b)), abs_tol)

"""


def read(tests: str, program: str) -> Checks:
    """The checks in a test section about a function of the program; none where it cannot be read."""
    try:
        return _read(tests, program)
    except RecursionError:  # brackets or signs nested thousands deep
        return Checks("", (), 0)


def _read(tests: str, program: str) -> Checks:
    tree, solution = python.parse(tests[:MOST_CHARACTERS]), python.parse(program)
    if tree is None or solution is None or len(tests) > MOST_CHARACTERS:
        return Checks("", (), 0)
    entry = _entry_point(tree, python.functions(solution))
    if not entry:
        return Checks("", (), _assertions(tree))
    found, left_out = [], 0
    for check in _statements(tree.body, entry, _Known()):
        if check is None:
            left_out += 1
        elif check not in found:
            found.append(check)
    return Checks(entry, tuple(found[:MOST_CHECKS]), left_out + max(0, len(found) - MOST_CHECKS))


def _entry_point(tree: ast.Module, defined: Sequence[str]) -> str:
    """The function of the solution that the assertions call most, the first such."""
    calls = Counter(
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined
    )
    return max(calls, key=lambda name: (calls[name], -defined.index(name)), default="")


def _assertions(tree: ast.AST) -> int:
    return sum(isinstance(node, ast.Assert) for node in ast.walk(tree))


class _Known:
    """Values of names, with the number of their nodes; inner scopes share what may still be copied of them."""

    def __init__(self, values: dict[str, tuple[ast.expr, int]] | None = None, left: list[int] | None = None) -> None:
        self.values, self._left = values or {}, left or [MOST_NODES]

    def inner(self) -> _Known:
        return _Known(dict(self.values), self._left)

    def forget(self, name: str) -> None:
        self.values.pop(name, None)

    def keep(self, name: str, value: ast.expr) -> None:
        self.values[name] = (value, sum(1 for _ in ast.walk(value)))

    def inlined(self, node: ast.expr) -> ast.expr:
        """A copy with the names of known values replaced by the values. Raises _TooLarge."""
        values = self.values
        names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and each.id in values]
        nodes = sum(values[name][1] for name in names)
        if nodes > self._left[0]:
            raise _TooLarge
        self._left[0] -= nodes

        class Inline(ast.NodeTransformer):
            def visit_Name(self, name: ast.Name) -> ast.expr:
                return copy.deepcopy(values[name.id][0]) if name.id in values else name

        replaced: ast.expr = Inline().visit(copy.deepcopy(node))
        return replaced


class _TooLarge(Exception):
    """More than MOST_NODES."""


def _statements(body: Sequence[ast.stmt], entry: str, known: _Known) -> Iterator[Check | None]:
    """A check, or None where an assertion is left out, for each; assignments of literals are remembered."""
    for node in body:
        if isinstance(node, ast.Assert):
            yield _check(node.test, entry, known)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            _remember(node.targets[0].id, node.value, entry, known)
        elif isinstance(node, ast.ClassDef) or _is_test(node):
            yield from _statements(node.body, entry, known.inner())
        elif isinstance(node, ast.With):
            yield _raising(node, entry, known)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _unittest(node.value, entry, known)
        elif not isinstance(node, ast.Import | ast.ImportFrom | ast.Pass | ast.Expr):
            for name in python.defined(ast.Module([node], [])):
                known.forget(name)
            yield from [None] * _assertions(node)


def _remember(name: str, assigned: ast.expr, entry: str, known: _Known) -> None:
    """A name has a known value from now on, or none any more."""
    try:
        value = known.inlined(assigned)
    except _TooLarge:
        known.forget(name)
        return
    known.forget(name)
    if _literal(value) or (_calls(value, entry) and _plain(value, entry)):
        known.keep(name, value)


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name.startswith(("test", "check"))


def _unittest(call: ast.Call, entry: str, known: _Known) -> Iterator[Check | None]:
    """`self.assertEqual(a, b)` and its like; other calls are no assertions."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if not name.startswith("assert"):
        return
    two = {"assertEqual": ast.Eq, "assertNotEqual": ast.NotEq, "assertIs": ast.Is, "assertListEqual": ast.Eq,
           "assertDictEqual": ast.Eq}  # fmt: skip
    if name in two and len(call.args) >= 2:
        yield _check(ast.Compare(call.args[0], [two[name]()], [call.args[1]]), entry, known)
    elif name == "assertTrue" and call.args:
        yield _check(call.args[0], entry, known)
    elif name == "assertFalse" and call.args:
        yield _check(ast.UnaryOp(ast.Not(), call.args[0]), entry, known)
    elif name == "assertIsNone" and call.args:
        yield _check(ast.Compare(call.args[0], [ast.Is()], [ast.Constant(None)]), entry, known)
    else:
        yield None


def _check(test: ast.expr, entry: str, known: _Known) -> Check | None:
    try:
        test = known.inlined(test)
    except _TooLarge:
        return None
    if not _calls(test, entry) or not _plain(test, entry) or not _sendable(test, entry):
        return None
    return Check(f"assert {ast.unparse(_renamed(test, entry))}", tuple(dict.fromkeys(_expected(test, entry))))


def _expected(test: ast.expr, entry: str) -> Iterator[str]:
    """Literals that an answer is compared with, wherever in the assertion."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.Is):
            sides = [node.left, node.comparators[0]]
            if any(_calls(side, entry) for side in sides):
                yield from (ast.unparse(side) for side in sides if _literal(side))
    if isinstance(test, ast.Call):
        yield "True"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield "False"


def _raising(node: ast.With, entry: str, known: _Known) -> Check | None:
    """`with pytest.raises(ValueError): f(-1)`."""
    context = node.items[0].context_expr
    names = ("raises", "assertRaises")
    called = context.func if isinstance(context, ast.Call) else None
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    if not isinstance(context, ast.Call) or name not in names or len(node.items) != 1 or len(node.body) != 1:
        return None
    (inner,) = node.body
    error = context.args[0] if context.args else None
    if not isinstance(inner, ast.Expr) or not isinstance(error, ast.Name) or context.keywords:
        return None
    try:
        value = known.inlined(inner.value)
    except _TooLarge:
        return None
    if not _calls(value, entry) or not _plain(value, entry) or not _sendable(value, entry):
        return None
    return Check(f"assert raises({error.id!r}, lambda: {ast.unparse(_renamed(value, entry))})", (), raises=True)


def _renamed(node: ast.expr, entry: str) -> ast.expr:
    class Rename(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return ast.Name("candidate", ast.Load()) if name.id == entry else name

        def visit_Call(self, call: ast.Call) -> ast.expr:
            self.generic_visit(call)
            if isinstance(call.func, ast.Attribute):
                call.func = ast.Name("close", ast.Load())
            return call

    renamed: ast.expr = Rename().visit(copy.deepcopy(node))
    return renamed


def _calls(node: ast.AST, entry: str) -> bool:
    return any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == entry
        for each in ast.walk(node)
    )


def _sendable(node: ast.AST, entry: str) -> bool:
    """Whether the arguments of all calls can go to the sandbox, and the whole compiles."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == entry:
            inside = [*call.args, *(keyword.value for keyword in call.keywords)]
            if not all(_encodable(each) for each in inside):
                return False
    try:
        compile(ast.unparse(node), "<check>", "eval", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError):
        return False
    return True


def _encodable(argument: ast.expr) -> bool:
    if any(
        isinstance(each, ast.Name) and each.id in TYPES and not _called(argument, each) for each in ast.walk(argument)
    ):
        return False
    try:
        values.encode(ast.literal_eval(argument), -values.MAX_DEPTH)
    except values.Unencodable:
        return False
    except (ValueError, TypeError):  # holds a call or a product: what comes out of those is plain
        return True
    return True


def _called(node: ast.expr, name: ast.Name) -> bool:
    return any(isinstance(each, ast.Call) and each.func is name for each in ast.walk(node))


def _literal(node: ast.expr) -> bool:
    """Constants and containers of them, no call, no operation on large things."""
    return _plain(node, "")


def _plain(node: ast.AST, entry: str) -> bool:
    """Whether a node holds nothing that could do harm where it is evaluated, or take long."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, int) or abs(node.value) < LARGEST_INTEGER
    if isinstance(node, ast.Call):
        inside = [*node.args, *(keyword.value for keyword in node.keywords)]
        return _harmless(node, entry) and all(_plain(each, entry) for each in inside)
    if isinstance(node, ast.BinOp):
        return _small(node) and _plain(node.left, entry) and _plain(node.right, entry)
    if isinstance(node, ast.Name):
        return node.id in TYPES and bool(entry)
    return isinstance(node, _NODES) and all(_plain(child, entry) for child in ast.iter_child_nodes(node))


def _harmless(call: ast.Call, entry: str) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        if not entry:  # part of a literal: set(), float("inf")
            return (function.id in ("set", "frozenset") and not call.args) or _is_float(call)
        return function.id == entry or function.id in BUILTINS
    is_close = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    return bool(entry) and is_close and ast.unparse(function) == "math.isclose"


def _is_float(call: ast.Call) -> bool:
    return ast.unparse(call).lower() in ("float('inf')", "float('-inf')", "float('nan')")


def _small(node: ast.BinOp) -> bool:
    """Sums, differences and quotients; products only of two plain numbers, or of a thing and a number up to 1,000."""
    if isinstance(node.op, ast.Add | ast.Sub | ast.Div):
        return True
    if not isinstance(node.op, ast.Mult):
        return False
    sides = [node.left, node.right]
    return any(
        isinstance(s, ast.Constant) and isinstance(s.value, int) and abs(s.value) <= 1000 for s in sides
    ) and not any(isinstance(each, ast.Mult) for side in sides for each in ast.walk(side))
