"""Conversations that were cut into several rows put together again, by their ids, before anything else is done.

    row 0  id "abc_0"  4 turns                          row 0  joined to the row that completes its conversation
    row 1  id "abc_4"  2 turns          ->              row 1  id "abc", 6 turns
    row 2  id "xyz_0"  2 turns                          row 2  id "xyz", as it was

The tools that cut ShareGPT wrote PARENT_START: START is the turn of the whole conversation with which the part begins.
Parts belong together only if each begins where the one before ended; a gap (a part that is missing, a name that happens
to end in a number) leaves rows alone. A part that is there twice with the same turns is there once.

The file is read twice. The first pass holds the ids (some 200 bytes for each row that has such an id), the second the
parts of conversations that are not complete yet, on disk beyond 64 MB. Every row of the file stays one row of the
account.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from codeup.data.files import Row, read_rows

JOINED = "part of a conversation, joined to its other parts"
REPEATED = "part of a conversation that is there twice"
_CHILD = re.compile(r"(?P<parent>.+)_(?P<start>\d{1,6})\Z")
IN_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class _Part:
    row: int
    start: int
    turns: int
    content: bytes


def rejoined(path: Path, id_column: str, turns_column: str) -> Iterator[Row]:
    """The rows of a file, as many as it has; a joined conversation is the row that completes it."""
    chains, repeated = _plan(path, id_column, turns_column)
    chain_of = {part.row: number for number, chain in enumerate(chains) for part in chain}
    waiting = [len(chain) for chain in chains]
    with _Aside(IN_MEMORY) as aside:
        for row in read_rows(path):
            number = chain_of.get(row.number)
            if row.number in repeated:
                yield Row(row.number, None, REPEATED)
            elif number is None or row.value is None:
                yield _alone(row, id_column, turns_column)
            else:
                aside.put(row.number, orjson.dumps(row.value))
                waiting[number] -= 1
                if waiting[number]:
                    yield Row(row.number, None, JOINED)
                else:
                    parts = [orjson.loads(aside.take(part.row)) for part in chains[number]]
                    yield Row(row.number, _together(parts, id_column, turns_column))


def _together(parts: list[dict[str, Any]], id_column: str, turns_column: str) -> dict[str, Any]:
    parent = _CHILD.match(parts[0][id_column])
    assert parent is not None
    turns = [turn for part in parts for turn in part[turns_column]]
    return {**parts[0], id_column: parent["parent"], turns_column: turns}


def _alone(row: Row, id_column: str, turns_column: str) -> Row:
    """A first part that is the whole conversation gets its parent's id; anything else stays as it is."""
    found = _child(row, id_column, turns_column)
    if found is None or found[1] != 0:
        return row
    assert row.value is not None
    return Row(row.number, {**row.value, id_column: found[0]})


def _child(row: Row, id_column: str, turns_column: str) -> tuple[str, int] | None:
    """(parent, start) of a row that may be a part."""
    value = row.value or {}
    match = _CHILD.match(value[id_column]) if isinstance(value.get(id_column), str) else None
    return (match["parent"], int(match["start"])) if match and isinstance(value.get(turns_column), list) else None


def _plan(path: Path, id_column: str, turns_column: str) -> tuple[list[list[_Part]], set[int]]:
    """Which rows make one conversation, in order of their start; and which repeat another."""
    families: dict[str, list[_Part]] = {}
    for row in read_rows(path):
        found = _child(row, id_column, turns_column)
        if found is not None and row.value is not None:
            turns = row.value[turns_column]
            try:
                content = hashlib.blake2b(orjson.dumps(turns), digest_size=8).digest()
            except TypeError:  # lone surrogates: such a row is dropped later
                continue
            families.setdefault(found[0], []).append(_Part(row.number, found[1], len(turns), content))
    chains: list[list[_Part]] = []
    repeated: set[int] = set()
    for family in families.values():
        parts: dict[tuple[int, bytes], _Part] = {}
        for part in family:
            if parts.setdefault((part.start, part.content), part) is not part:
                repeated.add(part.row)
        chains += _chains(sorted(parts.values(), key=lambda part: (part.start, part.row)))
    return chains, repeated


def _chains(parts: list[_Part]) -> Iterator[list[_Part]]:
    """Runs of two or more in which each begins where the one before ended, and no start is claimed by two."""
    claimed = Counter(part.start for part in parts)
    chain: list[_Part] = []
    for part in parts:
        alone = claimed[part.start] > 1
        if chain and not alone and part.start == chain[-1].start + chain[-1].turns:
            chain.append(part)
            continue
        if len(chain) > 1:
            yield chain
        chain = [] if alone else [part]
    if len(chain) > 1:
        yield chain


class _Aside:
    """Pieces of bytes by number: in memory as long as they are few, else in a file that has no name."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._held: dict[int, bytes] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._open = contextlib.ExitStack()
        self._file: Any = None

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def put(self, number: int, piece: bytes) -> None:
        if self._size + len(piece) <= self._most:
            self._held[number] = piece
            self._size += len(piece)
            return
        if self._file is None:
            self._file = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._file.seek(0, 2)
        self._places[number] = (self._file.tell(), len(piece))
        self._file.write(piece)

    def take(self, number: int) -> bytes:
        if number in self._held:
            piece = self._held.pop(number)
            self._size -= len(piece)
            return piece
        at, size = self._places.pop(number)
        self._file.seek(at)
        found: bytes = self._file.read(size)
        return found
