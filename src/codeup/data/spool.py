"""Conversations set aside on disk while it is decided which of them are kept.

Finding duplicates or contamination takes a look at every row before the first can be handed on. The rows wait in a file
of JSON lines; memory holds the byte where each begins, 8 bytes a row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from codeup.data.store import from_json, to_json
from codeup.types import Conversation


class Spool:
    """A file of conversations that are numbered from 0 in the order they came. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._begins = array("q", [0])

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._begins) - 1

    def append(self, conversation: Conversation) -> None:
        """Set one more aside."""
        self._file.write(to_json(conversation) + b"\n")
        self._begins.append(self._file.tell())

    def __iter__(self) -> Iterator[Conversation]:
        yield from self.read(range(len(self)))

    def read(self, numbers: Iterable[int]) -> Iterator[Conversation]:
        """The conversations of these numbers, in the order asked for."""
        for number in numbers:
            begin, end = self._begins[number], self._begins[number + 1]
            self._file.seek(begin)
            yield from_json(self._file.read(end - begin))
