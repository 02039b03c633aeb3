"""Conversations set aside on disk while it is decided which of them are kept.

Finding duplicates or contamination takes a look at every row before the first can be handed on. The rows wait in a file
of JSON lines; memory holds the byte where each begins, 8 bytes a row.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from codeup.data.store import from_json, to_json
from codeup.types import Conversation

BLOCK = 1 << 20
"""Bytes read at once where rows follow each other, and written at once."""


class Spool:
    """A file of conversations that are numbered from 0 in the order they came. Use as a context manager.

    With `size`, the first so many bytes of an existing file are taken over and the rest of it is cut; the file then
    stays when the context ends.
    """

    def __init__(self, path: Path, *, size: int | None = None) -> None:
        self._path, self._stays = path, size is not None
        self._file = path.open("r+b" if size else "w+b", buffering=BLOCK)
        self._file.truncate(size or 0)
        self._begins = _line_begins(path, size or 0)
        self._file.seek(0, os.SEEK_END)
        self._clean = True

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._stays:
            self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._begins) - 1

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self._begins[-1]

    def append(self, conversation: Conversation) -> None:
        """Set one more aside."""
        line = to_json(conversation) + b"\n"
        self._file.write(line)
        self._begins.append(self._begins[-1] + len(line))
        self._clean = False

    def flush(self) -> None:
        """What was set aside is on the disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._clean = True

    def __iter__(self) -> Iterator[Conversation]:
        yield from self.read(range(len(self)))

    def read(self, numbers: Iterable[int]) -> Iterator[Conversation]:
        """The conversations of these numbers, in the order asked for."""
        return map(from_json, self.lines(numbers))

    def lines(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """The same as they lie in the file, line break included. Rows that follow each other are read together."""
        if not self._clean:
            self._file.flush()
            self._clean = True
        begins, handle = self._begins, self._file.fileno()
        block, first, last = b"", 0, 0  # `block` holds the bytes from `first` to `last`
        previous = -2
        for number in numbers:
            begin, end = begins[number], begins[number + 1]
            if not (first <= begin and end <= last):
                wanted = max(end - begin, BLOCK if number == previous + 1 else 0)
                block, first = os.pread(handle, wanted, begin), begin
                last = first + len(block)
            previous = number
            yield block[begin - first : end - first]


def _line_begins(path: Path, size: int) -> array[int]:
    """The byte where each line of the first `size` bytes begins, and where the last one ends."""
    begins = array("q", [0])
    with path.open("rb") as file:
        done = 0
        while done < size:
            piece = np.frombuffer(file.read(min(BLOCK << 3, size - done)), np.uint8)
            begins.frombytes((np.flatnonzero(piece == ord("\n")) + (done + 1)).astype(np.int64).tobytes())
            done += len(piece)
    return begins
