"""A tool that stays in a sandbox of its own and answers one text after another: a warm compiler, inside.

    referee -> companion    {"step": step} once (supervisor.py's), then {"ask": text, "cpu_s", "wall_s"} again and again
    companion -> referee    ["isolated"], then {"answer": base64, "cpu_s"} or {"ended": why}, which is the last
    companion <-> tool      four bytes of length and the bytes, on its standard input and output, both ways

The tool gives up everything a program gives up. It is asked about texts of different programs, which is sound only for
a tool that never runs what it reads; what it answers is believed by nobody and used as the one program's own file.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from codeup.sandbox import layers, supervisor, wire

ANSWER_MB = 4
LOOK_S = 0.25
"""How often the processor time of a tool is looked at that has not answered yet."""


def serve(channel: socket.socket, isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
    """Start the tool and pass on questions and answers, until the channel closes or the tool has ended."""
    supervisor.prepare(isolation, limits)
    wire.send(channel, ["isolated"])
    tool = _Tool(wire.receive(channel)["step"], isolation, limits)
    answer: dict[str, Any] = {}
    while "ended" not in answer:
        asked = wire.receive(channel)
        answer = tool.ask(asked["ask"].encode(errors="surrogatepass"), asked["cpu_s"], asked["wall_s"])
        wire.send(channel, answer)


class _Tool:
    """The process, and the two ends of its standard streams."""

    def __init__(self, step: Mapping[str, Any], isolation: layers.Isolation, limits: Mapping[str, Any]) -> None:
        (in_read, self.into), (self.out, out_write), (broken, broken_write) = (os.pipe() for _ in range(3))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        self.process = os.fork()
        if self.process == 0:
            supervisor.Step(step, "", isolation, limits).become(in_read, out_write, nowhere, broken_write)
        for number in (in_read, out_write, broken_write, nowhere):
            os.close(number)
        if why := os.read(broken, 500):
            raise OSError(f"{step['argv'][0]}: {why.decode(errors='replace')}")
        for number in (self.into, self.out):
            os.set_blocking(number, False)

    def ask(self, question: bytes, cpu_s: float, wall_s: float) -> dict[str, Any]:
        """One exchange. Whatever is not one whole answer in time ends the tool."""
        before, start = supervisor.cpu_s(self.process), time.monotonic()
        rest, got = struct.pack(">I", len(question)) + question, b""
        while True:
            size = 4 + int.from_bytes(got[:4], "big") if len(got) >= 4 else 4
            if len(got) >= 4 and len(got) >= size and not rest:
                break
            used = supervisor.cpu_s(self.process) - before
            if used > cpu_s or time.monotonic() - start > wall_s:
                return self._end(f"did not answer in {used:.1f} s of CPU time")
            if size > ANSWER_MB << 20 or len(got) > size:
                return self._end("answered too much")
            readable, writable, _ = select.select([self.out], [self.into] if rest else [], [], LOOK_S)
            try:
                if writable:
                    rest = rest[os.write(self.into, rest[: 1 << 16]) :]
                if readable and not (piece := os.read(self.out, 1 << 16)):
                    return self._end("ended")
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return self._end("ended")
            got += piece if readable else b""
        if len(got) > size:
            return self._end("answered too much")
        used = supervisor.cpu_s(self.process) - before
        return {"answer": base64.b64encode(got[4:]).decode(), "cpu_s": round(used, 4)}

    def _end(self, why: str) -> dict[str, Any]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        return {"ended": why}
