"""Workers of a Ray cluster: an existing one by its address, or one that is started on this machine and ends with us.

    this process -> messenger (a process of its own, the only one here that loads Ray) -> workers on the nodes

Ray ends a process whose head node is lost, or waits without end; so it gets one of its own, and what happens to that
is an error here. Pieces and results cross as bytes. At most `window` pieces are out at once; a piece whose worker is
lost is given to another (_messenger.py); a result counts once, by the number of its piece, and only here.
Not covered: a Ray that lies. Whoever can reach the cluster's ports can run code on it; see docs/cluster.md.
"""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from codeup.errors import UserError, WorkFailed

BOOT = "import sys; sys.path[:] = {path!r}; from codeup.executors._messenger import main; main({number})"
REACH_S, START_S, END_S = 5.0, 120.0, 15.0
"""Seconds until an address counts as unreachable, Ray as not starting, and a messenger as not ending."""
GO_ON = "what is finished is kept: the same command goes on from there, also with executor=local"


class RayExecutor:
    """Connects when the first crew is asked for, and stays connected until closed.

    `address` is "ray" (RAY_ADDRESS, or a Ray started here), "ray://HOST:PORT" (Ray's client port) or "HOST:PORT" (the
    head's own port, from a node of the cluster). `replicas` is how many copies of a model a recipe asks for.
    """

    def __init__(self, address: str, replicas: int | None = None) -> None:
        given = os.environ.get("RAY_ADDRESS", "") if address == "ray" else address
        self.address = "" if given == "local" else given
        self.replicas = replicas
        self._messenger: _Messenger | None = None

    def _connected(self) -> _Messenger:
        if self._messenger is None:
            self._messenger = _Messenger(self.address)
        return self._messenger

    @property
    def cpus(self) -> int:
        return int(self._connected().cluster["cpus"])

    @property
    def gpus(self) -> int:
        return int(self._connected().cluster["gpus"])

    @property
    def nodes(self) -> int:
        return int(self._connected().cluster["nodes"])

    @contextmanager
    def crew(
        self, make: str, arguments: Mapping[str, Any], *, count: int, cpus: int = 1, gpus: int = 0, depth: int = 1
    ) -> Iterator[RayCrew]:
        """Raises UserError for a node that refuses, WorkFailed where no worker has a place after some time."""
        messenger = self._connected()
        messenger.send("crew", make, pickle.dumps(dict(arguments)), count, cpus, gpus, depth)
        try:
            (abouts,) = messenger.receive("crew")
            crew = RayCrew(messenger, abouts, len(abouts) * depth)
            yield crew
        except BaseException:
            self.close()  # pieces may be under way: the workers end with the messenger
            raise
        if crew.out:  # left before they came back
            self.close()
            return
        messenger.send("disband")
        messenger.receive("disbanded")

    def close(self) -> None:
        """Leave the cluster, and end it where it was started here."""
        if self._messenger is not None:
            self._messenger.close()
        self._messenger = None


class RayCrew:
    """Workers on the nodes. Pieces are read only as far as `window` of them are out, or wait for an earlier one."""

    def __init__(self, messenger: _Messenger, abouts: Sequence[Mapping[str, Any]], window: int) -> None:
        self._messenger, self.abouts, self.window = messenger, abouts, window
        self.out: set[int] = set()

    def deal(self, pieces: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        return self._deal(pieces, {})

    def in_order(self, pieces: Iterable[Any]) -> Iterator[Any]:
        early: dict[int, Any] = {}
        next_ = 0
        for number, result in self._deal(pieces, early):
            early[number] = result
            while next_ in early:
                yield early.pop(next_)
                next_ += 1

    def _deal(self, pieces: Iterable[Any], early: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """`early` are results that wait for one before them: they count as being out."""
        waiting, out, more = enumerate(pieces), self.out, True
        while more or out:
            while more and len(out) < self.window and len(early) < 2 * self.window:
                piece = next(waiting, None)
                if piece is None:
                    more = False
                    break
                self._messenger.send("piece", piece[0], pickle.dumps(piece[1]))
                out.add(piece[0])
            if out:
                number, result = self._messenger.receive("done")
                out.remove(number)  # a result that comes twice is our own mistake, and ends here
                yield number, pickle.loads(result)


class _Messenger:
    """The process that speaks to Ray, seen from here. `cluster` is {"cpus", "gpus", "nodes"}."""

    def __init__(self, address: str) -> None:
        self.address = address or "a Ray of this machine"
        _assert_reachable(address)
        self.folder = None if address else tempfile.mkdtemp(prefix="codeup-ray-")
        ours, theirs = socket.socketpair()
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT.format(path=sys.path, number=theirs.fileno())], pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.said, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.channel = Connection(ours.detach())
        try:
            self.send("start", {"address": address, "folder": self.folder})
            (self.cluster,) = self.receive("ready", START_S)
        except BaseException:
            self.close()
            raise

    def send(self, *message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: why is known when an answer is awaited
            self.channel.send(message)

    def receive(self, kind: str, patience_s: float | None = None) -> tuple[Any, ...]:
        """The rest of the next message, which is of this kind. Raises what the messenger reports, or its end."""
        try:
            if not self.channel.poll(patience_s):
                raise UserError(
                    f"{self.address} did not let us in within {patience_s:.0f} s{self._why()}", where="executor",
                    mend="see `ray status` on its head node; RAY_AUTH_MODE and its token must be the same here",
                )  # fmt: skip
            got, *rest = self.channel.recv()
        except (EOFError, ConnectionResetError):
            raise WorkFailed(f"lost the Ray cluster at {self.address}{self._why()}; {GO_ON}") from None
        if got == "user":
            what, where, mend = rest
            raise UserError(what, where=where, mend=mend)
        if got == "failed":
            raise WorkFailed(f"{rest[0]}; {GO_ON}")
        assert got == kind, f"expected {kind}, got {got}"
        return tuple(rest)

    def _why(self) -> str:
        """The last line that it said, which is Ray's own reason."""
        self.said.seek(0)
        lines = self.said.read()[-4000:].decode(errors="replace").strip().splitlines()
        return f" ({lines[-1].strip()[-300:]})" if lines else ""

    def close(self) -> None:
        """End it, by force if need be, and remove what a Ray of this machine left."""
        self.send("stop")
        end = time.monotonic() + END_S
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(EOFError, OSError):
                if self.channel.poll(0.1):
                    self.channel.recv_bytes()  # what it still has to say must not keep it
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self.channel.close()
        self.said.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _assert_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    host = host.strip("[]")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), REACH_S).close()
    except OSError as error:
        raise UserError(
            f"nothing answers at {address} ({error.strerror or error})", where="executor",
            mend="start the head node (`ray start --head`), or check host and port",
        ) from None  # fmt: skip
