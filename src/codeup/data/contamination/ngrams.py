"""Runs of words that a row shares with a benchmark item: 13 of a prompt or test, 10 of a solution.

    item     w1 w2 ... w20       8 grams of 13 words; boilerplate (in several items of the benchmark) does not count
    row      ... w3 ... w17 ...  holds 3 of them: coverage 3 / 8

One hash lookup for every few words of a row, however many items there are: where a row holds a run of 10 words or more,
it holds the PART of them that begins at the next multiple of 6, and only around those that some item has are the runs
themselves looked up. 13 words is the length of GPT-3's check (Brown et al. 2020, appendix C).
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
PART = 5
"""Words of the runs that are looked up first."""
STEP = min(FIELDS.values()) - PART + 1
"""They begin at every so many words: each gram holds one."""
BOILERPLATE = 3
"""A gram in so many items of one benchmark belongs to none of them ("write a python function to find the ...")."""


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
        self._parts = words.Known(np.unique(np.concatenate([field.parts for field in fields])))

    def overlaps(
        self, texts: Sequence[str], first_row: int = 0, found: words.Words | None = None
    ) -> list[Overlap]:  # fmt: skip
        """What each text shares with each item. Texts are numbered from `first_row`; `found` are their PROSE words."""
        found = found or words.words(texts, words.PROSE)
        sofar = words.running(found)
        parts = np.arange(0, len(found.hashes) - PART + 1, STEP)
        known, _ = self._parts.find(words.runs_at(sofar, parts, PART))
        begins = (parts[known][:, None] + np.arange(1 - STEP, 1)).ravel()  # rising: of every run with such a part
        begins = begins[begins >= 0]
        rows = np.searchsorted(found.offsets, begins, "right") - 1
        words_left = found.offsets[rows + 1] - begins
        return [
            each for field in self._fields
            for each in field.overlaps(sofar, begins, rows, words_left, found.offsets, first_row)
        ]  # fmt: skip


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
        self.known = words.Known(np.unique(self.hashes))
        self.first = np.append(np.searchsorted(self.hashes, self.known.hashes), len(self.hashes))
        """Of each known gram its first place among `hashes`, where it stands once for every item that has it."""
        self.totals = np.bincount(owner, minlength=len(items))
        self.parts = words.windows(found, PART, whole=False).hashes

    def overlaps(
        self, sofar: words.U64, begins: NDArray[np.int64], rows: NDArray[np.int64], words_left: NDArray[np.int64],
        offsets: NDArray[np.int64], first_row: int,
    ) -> list[Overlap]:  # fmt: skip
        """What the runs that begin there share with the items; `rows` are theirs, and how many words each has left."""
        inside = words_left >= self.size
        maybe, rows = begins[inside], rows[inside]
        hashes = words.runs_at(sofar, maybe, self.size)
        same, gram = self.known.find(hashes)
        maybe, rows, begin, end = maybe[same], rows[same], self.first[gram], self.first[gram + 1]
        hits: dict[tuple[int, int], tuple[set[int], int]] = {}
        for place, row, start, stop in zip(maybe.tolist(), rows.tolist(), begin.tolist(), end.tolist(), strict=True):
            for each in range(start, stop):
                key = row, int(self.owner[each])
                seen, _ = hits.setdefault(key, (set(), place - int(offsets[row])))
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
