"""For each benchmark item the rows most like it, by words and by the shapes of statements (functions.py).

    terms of an item   words of its prompt and solution           shapes of the statements of its solution
    score of a row     BM25 (Robertson and Zaragoza 2009,         the same, over shapes
                       k1 = 1.2, b = 0.5), divided by what the item's own text would score: near 1 is the item itself
    ranking            the best of both lists by turns

Only terms that occur in some item are kept of a row; rows are seen once. Memory: 7 bytes for each such term of a row,
unless what was counted can be had again (from a file), and 8 bytes for each that less than COMMON of the rows hold.

Ranking does not score every row (the idea of MaxScore, Turtle and Flood 1995). The rarest terms of an item are added up
first; the few rows that lead by then are scored in full, which says how much the best score at `least`. As soon as all
terms that are `left` are worth less than that, no new row can be among the best, and of the rows that were reached only
those stay that can still get there. So the outcome is that of scoring all rows, to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeup.data import words
from codeup.data.contamination.functions import Shape, shapes
from codeup.data.contamination.items import Item
from codeup.data.contamination.other_functions import Source

K1, B = 1.2, 0.5
COMMON = 0.25
"""Terms in more than this share of the rows say nothing and cost most of the time."""
FEW_ROWS = 100
"""Of fewer rows no term counts as common."""
FEW = 64
"""Rows that are scored in full where no other can be among the best, and to learn how much the best score at least."""
LOOK = 1 << 14
"""Postings after which the leading rows are first scored in full; then each time that there are four times as many."""
FAR = 8
"""A list of so many times the rows that are left is not added up: each row is looked for in it."""
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
        self._shapes = _Bm25(shape_terms([shapes_of(item) for item in items]))

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
        asked = [index.asked(item) for index in (self._words, self._shapes)]
        lists = [each.best(count, among) for each in asked]
        turns = [row for pair in zip(*(row + [-1] * (count - len(row)) for row in lists), strict=True) for row in pair]
        chosen = list(dict.fromkeys(row for row in turns if row >= 0))[:count]
        scores = (each.scores(np.array(chosen, dtype=np.int32)).tolist() for each in asked)
        return [Ranked(*each) for each in zip(chosen, *scores, strict=True)]


def shapes_of(item: Item) -> list[Shape]:
    """The shapes of an item's own functions."""
    if item.language:
        return Source(item.language, item.source).shapes() if item.runnable_elsewhere else []
    return shapes([item.program])


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
    """A term of an item: the rows that hold it, rising, what it adds to each, and the `most` of that."""

    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: float
    most: float

    def added(self) -> NDArray[np.float32]:
        """What is added to each of its rows."""
        return self.weights if self.times == 1 else self.weights * np.float32(self.times)

    def added_to(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """What is added to any rows: 0 to those that do not hold it."""
        if not len(self.rows):
            return np.zeros(len(rows), np.float32)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[at] == rows, self.weights[at] * np.float32(self.times), np.float32(0))


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

    def count(self, documents: words.Words) -> Counted:
        """The known terms of each document; at most 65,536 documents."""
        counts = documents.counts()
        where, place = self.vocabulary.find(documents.hashes)
        row = np.repeat(np.arange(len(counts)), np.diff(np.searchsorted(where, documents.offsets)))
        bits = len(counts).bit_length()
        fits = len(self.vocabulary.hashes) < 1 << (32 - bits)  # 32 bits are sorted in half the time
        codes: NDArray[Any] = ((place << bits) | row).astype(np.uint32 if fits else np.uint64)
        codes.sort()
        new = np.ones(len(codes), dtype=bool)
        np.not_equal(codes[1:], codes[:-1], out=new[1:])
        first = np.flatnonzero(new)
        code, count = codes[first], np.diff(first, append=len(codes))
        rows = (code & ((1 << bits) - 1)).astype(np.uint16)
        return Counted(
            (code >> bits).astype(np.uint32), rows, np.minimum(count, 255).astype(np.uint8), counts.astype(np.int32)
        )  # fmt: skip

    def take(self, parts: Iterable[Counted], again: Callable[[], Iterable[Counted]]) -> None:
        """The next documents; `again` gives the same once more."""
        assert not len(self.lengths), "the rows were ranked already"
        self._parts.append(again)
        for part in parts:
            self._lengths.append(part.lengths)
            self._holders += np.bincount(part.terms, minlength=len(self._holders))
            self._rows += len(part.lengths)

    def asked(self, item: int) -> _Asked:
        """What an item asks of the rows, of which no more may come."""
        self._index()
        terms, counts = self.items[item]
        places, times = self.vocabulary.places(terms), np.sqrt(np.minimum(counts, 4))
        own = 0.0
        for place, count in zip(places.tolist(), times.tolist(), strict=True):
            own += float(self.idf[place]) * count * count * (K1 + 1) / (count + K1)
        rare = ~self.common[places]
        found = []
        for place, count in zip(places[rare].tolist(), times[rare].tolist(), strict=True):
            of = slice(self.starts[place], self.starts[place + 1])
            found.append(_Term(self.rows[of], self.weights[of], count, float(self.most[place]) * count))
        return _Asked(found, own, self._rows)

    def _index(self) -> None:
        """Postings by term, with what each adds to its row."""
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
        for part in itertools.chain.from_iterable(again() for again in self._parts if len(self.rows)):
            rare = np.flatnonzero(~self.common[part.terms])
            terms, rows = part.terms[rare], first_row + part.rows[rare].astype(np.int32)
            counts = part.counts[rare].astype(np.float32)
            many = np.bincount(terms, minlength=len(free))
            first = np.cumsum(many) - many
            at = np.arange(len(terms)) + (free - first)[terms]
            self.rows[at] = rows
            weights = counts * (K1 + 1) / (counts + K1 * (1 - B + B * self.lengths[rows] / usual))
            self.weights[at] = weights.astype(np.float32) * self.idf[terms]
            free += many
            first_row += len(part.lengths)
        self._parts.clear()
        self.most = np.zeros(len(free), np.float32)
        there = np.flatnonzero(self.starts[1:] > self.starts[:-1])
        if len(there):
            self.most[there] = np.maximum.reduceat(self.weights, self.starts[there])


class _Asked:
    """The terms of an item that are not common, and what its `own` text would score; `count` rows there are."""

    def __init__(self, terms: Sequence[_Term], own: float, count: int) -> None:
        self.terms, self.own, self.count = terms, own, count

    def best(self, count: int, among: NDArray[np.bool_] | None) -> list[int]:
        """Rows of the highest scores above 0; of equals, the earlier row."""
        if not self.terms:
            return []
        rows = np.sort(self.hopeful(count, among))
        scores = self.scores(rows)
        order = np.argsort(-scores, kind="stable")[:count]
        return [int(row) for row in rows[order[scores[order] > 0]]]

    def scores(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """BM25 of these rows, in rising order or not, divided by the item's own."""
        found = self._full(rows)
        return found / self.own if self.own else found

    def _full(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        found = np.zeros(len(rows), dtype=np.float32)
        for each in self.terms if len(rows) else ():
            found += each.added_to(rows)
        return found

    def hopeful(self, count: int, among: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        """Rows that hold all of the `count` best; few others."""
        sums = np.zeros(self.count, dtype=np.float32)
        terms = sorted(self.terms, key=lambda each: -len(each.rows))
        left, least, added, look = sum(each.most for each in terms), 0.0, 0, LOOK
        reached = [np.zeros(0, np.int32)]  # in parts, joined only where that is needed
        while terms:
            if left < least:
                rows = np.concatenate(reached)
                reached = [rows[sums[rows] >= least - left]]
                if FAR * len(reached[0]) < len(terms[-1].rows):
                    break
            term = terms.pop()
            before = sums[term.rows]
            sums[term.rows] = before + term.added()
            if left >= least:
                new = term.rows[before == 0]
                reached.append(new if among is None else new[among[new]])
            left, added = left - term.most, added + len(term.rows)
            if added >= look and sum(map(len, reached)) >= count:
                reached = [np.concatenate(reached)]
                least, look = max(least, self._least(reached[0], sums, count)), 4 * added
        rows = np.concatenate(reached)
        partial = sums[rows]
        while terms and len(rows) > FEW:
            term = terms.pop()
            partial, left = partial + term.added_to(rows), left - term.most
            still = partial >= least - left
            rows, partial = rows[still], partial[still]
        return rows

    def _least(self, rows: NDArray[np.int32], sums: NDArray[np.float32], count: int) -> float:
        """What the `count` best score at least: those of the rows that lead by now."""
        many = min(max(FEW, 2 * count), len(rows))
        leading = rows[np.argpartition(sums[rows], len(rows) - many)[len(rows) - many :]]
        scores = np.partition(self._full(leading), many - count)
        return float(scores[many - count]) * (1 - SLACK)
