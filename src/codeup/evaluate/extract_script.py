"""The program in a chat answer to a problem without a function's name: the longest block that parses.

    ```python                blocks labelled with the language, else unlabelled ones; of those that parse the longest,
    n = int(input())   ->    the first of equals                                       rule "fence"
    ```                      none parses: the longest                                  rule "broken"

Without blocks, the whole text if it is code. Fences are read as in extract.py.
"""

from __future__ import annotations

from types import ModuleType

from codeup.evaluate.extract import Extracted, blocks, without_thinking


def extract(raw: str, language: ModuleType) -> Extracted:
    """The program in an answer, and the rule that found it."""
    text, rule = without_thinking(raw.replace("\r\n", "\n").lstrip("\ufeff"))
    if not text.strip():
        return Extracted("", rule or "empty")
    found = [block for block in blocks(text) if block.text.strip()]
    if not found:
        return Extracted(text, "bare") if language.parse(text) is not None else Extracted("", "no-code")
    ours = [block for block in found if block.word in language.FENCES] or [b for b in found if not b.word]
    if not ours:
        return Extracted("", "other-language")
    good = [block for block in ours if language.parse(block.text) is not None]
    best = max(good or ours, key=lambda block: len(block.text))
    if not good:
        return Extracted(best.text, "broken")
    return Extracted(best.text, "fence" if best.closed else "fence-unclosed")
