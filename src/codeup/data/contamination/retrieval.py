"""For each benchmark item the rows most like it, by words and by the shapes of statements (functions.py).

    terms of an item   words of its prompt and solution           shapes of the statements of its solution
    score of a row     BM25 (Robertson and Zaragoza 2009,         the same, over shapes
                       k1 = 1.2, b = 0.5), divided by what the item's own text would score: near 1 is the item itself
    ranking            the best of both lists by turns

Only terms that occur in some item are kept of a row; rows are seen once. Memory: 7 bytes for each such term of a row,
unless what was counted can be had again (from a file), and 8 bytes for each that less than COMMON of the rows hold.

Ranking does not score every row. The rarest terms of an item are added up first, until no row beyond a few can still
reach the best: a row that has none of them yet gets at most the sum of what is left (the idea of MaxScore, Turtle and
Flood 1995). Those few are scored in full, so that the outcome is that of scoring all rows, to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeup.data import words
from codeup.data.contamination.functions import Shape, shapes
from codeup.data.contamination.items import Item

K1, B = 1.2, 0.5
COMMON = 0.25
"""Terms in more than this share of the rows say nothing and cost most of the time."""
FEW_ROWS = 100
"""Of fewer rows no term counts as common."""
FEW = 256
"""Rows that are scored in full when no other can be among the best."""
MANY = 1 << 18
"""Postings of an item from which on not all of them are added up."""
SLACK = 1e-4
"""Share by which a bound is widened: sums of 32-bit floats depend on the order of their terms."""


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
        self.take([self.count(texts, found, prose)])

    def count(
        self, texts: Sequence[str], found: Sequence[Sequence[Shape]], prose: words.Words | None = None
    ) -> Both:  # fmt: skip
        """What `take` wants to know of some rows, at most 65,536. Depends on them alone, and may be kept."""
        return (
            self._words.count(prose or words.words(texts, words.PROSE)), self._shapes.count(shape_terms(found)),
        )  # fmt: skip

    def take(self, parts: Sequence[Both], again: Callable[[], Sequence[Both]] | None = None) -> None:
        """The next rows, by what `count` found in them. With `again`, which gives it once more, it is not held."""
        once_more = again or (lambda: parts)
        self._words.take([words for words, _ in parts], lambda: (words for words, _ in once_more()))
        self._shapes.take([shapes for _, shapes in parts], lambda: (shapes for _, shapes in once_more()))

    def best(self, item: int, count: int, among: NDArray[np.bool_] | None = None) -> list[Ranked]:
        """The `count` best rows, best first, of those that `among` marks."""
        lists = [index.best(item, count, among) for index in (self._words, self._shapes)]
        turns = [row for pair in zip(*(row + [-1] * (count - len(row)) for row in lists), strict=True) for row in pair]
        chosen = list(dict.fromkeys(row for row in turns if row >= 0))[:count]
        rows = np.array(chosen, dtype=np.int64)
        scores = (index.scores(item, rows).tolist() for index in (self._words, self._shapes))
        return [Ranked(*each) for each in zip(chosen, *scores, strict=True)]


def shape_terms(found: Sequence[Sequence[Shape]]) -> words.Words:
    """The statements of each text's functions, and the functions themselves, as terms."""
    terms = [
        np.array([term for each in some for term in (each.whole, *sorted(each.statements))], dtype=np.uint64)
        for some in found
    ]
    offsets = np.cumsum([0, *map(len, terms)]).astype(np.int64)
    return words.Words(np.concatenate(terms) if terms else np.zeros(0, np.uint64), offsets)


@dataclass(frozen=True, slots=True)
class Counted:
    """Known terms of some rows, sorted by term: `terms`, their `rows` and how often it is in them; all rows' words.

    Shapes: `terms`, `rows`, `counts` (postings,); `lengths` (rows,).
    """

    terms: NDArray[np.uint32]
    rows: NDArray[np.uint16]
    counts: NDArray[np.uint8]
    lengths: NDArray[np.int32]


Both = tuple[Counted, Counted]
"""By words, by shapes."""


@dataclass(frozen=True, slots=True)
class _Term:
    """A term of an item: where its postings lie, its weight and how often the item holds it, and the `most` it adds."""

    begin: int
    end: int
    idf: np.float32
    times: float
    most: float


def _postings(terms: Sequence[_Term]) -> int:
    return sum(each.end - each.begin for each in terms)


class _Bm25:
    """Documents as postings of the terms that occur in some item."""

    def __init__(self, items: words.Words) -> None:
        self.vocabulary = words.Known(np.unique(items.hashes))
        self.items = [np.unique(items.of(i), return_counts=True) for i in range(len(items.offsets) - 1)]
        self._parts: list[Callable[[], Iterable[Counted]]] = []
        self._lengths: list[NDArray[np.int32]] = []
        self._holders = np.zeros(len(self.vocabulary.hashes), np.int64)
        self._rows = 0
        self.lengths = np.zeros(0, np.int32)
        self._last = -1, np.zeros(0, np.float32)

    def count(self, documents: words.Words) -> Counted:
        """The known terms of each document; at most 65,536 documents."""
        counts = documents.counts()
        where, place = self.vocabulary.find(documents.hashes)
        row = np.searchsorted(documents.offsets, where, "right") - 1
        code, count = np.unique(place * len(counts) + row, return_counts=True)
        term = code // max(len(counts), 1)
        rows = (code - term * len(counts)).astype(np.uint16)
        return Counted(
            term.astype(np.uint32), rows, np.minimum(count, 255).astype(np.uint8), counts.astype(np.int32)
        )  # fmt: skip

    def take(self, parts: Iterable[Counted], again: Callable[[], Iterable[Counted]]) -> None:
        """The next documents; `again` gives the same once more."""
        assert not len(self.lengths), "the rows were ranked already"
        self._parts.append(again)
        for part in parts:
            self._lengths.append(part.lengths)
            self._holders += np.bincount(part.terms, minlength=len(self._holders))
            self._rows += len(part.lengths)

    def best(self, item: int, count: int, among: NDArray[np.bool_] | None) -> list[int]:
        """Rows of the highest scores above 0; of equals, the earlier row."""
        self._index()
        terms = self._terms(item)
        rows = self._hopeful(terms, count, among) if _postings(terms) > MANY else np.arange(self._rows)
        scores = self.scores(item, rows)
        if among is not None:
            scores = np.where(among[rows], scores, 0)
        some = np.flatnonzero(scores)
        if len(some) > count:
            least = np.partition(scores[some], len(some) - count)[len(some) - count]
            some = some[scores[some] >= least]
        order = np.argsort(-scores[some], kind="stable")[:count]
        return [int(row) for row in rows[some[order]]]

    def scores(self, item: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """BM25 of these rows, in rising order or not, for an item, divided by the item's own."""
        self._index()
        terms, own = self._terms(item), self._own(item)
        if not own:
            return np.zeros(len(rows), dtype=np.float32)
        if _postings(terms) <= MANY:
            return self._sums(item, terms)[rows] / own
        found = np.zeros(len(rows), dtype=np.float32)
        for each in terms if len(rows) else ():
            at = np.minimum(each.begin + np.searchsorted(self.rows[each.begin : each.end], rows), each.end - 1)
            holds = np.flatnonzero(self.rows[at] == rows) if each.end > each.begin else np.zeros(0, np.int64)
            found[holds] += self.weights[at[holds]] * each.idf * each.times
        return found / own

    def _sums(self, item: int, terms: list[_Term]) -> NDArray[np.float32]:
        """(all rows,): what the terms of an item add up to. The last ones are kept: they are asked for twice."""
        if self._last[0] != item:
            found = np.zeros(self._rows, dtype=np.float32)
            for each in terms:
                found[self.rows[each.begin : each.end]] += self._weights(each)
            self._last = item, found
        return self._last[1]

    def _weights(self, term: _Term) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.weights[term.begin : term.end] * term.idf * term.times
        return found

    def _hopeful(self, terms: list[_Term], count: int, among: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Rows, rising, that hold all of the `count` best; few others."""
        sums = np.zeros(self._rows, dtype=np.float32)
        left, added, next_look = sum(each.most for each in terms), 0, MANY >> 4
        rows = np.zeros(0, np.int64)
        for number, each in enumerate(sorted(terms, key=lambda each: each.end - each.begin), 1):
            sums[self.rows[each.begin : each.end]] += self._weights(each)
            left, added = left - each.most, added + each.end - each.begin
            if added < next_look and number < len(terms):
                continue
            next_look = 2 * added
            rows = np.flatnonzero(sums > 0)
            rows = rows[among[rows]] if among is not None else rows
            if len(rows) > count:
                partial = sums[rows]
                least = np.partition(partial, len(rows) - count)[len(rows) - count] * (1 - SLACK)
                if left < least:
                    rows = rows[partial >= least - left]
                    if len(rows) <= max(FEW, 4 * count):
                        break
        return rows

    def _terms(self, item: int) -> list[_Term]:
        """Each term of an item that is not common."""
        terms, counts = self.items[item]
        places = self.vocabulary.places(terms)
        places, times = places[~self.common[places]], np.sqrt(np.minimum(counts, 4))[~self.common[places]]
        begins, ends = self.starts[places].tolist(), self.starts[places + 1].tolist()
        most = (self.most[places] * self.idf[places] * times).tolist()
        return [_Term(*each) for each in zip(begins, ends, self.idf[places], times.tolist(), most, strict=True)]

    def _own(self, item: int) -> float:
        """What an item's own text scores."""
        terms, counts = self.items[item]
        own = 0.0
        times = np.sqrt(np.minimum(counts, 4)).tolist()
        for place, count in zip(self.vocabulary.places(terms).tolist(), times, strict=True):
            own += float(self.idf[place]) * count * count * (K1 + 1) / (count + K1)
        return own

    def _index(self) -> None:
        """Postings by term, with each row's share of BM25."""
        if len(self.lengths) == self._rows:
            return
        self.lengths, holders = np.concatenate(self._lengths), self._holders
        self.idf = np.log(1 + (self._rows - holders + 0.5) / (holders + 0.5)).astype(np.float32)
        self.common = (holders > COMMON * self._rows) & (self._rows >= FEW_ROWS)
        self.starts = np.concatenate([[0], np.cumsum(np.where(self.common, 0, holders))])
        self.rows = np.empty(self.starts[-1], np.int32)
        self.weights = np.empty(self.starts[-1], np.float32)
        self._fill()

    def _fill(self) -> None:
        """Every part's postings to their places."""
        usual = max(float(self.lengths[self.lengths > 0].mean()) if self.lengths.any() else 1.0, 1.0)
        free, first_row = self.starts[:-1].copy(), 0
        for part in itertools.chain.from_iterable(again() for again in self._parts):
            rare = np.flatnonzero(~self.common[part.terms])
            terms, rows = part.terms[rare], first_row + part.rows[rare].astype(np.int32)
            counts = part.counts[rare].astype(np.float32)
            many = np.bincount(terms, minlength=len(free))
            first = np.cumsum(many) - many
            at = np.arange(len(terms)) + (free - first)[terms]
            self.rows[at] = rows
            self.weights[at] = counts * (K1 + 1) / (counts + K1 * (1 - B + B * self.lengths[rows] / usual))
            free += many
            first_row += len(part.lengths)
        self._parts.clear()
        self.most = np.zeros(len(free), np.float32)
        there = np.flatnonzero(self.starts[1:] > self.starts[:-1])
        if len(there):
            self.most[there] = np.maximum.reduceat(self.weights, self.starts[there])
