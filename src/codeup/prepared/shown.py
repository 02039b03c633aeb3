"""Single rows for the eye: tokens with what is learned and what is special, and rows of a file as text.

ids      1      423  88    13     7          9        2
pieces   <s>    ### Response:\\n   return     x        <|end|>
learned  -      -    -     -      yes        yes      yes
special  yes    -    -     -      -          -        yes
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeup.data.files import read_rows
from codeup.types import Conversation, Tokens

if TYPE_CHECKING:
    from codeup.chat import Renderer

MOST_TOKENS = 1_500
"""Tokens shown of one example."""
MOST_CHARACTERS = 600
"""Characters shown of a row of a file."""
LARGEST_FILE = 1 << 28
"""Bytes of a file that is read again to show rows that were dropped."""


def pieces(renderer: Renderer, tokens: Tokens) -> list[tuple[str, bool, bool]]:
    """(text, learned, special) of the tokens in order; joined, the texts are the decoded whole."""
    special = {*renderer.special_tokens.values(), *renderer.end_ids, renderer.pad_id}
    found: list[tuple[str, bool, bool]] = []
    for begin, end, is_special in _runs(tokens.ids, special):
        part = Tokens(tokens.ids[begin:end], tokens.trained[begin:end])
        found += [(text, trained, is_special) for text, trained in renderer.text_pieces(part)]
    return found


def _runs(ids: Sequence[int], special: set[int]) -> Iterator[tuple[int, int, bool]]:
    """Stretches of ordinary tokens, and each special token alone."""
    begin = 0
    for place, token in enumerate(ids):
        if token in special:
            if begin < place:
                yield begin, place, False
            yield place, place + 1, True
            begin = place + 1
    if begin < len(ids):
        yield begin, len(ids), False


def example(
    conversation: Conversation, tokens: Tokens | None, renderer: Renderer | None, side: str = ""
) -> dict[str, Any]:
    """One conversation as plain values, with its tokens where there is a renderer."""
    shown: dict[str, Any] = {
        "source": conversation.source,
        "row": conversation.row,
        "side": side,
        "turns": [[turn.role, "\n\n".join(text for text in (turn.content, turn.input) if text)[:MOST_TOKENS * 4]]
                  for turn in conversation.messages],
    }  # fmt: skip
    if tokens is not None and renderer is not None:
        some = Tokens(tokens.ids[:MOST_TOKENS], tokens.trained[:MOST_TOKENS])
        shown |= {
            "tokens": len(tokens.ids),
            "learned": sum(map(bool, tokens.trained)),
            "left_out": len(tokens.ids) - len(some.ids),
            "pieces": pieces(renderer, some),
        }
    return shown


class Few:
    """At most `most` items of each kind, each item of a kind as likely as the others (Vitter 1985, algorithm R)."""

    def __init__(self, most: int, seed: int) -> None:
        self.counts: dict[str, int] = {}
        self.kept: dict[str, list[dict[str, Any]]] = {}
        self._most, self._random = most, random.Random(seed)

    def add(self, kind: str, item: dict[str, Any]) -> None:
        """One more of a kind."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self.kept.setdefault(kind, [])
        if len(kept) < self._most:
            kept.append(item)
        elif (place := self._random.randrange(count)) < self._most:
            kept[place] = item


def with_text(rows: Iterable[dict[str, Any]], sources: Sequence[Mapping[str, Any]]) -> None:
    """Give each {"source": label, "row": number} the text of that row, from its file if it still lies there."""
    paths = {f"{each['source']}:{Path(each['path']).name}": Path(each["path"]) for each in reversed(sources)}
    wanted: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        wanted.setdefault(row["source"], []).append(row)
    for label, some in wanted.items():
        texts = rows_of(paths[label], (row["row"] for row in some)) if label in paths else {}
        for row in some:
            row["text"] = texts.get(row["row"], "")


def row_text(row: Mapping[str, Any]) -> str:
    """A row of a file, one `column: value` a line, cut to a few lines' length."""
    lines = (f"{column}: {value}" for column, value in row.items() if value not in ("", None, [], {}))
    text = "\n".join(line[:MOST_CHARACTERS] for line in lines)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"


def rows_of(path: Path, numbers: Iterable[int]) -> dict[int, str]:
    """The text of these rows of a file, which is read up to the last of them; nothing of a very large or lost file."""
    wanted = set(numbers)
    if not wanted or not path.is_file() or path.stat().st_size > LARGEST_FILE:
        return {}
    found: dict[int, str] = {}
    for row in read_rows(path):
        if row.number in wanted:
            found[row.number] = row_text(row.value) if row.value is not None else row.error
            if len(found) == len(wanted):
                break
    return found
