"""Is a new task like one that is kept already? One look-up per task, however many there are.

    kept      "Write a function that doubles every number in a list."
    new       "Write a function that doubles each number in a list."      Jaccard of word pairs 9/11… -> like it

Self-Instruct compares each new task with all earlier ones by ROUGE-L (O(n) each, O(n^2) in all). Here MinHash bands
propose candidates (data/dedup.py) and the exact Jaccard similarity of runs of SHINGLE words decides, so that nothing is
refused because of a hash. Memory: the shingles of what is kept, 8 bytes a word, and 256 bytes of bands a task.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from codeup.data import words
from codeup.data.dedup import PERMUTATIONS, band_rows, signatures

SHINGLE = 2


class Alike:
    """Texts by their names, and which of them a new one is like."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.rows = threshold, band_rows(threshold)
        self._buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        self._sets: list[words.U64] = []
        self._names: list[str] = []

    def like(self, text: str) -> tuple[str, float]:
        """The name of the most similar text that reaches the threshold, and how similar it is; ('', 0.0) if none."""
        own, bands = self._shape(text)
        places = {place for each in bands for place in self._buckets.get(each, ())}
        best = max(((words.jaccard(own, self._sets[place]), -place) for place in places), default=(0.0, 0))
        return (self._names[-best[1]], best[0]) if best[0] >= self.threshold else ("", 0.0)

    def add(self, name: str, text: str) -> None:
        """Keep one more."""
        own, bands = self._shape(text)
        for each in bands:
            self._buckets[each].append(len(self._sets))
        self._sets.append(own)
        self._names.append(name)

    def _shape(self, text: str) -> tuple[words.U64, list[tuple[int, bytes]]]:
        shingles = shingles_of(text)
        signature = signatures(shingles)[0]
        parts = signature.reshape(PERMUTATIONS // self.rows, self.rows)
        return shingles.of(0), [(number, part.tobytes()) for number, part in enumerate(parts)]


def shingles_of(text: str) -> words.Words:
    """Distinct runs of SHINGLE words; signs count as nothing, case and Unicode forms do not matter."""
    return words.distinct(words.windows(words.words([text], words.PROSE), SHINGLE))


def similarity(a: str, b: str) -> float:
    """The exact Jaccard similarity of two texts."""
    return words.jaccard(shingles_of(a).of(0), shingles_of(b).of(0))


def empty(text: str) -> bool:
    """No word in it."""
    return not np.any(shingles_of(text).counts())
