"""Frames on a socket: four bytes of length, then JSON. What travels in them is made by values.py."""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

MOST_CONTAINERS = 1_000_000
"""Lists, sets, tuples and dicts in one answer: empty ones are three bytes on the wire and more than a hundred here."""

TRUSTED = 1 << 28
"""Frames that may be this large come from our own side, or from a benchmark's own program."""

_HEADER = struct.Struct(">I")


class Closed(Exception):
    """The other side is gone."""


class TooLarge(Exception):
    """The other side announced more bytes than it may send."""


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


def receive(channel: socket.socket, limit: int = TRUSTED, on_timeout: Callable[[], None] | None = None) -> Any:
    """Read one frame; raises Closed, TooLarge, and ValueError on bad JSON.

    When the socket's own timeout passes, `on_timeout` is called and waiting goes on unless it raises; without it
    TimeoutError is raised.
    """
    (size,) = _HEADER.unpack(_exactly(channel, _HEADER.size, on_timeout))
    if size > limit:
        raise TooLarge(f"{size} bytes announced, {limit} allowed")
    data = _exactly(channel, size, on_timeout)
    if limit < TRUSTED and data.count(b"[") + data.count(b"{") > MOST_CONTAINERS:
        raise TooLarge(f"more than {MOST_CONTAINERS} lists, sets, tuples and dicts in one frame")
    # parse_constant: every nan a new object, or [nan] == [nan] would hold because both are the decoder's one nan
    return json.loads(data, parse_constant=float)


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
