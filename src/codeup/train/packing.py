"""Documents -> packs -> steps. A pure function of (lengths, settings, seed, epoch): nothing to store, resume is O(1).

Best-fit packing with capacity 10, documents of length 6 5 4 3 2:

    longest first      6            5            4 -> the pack with the least room that fits: [6 4]
                       3 -> [5 3]   2 -> [5 3 2]
    packs              [6 4] = 10   [5 3 2] = 10                      (efficiency 20 / 20)

A document is never cut and never left out. Documents of a pack never see each other: see attention.py.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codeup.errors import UserError
from codeup.types import Pack

WINDOW = 8192
"""Documents sorted and packed together. Larger fills better, smaller mixes more."""


def pack(lengths: Sequence[int] | NDArray[np.int64], capacity: int, *, seed: int, epoch: int) -> list[Pack]:
    """Best-fit-decreasing inside windows of a shuffled order; the packs come out shuffled.

    Every document is in exactly one pack. UserError if one is longer than `capacity`.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    refuse_too_long(sizes, capacity)
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(sizes))
    packs: list[Pack] = []
    for start in range(0, len(order), WINDOW):
        window = order[start : start + WINDOW]
        longest_first = window[np.argsort(-sizes[window], kind="stable")]
        packs.extend(_best_fit(longest_first.tolist(), sizes, capacity))
    return [packs[i] for i in random.permutation(len(packs))]


def _best_fit(documents: list[int], sizes: np.ndarray, capacity: int) -> list[Pack]:
    """Put each document where the least room stays. `rooms` holds (room, pack index), sorted: O(log n) to search."""
    contents: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for document in documents:
        size = int(sizes[document])
        at = bisect_left(rooms, (size, -1))
        if at == len(rooms):
            contents.append([document])
            insort(rooms, (capacity - size, len(contents) - 1))
        else:
            room, index = rooms.pop(at)
            contents[index].append(document)
            insort(rooms, (room - size, index))
    return [Pack(tuple(docs), int(sizes[docs].sum())) for docs in contents]


def refuse_too_long(sizes: np.ndarray, capacity: int) -> None:
    """UserError with the number of the first document that no pack can hold."""
    too_long = np.flatnonzero(sizes > capacity)
    if len(too_long):
        raise UserError(
            f"{len(too_long)} documents are longer than pack_length {capacity}; the first is number {too_long[0]} "
            f"with {sizes[too_long[0]]} tokens",
            mend=f"raise pack_length to {int(sizes.max())}, or drop long rows when the data is prepared (cutoff)",
        )


def steps_per_epoch(total_tokens: int, tokens_per_batch: int) -> int:
    """The same in every epoch, whatever the packs, so that the schedule is known before anything is packed."""
    return max(1, round(total_tokens / tokens_per_batch))


def steps(packs: Sequence[Pack], count: int) -> list[list[Pack]]:
    """Divide the packs of an epoch into `count` steps of nearly equal size: no small last step, nothing dropped."""
    assert count <= len(packs), "a step holds at least one pack"
    edges = [len(packs) * i // count for i in range(count + 1)]
    return [list(packs[a:b]) for a, b in pairwise(edges)]


def micro_batches(packs: Sequence[Pack], max_tokens: int) -> list[list[Pack]]:
    """Divide the packs of a step into runs of at most `max_tokens` (one pack at least), in order."""
    runs: list[list[Pack]] = []
    room = 0
    for item in packs:
        if not runs or item.length > room:
            runs.append([])
            room = max_tokens
        runs[-1].append(item)
        room -= item.length
    return runs


@dataclass(frozen=True)
class Micro:
    """What goes through at once. `number` is its place in the step where it is the same for any number of ranks;
    `counts` is False for one that only keeps a rank in step with the others."""

    number: int
    packs: list[Pack]
    counts: bool = True

    @property
    def length(self) -> int:
        return sum(item.length for item in self.packs)


def deal(
    packs: Sequence[Pack], ranks: int, max_tokens: int, *, whole: bool, lockstep: bool = False
) -> list[list[Micro]]:
    """The micro-batches of each rank, with as equal numbers of tokens as whole packs allow: the longest first, each to
    the rank that has the least so far.

    Packs of 10 9 8 3, two ranks:   [10 3] [9 8]: 13 and 17 tokens;   micro-batches of at most 12:   [10] [3]   [9] [8]

    With `whole`, the micro-batches are those of one process, numbered, and dealt as they are: what is drawn at random
    for a micro-batch then depends on its number and not on who computes it. With `lockstep`, ranks with fewer of them
    get the step's first pack again, not to be counted.
    """
    if whole:
        units = [Micro(number, found) for number, found in enumerate(micro_batches(packs, max_tokens))]
    else:
        units = [Micro(0, [item]) for item in packs]
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for at in sorted(range(len(units)), key=lambda at: -units[at].length):
        least = loads.index(min(loads))
        shares[least].append(at)
        loads[least] += units[at].length
    dealt = [[units[at] for at in sorted(share)] for share in shares]
    if not whole:
        cut = [micro_batches([unit.packs[0] for unit in share], max_tokens) for share in dealt]
        dealt = [[Micro(0, found) for found in share] for share in cut]
    if lockstep:
        most = max(len(share) for share in dealt)
        idle = Micro(0, [packs[0]], counts=False)
        dealt = [share + [idle] * (most - len(share)) for share in dealt]
    return dealt


def efficiency(packs: Sequence[Pack], capacity: int) -> float:
    """Tokens per place, 1.0 is perfect."""
    return sum(item.length for item in packs) / (len(packs) * capacity) if packs else 0.0
