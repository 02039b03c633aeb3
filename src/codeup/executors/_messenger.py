"""The process that speaks to Ray for another: it keeps workers standing, gives them pieces, and passes results on.

    in     start {address, folder} | crew make arguments count cpus gpus depth | piece number bytes | disband | stop
    out    ready {cpus, gpus, nodes} | crew [about, ...] | done number bytes | disbanded
           user what where mend | failed what        after which this process ends, and with it its workers

A worker is a Ray actor. `depth` threads per worker each give it a piece and wait; when the worker is lost (its process
or its node died), its pieces go to the others and a new one is started, up to TRIES times for a piece; where no new one
can be, the others go on without it. Loading may take as long as it takes, having no place only STAND_S. The head node
is watched: without it, Ray itself would wait a minute and then end this process without a word.
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

TRIES = 3
LOOK_S, REFUSALS, SILENT_S = 1.0, 3, 40.0
"""Seconds between looks at the head node; closed ports in a row, and seconds of silence, that mean it is lost."""
STAND_S = 120.0
"""Seconds that the cluster has to give workers their places; after them, those that have one go on alone."""
STORE_BYTES = 100 << 20
"""Ray's object store on this machine: pieces and results are small."""


class Refused(Exception):
    """A message to pass on: ("user", what, where, mend) or ("failed", what)."""


class Lost(Exception):
    """A worker is gone, or has no place on the cluster."""


class Messenger:
    """One connection to one cluster. Messages out are sent by many threads, so one lock."""

    def __init__(self, channel: Connection) -> None:
        self.channel, self.lock = channel, threading.Lock()
        self.seen = 0.0

    def say(self, *message: Any) -> None:
        with self.lock:
            self.channel.send(message)

    def end(self, *message: Any) -> None:
        """Say why, and be gone; the driver's job and all its workers go too."""
        try:
            self.say(*message)
        finally:
            os._exit(1)

    def start(self, ray: Any, address: str, folder: str | None) -> None:
        """Join a cluster, or start one here. Ends with a message where Ray refuses."""
        common = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                ray.init(address=address, **common)
            else:
                ray.init(
                    num_cpus=len(os.sched_getaffinity(0)), object_store_memory=STORE_BYTES, include_dashboard=False,
                    _temp_dir=folder, **common,
                )  # fmt: skip
        except Exception as error:
            self.end(*explained(error, address))
        head = address.removeprefix("ray://") if ":" in address else ray.get_runtime_context().gcs_address
        host, _, port = head.rpartition(":")
        threading.Thread(target=self._watch, args=(ray, host.strip("[]"), int(port)), daemon=True).start()
        resources = ray.cluster_resources()
        nodes = sum(node["Alive"] for node in ray.nodes())
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        self.say("ready", {"cpus": cpus, "gpus": gpus, "nodes": nodes})

    def _watch(self, ray: Any, host: str, port: int) -> None:
        """End when the head node's port is closed, or when it is open and nothing answers."""

        def ask() -> None:
            while True:
                ray.nodes()
                self.seen = time.monotonic()
                time.sleep(LOOK_S)

        self.seen, refused = time.monotonic(), 0
        threading.Thread(target=ask, daemon=True).start()
        while time.monotonic() - self.seen < SILENT_S:
            time.sleep(LOOK_S)
            try:
                socket.create_connection((host, port), SILENT_S).close()
                refused = 0
            except OSError:
                refused += 1
            if refused == REFUSALS:
                self.end("failed", f"lost the Ray cluster: its head node no longer listens at {host}:{port}")
        self.end("failed", f"lost the Ray cluster: its head node has not answered for {SILENT_S:.0f} s")


def explained(error: Exception, address: str) -> tuple[str, ...]:
    """A refusal of Ray's as a message: what differs, or what it said.

    >>> explained(RuntimeError("Version mismatch: The cluster was started with:\\n    Ray: 2.1.0"), "h:1")[:2]
    ('user', 'Version mismatch: The cluster was started with: Ray: 2.1.0')
    """
    text = " ".join(str(error).split())
    place = address or "a Ray of this machine"
    if "ersion mismatch" in text or "started with" in text:
        return "user", text, place, "install the cluster's versions of Ray and Python here, or these there"
    if "ailed to connect" in text:
        return (
            "user",
            text,
            place,
            "see `ray status` on its head node; RAY_AUTH_MODE and its token must be the same here",
        )
    return "failed", f"Ray could not be used at {place}: {text[:600]}"


def place_class() -> Any:
    """The actor, whose code goes with it: also a node without this package can say so, by its name."""

    class Place:
        def arrive(self) -> None:
            """Answered as soon as this is on some node, before anything is loaded."""

        def stand(self, make: str, arguments: bytes, expected: dict[str, str]) -> tuple[str, Any]:
            import socket

            import ray

            node = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
            try:
                from codeup.executors._place import Bench
            except ImportError as error:
                what = f"node {node} has no codeup that can be imported ({error})"
                return "user", (what, "executor", "install the same version of codeup on every node")
            self.bench = Bench(node)
            return self.bench.stand(make, arguments, expected)

        def work(self, piece: bytes) -> tuple[str, Any]:
            return self.bench.work(piece)

    return Place


class Crew:
    """The workers of one kind of work."""

    def __init__(self, ray: Any, messenger: Messenger, make: str, arguments: bytes, count: int, depth: int,
                 needs: dict[str, int]) -> None:  # fmt: skip
        from codeup.executors._place import versions

        self.ray, self.messenger = ray, messenger
        self.what = (make, arguments, versions())
        self.actor_class = ray.remote(place_class()).options(
            scheduling_strategy="SPREAD", max_restarts=0, max_task_retries=0, **needs
        )
        self.needs, self.depth, self.disbanded = needs, depth, False
        self.pieces: queue.SimpleQueue[tuple[int, bytes, int] | None] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.workers = [Worker(self) for _ in range(count)]

    def stand(self) -> list[dict[str, Any]]:
        """Wait for the workers; what each says of itself. Those that get no place in time are not waited for."""
        refs = [worker.arrived for worker in self.workers]
        ready, _ = self.ray.wait(refs, num_returns=len(refs), timeout=STAND_S)
        if not ready:
            needs = ", ".join(f"{value} {name.removeprefix('num_')}" for name, value in self.needs.items() if value)
            free = self.ray.available_resources()
            have = ", ".join(f"{free.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
            raise Refused("failed", f"no worker ({needs}) could start within {STAND_S:.0f} s; free now: {have}")
        for worker in self.workers:
            if worker.arrived not in ready:
                self.drop(worker, "it has no place on the cluster")
        abouts = []
        for worker in list(self.workers):
            try:
                abouts.append(worker.stood())
            except Lost as lost:
                self.drop(worker, str(lost))
        for _ in range(self.depth):
            for worker in self.workers:
                threading.Thread(target=self._guarded, args=(worker,), daemon=True).start()
        return abouts

    def _guarded(self, worker: Worker) -> None:
        try:
            self._serve(worker)
        except Refused as refused:
            if not self.disbanded:
                self.messenger.end(*refused.args)
        except Exception as error:
            if not self.disbanded:
                self.messenger.end("failed", f"{type(error).__name__}: {error}")

    def _serve(self, worker: Worker) -> None:
        while (item := self.pieces.get()) is not None:
            number, piece, tries = item
            actor = worker.actor
            try:
                kind, answer = self.ray.get(actor.work.remote(piece))
            except self.ray.exceptions.RayTaskError as error:  # a bug in a worker
                raise Refused("failed", f"a worker failed: {error}") from None
            except self.ray.exceptions.RayError as error:
                if self.disbanded:
                    return
                if tries + 1 == TRIES:
                    raise Refused("failed", f"{TRIES} workers were lost at the same piece: {_first(error)}") from None
                self.pieces.put((number, piece, tries + 1))
                if not worker.renewed(actor):
                    return
                continue
            if kind != "done":
                raise Refused(kind, *answer)
            self.messenger.say("done", number, answer)

    def drop(self, worker: Worker, why: str) -> None:
        """Go on without a worker. Raises Refused where it was the last one."""
        with self.lock:
            self.workers.remove(worker)
            self.ray.kill(worker.actor)
            if not self.workers:
                raise Refused("failed", f"a worker could not start, and there is no other: {why}")

    def disband(self) -> None:
        """End the workers; pieces that are under way are given up."""
        self.disbanded = True
        for worker in self.workers:
            for _ in range(self.depth):
                self.pieces.put(None)
            self.ray.kill(worker.actor)


class Worker:
    """One place in a crew, and the actor that stands there now."""

    def __init__(self, crew: Crew) -> None:
        self.crew, self.lock, self.gone = crew, threading.Lock(), False
        self._begin()

    def _begin(self) -> None:
        self.actor = self.crew.actor_class.remote()
        self.arrived = self.actor.arrive.remote()
        self.standing = self.actor.stand.remote(*self.crew.what)

    def stood(self) -> dict[str, Any]:
        """What it says of itself once it has loaded. Raises Refused for one that refuses, Lost."""
        try:
            self.crew.ray.get(self.arrived, timeout=STAND_S)
            kind, answer = self.crew.ray.get(self.standing)
        except self.crew.ray.exceptions.RayError as error:
            raise Lost(_first(error)) from None
        if kind != "done":
            raise Refused(kind, *answer)
        about: dict[str, Any] = answer
        return about

    def renewed(self, lost: Any) -> bool:
        """Whether another actor stands instead of the lost one; one thread sees to it. Raises Refused as `drop`."""
        with self.lock:
            if self.actor is lost and not self.gone:
                self.crew.ray.kill(lost)
                self._begin()
                try:
                    self.stood()
                except Lost as error:
                    self.gone = True
                    self.crew.drop(self, str(error))
            return not self.gone


def _first(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main(number: int) -> None:
    """Obey until told to stop, or until the other side is gone."""
    channel = Connection(number)
    messenger = Messenger(channel)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    _, settings = channel.recv()
    if not settings["address"]:  # nobody else may use a cluster that is started here
        os.environ.pop("RAY_ADDRESS", None)
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    messenger.start(ray, **settings)
    crew: Crew | None = None
    try:
        while True:
            kind, *rest = channel.recv()
            if kind == "crew":
                make, arguments, count, cpus, gpus, depth = rest
                needs = {"num_cpus": cpus, "num_gpus": gpus}
                crew = Crew(ray, messenger, make, arguments, count, depth, needs)
                messenger.say("crew", crew.stand())
            elif kind == "piece":
                assert crew is not None
                crew.pieces.put((rest[0], rest[1], 0))
            elif kind == "disband":
                assert crew is not None
                crew.disband()
                messenger.say("disbanded")
            else:
                break
    except Refused as refused:
        messenger.say(*refused.args)
    except EOFError:  # the other side is gone
        pass
    ray.shutdown()
    os._exit(0)
