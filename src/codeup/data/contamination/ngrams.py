"""Runs of words that a row shares with a benchmark item: 13 of a prompt or test, 10 of a solution.

    item     w1 w2 ... w20       8 grams of 13 words; boilerplate (in several items of the benchmark) does not count
    row      ... w3 ... w17 ...  holds 3 of them: coverage 3 / 8

One hash lookup per word of a row, however many items there are. 13 words is the length of GPT-3's check (Brown et al.
2020, appendix C). A text shorter than the run counts as one gram where it has SHORTEST words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeup.data import words
from codeup.data.contamination.items import Item

FIELDS = {"prompt": 13, "solution": 10, "tests": 13}
"""Words in a gram of each field."""
SHORTEST = 8
BOILERPLATE = 3
"""A gram in so many items of one benchmark belongs to none of them ("write a python function to find the ...")."""
MOST_BITS = 22
"""Of a table of first bits, by which most grams of a row are told to be none of the items'."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a row shares with one field of an item: so many of its `grams`, first at word `word` of the row."""

    row: int
    item: int
    field: str
    shared: int
    grams: int
    word: int

    @property
    def coverage(self) -> float:
        """Share of the field's grams that the row holds."""
        return self.shared / self.grams


class Grams:
    """The grams of all items, ready to be looked up."""

    def __init__(self, items: Sequence[Item]) -> None:
        fields = [_Field(items, name, size) for name, size in FIELDS.items()]
        self._fields = [field for field in fields if len(field.hashes)]

    def overlaps(
        self, texts: Sequence[str], first_row: int = 0, found: words.Words | None = None
    ) -> list[Overlap]:  # fmt: skip
        """What each text shares with each item. Texts are numbered from `first_row`; `found` are their PROSE words."""
        found = found or words.words(texts, words.PROSE)
        grams = {size: words.windows(found, size, whole=False) for size in {field.size for field in self._fields}}
        return [each for field in self._fields for each in field.overlaps(grams[field.size], first_row)]


class _Field:
    """One field of all items: its grams in one sorted array, and to which item each belongs."""

    def __init__(self, items: Sequence[Item], name: str, size: int) -> None:
        self.name, self.size = name, size
        found = words.words([getattr(item, name) for item in items], words.PROSE)
        grams = words.distinct(words.windows(found, size, whole=False))
        owner = np.repeat(np.arange(len(items)), grams.counts())
        hashes, owner = _without_boilerplate(grams.hashes, owner, items)
        order = np.lexsort((owner, hashes))
        self.hashes, self.owner = hashes[order], owner[order]
        self.totals = np.bincount(owner, minlength=len(items))
        bits = min((32 * len(self.hashes)).bit_length(), MOST_BITS)
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, dtype=bool)
        self._filter[self.hashes >> self._shift] = True

    def overlaps(self, grams: words.Words, first_row: int) -> list[Overlap]:
        maybe = np.flatnonzero(self._filter.take(grams.hashes >> self._shift))
        begin = np.searchsorted(self.hashes, grams.hashes[maybe])
        same = self.hashes[np.minimum(begin, len(self.hashes) - 1)] == grams.hashes[maybe]
        maybe, begin = maybe[same], begin[same]
        count = np.searchsorted(self.hashes, grams.hashes[maybe], "right") - begin
        rows = np.searchsorted(grams.offsets, maybe, "right") - 1
        hits: dict[tuple[int, int], tuple[set[int], int]] = {}
        for place, row, start, many in zip(maybe.tolist(), rows.tolist(), begin.tolist(), count.tolist(), strict=True):
            for each in range(start, start + many):
                key = row, int(self.owner[each])
                seen, _ = hits.setdefault(key, (set(), place - int(grams.offsets[row])))
                seen.add(int(self.hashes[each]))
        return [
            Overlap(first_row + row, item, self.name, len(seen), int(self.totals[item]), word)
            for (row, item), (seen, word) in hits.items()
        ]


def _without_boilerplate(
    hashes: words.U64, owner: NDArray[np.int64], items: Sequence[Item]
) -> tuple[words.U64, NDArray[np.int64]]:
    """Only grams that fewer than BOILERPLATE items of the same benchmark hold."""
    benchmarks = {name: number for number, name in enumerate(dict.fromkeys(item.benchmark for item in items))}
    group = np.array([benchmarks[item.benchmark] for item in items], dtype=np.uint64)[owner]
    _, place, count = np.unique(hashes ^ (group << np.uint64(58)), return_inverse=True, return_counts=True)
    keep = count[place] < BOILERPLATE
    return hashes[keep], owner[keep]
