"""The isolated process of one worker, as the trusted side holds it: start it, fork children, end it.

Also what every process of the sandbox is started with: flags, and an environment that inherits nothing.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from codeup.sandbox import layers, wire

BOOT = (
    "import sys; sys.path.insert(0, {source!r}); from codeup.sandbox.{module} import main; "
    "sys.dont_write_bytecode = True; main({number}, {source!r})"
)
"""Our own modules may be kept compiled, as those of the caller are; nothing that is imported later is."""

FLAGS = ("-S", "-s", "-P", *(("-B",) if sys.dont_write_bytecode else ()), "-X", "utf8")


def environment(marker: str) -> dict[str, str]:
    """The whole environment of the processes below: nothing is inherited. The marker finds survivors."""
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {"PYTHONHASHSEED": "0", "CODEUP_SANDBOX": marker, **single}


class SandboxBroken(Exception):
    """The sandbox itself failed: never a verdict."""


class Zygote:
    """The isolated process of this worker, seen from the trusted side."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        ours, theirs = socket.socketpair()
        boot = BOOT.format(source=source, module="zygote", number=theirs.fileno())
        self.process = subprocess.Popen(
            [sys.executable, *FLAGS, "-c", boot], env=environment(config["marker"]), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), cwd="/",
        )  # fmt: skip
        theirs.close()
        self.control = ours
        self.control.settimeout(60)
        try:
            wire.send(self.control, dict(config))
            reply = wire.receive(self.control)
            if "map" in reply:
                wire.send(self.control, {"mapped": self._map_ids()})
                reply = wire.receive(self.control)
        except (wire.Closed, TimeoutError) as error:
            self.stop()
            raise SandboxBroken(f"the sandbox process did not start ({type(error).__name__})") from None
        if "error" in reply:
            self.stop()
            raise SandboxBroken(f"the sandbox process did not start: {reply['error']}")
        self.layers: list[str] = reply["layers"]
        self.kept: socket.socket | None = None
        """The channel of a supervisor that waits for its next program."""

    def _map_ids(self) -> bool:
        """As root, make uid and gid 0 of the zygote's user namespace be nobody outside."""
        try:
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{self.process.pid}/{name}", "w") as file:
                    file.write(f"0 {layers.OUTSIDE_UID} 1")
        except OSError:
            return False
        return True

    def begin(self, kind: bytes = b"b") -> socket.socket:
        """Fork a fresh child; the socket to it. `kind` says what it serves, see zygote.TOOLS."""
        self._dismiss()
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self.control, [kind], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise SandboxBroken(f"the sandbox process is gone ({error})") from None
        finally:
            theirs.close()
        return ours

    def supervisor(self) -> socket.socket:
        """The channel of the supervisor of whole programs, which stays until another kind of child is begun."""
        if self.kept is None:
            self.kept = self.begin(b"w")
        return self.kept

    def _dismiss(self) -> None:
        """End the supervisor, if there is one."""
        if self.kept is not None:
            self.kept.close()
            self.kept = None
            self.end(gone=True)

    def cpu_s(self) -> float:
        """CPU seconds that the running child has used so far."""
        return float(self._order("cpu")["cpu_s"])

    def end(self, *, gone: bool) -> dict[str, Any]:
        """Kill what is left of the sample; how its child ended. `gone`: it closed its channel, so it may be ending."""
        return self._order("gone" if gone else "end")

    def _order(self, name: str) -> dict[str, Any]:
        try:
            wire.send(self.control, {name: True})
            reply: dict[str, Any] = wire.receive(self.control)
            return reply
        except (wire.Closed, TimeoutError) as error:
            raise SandboxBroken(f"the sandbox process is gone ({type(error).__name__})") from None

    def stop(self) -> None:
        """End the zygote and everything in it."""
        if self.kept is not None:
            self.kept.close()
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
