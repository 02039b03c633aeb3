"""Is a new task like one that is kept already? One look-up per task, however many there are.

    kept      "Write a function that doubles every number in a list."     10 words
    new       "Write a function that doubles each number of a list."      10 words, 8 of them in the same order
                                                                          ROUGE-L F = 2 * 8 / 20 = 0.8 -> alike at 0.7

Self-Instruct refuses a task whose ROUGE-L F with any earlier one is above 0.7 (Wang et al. 2023, section 2.2), and
compares with all of them. F > t means that the two share so many words that the Jaccard similarity of their words is
t / (2 - t) or more (if none is repeated), so MinHash bands find the candidates, and only they are compared. Signs and
case do not count. Memory: the words of what is kept, as Python integers, and its bands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from codeup.data import words
from codeup.data.dedup import PERMUTATIONS, RECALL, signatures


class Alike:
    """Texts by their names, and which of them a new one is like: ROUGE-L F of `threshold` or more."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.rows = band_rows(threshold / (2 - threshold))
        self._buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        self._texts: list[list[int]] = []
        self._names: list[str] = []

    def like(self, text: str) -> tuple[str, float]:
        """The name of the most similar text that reaches the threshold, and how similar it is; ('', 0.0) if none."""
        own, bands = self._shape(text)
        places = {place for each in bands for place in self._buckets.get(each, ())}
        best = max(((rouge_l(own, self._texts[place]), -place) for place in places), default=(0.0, 0))
        return (self._names[-best[1]], best[0]) if best[0] >= self.threshold else ("", 0.0)

    def add(self, name: str, text: str) -> None:
        """Keep one more."""
        own, bands = self._shape(text)
        for each in bands:
            self._buckets[each].append(len(self._texts))
        self._texts.append(own)
        self._names.append(name)

    def _shape(self, text: str) -> tuple[list[int], list[tuple[int, bytes]]]:
        found = words.words([text], words.PROSE)
        signature = signatures(words.distinct(found))[0]
        parts = (signature[begin : begin + self.rows] for begin in range(0, PERMUTATIONS - self.rows + 1, self.rows))
        return found.of(0).tolist(), [(number, part.tobytes()) for number, part in enumerate(parts)]


def band_rows(similarity: float) -> int:
    """The most signature rows a band may hold to find a pair of this Jaccard similarity with probability RECALL.

    The formula is that of data/dedup.py; here any number of rows will do.

    >>> band_rows(0.7 / 1.3), band_rows(0.9 / 1.1)
    (3, 7)
    """
    fitting = [r for r in range(1, 17) if 1 - (1 - similarity**r) ** (PERMUTATIONS // r) >= RECALL]
    return max(fitting, default=1)


def similarity(a: str, b: str) -> float:
    """ROUGE-L F of two texts."""
    found = words.words([a, b], words.PROSE)
    return rouge_l(found.of(0).tolist(), found.of(1).tolist())


def rouge_l(a: Sequence[int], b: Sequence[int]) -> float:
    """2 * LCS / (len(a) + len(b)), in [0, 1] (Lin 2004); 0 where one is empty.

    >>> rouge_l([1, 2, 3, 4], [1, 3, 4, 5])
    0.75
    """
    return 2 * common(a, b) / (len(a) + len(b)) if a and b else 0.0


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common subsequence, all of `a` at once as bits of one integer (Crochemore et al. 2001)."""
    places: dict[int, int] = defaultdict(int)
    for place, word in enumerate(a):
        places[word] |= 1 << place
    full = (1 << len(a)) - 1
    free = full
    for word in b:
        matched = free & places.get(word, 0)
        free = ((free + matched) | (free - matched)) & full
    return len(a) - free.bit_count()
