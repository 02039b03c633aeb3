"""Plain data between processes: a closed, tagged encoding, and frames on a socket.

Only values of exactly these types travel: None bool int float complex str bytes list tuple set frozenset dict. What is
decoded is therefore a plain value whose `==` is Python's own: an object with its own `__eq__` cannot reach the referee.

    3               -> 3                        (1, 2.5)      -> {"tuple": [1, 2.5]}
    2**70           -> {"int": "400..0"}  hex   {1: "a"}      -> {"dict": [[1, "a"]]}
    float("nan")    -> NaN                      [b"x"]        -> [{"bytes": "78"}]

A few standard types that compare as one of these are sent as it: Counter, defaultdict and OrderedDict as dict,
numpy scalars as the number they hold. Everything else raises Unencodable. Object identity is lost.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 200
MOST_CONTAINERS = 1_000_000
"""Lists, sets, tuples and dicts in one answer: empty ones are three bytes on the wire and more than a hundred here."""

_HEADER = struct.Struct(">I")
_SMALL = 1 << 63
_AS_DICT = (dict, Counter, defaultdict, OrderedDict)


class Unencodable(Exception):
    """The value holds something that is not plain data; the message names its type."""


class Closed(Exception):
    """The other side is gone."""


class TooLarge(Exception):
    """The other side announced more bytes than it may send."""


def encode(value: Any, depth: int = 0) -> Any:
    """Turn a value into what `json` can write; raises Unencodable."""
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"int": f"{value:x}"}
    if depth >= MAX_DEPTH:
        raise Unencodable(f"data nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [encode(item, depth + 1) for item in value]
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [encode(item, depth + 1) for item in value]}
    if kind in _AS_DICT:
        return {"dict": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    return encode(_numpy_scalar(value, kind), depth + 1)


def _numpy_scalar(value: Any, kind: type) -> Any:
    """The number in a numpy scalar. A class that pretends to be one gains nothing: what leaves is plain."""
    name = kind.__name__
    if kind.__module__ == "numpy" and name.rstrip("_0123456789") in ("bool", "int", "uint", "float", "complex"):
        plain = value.item()
        if type(plain) in (bool, int, float, complex):
            return plain
    raise Unencodable(f"{'an' if name[:1] in 'aeiou' else 'a'} {name[:80]} object")


def decode(value: Any, depth: int = 0) -> Any:
    """The value that `encode` wrote; raises ValueError on anything it could not have written."""
    kind = type(value)
    if value is None or kind in (bool, str, float, int):
        return value
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if kind is list:
        return [decode(item, depth + 1) for item in value]
    if kind is not dict or len(value) != 1:
        raise ValueError("not an encoded value")
    ((tag, body),) = value.items()
    return _decode_tagged(tag, body, depth + 1)


def _decode_tagged(tag: str, body: Any, depth: int) -> Any:
    if tag == "int" and isinstance(body, str):
        return int(body, 16)
    if tag == "bytes" and isinstance(body, str):
        return bytes.fromhex(body)
    if not isinstance(body, list):
        raise ValueError("not an encoded value")
    if tag == "tuple":
        return tuple([decode(item, depth) for item in body])
    try:
        if tag in ("set", "frozenset"):
            plain: set[Any] = set()
            for item in body:  # one by one, so that a timer can interrupt a set made of colliding hashes
                plain.add(decode(item, depth))
            return plain if tag == "set" else frozenset(plain)
        if tag == "dict":
            mapping: dict[Any, Any] = {}
            for key, item in body:
                mapping[decode(key, depth)] = decode(item, depth)
            return mapping
        if tag == "complex":
            real, imag = body
            return complex(float(real), float(imag))
    except TypeError as error:
        raise ValueError(f"not an encoded value: {error}") from None
    raise ValueError(f"unknown tag {tag[:20]!r}")


def send(channel: socket.socket, message: Any, on_timeout: Callable[[], None] | None = None) -> None:
    """Write one frame: four bytes of length, then JSON. Raises Closed; for `on_timeout` see `receive`."""
    data = json.dumps(message, separators=(",", ":")).encode()
    rest, deadline = memoryview(_HEADER.pack(len(data)) + data), _deadline(channel)
    while rest:
        try:
            if time.monotonic() > deadline:
                raise TimeoutError
            rest = rest[channel.send(rest) :]
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None
        except TimeoutError:
            _late(on_timeout)
            deadline = _deadline(channel)


def receive(channel: socket.socket, limit: int = 1 << 28, on_timeout: Callable[[], None] | None = None) -> Any:
    """Read one frame; raises Closed, TooLarge, and ValueError on bad JSON.

    When the socket's own timeout passes, `on_timeout` is called and waiting goes on unless it raises; without it
    TimeoutError is raised.
    """
    (size,) = _HEADER.unpack(_exactly(channel, _HEADER.size, on_timeout))
    if size > limit:
        raise TooLarge(f"{size} bytes announced, {limit} allowed")
    data = _exactly(channel, size, on_timeout)
    if data.count(b"[") + data.count(b"{") > MOST_CONTAINERS:
        raise TooLarge(f"more than {MOST_CONTAINERS} lists, sets, tuples and dicts in one frame")
    return json.loads(data)


def _deadline(channel: socket.socket) -> float:
    """When the socket's timeout is up for a whole message: the kernel starts it anew with every byte."""
    timeout = channel.gettimeout()
    return math.inf if timeout is None else time.monotonic() + timeout


def _exactly(channel: socket.socket, size: int, on_timeout: Callable[[], None] | None) -> bytes:
    parts, missing, deadline = [], size, _deadline(channel)
    while missing:
        try:
            if time.monotonic() > deadline:
                raise TimeoutError
            part = channel.recv(min(missing, 1 << 20))
        except ConnectionResetError:
            raise Closed from None
        except TimeoutError:
            _late(on_timeout)
            deadline = _deadline(channel)
            continue
        if not part:
            raise Closed
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _late(on_timeout: Callable[[], None] | None) -> None:
    if on_timeout is None:
        raise TimeoutError
    on_timeout()
