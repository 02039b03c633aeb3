"""Digests of large values, so that hundreds of megabytes need not travel to be compared.

A value is digested in pieces, at C speed, by marshal's version 2, whose bytes are the same in every process. Equal
digests mean equal values. Unequal digests of `rigid` values mean unequal values; otherwise the digests of their normal
forms decide: 1, 1.0 and True are one number there, and sets and dicts have no order.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

CONTAINERS = {list, tuple}
RIGID = frozenset((str, bytes, type(None)))
"""Types whose values equal only values of the same type."""

UNCHANGED = RIGID | {int}
PIECE = 1 << 14  # elements of a container
TEXT_PIECE = 1 << 20  # characters


@dataclass(frozen=True, slots=True)
class Scan:
    """The digest of a large value; `stable` if it equals itself (one with a nan does not)."""

    digest: str
    stable: bool


def scan(value: Any, above: int | None, *, check: bool = False) -> Scan | None:
    """Digest a value if it has more than `above` bytes. None for smaller ones and for what is not plain data."""
    if above is None or type(value) not in (str, bytes, list, tuple, set, frozenset, dict):
        return None
    if len(value) <= (above if isinstance(value, str | bytes) else 1):
        return None
    hashed, size, stable = hashlib.blake2b(digest_size=32), 0, True
    try:
        for piece in _pieces(value):
            data = marshal.dumps(piece, 2)
            size += len(data)
            hashed.update(data)
            stable = stable and (not check or bool(marshal.loads(data) == piece))
    except ValueError:  # holds something that is not plain data
        return None
    return Scan(hashed.hexdigest(), stable) if size > above else None


def _pieces(value: Any) -> Iterator[Any]:
    kind = type(value)
    if kind in (str, bytes):
        for start in range(0, len(value), TEXT_PIECE):
            yield value[start : start + TEXT_PIECE]
    elif kind in CONTAINERS:
        for start in range(0, len(value), PIECE):
            yield value[start : start + PIECE]
    elif kind is dict:
        items = iter(value.items())
        while piece := list(islice(items, PIECE)):
            yield piece
    else:
        yield value  # marshal sorts a set as a whole


def rigid(value: Any) -> bool:
    """Whether a value is made of lists, tuples, str, bytes and None only; level by level, at C speed."""
    if type(value) not in CONTAINERS:
        return type(value) in RIGID
    return all(_rigid_levels(piece) for piece in _pieces(value))


def _rigid_levels(level: Any) -> bool:
    while True:
        kinds = set(map(type, level))
        if kinds <= RIGID:
            return True
        if not kinds <= RIGID | CONTAINERS:
            return False
        inner = level if kinds <= CONTAINERS else [item for item in level if type(item) in CONTAINERS]
        level = list(chain.from_iterable(inner))


def normal(value: Any) -> str:
    """A digest that two values share exactly if they are equal. nan, which equals nothing, is not looked for."""
    hashed = hashlib.blake2b(digest_size=32)
    if type(value) in CONTAINERS:
        hashed.update(type(value).__name__.encode())
        for piece in _pieces(value):
            hashed.update(marshal.dumps(_normal(piece), 2))
    else:
        hashed.update(marshal.dumps(_normal(value), 2))
    return hashed.hexdigest()


def _normal(value: Any) -> Any:
    kind = type(value)
    if kind in UNCHANGED:
        return value
    if kind is bool:
        return int(value)
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is complex:
        return _normal(value.real) if value.imag == 0 else value
    if kind in CONTAINERS:
        return value if set(map(type, value)) <= UNCHANGED else kind([_normal(item) for item in value])
    if kind in (set, frozenset):
        return ("a set", sorted(marshal.dumps(_normal(item), 2) for item in value))
    if kind is dict:
        pairs = ((marshal.dumps(_normal(k), 2), marshal.dumps(_normal(v), 2)) for k, v in value.items())
        return ("a dict", sorted(pairs))
    return value
