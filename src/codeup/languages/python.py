"""Python: how a program is put together, and what its source text defines.

Everything here reads source text with `ast`; nothing is imported or executed. That happens only in the sandbox.
"""

from __future__ import annotations

import ast
import re
import warnings

NAME = "python"
FENCES = ("python", "py", "python3", "python2", "py3", "sage", "ipython")
"""Words after ``` that mean this language."""

STARTS = re.compile(r"(?m)^(?:async def|def|class|import|from|@)\b|^@")
"""Where code begins in text without fences."""


def parse(code: str) -> ast.Module | None:
    """The syntax tree, or None where Python could not read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def defined(tree: ast.Module) -> set[str]:
    """Names bound at the top level, also inside top-level if and try blocks."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.If | ast.Try):
            waiting += [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)]
            waiting += [inner for handler in getattr(node, "handlers", ()) for inner in handler.body]
    return found


def used(tree: ast.Module) -> set[str]:
    """Names that the code reads."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def functions(tree: ast.Module) -> list[str]:
    """Names of the top-level functions and classes, in order."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds)]


def mentions(code: str, entry_point: str) -> bool:
    """Whether text that does not parse still tries to define the function."""
    return re.search(rf"(?m)^[ \t]*(?:async\s+)?def\s+{re.escape(entry_point)}\s*\(", code) is not None


def is_stub(tree: ast.Module, name: str) -> bool:
    """Whether the last definition of a function has no body of its own: a docstring, `pass` or `...` only."""
    bodies = [node.body for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if not bodies:
        return False
    return all(
        isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in bodies[-1]
    )


def prelude(prompt: str, entry_point: str) -> str:
    """What a prompt holds before the function it asks for: its imports and its helper functions, nothing else.

    >>> prelude('from typing import List\\n\\n\\ndef f(x: List):\\n    "doc"\\n', "f")
    'from typing import List\\n'
    """
    tree = parse(prompt)
    if tree is None:
        return ""
    keep = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry_point:
            break
        keep.append(node)
    lines = prompt.splitlines()
    parts = []
    for node in keep:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(item.lineno for item in decorators)])
        parts.append("\n".join(lines[first - 1 : node.end_lineno]) + "\n")
    return "\n".join(parts)


def assemble(prompt: str, entry_point: str, code: str) -> str:
    """The program of a chat answer: the prompt's imports and helpers, then the answer's own code, which wins."""
    before = prelude(prompt, entry_point)
    if code.lstrip().startswith("from __future__"):
        return code  # must come first; such code imports what it needs
    return f"{before}\n{code}" if before else code
