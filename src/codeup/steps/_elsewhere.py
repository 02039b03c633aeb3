"""Rows read here and worked on elsewhere: converted, mended, filtered and signed by the executor's workers.

    driver   raw rows of a file, CHUNK at a time  ->  worker: conversations or drops, and their signatures  ->  driver

What becomes of a row depends on that row alone, and results are taken in the order of the rows: the same bytes as here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codeup.types import Context, Conversation

if TYPE_CHECKING:
    from codeup.data.dedup import Method
    from codeup.data.files import Row
    from codeup.data.rows import Drop
    from codeup.executors import Crew
    from codeup.steps.prepare import Spec


@dataclass(frozen=True, slots=True)
class Raw:
    """Rows as they are in a file, the name of their source and its columns."""

    source: str
    mapping: Mapping[str, str]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Made:
    """What became of each row, and the signatures of the conversations among them; none without dedup."""

    items: Sequence[Conversation | Drop]
    keys: NDArray[np.uint64] | None
    bands: NDArray[np.uint32] | None


class Reader:
    """The worker."""

    def __init__(self, rules: Mapping[str, bool], filters: Mapping[str, Any], dedup: Method, threshold: float) -> None:
        from codeup.data.mend import mender

        self.mend, self.dedup, self.threshold = mender(rules, filters), dedup, threshold
        self.about: dict[str, Any] = {}

    def close(self) -> None:
        """Nothing to close."""

    def work(self, piece: Raw) -> Made:
        """Raises UserError for a source that this machine does not have."""
        from codeup.data.dedup import sign
        from codeup.data.load import convert_rows

        items = convert_rows(piece.source, piece.mapping, piece.rows, self.mend)
        if self.dedup == "none":
            return Made(items, None, None)
        signed = sign([item for item in items if isinstance(item, Conversation)], self.dedup, self.threshold)
        return Made(items, signed.keys, signed.bands)


class Spread:
    """Converts rows by a crew, in order. `signature` is that of the conversation that came last: (keys, bands)."""

    def __init__(self, crew: Crew, chunk: int) -> None:
        self.crew, self.chunk = crew, chunk
        self.signature: tuple[bytes, bytes] = (b"", b"")

    def __call__(self, source: str, mapping: Mapping[str, str], rows: Iterable[Row]) -> Iterator[Conversation | Drop]:
        rest = iter(rows)
        pieces = (Raw(source, mapping, some) for some in iter(lambda: list(itertools.islice(rest, self.chunk)), []))
        for made in self.crew.in_order(pieces):
            number = 0
            for item in made.items:
                if isinstance(item, Conversation) and made.keys is not None:
                    self.signature = made.keys[number].tobytes(), made.bands[number].tobytes()
                    number += 1
                yield item


@contextmanager
def spread(spec: Spec, context: Context, chunk: int) -> Iterator[Spread | None]:
    """The executor's workers; None without an executor: rows are then worked on here."""
    if context.executor is None:
        yield None
        return
    how = {"rules": spec.rules, "filters": spec.filters, "dedup": spec.dedup, "threshold": spec.near_threshold}
    count = min(spec.at["workers"] or context.executor.cpus, context.executor.cpus)
    with context.executor.crew("codeup.steps._elsewhere:Reader", how, count=count, depth=2) as crew:
        yield Spread(crew, chunk)
