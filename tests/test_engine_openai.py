"""Evaluation's answers from a server are those of the model itself; and what a server may do wrong."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serve_for_tests import served, tiny_model

from codeup.engines import _endpoint
from codeup.engines._endpoint import Endpoint
from codeup.engines.hf import Engine
from codeup.engines.openai import Engine as Remote
from codeup.errors import UserError, WorkFailed

Reply = tuple[int, dict[str, str], bytes]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("stops", [(), ("e",), ("zzz", "yyy", "xxx", "www", "e")])
def test_greedy_answers_are_those_of_the_model_itself(folder: Path, stops: tuple[str, ...]) -> None:
    engine = Engine(folder)
    prompts = [[engine.bos_id or 0, first, 7] for first in range(20, 32)]
    end = [engine.tokenizer.eos_token_id]
    settings: dict[str, Any] = {"max_new_tokens": 20, "end_ids": end, "stop_strings": stops}
    told: list[int] = []
    with served(folder) as server:
        remote = Remote(f"{server.base}/v1", tokenizer=folder)
        answers = remote.generate(prompts, **settings, batch_size=5, on_done=lambda index, _: told.append(index))
    wanted = engine.generate(prompts, **settings)
    assert [(answer.text, answer.finish) for answer in answers] == [(one.text, one.finish) for one in wanted]
    assert sorted(told) == list(range(12))
    assert remote.model == "tiny"


@contextmanager
def scripted(replies: list[Reply], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these replies in turn, and what it was asked."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(_endpoint.time, "sleep", lambda seconds: asked.append({"slept": seconds}))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, headers, body = replies.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


GOOD: Reply = (200, {}, b'{"choices": [{"text": "hi", "finish_reason": "stop"}]}')


def test_a_busy_server_is_asked_again_after_the_time_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: Reply = (429, {"Retry-After": "7"}, b"{}")
    with scripted([busy, (503, {}, b""), GOOD], monkeypatch) as (url, asked):
        assert Endpoint(url).post("/completions", {"a": 1})["choices"][0]["text"] == "hi"
    assert asked == [{"a": 1}, {"slept": 7.0}, {"a": 1}, {"slept": 2.0}, {"a": 1}]
    with (
        scripted([busy] * 6, monkeypatch) as (url, asked),
        pytest.raises(WorkFailed, match="answered 429"),
    ):
        Endpoint(url).post("/completions", {})
    assert sum("slept" in one for one in asked) == 5


CASES: list[tuple[str, Reply, type[Exception], str]] = [
    ("refused", (400, {}, b'{"error": {"message": "no seed", "param": "seed"}}'), UserError, "answered 400: no seed"),
    ("no token", (401, {}, b'{"error": {"message": "who?"}}'), UserError, "(?s)401: who.*--token-env"),
    ("broken", (500, {}, b"<html>oh"), WorkFailed, "answered 500: <html>oh"),
    ("not JSON", (200, {}, b"hello"), WorkFailed, "did not answer with JSON"),
    ("a list", (200, {}, b"[]"), WorkFailed, "did not answer with JSON"),
    ("elsewhere", (302, {"Location": "http://127.0.0.1:1/"}, b"moved"), UserError, "answered 302"),
]


@pytest.mark.parametrize(("what", "reply", "error", "says"), CASES, ids=[case[0] for case in CASES])
def test_a_server_that_does_not_answer_is_told_of(
    monkeypatch: pytest.MonkeyPatch, what: str, reply: Reply, error: type[Exception], says: str
) -> None:
    with scripted([reply], monkeypatch) as (url, asked), pytest.raises(error, match=says):
        Endpoint(url, key="secret").post("/completions", {})
    assert asked == [{}], "and is not asked again"


STREAMS: list[tuple[bytes, Callable[[list[Any]], bool], str]] = [
    (b'data: {"a": 1}\n\n: waiting\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n', lambda got: got == [{"a": 1}, {"a": 2}], ""),
    (b'data: {"a": 1}\n\n', lambda got: got == [{"a": 1}], "broke off"),
    (b'data: {"a": 1}\n\ndata: {"error": {"message": "late"}}\n\n', lambda got: got == [{"a": 1}], "late"),
    (b"data: {half\n\n", lambda got: got == [], "did not answer with JSON"),
]


@pytest.mark.parametrize(("body", "right", "says"), STREAMS, ids=["whole", "broken off", "failed", "not JSON"])
def test_a_stream_is_whole_or_said_to_be_broken(
    monkeypatch: pytest.MonkeyPatch, body: bytes, right: Callable[[list[Any]], bool], says: str
) -> None:
    got: list[Any] = []
    with scripted([(200, {}, body)], monkeypatch) as (url, _):
        stream = Endpoint(url).stream("/chat/completions", {})
        if says:
            with pytest.raises(WorkFailed, match=says):
                got.extend(iter(stream.__next__, None))
        else:
            got = list(stream)
    assert right(got)


@contextmanager
def one_connection(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port at which the first connection is given to `answer`, its request read to the end: a client that is answered
    while it still sends meets an error of sending, and asks again."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                request = b""
                while chunk := line.recv(65536):
                    request += chunk
                    head, end, body = request.partition(b"\r\n\r\n")
                    length = re.search(rb"(?i)content-length: *(\d+)", head)
                    if request[:1] == b"\x16" or (end and len(body) >= int(length[1] if length else 0)):
                        break  # a TLS hello, or the whole of a request
                answer(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def test_a_connection_that_is_reset_within_a_reply_is_told_of() -> None:
    def reset(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\ndata: {}\n\n")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    for ask in (lambda end: list(end.stream("/c", {})), lambda end: end.get("/c"), lambda end: end.post("/c", {})):
        with one_connection(reset) as port, pytest.raises(WorkFailed, match="the reply broke off"):
            ask(Endpoint(f"http://127.0.0.1:{port}", timeout_s=10))


def test_what_asking_again_does_not_help_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_endpoint.time, "sleep", lambda seconds: pytest.fail("it waited"))
    no_tls = lambda line: line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # noqa: E731
    with one_connection(no_tls) as port, pytest.raises(UserError, match=r"(?s)no TLS connection.*http://"):
        Endpoint(f"https://127.0.0.1:{port}/v1").get("/models")

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match="no machine of that name"):
        Endpoint("http://no-such-machine/v1").get("/models")
    for wrong in ("http://127.0.0.1:port/v1", "http://[::1/v1", "http:///v1", "http://a b/v1", "http://h:99999/"):
        with pytest.raises(UserError, match="is not an address"):
            Endpoint(wrong)


def test_an_address_without_v1_is_told_what_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Reply = (404, {}, b"{}")
    with scripted([missing, missing], monkeypatch) as (url, _):
        assert url.endswith("/v1")
        for address, mend in (
            (url.removesuffix("/v1"), f"addresses of this protocol mostly end in /v1: {url}"),
            (url, ""),
        ):
            with pytest.raises(UserError) as caught:
                Endpoint(address).post("/completions", {})
            assert (caught.value.mend or "") == mend
