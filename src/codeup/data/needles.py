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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COMMON = b" etaoinsrhldu.,cm\n"
"""Bytes by how often they occur in texts; all others are rarer."""
BLOCK = 1 << 18
"""Bytes that are looked through at the same time."""


@dataclass(frozen=True, slots=True)
class _Needle:
    """Its place in the table, how far its three bytes lie behind its begin, and its first bytes as a number."""

    number: int
    text: str
    place: int
    offset: int
    begin: np.uint64
    mask: np.uint64


class Needles:
    """Texts to look for."""

    def __init__(self, needles: Sequence[str]) -> None:
        self._count = len(needles)
        self._table = np.zeros(1 << 24, dtype=np.uint8)
        self._single = [(number, needle) for number, needle in enumerate(needles) if len(needle.encode()) == 1]
        self._longer: list[_Needle] = []
        for number, needle in enumerate(needles):
            code = needle.encode()
            if len(code) > 1:
                offset = min(range(max(1, len(code) - 2)), key=lambda at: _usual(code[at : at + 3]))
                mask = np.uint64((1 << (8 * min(len(code), 8))) - 1)
                begin = np.uint64(int.from_bytes(code[:8], "little"))
                for place in self._places(code[offset : offset + 3]):
                    self._longer.append(_Needle(number, needle, place, offset, begin, mask))

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
        where = np.flatnonzero(places)
        order = np.argsort(places[where], kind="stable")
        where, places = where[order], places[where[order]]
        text_of = np.searchsorted(np.cumsum([len(code) + 1 for code in codes]), where, "right")
        of_place = np.searchsorted(places, np.arange(256 + 1, dtype=np.uint16)).tolist()
        for each in self._longer:
            some = slice(of_place[each.place], of_place[each.place + 1])
            begins = where[some] - each.offset
            same = (eights[np.maximum(begins, 0)] & each.mask) == each.begin
            own = text_of[some][same & (begins >= 0)]
            if len(each.text) > 8:
                own = np.array([text for text in set(own.tolist()) if each.text in texts[text]], dtype=np.int64)
            found[own, each.number] = True
        for number, needle in self._single:
            found[:, number] = [needle in text for text in texts]


def _usual(three: bytes) -> int:
    """The larger, the more often these bytes occur."""
    return sum(len(COMMON) - COMMON.index(byte) for byte in three if byte in COMMON)
