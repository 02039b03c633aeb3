"""Where the code of a text stands: fenced blocks and what lies between them, to the byte.

    "Sure:\\n```python\\nx = 1\\n```\\nDone."   ->   "Sure:\\n", "```python\\nx = 1\\n```\\n" (fenced), "Done."

The pieces joined are the text. A fence is three or more ` or ~ at the start of a line (indented or not), closed by at
least as many of the same sign alone on a line; one that is never closed goes on to the end. Indented code without a
fence, and code between single backticks, is prose here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPEN = re.compile(r"^[ \t]*(?P<mark>`{3,}(?=[^`\n]*$)|~{3,})[ \t]*(?P<info>[^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text. `tag` is the first word after an opening fence, as written; `code` what stands inside."""

    text: str
    fenced: bool = False
    tag: str = ""
    code: str = ""


def pieces(text: str) -> Iterator[Piece]:
    """The text in order, cut into fenced blocks and the rest."""
    at = 0
    while opened := _OPEN.search(text, at):
        if opened.start() > at:
            yield Piece(text[at : opened.start()])
        mark, begin = opened["mark"], min(opened.end() + 1, len(text))
        close = re.compile(rf"^[ \t]*{re.escape(mark[0])}{{{len(mark)},}}[ \t\r]*$", re.MULTILINE).search(text, begin)
        inside_end = close.start() if close else len(text)
        end = min(close.end() + 1, len(text)) if close else len(text)
        words = opened["info"].split()
        yield Piece(text[opened.start() : end], True, words[0] if words else "", text[begin:inside_end])
        at = end
    if at < len(text):
        yield Piece(text[at:])


def has_fence(text: str) -> bool:
    """Whether there may be a fence in it; cheap."""
    return "```" in text or "~~~" in text


def blocks(text: str) -> list[Piece]:
    """The fenced blocks."""
    return [piece for piece in pieces(text) if piece.fenced] if has_fence(text) else []


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return "".join(piece.text for piece in pieces(text) if not piece.fenced) if has_fence(text) else text
