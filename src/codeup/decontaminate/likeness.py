"""Rows that show an item by its text, where nothing can be run: solutions in other languages than an item's.

    item    def get_max_triples(n): ...        row    function getMaxTriples(n) { ...        name: defines that function
                                               row    encrypt("asdfghjkl") gives "ewhj..."   examples: two of the item's

Looked for in the NEAR_RANK rows most like an item, if their words score enough of its own text's (retrieval.py): a name
alone says little, and likeness alone is found in anybody's answer to a common question. A name of LONG words or more is
rarely chosen twice by chance; a shorter one asks for more likeness, and says nothing where the item is in another
language than Python. What is textbook is decided with all other evidence (find.py), and a row whose Python was run is
judged by what it did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codeup.data.contamination.items import Item
from codeup.data.contamination.retrieval import Ranking
from codeup.data.spool import Spool
from codeup.data.store import texts_of
from codeup.decontaminate.suites import called_with

NEAR_RANK = 10
LEAST, LEAST_SHORT, LONG = 0.15, 0.3, 3
ENOUGH_EXAMPLES = 2
_DEFINES = r"\b(?:def|function|func|fn|fun|sub|const|let|var)\s+{name}\b|\b{name}\s*\([^(){{}};=]*\)[^\n(){{}};]*\s*\{{"
"""A function of some language: a word that begins definitions, or parameters and a brace behind the name."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Row `row` of the spool shows item `item` by `method`: "name" or "examples"."""

    row: int
    item: int
    method: str
    score: float
    evidence: str


def look(spool: Spool, items: Sequence[Item], ranking: Ranking) -> Iterator[Likeness]:
    """What the rows most like each item show of it."""
    for index, item in enumerate(items if len(spool) else ()):
        if not item.entry_point:
            continue
        long = len(_parts(item.entry_point)) >= LONG
        least = LEAST if long else float("inf") if item.language else LEAST_SHORT
        near = [each for each in ranking.best(index, NEAR_RANK) if each.words >= LEAST]
        pattern, wanted = _defining(item.entry_point), examples(item)
        for each, row in zip(near, spool.read(one.row for one in near), strict=True):
            text = "\n".join(texts_of(row))
            score = round(each.words, 3)
            if each.words >= least and pattern.search(text):
                yield Likeness(each.row, index, "name", score, f"a function of its name, {item.entry_point}")
            shared = shared_examples(text, wanted)
            if shared >= ENOUGH_EXAMPLES:
                yield Likeness(each.row, index, "examples", score, f"{shared} of its example inputs")


def _defining(name: str) -> re.Pattern[str]:
    """Where a function of that name is defined, in snake_case, camelCase or any other.

    >>> bool(_defining("get_max_triples").search("int getMaxTriples(int n) {"))
    True
    """
    return re.compile("(?i)" + _DEFINES.format(name="_?".join(_parts(name))))


def _parts(name: str) -> list[str]:
    """The words of a name: get max triples."""
    return re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name) or [re.escape(name)]


def shared_examples(text: str, wanted: Iterable[str]) -> int:
    """How many telling example inputs are in a text."""
    plain = squeezed(text)
    return sum(1 for example in wanted if example in plain)


def examples(item: Item) -> set[str]:
    """Example inputs that are unlikely to stand in a row by chance: 3 numbers or more, or a text of 6 letters or more.

    >>> sorted(examples(Item("b", "1", ">>> f([1, 2, 3], 7)\\n6\\n>>> f('ab', 'sentence')", entry_point="f")))
    ["'sentence'", '[1,2,3]']
    """
    lines = "\n".join(re.findall(r"(?m)^\s*(?:>>>\s*|assert\s+)(.*?)\s*(?:==.*)?$", item.prompt))
    calls = [each for line in lines.splitlines() for each in called_with(line, item.entry_point)]
    values = [value for call in (*calls, *called_with(item.tests, item.entry_point)) for value in call]
    return {squeezed(repr(value)) for value in values if _telling(value)}


def _telling(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) >= 6
    return isinstance(value, list | tuple | dict) and len(value) >= 3


def squeezed(text: str) -> str:
    """Without white space, and with one kind of quotation mark."""
    return "".join(text.split()).replace('"', "'")
