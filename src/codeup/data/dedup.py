"""Rows that say the same as another row: exact duplicates by hash, near duplicates by MinHash, each with its witness.

    exact   the same turns, white space aside                       proposed by 128 bits of the bytes without white
                                                                    space, or where the words are hashed anyway by
                                                                    those; told by 128 bits of the squeezed text
    near    Jaccard similarity of 5-word shingles >= threshold      candidates by MinHash bands, then counted exactly

Shingles are runs of 5 words or signs (words.py), MinHash (Broder 1997) is rensa's with 128 permutations, and its bands
are as many as find a pair at the threshold with probability >= 0.99. A band only proposes pairs: a row is dropped where
its exact similarity to a row that is kept reaches the threshold, so no row goes because of a chain of neighbours.

    A 0.9 B, B 0.9 C, A 0.6 C, threshold 0.8, all in one cluster       best is B:  A and C dropped
                                                                       best is A:  B dropped, C kept

Best of a cluster: an answer with code that parses as Python, then the longest answers, then the earliest row. Rows are
compared across all sources of a dataset. Memory: 16 bytes a row for exact, 4 a band (at most 64) more for near, and the
shingles of one batch of clusters; the rows themselves wait on disk (spool.py).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codeup.data import words
from codeup.data.code import parses
from codeup.data.spool import Spool
from codeup.data.white import WHITE_BYTES, squeezed
from codeup.types import Conversation, Emit, Event, ignore_event

Method = Literal["none", "exact", "near"]
EXACT = "exact duplicate"
NEAR = "near duplicate"
SHINGLE = 5
PERMUTATIONS = 128
SEED = 20240601
RECALL = 0.99
MISSED = 1e-4
"""Chance of a pair at the threshold not to be looked at because it shares fewer bands than is usual."""
MOST_PAIRS = 1 << 22
"""Pairs that wait until they are counted."""
CHUNK = 2048
"""Rows whose words are hashed in one go."""
BLOCK = 128
"""Rows whose words are arrays at the same time: few enough for a processor's own memory."""
NEIGHBOURS = 16
"""Rows after it in its bucket that a row is paired with: all, in buckets of up to 17; fewer in larger ones."""
BATCH = 1024
"""Rows, in whole clusters, whose shingles are held at once."""
EXAMPLES = 20
_PART_NO_WORDS = "\x85\u1680\u2028\u2029"
"""White signs that are letters to words.py: those that no Unicode form makes a space."""
_AS_SPACES = str.maketrans(dict.fromkeys(_PART_NO_WORDS, " "))


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Row `row` of the spool is dropped because it is like `of`, which is kept."""

    row: int
    of: int
    reason: str
    similarity: float


@dataclass(slots=True)
class Found:
    """All duplicates by row, and how they lie together: {rows in a cluster: number of such clusters}."""

    duplicates: dict[int, Duplicate] = field(default_factory=dict)
    clusters: Counter[int] = field(default_factory=Counter)
    candidates: int = 0
    confirmed: int = 0

    def to_dict(self, spool: Spool) -> dict[str, Any]:
        """Counts, and the first pairs of each kind with their text, for the report."""
        reasons = Counter(each.reason for each in self.duplicates.values())
        return {
            "duplicates": dict(sorted(reasons.items())),
            "cluster_sizes": {str(size): count for size, count in sorted(self.clusters.items())},
            "candidate_pairs": self.candidates,
            "confirmed_pairs": self.confirmed,
            "examples": [each for reason in (EXACT, NEAR) for each in self._examples(spool, reason)],
        }

    def _examples(self, spool: Spool, reason: str) -> Iterator[dict[str, Any]]:
        chosen = (each for each in self.duplicates.values() if each.reason == reason)
        for each in itertools.islice(chosen, EXAMPLES):
            dropped, kept = spool.read([each.row, each.of])
            yield {"reason": reason, "similarity": round(each.similarity, 3),
                   "dropped": _shown(dropped), "kept": _shown(kept)}  # fmt: skip


def find(
    spool: Spool, method: Method, threshold: float = 0.8, *, signed: Signed | None = None, emit: Emit = ignore_event,
    step: str = "",
) -> Found:  # fmt: skip
    """Which rows of the spool are duplicates, each with the row that stands for it.

    `signed` are the rows' signatures, where they were made while the rows passed by.
    """
    found = Found()
    if method == "none" or not len(spool):
        return found
    signed = signed or _sign_all(spool, method, threshold, emit, step)
    for first, others in _equal_rows(spool, signed.keys):
        found.clusters[1 + len(others)] += 1
        for row in others:
            found.duplicates[row] = Duplicate(row, first, EXACT, 1.0)
    if method == "near":
        unique = np.ones(len(spool), dtype=bool)
        unique[list(found.duplicates)] = False
        left = np.flatnonzero(unique)
        pairs = left[candidates(signed.bands[left], least_bands(threshold))]
        found.candidates = len(pairs)
        _near(spool, pairs, threshold, found, emit, step)
        _point_at_kept_rows(found)
    return found


@dataclass(frozen=True, slots=True)
class Signed:
    """What rows are proposed by: `keys` (rows, 2) for exact, `bands` (rows, bands) for near; without near 0 bands.

    Keys of the two methods differ.
    """

    keys: NDArray[np.uint64]
    bands: NDArray[np.uint32]


def sign(conversations: Sequence[Conversation], method: Method, threshold: float) -> Signed:
    """Signatures of some rows. A row's do not depend on the others, so they can be made as rows pass by."""
    texts = [text_of(each) for each in conversations]
    keys = [np.zeros((0, 2), np.uint64)]
    bands = [np.zeros((0, band_count(method, threshold)), np.uint32)]
    for begin in range(0, len(texts), BLOCK):
        part = texts[begin : begin + BLOCK]
        if method == "near":
            found = words.words(part, words.CODE)
            sofar = words.running(found)
            keys.append(_word_keys(part, found, sofar))
            bands.append(_fold(signatures(words.windows(found, SHINGLE, sofar=sofar)), band_rows(threshold)))
        else:
            keys.append(_byte_keys(part))
    return Signed(np.concatenate(keys), np.concatenate(bands))


def band_count(method: Method, threshold: float) -> int:
    """Bands of a row's signature."""
    return PERMUTATIONS // band_rows(threshold) if method == "near" else 0


def _sign_all(spool: Spool, method: Method, threshold: float, emit: Emit, step: str) -> Signed:
    parts = []
    for begin in range(0, len(spool), CHUNK):
        rows = range(begin, min(begin + CHUNK, len(spool)))
        parts.append(sign(list(spool.read(rows)), method, threshold))
        emit(Event("progress", step, begin, len(spool), "rows signed"))
    return Signed(np.concatenate([part.keys for part in parts]), np.concatenate([part.bands for part in parts]))


def text_of(conversation: Conversation) -> str:
    """What is compared: all turns, with who speaks."""
    return "\n".join([f"{turn.role} {turn.content}\n{turn.input}" for turn in conversation.messages])


# --- exact -----------------------------------------------------------------------------------------------------------


def _byte_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """(texts, 2): 16 bytes each, equal for texts that are equal but for white space and Unicode composition.

    Of others, too, if they differ in no byte but those that write white space: `a b` and `ab`. Few rows share a key,
    and only those are looked at again.
    """
    return _hashes([_composed(text).translate(None, WHITE_BYTES) for text in texts])


def _word_keys(texts: Sequence[str], found: words.Words, sofar: words.U64) -> NDArray[np.uint64]:
    """(texts, 2): the same by the hash of each text's words and their number.

    Of others, too, if they differ in case or in Unicode forms alone. `found` are the words, `sofar` their running sums.
    """
    counts = found.counts()
    keys = np.stack([words.runs_at(sofar, found.offsets[:-1], counts), counts.astype(np.uint64)], axis=1)
    beyond = (place for place, text in enumerate(texts) if not text.isascii())
    parted = [place for place in beyond if any(map(texts[place].__contains__, _PART_NO_WORDS))]
    if parted:
        spaced = [texts[place].translate(_AS_SPACES) for place in parted]
        again = words.words(spaced, words.CODE)
        keys[parted] = _word_keys(spaced, again, words.running(again))
    return keys


def _keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """(texts, 2): 16 bytes each, equal for those texts alone."""
    return _hashes(squeezed([_composed(text) for text in texts]))


def _hashes(texts: Sequence[bytes]) -> NDArray[np.uint64]:
    found = b"".join([hashlib.blake2b(text, digest_size=16).digest() for text in texts])
    return np.frombuffer(found, dtype=np.uint64).reshape(-1, 2)


def _composed(text: str) -> bytes:
    return text.encode() if text.isascii() else unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def _equal_rows(spool: Spool, loose: NDArray[np.uint64]) -> Iterator[tuple[int, list[int]]]:
    """Each group of equal rows as its first row and the others, in the order of first rows."""
    some = sorted(itertools.chain.from_iterable(_groups(loose)))
    texts = map(text_of, spool.read(some))
    keys = [_keys(part) for _ in range(0, len(some), BLOCK) for part in [list(itertools.islice(texts, BLOCK))]]
    for first, *others in _groups(np.concatenate([np.zeros((0, 2), np.uint64), *keys])):
        yield some[first], [some[other] for other in others]


def _groups(keys: NDArray[np.uint64]) -> list[list[int]]:
    """Places of equal keys, each group rising, in the order of their first ones."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: places of one group stay in their order
    same = np.all(keys[order[1:]] == keys[order[:-1]], axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    return sorted(order[begin : end + 1].tolist() for begin, end in edges.reshape(-1, 2).tolist())


# --- near ------------------------------------------------------------------------------------------------------------


def band_rows(threshold: float) -> int:
    """Signature rows a band holds: the most that still find a pair at the threshold with probability RECALL.

    A pair of similarity s agrees on one band of r rows with probability s^r, on one of 128 / r bands with
    1 - (1 - s^r)^(128 / r) (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4).

    >>> [band_rows(t) for t in (0.9, 0.8, 0.7, 0.5)]
    [8, 4, 4, 2]
    """
    fitting = [r for r in (1, 2, 4, 8, 16) if 1 - (1 - threshold**r) ** (PERMUTATIONS / r) >= RECALL]
    return max(fitting, default=1)


def least_bands(threshold: float) -> int:
    """Bands that a pair must share to be looked at: the most that a pair at the threshold lacks once in 1 / MISSED.

    Texts that share a few sentences meet in some band or other; of 32 bands of 4 rows a pair of similarity 0.8 shares
    13, one of 0.3 none in three cases of four, and 4 or more in one of 7,000.

    >>> [least_bands(t) for t in (0.9, 0.8, 0.7, 0.5)]
    [1, 4, 1, 5]
    """
    size = band_rows(threshold)
    bands, one = PERMUTATIONS // size, threshold**size
    chances = (math.comb(bands, n) * one**n * (1 - one) ** (bands - n) for n in range(bands + 1))
    return max(1, sum(1 for missed in itertools.accumulate(chances) if missed <= MISSED))


def signatures(shingles: words.Words) -> NDArray[np.uint32]:
    """(rows, 128) MinHash signatures."""
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles.hashes, shingles.offsets.astype(np.uint64), PERMUTATIONS, SEED
    )
    row = struct.Struct(f"={PERMUTATIONS}I")  # half the time of np.array(rows)
    values = b"".join([row.pack(*each) for each in matrix.to_rows()])
    return np.frombuffer(values, dtype=np.uint32).reshape(-1, PERMUTATIONS)


def _shingles(texts: Sequence[str]) -> words.Words:
    return words.windows(words.words(texts, words.CODE), SHINGLE)


def _fold(rows: NDArray[np.uint32], size: int) -> NDArray[np.uint32]:
    """(rows, 128) -> (rows, bands): each band of `size` values as one hash of 32 bits."""
    parts = rows.reshape(len(rows), -1, size).astype(np.uint64)
    folded = np.zeros(parts.shape[:2], dtype=np.uint64)
    for place in range(size):
        folded = (folded ^ parts[:, :, place]) * np.uint64(0x9E3779B97F4A7C15)
        folded ^= folded >> np.uint64(29)
    return (folded >> np.uint64(32)).astype(np.uint32)


def candidates(bands: NDArray[np.uint32], least: int = 1) -> NDArray[np.int64]:
    """(pairs, 2): rows of (rows, bands) that share `least` bands, each pair once, smaller number first."""
    count = len(bands)
    found: list[NDArray[np.int64]] = []
    waiting = 0
    for band in bands.T:
        both = np.sort((band.astype(np.uint64) << np.uint64(32)) | np.arange(count, dtype=np.uint64))
        ordered, order = both >> np.uint64(32), (both & np.uint64(0xFFFFFFFF)).astype(np.int64)
        for lag in range(1, min(NEIGHBOURS, count - 1) + 1):
            same = np.flatnonzero(ordered[lag:] == ordered[:-lag])
            if not len(same):
                break
            found.append(order[same] * count + order[same + lag])
            waiting += len(same)
        if waiting > MOST_PAIRS:
            found, waiting = [_sharing(bands, np.unique(np.concatenate(found)), least)], 0
    codes = _sharing(bands, np.unique(np.concatenate(found)), least) if found else np.zeros(0, np.int64)
    return np.stack([codes // max(count, 1), codes % max(count, 1)], axis=1)


def _sharing(bands: NDArray[np.uint32], codes: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Of pairs (as a * rows + b) those that share so many bands."""
    if least == 1:
        return codes
    kept = []
    for part in np.array_split(codes, len(codes) // CHUNK + 1):
        first, second = bands[part // len(bands)], bands[part % len(bands)]
        kept.append(part[np.count_nonzero(first == second, axis=1) >= least])
    return np.concatenate(kept)


def _near(
    spool: Spool, pairs: NDArray[np.int64], threshold: float, found: Found, emit: Emit, step: str
) -> None:  # fmt: skip
    """Confirm pairs, join them to clusters, and keep of each cluster what is not like something better in it."""
    for batch in _batches(_components(pairs.tolist())):
        rows = sorted({row for group in batch for pair in group for row in pair})
        conversations = dict(zip(rows, spool.read(rows), strict=True))
        shingles = words.distinct(_shingles([text_of(each) for each in conversations.values()]))
        sets = {row: shingles.of(place) for place, row in enumerate(rows)}
        for group in batch:
            close = [(a, b) for a, b in group if words.jaccard(sets[a], sets[b]) >= threshold]
            found.confirmed += len(close)
            for cluster in clusters(close):
                found.clusters[len(cluster)] += 1
                for duplicate in _unlike_better(best_first(cluster, conversations), sets, threshold):
                    found.duplicates[duplicate.row] = duplicate
        emit(Event("progress", step, len(found.duplicates), 0, "near duplicates confirmed"))


def _unlike_better(ordered: list[int], sets: dict[int, words.U64], threshold: float) -> Iterator[Duplicate]:
    """The rows of a cluster that are as similar as `threshold` to a better one that is kept."""
    kept: list[int] = []
    for row in ordered:
        similar = max(((words.jaccard(sets[row], sets[other]), -other) for other in kept), default=(0.0, 0))
        if similar[0] >= threshold:
            yield Duplicate(row, -similar[1], NEAR, similar[0])
        else:
            kept.append(row)


def best_first(rows: Iterable[int], conversations: Mapping[int, Conversation]) -> list[int]:
    """Rows with code that parses in an answer, then the others; of both those with the longest answers, the earliest.

    Whether the last one's code parses is asked only where it matters: where all others' does, it is last anyway.
    """
    answers = {row: [turn.content for turn in conversations[row].messages if turn.role == "assistant"] for row in rows}
    longest = sorted(answers, key=lambda row: (-sum(map(len, answers[row])), row))
    parsing: list[int] = []
    others: list[int] = []
    for row in longest[:-1]:
        (parsing if any(map(parses, answers[row])) else others).append(row)
    last = longest[-1:]
    if others and any(map(parses, answers[last[0]])):
        return [*parsing, *last, *others]
    return [*parsing, *others, *last]


def clusters(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Rows that pairs connect, by union-find; rows and clusters in order.

    >>> clusters([(1, 4), (7, 9), (4, 5)])
    [[1, 4, 5], [7, 9]]
    """
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        parent.setdefault(row, row)
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for row in sorted(parent):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def _components(pairs: list[list[int]]) -> Iterator[list[tuple[int, int]]]:
    """The candidate pairs, those that hang together in one list."""
    place = {row: number for number, group in enumerate(clusters((a, b) for a, b in pairs)) for row in group}
    groups: dict[int, list[tuple[int, int]]] = {}
    for a, b in pairs:
        groups.setdefault(place[a], []).append((a, b))
    yield from groups.values()


def _batches(groups: Iterable[list[tuple[int, int]]]) -> Iterator[list[list[tuple[int, int]]]]:
    batch: list[list[tuple[int, int]]] = []
    rows = 0
    for group in groups:
        batch.append(group)
        rows += 2 * len(group)
        if rows >= BATCH:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _point_at_kept_rows(found: Found) -> None:
    """An exact duplicate of a row that is itself dropped as a near one stands for the row that is kept."""
    for row, each in found.duplicates.items():
        onward = found.duplicates.get(each.of)
        if onward is not None:
            found.duplicates[row] = Duplicate(row, onward.of, NEAR, onward.similarity)


def _shown(conversation: Conversation) -> dict[str, Any]:
    return {"source": conversation.source, "row": conversation.row, "text": text_of(conversation)[:400]}
