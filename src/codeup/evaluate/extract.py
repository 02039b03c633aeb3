"""The program in a chat model's answer: which rule found it is part of the result, and the raw answer is always kept.

    Sure! Here it is:            blocks, in order         the first one that parses and defines the function
    ```python           ->       [python, "def f..."] ->  with a body of its own            rule "fence"
    def f(x): ...
    ```                          Program(code, extraction="fence")

A program is never completed or rewritten. Indentation is repaired only where the repair is unambiguous: text that is
indented as a whole, or a first line that alone is indented. Taking the last block instead of the first suitable one, as
others do, cost a published study up to 8 points on HumanEval: models like to end with an example call.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

RULES = {
    "fence": "the first block that parses and defines the function",
    "fence+earlier": "the same, with the earlier blocks whose names it uses",
    "fence-unclosed": "the same, in a block that never ends; text after the code is left out",
    "fence-dedented": "the same, after removing indentation common to the whole block",
    "bare": "no blocks: from the first line of code on; text after the code is left out",
    "bare-dedented": "the same, after removing indentation common to the whole answer",
    "stub": "only the signature and its docstring, with no body",
    "broken": "code that tries to define the function and does not parse",
    "other-name": "code that defines other names only",
    "body-only": "an indented function body without its def line",
    "no-code": "text without code",
    "unfinished-thinking": "the answer ended inside <think>",
    "empty": "an empty answer",
}
"""Every name that `Program.extraction` of a chat answer can have. All from "stub" on cannot pass."""

_OPEN = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its first info word in lower case, its text, and whether its fence was closed."""

    word: str
    text: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Extracted:
    """Code and the name of the rule that found it; empty code means there is nothing to run."""

    code: str
    rule: str


def extract(raw: str, entry_point: str, language: ModuleType) -> Extracted:
    """The program in an answer. `language` is a module of codeup.languages."""
    text, rule = without_thinking(raw.replace("\r\n", "\n").replace("\r", "\n"))
    if not text.strip():
        return Extracted("", rule or "empty")
    found = list(blocks(text))
    ours = [block for block in found if block.word in language.FENCES] or [b for b in found if not b.word]
    ours = [block for block in ours if block.text.strip()]
    if ours:
        return _from_blocks(ours, entry_point, language)
    prose = text if not found else "\n".join(block.text for block in found)
    return _from_text(prose, entry_point, language)


def without_thinking(text: str) -> tuple[str, str]:
    """The answer without its reasoning section, and a rule if that is all there was."""
    if "</think>" in text:
        return text.rpartition("</think>")[2], ""
    if text.lstrip().startswith("<think>"):
        return "", "unfinished-thinking"
    return text, ""


def blocks(text: str) -> Iterator[Block]:
    """Fenced blocks in order, as CommonMark reads them: a fence is closed by one at least as long, of the same kind."""
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if opened is None:
            opened, lines = _OPEN.match(line), []
        elif _closes(line, opened["fence"]):
            yield _block(opened, lines, closed=True)
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        yield _block(opened, lines, closed=False)


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}


def _block(opened: re.Match[str], lines: list[str], *, closed: bool) -> Block:
    indent = len(opened["indent"])
    if indent and all(not line[:indent].strip() for line in lines):
        lines = [line[indent:] for line in lines]  # a block inside a list item
    word = re.split(r"[\s{:,]", opened["info"].strip().lower().lstrip("{."), maxsplit=1)[0]
    return Block(word.rstrip("}"), "\n".join(lines), closed)


def _from_blocks(found: list[Block], entry_point: str, language: ModuleType) -> Extracted:
    fallback: Extracted | None = None
    for place, block in enumerate(found):
        code, rule = _readable(block.text, language, trim=not block.closed)
        tree = language.parse(code)
        if tree is None or entry_point not in language.defined(tree):
            continue
        if language.is_stub(tree, entry_point):
            fallback = fallback or Extracted(code, "stub")
            continue
        earlier = _needed(found[:place], tree, entry_point, language)
        if earlier:
            return Extracted("\n\n".join([*earlier, code]), "fence+earlier")
        return Extracted(code, "fence" if block.closed and not rule else f"fence-{rule or 'unclosed'}")
    return fallback or _unsuitable([block.text for block in found], entry_point, language)


def _needed(earlier: list[Block], tree: ast.Module, entry_point: str, language: ModuleType) -> list[str]:
    """Earlier blocks that define names which the chosen block uses and does not define: helpers shown first."""
    missing = language.used(tree) - language.defined(tree)
    needed = []
    for block in earlier:
        other = language.parse(block.text)
        if other is not None and entry_point not in language.defined(other) and missing & language.defined(other):
            needed.append(block.text)
    return needed


def _from_text(text: str, entry_point: str, language: ModuleType) -> Extracted:
    """An answer without blocks: whole, or from its first line of code."""
    for candidate in _beginnings(text, language):
        code, rule = _readable(candidate, language, trim=True)
        tree = language.parse(code)
        if tree is not None and entry_point in language.defined(tree):
            if language.is_stub(tree, entry_point):
                return Extracted(code, "stub")
            return Extracted(code, "bare-dedented" if rule == "dedented" else "bare")
    start = language.STARTS.search(text)
    return _unsuitable([text[start.start() :] if start else text], entry_point, language, prose=start is None)


def _beginnings(text: str, language: ModuleType) -> Iterator[str]:
    yield text
    for start in language.STARTS.finditer(text):
        yield text[start.start() :]


def _readable(text: str, language: ModuleType, *, trim: bool) -> tuple[str, str]:
    """The text as code that parses, if an unambiguous repair makes it so, and the name of the repair."""
    versions = [(text, ""), (textwrap.dedent(text), "dedented")]
    first, _, rest = text.lstrip("\n").partition("\n")
    if first[:1] in (" ", "\t") and rest:
        versions.append((first.lstrip() + "\n" + rest, "dedented"))  # a stray space before the first line only
    for code, rule in versions:
        if language.parse(code) is not None:
            return code, rule
    if trim:
        for code, rule in versions:
            shorter = _without_tail(code, language)
            if shorter:
                return shorter, rule
    return text, ""


def _without_tail(code: str, language: ModuleType) -> str:
    """The longest part that parses, if what follows begins at the margin: prose, not the rest of a function."""
    lines = code.split("\n")
    for end in range(len(lines) - 1, 0, -1):
        if lines[end][:1].strip() and not lines[end].startswith((")", "]", "}")):
            shorter = "\n".join(lines[:end])
            if language.parse(shorter) is not None:
                return shorter if shorter.strip() else ""
    return ""


def _unsuitable(texts: list[str], entry_point: str, language: ModuleType, *, prose: bool = False) -> Extracted:
    """What to say about an answer that holds no program for this problem."""
    for text in texts:
        if language.mentions(text, entry_point) and language.parse(text) is None:
            return Extracted(text, "broken")
    if not prose:
        for text in texts:
            tree = language.parse(text)
            if tree is not None and language.functions(tree):
                return Extracted(text, "other-name")
    for text in texts:
        lines = [line for line in text.split("\n") if line.strip()]
        if lines and lines[0][:1] in (" ", "\t") and re.search(r"(?m)^[ \t]+(return|yield|for|if|while)\b", text):
            return Extracted(text, "body-only")
    if prose:
        return Extracted("", "no-code")
    return Extracted(texts[0], "other-name" if language.parse(texts[0]) is not None else "broken")
