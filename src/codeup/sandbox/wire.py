"""Frames on a socket: four bytes of length, then JSON. What travels in them is made by values.py."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct(">I")


class Closed(Exception):
    """The other side is gone."""


class TooLarge(Exception):
    """The other side announced more bytes than it may send."""


def send(channel: socket.socket, message: Any, on_timeout: Callable[[], None] | None = None) -> None:
    """Write one frame: four bytes of length, then JSON. Raises Closed; for `on_timeout` see `receive`."""
    data = json.dumps(message, separators=(",", ":")).encode()
    rest = memoryview(_HEADER.pack(len(data)) + data)
    while rest:
        try:
            rest = rest[channel.send(rest) :]
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None
        except TimeoutError:
            _late(on_timeout)


def receive(channel: socket.socket, limit: int = 1 << 28, on_timeout: Callable[[], None] | None = None) -> Any:
    """Read one frame; raises Closed, TooLarge, and ValueError on bad JSON.

    When the socket's own timeout passes, `on_timeout` is called and waiting goes on unless it raises; without it
    TimeoutError is raised.
    """
    (size,) = _HEADER.unpack(_exactly(channel, _HEADER.size, on_timeout))
    if size > limit:
        raise TooLarge(f"{size} bytes announced, {limit} allowed")
    # parse_constant: every nan a new object, or [nan] == [nan] would hold because both are the decoder's one nan
    return json.loads(_exactly(channel, size, on_timeout), parse_constant=float)


def _exactly(channel: socket.socket, size: int, on_timeout: Callable[[], None] | None) -> bytes:
    parts, missing = [], size
    while missing:
        try:
            part = channel.recv(min(missing, 1 << 20))
        except ConnectionResetError:
            raise Closed from None
        except TimeoutError:
            _late(on_timeout)
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
