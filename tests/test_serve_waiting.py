"""While a model is loaded /health is answered by a process that nothing keeps busy; nobody is refused afterwards."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from serve_for_tests import tiny_model
from signals_for_tests import hears_ctrl_c

from codeup.errors import UserError
from codeup.serve import app, running
from codeup.serve.desk import Loaded
from codeup.serve.waiting import waiting_room


def ask(port: int, path: str = "/health", **headers: str) -> tuple[int, Any, Any]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    line.request("GET", path, headers=headers)
    reply = line.getresponse()
    body = json.loads(reply.read())
    line.close()
    return reply.status, body, reply.headers


def until_listening(port: int) -> None:
    for _ in range(3000):
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("nobody listens")


def test_another_process_answers_while_this_one_loads() -> None:
    listening = running.bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    with waiting_room(listening, loopback=True):
        until_listening(port)
        assert ask(port)[:2] == (503, {"status": "loading"})
        status, body, headers = ask(port, "/v1/models")
        assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "loading", "2")
        assert ask(port, Host="evil.example")[0] == 403
    with socket.socket() as line:  # the child is gone, and the socket is still ours to listen on
        listening.listen()
        line.connect(("127.0.0.1", port))
        assert listening.accept()[0]
    listening.close()


def test_the_child_ends_with_its_parent() -> None:
    program = (
        "import os, sys, time; from codeup.serve import running; from codeup.serve.waiting import waiting_room\n"
        "socket = running.bind('127.0.0.1', 0); print(socket.getsockname()[1], flush=True)\n"
        "with waiting_room(socket, loopback=True): time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    until_listening(port)
    children = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert len(children) == 1 and psutil.wait_procs(children, timeout=30)[1] == []
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(("ended_by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_from_loading_to_ready_every_connection_is_answered(
    ended_by: signal.Signals, code: int, tmp_path: Path
) -> None:
    listening = running.bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    listening.close()
    command = [sys.executable, "-m", "codeup", "serve", str(tiny_model(tmp_path)), "--port", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=hears_ctrl_c,
    )  # fmt: skip
    until_listening(port)
    seen = [ask(port)[0]]
    while seen[-1] != 200:
        time.sleep(0.02)
        seen.append(ask(port)[0])  # a refused connection would raise
    assert set(seen) == {503, 200}
    assert ask(port, "/v1/models")[1]["object"] == "list"
    server.send_signal(ended_by)
    assert server.wait(20) == code


def test_who_connects_at_the_very_end_of_loading_is_answered_too() -> None:
    """Clients ask without a pause over the hand-over; a connection taken by the child and dropped would be reset."""
    listening = running.bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    over, closed, failed = threading.Event(), threading.Event(), []

    def keep_asking() -> None:
        while not over.is_set():
            try:
                assert ask(port)[0] in (503, 200)
            except OSError as error:
                failed.append(error)

    def answer() -> None:
        while not closed.is_set():
            with contextlib.suppress(TimeoutError), listening.accept()[0] as line:
                line.recv(1000)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    clients = [threading.Thread(target=keep_asking) for _ in range(4)]
    for number in range(4):
        with waiting_room(listening, loopback=True):
            if number == 0:
                until_listening(port)
                for client in clients:
                    client.start()
            time.sleep(1)
    listening.settimeout(0.2)
    server = threading.Thread(target=answer)
    server.start()
    time.sleep(1.5)  # longer than a child lingers
    over.set()
    for client in clients:
        client.join()
    closed.set()
    server.join()
    listening.close()
    assert failed == []


def test_a_port_that_was_taken_while_the_model_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = running.bind("127.0.0.1", 0)
    other = running.bind("127.0.0.1", listening.getsockname()[1])

    def load() -> Any:
        other.listen()

    monkeypatch.setattr(running, "prepare", lambda *_, **__: (None, None))
    monkeypatch.setattr(running, "waiting_room", lambda *_, **__: socket.socket())
    with pytest.raises(UserError, match="is in use"):
        running.serve(listening, load, host="127.0.0.1", limits=app.Limits())
    other.close()


def test_the_garbage_collector_does_not_look_through_what_was_loaded_while_requests_are_answered() -> None:
    """A full collection holds Python's lock for 0.2 s with transformers in memory: /health waited for it."""
    stopped = threading.Event()
    kept: list[list[Any]] = []
    seen: list[int] = []

    class Engine:
        def run(self, deliver: Any) -> None:
            stopped.wait()

        def stop(self) -> None:
            stopped.set()

    def load() -> Loaded:
        kept.extend([] for _ in range(50_000))
        return Loaded(Engine(), {}, None, str)

    def ready(loaded: Loaded) -> None:
        seen.append(len(gc.get_objects()))
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        running.serve(running.bind("127.0.0.1", 0), load, host="127.0.0.1", limits=app.Limits(), on_ready=ready)
    assert seen[0] < len(kept) < len(gc.get_objects()), "out of sight while it served, and in sight again afterwards"
