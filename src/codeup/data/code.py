"""Python in a text that is mostly not Python: fenced blocks, answers that are code, definitions between sentences.

    Sure! Here it is:                      ->  ["def add(a, b):\\n    return a + b"]
    ```python
    def add(a, b): ...

Reads source text with `ast`; nothing is imported or executed.
"""

from __future__ import annotations

import ast
import functools
import keyword
import re
import textwrap
import warnings

_FENCE = re.compile(r"(?ms)^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)")
_BEGINS = re.compile(
    r"([ \t]*)(?:@\w|(?:async[ \t]+)?def[ \t]|class[ \t]+\w|import[ \t]+\w|from[ \t]+[\w.]+[ \t]+import\b)"
)
_BEGIN_WORDS = ("def", "import", "class", "@")
"""One of these is in every line that begins a definition."""
_PYTHON = frozenset({"", "python", "py", "python3", "py3", "python2", "ipython", "pycon", "sage"})
_LAST_CODE = re.compile(r"(?ms)^(?:(?:from|import)[ \t][^\n]*\n\s*)*(?:async +)?def[ \t](?:(?!^[ \t]*(?:`{3}|~{3})).)*")
"""Imports and a function at the left margin, up to a fence or the end."""
_TOP_DEFINITION = re.compile(r"(?m)^(?:async +)?def[ \t]")
MOST_CHARACTERS = 200_000
"""Longer texts are data, not programs."""


def _prose_begins() -> re.Pattern[str]:
    """A text that begins with two names side by side, or with `Sure!`: no Python, and told without the parser.

    Between two names there is always a keyword, or one of them is one.
    """
    words = "|".join((*keyword.kwlist, *keyword.softkwlist))
    name = r"[A-Za-z_]\w*"
    return re.compile(rf"\s*(?!(?:{words})\b){name}(?:!(?!=)|[ \t]+(?!(?:{words})\b){name}(?![\w'\"]))")


_PROSE = _prose_begins()


@functools.lru_cache(maxsize=64)
def parse(text: str) -> ast.Module | None:
    """The syntax tree, or None where Python cannot read it. Kept for a while: do not change it."""
    if _PROSE.match(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def blocks(text: str) -> list[str]:
    """Pieces of a text that parse as Python and do something, in order."""
    return list(_blocks(text))


@functools.lru_cache(maxsize=64)
def _blocks(text: str) -> list[str]:
    if len(text) > MOST_CHARACTERS:
        return []
    fenced = [_dedented(match[3]) for match in _FENCE.finditer(text) if match[2].lower() in _PYTHON]
    whole = fenced or [text]
    found = []
    for piece in whole:
        if _is_program(parse(piece)):
            found.append(piece)
        else:
            found += _definitions(piece)
    return found


def parses(text: str) -> bool:
    """Whether there is Python in a text that parses."""
    return bool(blocks(text))


def completed(question: str, answer: str) -> str:
    """The function that a question begins and its answer ends, as one program; '' where they do not fit.

    >>> completed("Complete this:\\ndef f(x):\\n    'Doubles x.'", "return 2 * x")
    "def f(x):\\n    'Doubles x.'\\n    return 2 * x"
    """
    begun = _LAST_CODE.search(question)
    if begun is None or _TOP_DEFINITION.search(answer) or len(question) + len(answer) > MOST_CHARACTERS:
        return ""
    fences = [match[3] for match in _FENCE.finditer(answer)]
    body = (fences[0] if fences else answer).strip("\n")
    first, line, rest = body.partition("\n")
    for text in (body, f"    {first.lstrip()}{line}{rest}", textwrap.indent(body, "    ")):
        whole = f"{begun[0].rstrip()}\n{text}"
        tree = parse(whole)
        if tree is not None and text.startswith((" ", "\t")) and all(map(_is_definition, tree.body)):
            return whole
    return ""


def _is_definition(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef)


def _is_program(tree: ast.Module | None) -> bool:
    """A single word or a number parses too; that is no program."""
    return tree is not None and any(
        not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call | ast.Await) for node in tree.body
    )


def _definitions(text: str) -> list[str]:
    """Definitions and imports at the left margin of what surrounds them, each up to the next line that is not inside.

    Joined, because they belong together: an import and the function that uses it.
    """
    if not any(word in text for word in _BEGIN_WORDS):
        return []
    lines = text.expandtabs(4).splitlines()
    kept: list[str] = []
    number = 0
    while number < len(lines):
        match = _BEGINS.match(lines[number])
        if match is None:
            number += 1
            continue
        end = number + 1
        while end < len(lines) and _goes_on(lines, end, len(match[1])):
            end += 1
        piece = _longest_parsing(_dedented("\n".join(lines[number:end])))
        if piece:
            kept.append(piece)
        number = end
    return ["\n".join(kept)] if kept else []


def _goes_on(lines: list[str], number: int, margin: int) -> bool:
    """Whether a line belongs to the definition above: inside it, decorated by it, or closing its bracket."""
    line = lines[number].strip()
    inside = not line or _indent(lines[number]) > margin
    return inside or lines[number - 1].lstrip().startswith("@") or line.startswith((")", "]", "}"))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _longest_parsing(piece: str) -> str:
    """The piece without as many lines at its end as it takes to parse; '' if that is half of it."""
    lines = piece.splitlines()
    for end in range(len(lines), len(lines) // 2, -1):
        part = "\n".join(lines[:end])
        if parse(part) is not None:
            return part
    return ""


def _dedented(text: str) -> str:
    return textwrap.dedent(text.expandtabs(4)) if parse(text) is None else text
