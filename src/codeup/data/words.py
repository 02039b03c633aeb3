"""Words of many texts at once, as arrays of 64-bit hashes: what duplicates and contamination are found with.

    words(["Add a+b.", "Add"], CODE)      Add a + b . | Add          hashes [h0 h1 h2 h3 h4 h0], offsets [0 5 6]
    windows(those, 2)                     Add a, a +, + b, b . | Add  a text of fewer words is one window

A word is a run of letters, digits and anything beyond ASCII; case does not count, and neither do the Unicode forms that
NFKC makes equal. CODE keeps `_` inside words and every other sign as a word of its own, because `a + b` is not `a - b`;
PROSE drops all signs, so that `max_length`, `max length` and `Max-length!` are the same two words.

Everything between the bytes and the hashes is numpy: no loop over words. Two words share a hash with probability
2**-64, save for texts made to collide.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["code", "prose"]
CODE: Kind = "code"
PROSE: Kind = "prose"
U64 = NDArray[np.uint64]

_SPACE, _WORD, _SIGN = 0, 1, 2
_EIGHTS = 64  # times eight bytes of a word after which its factors repeat


@dataclass(frozen=True, slots=True)
class Words:
    """The hashes of several texts, one after another; text i has `hashes[offsets[i]:offsets[i + 1]]`."""

    hashes: U64
    offsets: NDArray[np.int64]

    def of(self, index: int) -> U64:
        """The hashes of one text."""
        return self.hashes[self.offsets[index] : self.offsets[index + 1]]

    def counts(self) -> NDArray[np.int64]:
        """How many each text has."""
        return np.diff(self.offsets)


def words(texts: Sequence[str], kind: Kind) -> Words:
    """The words of each text. Shapes: `hashes` (words in all,), `offsets` (texts + 1,).

    A word is hashed by the eight bytes from where it begins, those behind its end set to 0, and the next eight of the
    longer ones: work per word, not per letter.
    """
    pieces = [_bytes(text) for text in texts]
    ends = np.cumsum([0, *(len(piece) + 1 for piece in pieces)], dtype=np.int64)
    joined = b" ".join([b"", *pieces, b""])  # a space before and after each text: no word spans two
    lower = joined.lower() if kind == CODE else joined.translate(_PROSE_LETTERS)
    letters = np.frombuffer(lower + bytes(8), dtype=np.uint8)
    starts, lengths = _found(joined, letters[: len(joined)], kind)
    if not len(starts):
        return Words(np.zeros(0, np.uint64), np.zeros(len(texts) + 1, np.int64))
    eights = np.ndarray(len(letters) - 8, np.dtype("<u8"), letters.data, 1, strides=(1,))  # at every byte, unaligned
    sums = eights[starts]
    sums &= _FIRST.take(lengths, mode="clip")
    sums *= _EIGHT[0]
    _add_the_rest(sums, eights, starts, lengths)
    return Words(_mixed(sums), np.searchsorted(starts, ends).astype(np.int64))


def _found(joined: bytes, letters: NDArray[np.uint8], kind: Kind) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each word begins, less the space before the first text, and its bytes."""
    if kind == PROSE:
        inside = letters != 0
        edges = np.flatnonzero(inside[1:] != inside[:-1])  # a begin and an end by turns
        return edges[::2], edges[1::2] - edges[::2]
    classes = np.frombuffer(joined.translate(_CODE_CLASSES), dtype=np.uint8)
    inside, sign = classes == _WORD, classes[1:-1] == _SIGN
    starts = np.flatnonzero(sign | (inside[1:-1] > inside[:-2]))
    lengths = np.flatnonzero(sign | (inside[1:-1] > inside[2:]))  # where each word ends
    lengths -= starts
    lengths += 1
    return starts, lengths


def _add_the_rest(sums: U64, eights: U64, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Add to the sums of words of more than eight bytes what is behind those, eight by eight."""
    longer = np.flatnonzero(lengths > 8)
    if not len(longer):
        return
    size, begin = lengths[longer], starts[longer]
    part = eights[begin + 8]  # of most of them that is all
    part &= _FIRST.take(size - 8, mode="clip")
    part *= _EIGHT[1]
    sums[longer] += part
    left = np.flatnonzero(size > 16)
    if not len(left):
        return
    longer, size, begin = longer[left], size[left], begin[left]
    more = (size - 9) >> 3
    place = ranges(np.full(len(more), 2), more)
    part = eights[np.repeat(begin, more) + 8 * place]
    part &= _FIRST.take(np.repeat(size, more) - 8 * place, mode="clip")
    part *= _EIGHT[place % _EIGHTS]
    sums[longer] += np.add.reduceat(part, np.cumsum(more) - more)


def windows(found: Words, size: int, *, whole: bool = True, sofar: U64 | None = None) -> Words:
    """Every run of `size` words of each text, hashed. With `whole`, a text of fewer words is one window itself.

    A run's hash is a sum over its words, each times a power of STEP by its place in the run, from 1. `sofar` is what
    `running` makes of the words, where it is there already.
    """
    counts = found.counts()
    full = np.maximum(counts - size + 1, 0)
    short = np.flatnonzero((counts > 0) & (full == 0)) if whole else np.zeros(0, np.int64)
    each = full.copy()
    each[short] = 1
    offsets = np.concatenate([[0], np.cumsum(each)]).astype(np.int64)
    total = len(found.hashes)
    sums = np.zeros(total, dtype=np.uint64)
    runs = total - size + 1
    if runs > 0:
        sofar = running(found) if sofar is None else sofar
        np.multiply(sofar[size:] - sofar[:runs], _powers(_STEP_BACK, runs), out=sums[:runs])
    for text in short.tolist():
        own = found.of(text)
        sums[found.offsets[text]] = (own * _powers(_STEP, len(own) + 1)[1:]).sum(dtype=np.uint64)
    inside = np.ones(total, dtype=bool)
    inside[ranges(found.offsets[:-1] + each, counts - each)] = False  # the last words of a text begin no run
    return Words(_mixed(sums[inside]), offsets)


def running(found: Words) -> U64:
    """(words in all + 1,): the sum over all words before each, of which any run's hash is a part.

    That part is multiplied back to the first powers (mod 2**64).
    """
    sums = np.zeros(len(found.hashes) + 1, dtype=np.uint64)
    np.cumsum(found.hashes * _powers(_STEP, len(sums))[1:], out=sums[1:])
    return sums


def runs_at(sofar: U64, begins: NDArray[np.int64], size: int | NDArray[np.int64]) -> U64:
    """The hashes of the runs that begin at these words and have `size` of them, as `windows` makes them."""
    return _mixed((sofar[begins + size] - sofar[begins]) * _powers(_STEP_BACK, len(sofar))[begins])


def ranges(begins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Several ranges of numbers, end to end: begins 3 9, counts 2 1 -> 3 4 9."""
    before = np.cumsum(counts) - counts
    return np.repeat(begins - before, counts) + np.arange(int(counts.sum()))


def _powers(base: int, count: int) -> U64:
    """base**0, base**1 and so on, mod 2**64."""
    return _table(base, max(1, (count - 1).bit_length()))[:count]


@functools.lru_cache(maxsize=64)
def _table(base: int, bits: int) -> U64:
    table = np.full(1 << bits, base, dtype=np.uint64)
    table[0] = 1
    return np.multiply.accumulate(table)


def distinct(found: Words) -> Words:
    """The same without repetitions inside a text; each text's hashes sorted."""
    each = [_once(found.of(text)) for text in range(len(found.offsets) - 1)]
    offsets = np.cumsum([0, *map(len, each)]).astype(np.int64)
    return Words(np.concatenate([np.zeros(0, np.uint64), *each]), offsets)


def _once(hashes: U64) -> U64:
    """Sorted, each once. Many times faster than `np.unique`, which looks the values up in a table."""
    ordered = np.sort(hashes)
    new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


class Known:
    """Some hashes, sorted and without repetitions, in which others are looked up: by their first bits, then exactly."""

    def __init__(self, hashes: U64) -> None:
        self.hashes = hashes
        self._bits = min(max((16 * len(hashes)).bit_length(), 1), 24)
        starts = np.arange(1 << self._bits, dtype=np.uint64) << np.uint64(64 - self._bits)
        first = np.searchsorted(hashes, starts)
        ends = np.append(first[1:], len(hashes))
        self._first = np.where(ends > first, first, -1).astype(np.int32)

    def find(self, hashes: U64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of the hashes are known, and where each of those stands."""
        place = self._first[hashes >> np.uint64(64 - self._bits)]
        where = np.flatnonzero(place >= 0)
        place, wanted = place[where].astype(np.int64), hashes[where]
        behind = np.flatnonzero(self.hashes[place] < wanted)
        while len(behind):  # a few hashes share their first bits and stand one after another
            place[behind] += 1
            behind = behind[place[behind] < len(self.hashes)]
            behind = behind[self.hashes[place[behind]] < wanted[behind]]
        place = np.minimum(place, max(len(self.hashes) - 1, 0))
        known = self.hashes[place] == wanted if len(self.hashes) else np.zeros(0, dtype=bool)
        return where[known], place[known]

    def places(self, hashes: U64) -> NDArray[np.int64]:
        """Where each of some known hashes stands."""
        return np.searchsorted(self.hashes, hashes)


def jaccard(a: U64, b: U64) -> float:
    """|a and b| / |a or b| of two sorted arrays without repetitions."""
    if not len(a) or not len(b):
        return 0.0
    places = np.searchsorted(a, b)
    common = int(np.count_nonzero(a[np.minimum(places, len(a) - 1)] == b))
    return common / (len(a) + len(b) - common)


def _bytes(text: str) -> bytes:
    """UTF-8, in lower case where it is not ASCII; the tables below lower the rest."""
    if text.isascii():
        return text.encode()
    code = text.encode("utf-8", "surrogatepass")
    others = code.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    if not _USUAL.fullmatch(others):
        text = unicodedata.normalize("NFKC", text)
        code = text.encode("utf-8", "surrogatepass")
        others = code.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    return code if others.lower() == others else text.lower().encode("utf-8", "surrogatepass")


def _mixed(values: U64) -> U64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of a value moves every other."""
    mixed = values >> np.uint64(30)
    mixed ^= values
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    other = mixed >> np.uint64(27)
    mixed ^= other
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= np.right_shift(mixed, np.uint64(31), out=other)
    return mixed


def _classes(kind: Kind) -> bytes:
    """What each byte is, as a table for bytes.translate."""
    table = bytearray([_SIGN if kind == CODE else _SPACE]) * 256
    for space in (*range(33), 127):
        table[space] = _SPACE
    for letter in b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + bytes(range(128, 256)):
        table[letter] = _WORD
    if kind == CODE:
        table[ord("_")] = _WORD
    return bytes(table)


def _prose_letters() -> bytes:
    """Each byte in lower case, 0 for what is in no word, as a table for bytes.translate."""
    return bytes(0 if what == _SPACE else bytes([byte]).lower()[0] for byte, what in enumerate(_classes(PROSE)))


def _odd_powers(base: int, count: int) -> U64:
    return np.array([pow(base, place, 1 << 64) for place in range(count)], dtype=np.uint64)


_ASCII = bytes(range(128))
_USUAL = re.compile(
    "[\xa1-\xa7\xa9\xab-\xae\xb0\xb1\xb6\xb7\xbb\xbf-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u0400-\u045f"
    "\u2010\u2012-\u2016\u2018-\u2022\u2030\u20ac\u2190-\u21ff\u2200-\u222b\u2248-\u2265\u2500-\u257f\u4e00-\u9fff"
    "\uac00-\ud7a3\U0001f300-\U0001f64f]*"
)
"""Signs beyond ASCII that NFKC leaves as they are, whatever stands before or behind them."""
_CODE_CLASSES = _classes(CODE)
_PROSE_LETTERS = _prose_letters()
_EIGHT = _odd_powers(0x9E3779B97F4A7C15, _EIGHTS + 1)[1:]
_FIRST = np.array([(1 << (8 * count)) - 1 for count in range(9)], dtype=np.uint64)
"""Masks of the first bytes of eight, by their number."""
_STEP = 0xD1B54A32D192ED03
_STEP_BACK = pow(_STEP, -1, 1 << 64)
"""What a word is multiplied by for each word before it in a run, and what undoes that."""
