"""Warm compilers, as the trusted side of one worker holds them: each a process that stays, in a sandbox of its own.

    job["warm"]   {"step": how to start it, "ask": [[whose, text], ...], "path": file to make, "steps": what then runs}

The first program of a language is compiled cold, so that one program alone waits for nothing. From the second on the
warm compiler is asked, and what it answers is put beside the program's remaining steps as one file. It makes no
verdict: when it refuses a program, or ends, or is late, that program is compiled cold as if it had not been asked.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codeup.sandbox import wire
from codeup.sandbox.handle import SandboxBroken, Zygote

CPU_S, WALL_S, START = 3.0, 60.0, 4
"""What one answer may take. Honest programs take a tenth; what takes longer is compiled cold, with the usual limits.
The first answer, before which the compiler has to load itself, may take START times as long."""

MOST_STARTS = 8
"""How often a compiler is started again that programs have ended."""


@dataclass(slots=True)
class _Compiler:
    """One language's, with how often it was wanted and started."""

    wanted: int = 0
    starts: int = 0
    zygote: Zygote | None = None
    channel: socket.socket | None = None

    def stop(self) -> None:
        if self.channel is not None:
            self.channel.close()
        if self.zygote is not None:
            self.zygote.stop()
        self.channel = self.zygote = None


class WarmCompilers:
    """Those of one worker, by how they are started."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self.config, self.source = config, source
        self.held: dict[str, _Compiler] = {}

    def answer(self, warm: Mapping[str, Any], text: str) -> tuple[str, float] | None:
        """A program's compiled form in base64 and the CPU seconds it took; None where it must be compiled cold."""
        compiler = self.held.setdefault(" ".join(warm["step"]["argv"]), _Compiler())
        compiler.wanted += 1
        if compiler.wanted == 1:
            return None
        times = 1
        try:
            if compiler.channel is None:
                times = START
                if compiler.starts == MOST_STARTS:
                    return None
                compiler.starts += 1
                self._start(compiler, warm["step"])
            assert compiler.channel is not None
            wire.send(compiler.channel, {"ask": text, "cpu_s": times * CPU_S, "wall_s": times * WALL_S})
            reply = wire.receive(compiler.channel, wire.TRUSTED - 1)
        except (wire.Closed, wire.TooLarge, TimeoutError, SandboxBroken):
            compiler.stop()
            return None
        if not isinstance(reply, dict) or "ended" in reply:  # a list says why the tool could not be started
            compiler.stop()
            return None
        return (reply["answer"], reply["cpu_s"]) if reply["answer"] else None

    def _start(self, compiler: _Compiler, step: Mapping[str, Any]) -> None:
        """A sandbox with the tool in it. Raises SandboxBroken, wire.Closed, TimeoutError."""
        compiler.zygote = Zygote(self.config, self.source)
        compiler.channel = compiler.zygote.begin(b"c")
        compiler.channel.settimeout(2 * START * WALL_S)
        if (first := wire.receive(compiler.channel)) != ["isolated"]:
            raise SandboxBroken(f"a companion could not be isolated: {first}")
        wire.send(compiler.channel, {"step": step})

    def stop(self) -> None:
        """End all of them."""
        for compiler in self.held.values():
            compiler.stop()
