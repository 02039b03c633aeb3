"""The program in a chat answer in a language that we have no parser for: the first block that names the function.

    ```cpp                        blocks labelled with the language, else unlabelled ones, in order; the first in which
    bool f(int x) {...}    ->     the function's name stands before a "("                        rule "fence"
    ```                           none: the longest block, which will fail with a reason         rule "other-name"

Names are looked for as text: a block with only a call of the function is taken too, if it comes first. Fences are read
as for Python (extract.py), those behind text or code ("}```", rule "fence-inline") where nothing else closes a block.
"""

from __future__ import annotations

import re
from types import ModuleType

from codeup.evaluate.extract import Block, Extracted, blocks, without_thinking


def extract(raw: str, entry_point: str, language: ModuleType) -> Extracted:
    """The program in an answer, and the rule that found it."""
    text, rule = without_thinking(raw.replace("\r\n", "\n").lstrip("\ufeff"))
    if not text.strip():
        return Extracted("", rule or "empty")
    strict = _read(text, list(blocks(text)), entry_point, language)
    if strict.rule == "fence" or not re.search("```|~~~", text):
        return strict
    again = _read(text, list(blocks(text, strict=False)), entry_point, language)
    return Extracted(again.code, "fence-inline") if again.rule == "fence" else strict


def _read(text: str, found: list[Block], entry_point: str, language: ModuleType) -> Extracted:
    filled = [block for block in found if block.text.strip()]
    if not filled:
        named = _names(text, entry_point)
        return Extracted(text, "bare") if named else Extracted("", "no-code")
    ours = [b for b in filled if b.word in language.FENCES] or [b for b in filled if not b.word]
    if not ours:
        return Extracted("", "other-language")
    for block in ours:
        if _names(block.text, entry_point):
            return Extracted(block.text, "fence" if block.closed else "fence-unclosed")
    return Extracted(max((block.text for block in ours), key=len), "other-name")


def _names(text: str, entry_point: str) -> bool:
    """Whether the name stands where functions are defined or assigned in these languages."""
    return re.search(rf"(?<![\w$]){re.escape(entry_point)}\b\s*(?:[(=:<]|\{{)", text) is not None
