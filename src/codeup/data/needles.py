"""Which of a few short texts (needles) are in each of many texts: one pass of arrays over all of them.

    Needles(["def ", "=> ", "$"]).within(["def f():", "x => $x", "prose"])   ->   1 0 0
                                                                                  0 1 1
                                                                                  0 0 0

Looking for 70 needles in a text one by one takes 40 microseconds for 600 letters, and most are not there. Here the
three bytes at every place are looked up in a table of the rarest three of each needle; what is found is compared in
full. A needle has one to eight bytes, or more: then its first eight are compared, and the text is asked for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeup.data.words import ranges

COMMON = b" etaoinsrhldu.,cm\n"
"""Bytes by how often they occur in texts; all others are rarer."""
BLOCK = 1 << 18
"""Bytes that are looked through at the same time."""


class Needles:
    """Texts to look for."""

    def __init__(self, needles: Sequence[str]) -> None:
        self._count = len(needles)
        self._table = np.zeros(1 << 24, dtype=np.uint8)
        self._single = [(number, needle) for number, needle in enumerate(needles) if len(needle.encode()) == 1]
        entries: list[tuple[int, int, int]] = []  # place in the table, needle, how far its three lie behind its begin
        for number, needle in enumerate(needles):
            code = needle.encode()
            if len(code) > 1:
                offset = min(range(max(1, len(code) - 2)), key=lambda at: _usual(code[at : at + 3]))
                entries += [(place, number, offset) for place in self._places(code[offset : offset + 3])]
        places, self._number, self._offset = np.array(sorted(entries), np.int64).reshape(-1, 3).T
        self._first = np.searchsorted(places, np.arange(256 + 1))
        """Entries of each place: first[place] to first[place + 1]."""
        heads = [needle.encode()[:8] for needle in needles]
        self._begin = np.array([int.from_bytes(head, "little") for head in heads], np.uint64)[self._number]
        self._mask = np.array([(1 << (8 * len(head))) - 1 for head in heads], np.uint64)[self._number]
        self._whole = [needle if len(needle.encode()) > 8 else "" for needle in needles]
        """Texts that eight bytes do not tell."""

    def within(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """(texts, needles): whether each needle is in each text."""
        found = np.zeros((len(texts), self._count), dtype=bool)
        block: list[bytes] = []
        first = size = 0
        for number, text in enumerate(texts, 1):
            block.append(text.encode("utf-8", "surrogatepass"))
            size += len(block[-1])
            if size > BLOCK or number == len(texts):
                self._look(block, texts[first:number], found[first:number])
                block, first, size = [], number, 0
        return found

    def _places(self, three: bytes) -> set[int]:
        """Where the table sends these bytes: a new place, or the one of a needle with the same three.

        Two bytes stand for themselves and any third one; they may have places of others, too.
        """
        new = int(self._table.max()) + 1
        assert new < 256, "too many needles for a table of bytes"
        codes = [three + bytes([third]) for third in range(256)] if len(three) == 2 else [three]
        at = [int.from_bytes(code, "little") for code in codes]
        self._table[[each for each in at if not self._table[each]]] = new
        return {int(self._table[each]) for each in at}

    def _look(self, codes: Sequence[bytes], texts: Sequence[str], found: NDArray[np.bool_]) -> None:
        joined = b"\0".join([*codes, bytes(8)])
        eights = np.ndarray(len(joined) - 7, np.dtype("<u8"), joined, strides=(1,))  # at every byte, unaligned
        threes = np.ndarray(len(eights), np.dtype("<u4"), joined, strides=(1,)) & np.uint32(0xFFFFFF)
        places = self._table.take(threes)
        where = np.flatnonzero(places != 0)
        first, end = self._first[places[where]], self._first[places[where].astype(np.int64) + 1]
        entry, where = ranges(first, end - first), np.repeat(where, end - first)
        begins = where - self._offset[entry]
        same = (eights[np.maximum(begins, 0)] & self._mask[entry]) == self._begin[entry]
        same &= begins >= 0
        text_of = np.searchsorted(np.cumsum([len(code) + 1 for code in codes]), where[same], "right")
        found[text_of, self._number[entry[same]]] = True
        for number, needle in enumerate(self._whole):
            for text in np.flatnonzero(found[:, number]).tolist() if needle else ():
                found[text, number] = needle in texts[text]
        for number, needle in self._single:
            found[:, number] = [needle in text for text in texts]


def _usual(three: bytes) -> int:
    """The larger, the more often these bytes occur."""
    return sum(len(COMMON) - COMMON.index(byte) for byte in three if byte in COMMON)
