"""A server of this process in a thread of its own, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def in_a_thread(
    server: Any, listening: socket.socket, desk: Any, *, wait: bool, patience_s: float = 30
) -> Iterator[str]:
    """The server's address, when it has started and, with `wait`, when its desk has loaded."""
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    try:
        end = time.monotonic() + patience_s
        while not server.started or (wait and desk.state == "loading"):
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.01)
        assert not wait or desk.state == "ready", desk.error
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(40)
        listening.close()
        assert not thread.is_alive()
