"""Functions in source text: their shape without names, and which of them could answer a benchmark's calls.

    def f(xs, t):                          def any_near(values, gap):
        for i in xs:                           for v in values:           the same shape: every name of the function's
            if i > t: return True                  if v > gap: return True    own is replaced by its order of appearance

A shape keeps constants, operators, attributes and the names of other functions; it forgets docstrings, annotations and
what the function and its variables are called.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from codeup.data.code import blocks, parse

Function = ast.FunctionDef | ast.AsyncFunctionDef
_DEFINING = ("def", "class", "import", "=")
"""A text without any of these defines nothing, and need not be parsed."""
MOST_FUNCTIONS = 40
"""Functions of one row that are looked at."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A function's shape as 64 bits, those of its statements, and how many syntax nodes it has."""

    whole: int
    statements: frozenset[int]
    nodes: int


@dataclass(frozen=True, slots=True)
class Callable_:
    """A function that can be called: how (an expression), and with how few and how many arguments."""

    expression: str
    fewest: int
    most: int


def shapes(texts: Iterable[str]) -> list[Shape]:
    """Shapes of the functions in some texts, methods and inner functions included."""
    found: list[Shape] = []
    for block in (block for text in texts if "def" in text for block in blocks(text)):
        tree = parse(block)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(found) < MOST_FUNCTIONS:
                found.append(shape(node))
    return found


def shape(function: Function) -> Shape:
    """The shape of one function."""
    names = _own_names(function)
    body = [statement for statement in function.body if not _is_docstring(statement)]
    inner: list[str] = []
    statements = [_dump(statement, names, inner) for statement in body]
    arguments = len(function.args.posonlyargs) + len(function.args.args)
    return Shape(
        _hash(f"{arguments} " + "\n".join(statements)),
        frozenset(map(_hash, inner)),
        sum(1 for statement in body for _ in ast.walk(statement)),
    )


def _own_names(function: Function) -> dict[str, str]:
    """Names that the function binds, by order of appearance."""
    order: dict[str, str] = {function.name: "self"}
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        order.setdefault(argument.arg, f"v{len(order)}")
    for node in _in_order(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            order.setdefault(node.id, f"v{len(order)}")
        elif isinstance(node, ast.arg):
            order.setdefault(node.arg, f"v{len(order)}")
        elif isinstance(node, ast.FunctionDef):
            order.setdefault(node.name, f"v{len(order)}")
    return order


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        yield from _in_order(child)


_FORGOTTEN = frozenset({"ctx", "annotation", "returns", "type_comment", "type_params", "decorator_list", "kind"})


def _dump(node: ast.AST, names: dict[str, str], statements: list[str]) -> str:
    """As ast.dump, with own names replaced and annotations forgotten; that of each statement in it is appended."""
    parts = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name in _FORGOTTEN or value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if name == "body":
            values = [each for each in values if not _is_docstring(each)] if isinstance(value, list) else values
        for each in values:
            parts.append(_dump(each, names, statements) if isinstance(each, ast.AST) else _plain(each, names))
    text = f"({' '.join(parts)})"
    if isinstance(node, ast.stmt):
        statements.append(text)
    return text


def _plain(value: object, names: dict[str, str]) -> str:
    return names.get(value, value) if isinstance(value, str) else repr(value)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


# --- what can be called ----------------------------------------------------------------------------------------------


def program_of(texts: Iterable[str]) -> tuple[str, list[Callable_]]:
    """Definitions in the Python of some texts as one program, and what of it can be called; ("", []) without any.

    Statements that do something when loaded (prints, calls, loops) are left out: they are the row's example of use, and
    may wait for input.
    """
    kept: list[ast.stmt] = []
    for block in (block for text in texts if any(map(text.__contains__, _DEFINING)) for block in blocks(text)):
        tree = parse(block)
        kept += [node for node in tree.body if _defines(node)] if tree else []
    found = [each for node in kept for each in _callables(node)][:MOST_FUNCTIONS]
    if not found:
        return "", []
    return ast.unparse(ast.Module(kept, [])), found


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return not any(isinstance(inner, ast.Call) for inner in ast.walk(node)) or isinstance(node.value, ast.Lambda)
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _callables(node: ast.stmt) -> Iterator[Callable_]:
    if isinstance(node, ast.FunctionDef):
        yield Callable_(node.name, *arity(node.args))
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda) and isinstance(node.targets[0], ast.Name):
        yield Callable_(node.targets[0].id, *arity(node.value.args))
    elif isinstance(node, ast.ClassDef):
        yield from _methods(node)


def _methods(node: ast.ClassDef) -> Iterator[Callable_]:
    """Methods on a fresh object; where making one takes arguments, a method without any is called with those."""
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    init = next((each for each in methods if each.name == "__init__"), None)
    need = max(arity(init.args)[0] - 1, 0) if init else 0
    for method in methods:
        if method.name.startswith("__") and method.name != "__call__":
            continue
        static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in method.decorator_list)
        fewest, most = arity(method.args)
        fewest, most = (fewest, most) if static else (max(fewest - 1, 0), max(most - 1, 0))
        expression = f"(lambda *a: {node.name}(*a[:{need}]).{method.name}(*a[{need}:]))"
        yield Callable_(expression, fewest + need, most + need)


def arity(arguments: ast.arguments) -> tuple[int, int]:
    """(fewest, most) positional arguments."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return positional - len(arguments.defaults), 99 if arguments.vararg else positional
