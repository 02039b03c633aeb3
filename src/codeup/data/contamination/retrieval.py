"""For each benchmark item the rows most like it, by words and by the shapes of statements (functions.py).

    terms of an item   words of its prompt and solution           shapes of the statements of its solution
    score of a row     BM25 (Robertson and Zaragoza 2009,         the same, over shapes
                       k1 = 1.2, b = 0.5), divided by what the item's own text would score: near 1 is the item itself
    ranking            the best of both lists by turns

Only terms that occur in some item are kept of a row, 5 bytes each; rows are seen once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeup.data import words
from codeup.data.contamination.functions import Shape, shapes
from codeup.data.contamination.items import Item

K1, B = 1.2, 0.5
FILTER_BITS = 22
COMMON = 0.25
"""Terms in more than this share of the rows say nothing and cost most of the time."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row as one item's ranking sees it."""

    row: int
    words: float
    shapes: float

    @property
    def score(self) -> float:
        """The higher of the two."""
        return max(self.words, self.shapes)


class Ranking:
    """Fed with rows once, then asked for each item."""

    def __init__(self, items: Sequence[Item]) -> None:
        texts = [f"{item.prompt}\n{item.solution}" for item in items]
        self._words = _Bm25(words.words(texts, words.PROSE))
        self._shapes = _Bm25(shape_terms([shapes([item.program]) for item in items]))

    def add(
        self, texts: Sequence[str], found: Sequence[Sequence[Shape]], prose: words.Words | None = None
    ) -> None:  # fmt: skip
        """The next rows: their text (and its PROSE words), and the shapes of the functions in it."""
        self._words.add(prose or words.words(texts, words.PROSE))
        self._shapes.add(shape_terms(found))

    def best(self, item: int, count: int, among: NDArray[np.bool_] | None = None) -> list[Ranked]:
        """The `count` best rows, best first, of those that `among` marks."""
        by_words, by_shapes = self._words.scores(item), self._shapes.scores(item)
        lists = [_top(scores, count, among) for scores in (by_words, by_shapes)]
        turns = [row for pair in zip(*(row + [-1] * (count - len(row)) for row in lists), strict=True) for row in pair]
        chosen = list(dict.fromkeys(row for row in turns if row >= 0))[:count]
        return [Ranked(row, float(by_words[row]), float(by_shapes[row])) for row in chosen]


def shape_terms(found: Sequence[Sequence[Shape]]) -> words.Words:
    """The statements of each text's functions, and the functions themselves, as terms."""
    terms = [
        np.array([term for each in some for term in (each.whole, *sorted(each.statements))], dtype=np.uint64)
        for some in found
    ]
    offsets = np.cumsum([0, *map(len, terms)]).astype(np.int64)
    return words.Words(np.concatenate(terms) if terms else np.zeros(0, np.uint64), offsets)


def _top(scores: NDArray[np.float32], count: int, among: NDArray[np.bool_] | None) -> list[int]:
    """Rows of the highest scores above 0; of equals, the earlier row."""
    if among is not None:
        scores = np.where(among, scores, 0)
    some = np.flatnonzero(scores)
    if len(some) > count:
        least = np.partition(scores[some], len(some) - count)[len(some) - count]
        some = some[scores[some] >= least]
    order = np.argsort(-scores[some], kind="stable")[:count]
    return [int(row) for row in some[order]]


class _Bm25:
    """Documents as postings of the terms that occur in some item."""

    def __init__(self, items: words.Words) -> None:
        self.vocabulary = np.unique(items.hashes)
        self.items = [np.unique(items.of(i), return_counts=True) for i in range(len(items.offsets) - 1)]
        self._terms: list[NDArray[np.uint32]] = []
        self._counts: list[NDArray[np.uint8]] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._ready = False
        self._filter = np.zeros(1 << FILTER_BITS, dtype=bool)
        self._filter[self.vocabulary >> np.uint64(64 - FILTER_BITS)] = True

    def add(self, documents: words.Words) -> None:
        """Count the known terms of each document."""
        text = np.repeat(np.arange(len(documents.offsets) - 1), documents.counts())
        maybe = np.flatnonzero(self._filter[documents.hashes >> np.uint64(64 - FILTER_BITS)])
        place = np.searchsorted(self.vocabulary, documents.hashes[maybe])
        place = np.minimum(place, max(len(self.vocabulary) - 1, 0))
        known = self.vocabulary[place] == documents.hashes[maybe] if len(self.vocabulary) else maybe > 0
        code, count = np.unique(text[maybe[known]] * len(self.vocabulary) + place[known], return_counts=True)
        row = code // max(len(self.vocabulary), 1)
        self._terms.append((code - row * len(self.vocabulary)).astype(np.uint32))
        self._counts.append(np.minimum(count, 255).astype(np.uint8))
        self._sizes.append(np.bincount(row, minlength=len(documents.offsets) - 1))
        self._lengths.append(documents.counts())
        self._ready = False

    def scores(self, item: int) -> NDArray[np.float32]:
        """(rows,): BM25 of each row for an item, divided by the item's own."""
        if not self._ready:
            self._index()
        found = np.zeros(len(self.lengths), dtype=np.float32)
        own = 0.0
        terms, counts = self.items[item]
        places = np.searchsorted(self.vocabulary, terms)
        for place, count in zip(places.tolist(), np.sqrt(np.minimum(counts, 4)).tolist(), strict=True):
            begin, end = self.starts[place], self.starts[place + 1]
            own += float(self.idf[place]) * count * count * (K1 + 1) / (count + K1)
            if end - begin <= COMMON * len(self.lengths) or len(self.lengths) < 100:
                found[self.rows[begin:end]] += self.weights[begin:end] * self.idf[place] * count
        return found / own if own else found

    def _index(self) -> None:
        """Postings by term, with each row's share of BM25."""
        sizes, terms = np.concatenate(self._sizes), np.concatenate(self._terms)
        self.lengths = np.concatenate(self._lengths)
        usual = max(float(self.lengths[self.lengths > 0].mean()) if self.lengths.any() else 1.0, 1.0)
        rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        counts = np.concatenate(self._counts).astype(np.float32)
        weights = counts * (K1 + 1) / (counts + K1 * (1 - B + B * self.lengths[rows] / usual))
        order = np.argsort(terms, kind="stable")
        self.rows, self.weights = rows[order], weights[order].astype(np.float32)
        self.starts = np.searchsorted(terms[order], np.arange(len(self.vocabulary) + 1))
        holders = np.diff(self.starts)
        self.idf = np.log(1 + (len(sizes) - holders + 0.5) / (holders + 0.5)).astype(np.float32)
        self._ready = True
