"""Sentences of an answer outside of its code, with where they stand.

"As an AI, I cannot. But here:\\n```python\\nx\\n```"   ->   (0, 19) "As an AI, I cannot. ", (20, …) "But here:\\n"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codeup.data.fences import pieces
from codeup.types import Message

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z\"'(*`\d-])|\n+")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """(begin, end) of each, the white space behind it included; joined, they are the text without its fences."""
    at = 0
    for piece in pieces(text):
        if not piece.fenced:
            begin = 0
            for end in _END.finditer(piece.text):
                yield at + begin, at + end.end()
                begin = end.end()
            if begin < len(piece.text):
                yield at + begin, at + len(piece.text)
        at += len(piece.text)


def quoted(text: str, at: int) -> bool:
    """Whether a place stands between double quotes on its line, and so is somebody else's words."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line.count('"') % 2 == 1 or line.count("“") > line.count("”") or line.lstrip().startswith(">")


def pair_before(messages: tuple[Message, ...], at: int) -> tuple[Message, ...]:
    """The turns before the question of the answer at `at`; without a whole pair none."""
    kept = messages[: at - 1]
    return kept if any(turn.role == "assistant" for turn in kept) else ()
