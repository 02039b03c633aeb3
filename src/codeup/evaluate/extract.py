"""The program in a chat model's answer: which rule found it is part of the result, and the raw answer is always kept.

    Sure! Here it is:            blocks, in order         the first one that parses and defines the function
    ```python           ->       [python, "def f..."] ->  with a body of its own            rule "fence"
    def f(x): ...
    ```                          Program(code, extraction="fence")

A program is never completed or rewritten: an example call, a wrong test of its own or an `input()` that the model put
into its program is run with it. Indentation is repaired only where the repair is unambiguous: text that is indented as
a whole, a first line that alone is indented, no-break spaces at the beginning of a line.

Fences are read strictly first, as CommonMark reads them; if no block is suitable, once more as models misplace them.
Taking the last block instead of the first suitable one, as others do, cost a published study up to 8 points on
HumanEval: models like to end with an example call. Other tools' rules: extract_2024.py, extract_evalplus.py.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

RULES = {
    "fence": "the first block that parses and defines the function",
    "fence+earlier": "the same, with the earlier blocks whose names it uses",
    "fence-unclosed": "the same, in a block that never ends; text after the code is left out",
    "fence-dedented": "the same, after removing indentation common to the whole block",
    "fence-nested": "the same, in a block that itself holds fences",
    "fence-inline": "the same, where a fence stands behind text or code instead of on a line of its own",
    "bare": "no blocks: from the first line of code on; text after the code is left out",
    "bare-dedented": "the same, after removing indentation common to the whole answer",
    "stub": "only the signature and its docstring, with no body",
    "broken": "code that tries to define the function and does not parse",
    "other-name": "code that defines other names only",
    "other-language": "blocks of another language only",
    "body-only": "an indented function body without its def line",
    "no-code": "text without code",
    "unfinished-thinking": "the answer ended inside its thinking section",
    "empty": "an empty answer",
}
"""Every name that `Program.extraction` of a chat answer can have. All from "stub" on cannot pass."""

CAN_PASS = ("fence", "bare")
"""How the rules begin that found a program which parses and defines the function."""

_OPEN = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
_OPEN_BEHIND_TEXT = re.compile(r"^(?P<indent>).*[^`](?P<fence>`{3,})[ \t]*(?P<info>\w+)[ \t]*$")
_THOUGHT = re.compile(r"</(?:think|thinking)>|<\|channel\|>final(?:[ \t]\w+)?<\|message\|>")
_THINKING = re.compile(r"\s*(?:<think>|<thinking>|<\|channel\|>analysis)")
_MOST_NESTED, _MOST_STARTS = 8, 100  # ends tried for one block, starts tried in text: bounds on hostile text
_MOST_READ = 4_000_000
"""Characters given to the parser for one answer, all attempts together: one of 32,768 tokens about 30 times."""


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


class _Patient:
    """A language room whose parser refuses once it has read _MOST_READ characters: then nothing parses any more.

    What was read last is known still.
    """

    def __init__(self, language: ModuleType) -> None:
        self._language, self._left = language, _MOST_READ
        self._last: tuple[str, Any] = ("", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._language, name)

    def parse(self, code: str) -> Any:
        if code != self._last[0]:
            self._left -= len(code)
            self._last = (code, self._language.parse(code) if self._left > 0 else None)
        return self._last[1]

    def broken_from(self, code: str) -> int:
        self._left -= len(code)
        return int(self._language.broken_from(code)) if self._left > 0 else 1


def extract(raw: str, entry_point: str, language: Any) -> Extracted:
    """The program in an answer. `language` is a module of codeup.languages."""
    language = _Patient(language)
    text, rule = without_thinking(raw.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    if not text.strip():
        return Extracted("", rule or "empty")
    strict = _read(text, list(blocks(text)), entry_point, language)
    if strict.rule.startswith(CAN_PASS) or not re.search("```|~~~", text):
        return strict
    nested = _from_nested(text, entry_point, language)
    if nested:
        return nested
    again = _read(text, list(blocks(text, strict=False)), entry_point, language)
    return Extracted(again.code, "fence-inline") if again.rule.startswith("fence") else strict


def _read(text: str, found: list[Block], entry_point: str, language: Any) -> Extracted:
    filled = [block for block in found if block.text.strip()]
    ours = [b for b in filled if b.word in language.FENCES] or [b for b in filled if not b.word]
    if ours:
        return _from_blocks(ours, entry_point, language)
    prose = text if not found else "\n".join(block.text for block in found)
    taken = _from_text(prose, entry_point, language)
    if filled and not taken.rule.startswith(CAN_PASS) and not language.mentions(prose, entry_point):
        return Extracted("", "other-language")
    return taken


def without_thinking(text: str) -> tuple[str, str]:
    """The answer without its reasoning section, and a rule if that is all there was."""
    ends = list(_THOUGHT.finditer(text))
    if ends:
        return text[ends[-1].end() :], ""
    if _THINKING.match(text):
        return "", "unfinished-thinking"
    return text, ""


def blocks(text: str, *, strict: bool = True) -> Iterator[Block]:
    """Fenced blocks in order, as CommonMark reads them: a fence is closed by one at least as long, of the same kind.

    Not strict: a fence may also open behind text ("Here it is: ```python"), close behind code, and close at any depth.
    """
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if opened is None:
            opened, lines = _OPEN.match(line), []
            if opened is None and not strict:
                opened = _OPEN_BEHIND_TEXT.match(line)
            continue
        closed = _closes(line, opened, strict=strict)
        if not closed and not strict and line.rstrip().endswith(opened["fence"]):
            lines.append(line.rstrip().rstrip(opened["fence"][0]))
            closed = True
        if closed:
            yield _block(opened, lines, closed=True)
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        yield _block(opened, lines, closed=False)


def _closes(line: str, opened: re.Match[str], *, strict: bool = True) -> bool:
    """Four columns further in than its opening, a fence is text: mostly an example in a docstring."""
    bare, fence = line.strip(), opened["fence"]
    inside = strict and len(line) - len(line.lstrip()) > len(opened["indent"]) + 3
    return not inside and len(bare) >= len(fence) and set(bare) == {fence[0]}


def _block(opened: re.Match[str], lines: list[str], *, closed: bool) -> Block:
    indent = len(opened["indent"])
    if indent and all(not line[:indent].strip() for line in lines):
        lines = [line[indent:] for line in lines]  # a block inside a list item
    word = re.split(r"[\s{:,]", opened["info"].strip().lower().lstrip("{."), maxsplit=1)[0]
    return Block(word.rstrip("}"), "\n".join(lines), closed)


def _from_nested(text: str, entry_point: str, language: Any) -> Extracted | None:
    """A program with fences at its margin (in a docstring): its block ends at a later fence than the first."""
    lines = text.split("\n")
    fences = [
        place for place, line in enumerate(lines) if line.strip()[:1] in ("`", "~") and len(set(line.strip())) == 1
    ]
    found = ((start, opened) for start, line in enumerate(lines) if (opened := _OPEN.match(line)))
    words = ("", *language.FENCES)
    ours = (each for each in found if _block(each[1], [], closed=True).word in words)
    for start, opened in itertools.islice(ours, _MOST_STARTS):
        later = range(bisect_right(fences, start), len(fences))
        ends = (fences[place] for place in later if _closes(lines[fences[place]], opened))
        for end in itertools.islice(ends, 1, _MOST_NESTED):
            code = _block(opened, lines[start + 1 : end], closed=True).text
            tree = language.parse(code)
            if tree is not None and entry_point in language.defined(tree) and not language.is_stub(tree, entry_point):
                return Extracted(code, "fence-nested")
    return None


def _from_blocks(found: list[Block], entry_point: str, language: Any) -> Extracted:
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


def _needed(earlier: list[Block], tree: ast.Module, entry_point: str, language: Any) -> list[str]:
    """Earlier blocks that define names which the chosen block uses and does not define: helpers shown first."""
    missing = language.used(tree) - language.defined(tree)
    needed = []
    for block in earlier:
        other = language.parse(block.text)
        if other is not None and entry_point not in language.defined(other) and missing & language.defined(other):
            needed.append(block.text)
    return needed


def _from_text(text: str, entry_point: str, language: Any) -> Extracted:
    """An answer without blocks: whole, or from its first line of code."""
    for candidate in _beginnings(text, language):
        if entry_point not in candidate:
            break  # nor is it in what begins later
        code, rule = _readable(candidate, language, trim=True)
        tree = language.parse(code)
        if tree is not None and entry_point in language.defined(tree):
            if language.is_stub(tree, entry_point):
                return Extracted(code, "stub")
            return Extracted(code, "bare-dedented" if rule == "dedented" else "bare")
    start = language.STARTS.search(text)
    return _unsuitable([text[start.start() :] if start else text], entry_point, language, prose=start is None)


def _beginnings(text: str, language: Any) -> Iterator[str]:
    yield text
    for start in itertools.islice(language.STARTS.finditer(text), _MOST_STARTS):
        yield text[start.start() :]


def _readable(text: str, language: Any, *, trim: bool) -> tuple[str, str]:
    """The text as code that parses, if an unambiguous repair makes it so, and the name of the repair."""
    versions = [(text, ""), (textwrap.dedent(text), "dedented")]
    first, _, rest = text.lstrip("\n").partition("\n")
    if first[:1] in (" ", "\t") and rest:
        versions.append((first.lstrip() + "\n" + rest, "dedented"))  # a stray space before the first line only
    if "\xa0" in text:
        plain = re.sub(r"(?m)^[ \t\xa0]+", lambda margin: margin[0].replace("\xa0", " "), text)
        versions.append((plain, "dedented"))  # no-break spaces, as web pages have them
    versions = [each for place, each in enumerate(versions) if each[0] not in [code for code, _ in versions[:place]]]
    for code, rule in versions:
        if language.parse(code) is not None:
            return code, rule
    if trim:
        for code, rule in versions:
            shorter = _without_tail(code, language)
            if shorter:
                return shorter, rule
    return text, ""


def _without_tail(code: str, language: Any) -> str:
    """The longest part that parses, if what follows begins at the margin: prose, not the rest of a function."""
    lines = code.split("\n")
    end = language.broken_from(code) - 1
    while end > 0:
        if lines[end][:1].strip() and not lines[end].startswith((")", "]", "}")):
            shorter = "\n".join(lines[:end])
            broken = language.broken_from(shorter)
            if not broken:
                return shorter if shorter.strip() else ""
            end = min(end, broken)
        end -= 1
    return ""


def _unsuitable(texts: list[str], entry_point: str, language: Any, *, prose: bool = False) -> Extracted:
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
