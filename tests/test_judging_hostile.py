"""Requests to the judge that mean harm or make no sense: each has its status, and the next one is judged as before."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_for_tests import Judging, judging, settings, write_benchmark

from codeup.errors import UserError
from codeup.judging import app, running
from codeup.judging.court import Court
from codeup.judging.requests import MAX_PROGRAM
from codeup.serve import waiting

TOKEN = "a-token-of-this-test-only"
GOOD: dict[str, Any] = {"task_id": "T/0", "completion": "    return x\n"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark") / "made.jsonl")


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Judging]:
    with judging(settings(file, workers=1, languages=("python", "bash"))) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(file: Path) -> Iterator[Judging]:
    """A server for other machines: reached by its IP address, with a token."""
    with judging(settings(file, workers=1), host="0.0.0.0", token=TOKEN) as running:
        yield running


def is_well(server: Judging) -> bool:
    return server.judge(**GOOD).json().get("reward") == 1.0


HEADERS: list[tuple[str, dict[str, str], int]] = [
    ("rebinding", {"host": "evil.example"}, 403),
    ("a name that begins like ours", {"host": "127.0.0.1.evil.example"}, 403),
    ("a cross-site page", {"origin": "https://evil.example"}, 403),
    ("a sandboxed page", {"origin": "null"}, 403),
    ("cross-site without origin", {"sec-fetch-site": "cross-site"}, 403),
    ("a form", {"content-type": "application/x-www-form-urlencoded"}, 415),
    ("text, which needs no preflight", {"content-type": "text/plain"}, 415),
    ("compressed", {"content-encoding": "gzip"}, 415),
]


@pytest.mark.parametrize(("what", "headers", "status"), HEADERS, ids=[row[0] for row in HEADERS])
@pytest.mark.parametrize("route", ["/v1/judge", "/v1/judge/batch"])
def test_a_header_that_is_not_ours_is_refused(
    server: Judging, route: str, what: str, headers: dict[str, str], status: int
) -> None:
    with server.client() as client:
        reply = client.post(route, content=json.dumps(GOOD), headers={"content-type": "application/json", **headers})
        assert reply.status_code == status, reply.text
        assert not [name for name in reply.headers if name.startswith("access-control")]
        if status == 403:
            for path in ("/health", "/v1/benchmarks", "/metrics"):
                assert client.get(path, headers=headers).status_code == 403, path


def test_only_the_token_opens_a_server_for_others(guarded: Judging) -> None:
    with guarded.client() as client:
        for wrong in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            for reply in (
                client.post("/v1/judge", json=GOOD, headers=wrong),
                client.post("/v1/judge/batch", json={"items": [GOOD]}, headers=wrong),
                client.get("/v1/benchmarks", headers=wrong),
                client.get("/metrics", headers=wrong),
            ):
                assert reply.status_code == 401
        own = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/v1/judge", json=GOOD, headers=own).json()["reward"] == 1.0
        health = client.get("/health")
        assert health.status_code == 200
        assert "T/0" not in health.text


def item(**changes: Any) -> bytes:
    return json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...}).encode()


def free(**changes: Any) -> bytes:
    body = {"language": "python", "program": "def f(x):\n    return x\n", "entry_point": "f",
            "calls": [{"arguments": [1], "expected": 1}], **changes}  # fmt: skip
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode()


DEEP: Any = 1
for _ in range(300):
    DEEP = [DEEP]

BODIES: list[tuple[str, bytes, int, str]] = [
    ("nothing", b"", 400, "not JSON"),
    ("half", b'{"task_id": "T/0", ', 400, "not JSON"),
    ("not UTF-8", b'{"task_id": "\xff"}', 400, "not JSON"),
    ("a list", b"[1]", 400, "not a JSON object"),
    ("two values", item() + b"{}", 400, "not JSON"),
    ("deep", b"[" * 100_000 + b"]" * 100_000, 400, "not JSON"),
    ("NaN", item()[:-1] + b', "index": NaN}', 400, "not JSON"),
    ("half a character", item()[:-1] + b', "id": "\\ud800"}', 400, "not JSON"),
    ("pickle", b"\x80\x04\x95\x10\x00\x00\x00", 400, "not JSON"),
    ("an unknown field", item(timeout=3), 400, "timeout: this server does not know such a field"),
    ("the field of a free check", item(tests="x"), 400, "tests: this server does not know such a field"),
    ("a limit for a benchmark", item(time_limit_s=1), 400, "time_limit_s"),
    ("the items of a batch", item(items=[]), 400, "items"),
    ("no task", item(task_id=...), 400, "task_id"),
    ("a task that is a number", item(task_id=0), 400, "task_id"),
    ("another task", item(task_id="T/4"), 404, "task_id: humaneval has no problem 'T/4'"),
    ("a task that is a path", item(task_id="../../etc/passwd"), 404, "no problem"),
    ("a very long task", item(task_id="T" * 10_000), 400, "task_id"),
    ("another benchmark", item(benchmark="mbpp"), 404, "benchmark: there is no 'mbpp'; this server has humaneval"),
    ("a module for a benchmark", item(benchmark="os.path"), 404, "benchmark"),
    ("a file for a benchmark", item(benchmark="humaneval=/etc/passwd"), 404, "benchmark"),
    ("no answer", item(completion=...), 400, "there is none"),
    ("two answers", item(solution="x"), 400, "there is completion and solution"),
    ("an answer that is null", item(completion=None), 400, "there is none"),
    ("an answer that is a list", item(completion=["x"]), 400, "completion"),
    ("an answer too long", item(completion="x" * (MAX_PROGRAM + 1)), 400, "completion"),
    ("a prefill for a completion", item(prefill="x"), 400, "prefill"),
    ("an index below zero", item(index=-1), 400, "index"),
    ("an index that is true", item(index=True), 400, "index"),
    ("an index without end", item(index=2**70), 400, "index"),
    ("a deadline of zero", item(deadline_s=0), 400, "deadline_s"),
    ("a deadline too far", item(deadline_s=10_000), 400, "deadline_s: 10000 s, at most 600 here"),
    ("a deadline as text", item(deadline_s="1"), 400, "deadline_s"),
    ("another language", free(language="cobol"), 400, "'cobol' is not offered here; there is python, bash"),
    ("a language that is here but not offered", free(language="perl"), 400, "not offered"),
    ("a language that is a module", free(language="codeup.sandbox"), 400, "not offered"),
    ("no checks", free(calls=...), 400, "there is none"),
    ("two kinds of checks", free(tests="assert f(1) == 1"), 400, "there is tests and calls"),
    ("no calls", free(calls=[]), 400, "calls"),
    ("too many calls", free(calls=[{"arguments": [1], "expected": 1}] * 1001), 400, "calls"),
    ("a call without what is expected", free(calls=[{"arguments": [1]}]), 400, "calls[0].expected"),
    ("a call with more", free(calls=[{"arguments": [1], "expected": 1, "code": "x"}]), 400, "calls[0].code"),
    ("arguments too deep", free(calls=[{"arguments": DEEP, "expected": 1}]), 400, "calls[0].arguments"),
    ("no function", free(entry_point=...), 400, "entry_point"),
    ("a function that is code", free(entry_point="f); import os; ("), 400, "entry_point"),
    ("a function that is a word of Python", free(entry_point="import"), 400, "entry_point"),
    ("a time limit for calls", free(time_limit_s=1), 400, "time_limit_s"),
    ("a comparison of calls", free(comparison="strict"), 400, "comparison"),
    ("a time limit too low", free(calls=..., entry_point=..., cases=[{"expected": ""}], time_limit_s=0.001), 400,
     "time_limit_s: 0.001 s, at least 0.1"),
    ("a function of another language", free(language="bash", calls=..., tests="true"), 400, "entry_point: only"),
    ("an argument that is an error", free(calls=..., tests="assert f({[1]: 2}) == 1"), 400, "TypeError: unhashable"),
    ("a call beside f that is an error", free(calls=..., tests="assert f(min([])) == 1"), 400, "fails whatever f ret"),
    ("an expected value that is an error", free(calls=..., tests="assert f(1) == int('x')"), 400, "ValueError"),
    ("stars on a number", free(calls=..., tests="assert f(*5) == 1"), 400, "tests"),
    ("a time limit too high", free(calls=..., entry_point=..., cases=[{"expected": ""}], time_limit_s=9), 400, "at"),
    ("a comparison that is a module", free(calls=..., cases=[{"expected": ""}], comparison="os:system"), 400, "comp"),
    ("a function for cases", free(calls=..., cases=[{"expected": ""}]), 400, "entry_point"),
    ("calls in another language", free(language="bash"), 400, "calls: programs of bash are checked by tests"),
    ("tests that run something", free(calls=..., tests="import os\nassert f(os.getpid()) == 1"), 400, "tests"),
    ("tests that call what they define", free(calls=..., tests="def g():\n    return 1\nassert f(g()) == 1"), 400, "t"),
    ("tests that assert nothing", free(calls=..., tests="f(1)"), 400, "tests"),
    ("tests that are no Python", free(calls=..., tests="assert ("), 400, "tests"),
    ("tests too long", free(calls=..., tests="assert f(1) == 1\n" * 10_000), 400, "tests"),
    ("tests that nest", free(calls=..., tests=f"assert f({'(' * 5000}1{')' * 5000}) == 1"), 400, "tests"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "body", "status", "says"), BODIES, ids=[row[0] for row in BODIES])
def test_a_bad_request_is_refused_by_the_name_of_its_field(
    server: Judging, what: str, body: bytes, status: int, says: str
) -> None:
    with server.client() as client:
        reply = client.post("/v1/judge", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status, reply.text
    assert says in reply.json()["error"]["message"]


BATCHES: list[tuple[str, Any, int, str]] = [
    ("no items", {}, 400, "items"),
    ("none", {"items": []}, 400, "items"),
    ("an object", {"items": {"0": GOOD}}, 400, "items"),
    ("text", {"items": [GOOD, "x"]}, 400, "items[1]: not a JSON object"),
    ("too many", {"items": [GOOD] * 33}, 400, "33 in one request, at most 32"),
    ("an id twice", {"items": [{**GOOD, "id": "a"}, {**GOOD, "id": "a"}]}, 400, "items[1].id: 'a' occurs twice"),
    ("an id that is a place", {"items": [{**GOOD, "id": 1}, GOOD]}, 400, "items[1].id: is needed: its place, 1, is"),
    ("an id that is a list", {"items": [{**GOOD, "id": []}]}, 400, "items[0].id"),
    ("one bad among good", {"items": [GOOD, {**GOOD, "top_p": 1}]}, 400, "items[1].top_p"),
    ("one unknown among good", {"items": [GOOD, {**GOOD, "task_id": "T/9"}]}, 404, "items[1].task_id"),
    ("a deadline inside", {"items": [{**GOOD, "deadline_s": 1}]}, 400, "items[0].deadline_s"),
    ("an unknown field outside", {"items": [GOOD], "n": 1}, 400, "n: this server does not know such a field"),
    ("stream as text", {"items": [GOOD], "stream": "yes"}, 400, "stream"),
]


@pytest.mark.parametrize(("what", "body", "status", "says"), BATCHES, ids=[row[0] for row in BATCHES])
def test_a_batch_with_one_bad_item_is_refused_whole(
    server: Judging, what: str, body: Any, status: int, says: str
) -> None:
    before = server.metric("codeup_judge_verdicts_total")
    with server.client() as client:
        reply = client.post("/v1/judge/batch", json=body)
    assert reply.status_code == status, reply.text
    assert says in reply.json()["error"]["message"]
    assert server.metric("codeup_judge_verdicts_total") == before


NESTED = [
    "(" * 60_000, "[" * 60_000, "-" * 60_000 + "1", "not " * 30_000 + "1", "f(" * 40_000, "lambda:" * 15_000 + "1",
    "x" + ".a" * 60_000, "x" + "[0]" * 40_000, "1+" * 60_000 + "1", "a=" * 60_000 + "1", '"""' * 40_001, "`" * 120_000,
    "```python\n" * 12_000, "\n".join(" " * n + "if 1:" for n in range(400)), "def f0(x):\n" * 11_000, "\0" * 1000,
    "@" * 100_000, "class A:\n" + " pass\n" * 20_000, "\\\n" * 60_000, "async " * 20_000,
]  # fmt: skip


def test_text_that_is_hard_to_read_is_an_answer_like_any_other(server: Judging) -> None:
    for text in NESTED:
        reply = server.judge(task_id="T/0", answer=text[:MAX_PROGRAM])
        assert reply.status_code == 200, (text[:20], reply.text)
        assert reply.json()["reward"] == 0.0, text[:20]
    assert is_well(server)


class SlowReading:
    """Reading of items that waits to be let go on, at most `seconds`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 30) -> None:
        self.begun, self.go_on, self.read, wanted = threading.Event(), threading.Event(), list[str](), Court.wanted

        def slowly(court: Court, item: Any, inside: str) -> Any:
            self.read.append(inside)
            self.begun.set()
            self.go_on.wait(seconds)
            return wanted(court, item, inside)

        monkeypatch.setattr(Court, "wanted", slowly)


def test_the_deadline_counts_from_the_arrival_and_ends_the_reading(
    server: Judging, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowReading(monkeypatch, seconds=0.3)
    with server.client() as client:
        reply = client.post("/v1/judge/batch", json={"items": [GOOD] * 3, "deadline_s": 0.2, "stream": False})
    assert [result["error"]["code"] for result in reply.json()["results"]] == ["deadline"] * 3
    assert slow.read == ["items[0]"]


def test_what_a_client_that_hung_up_had_asked_is_not_read_any_more(
    server: Judging, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, before = SlowReading(monkeypatch), server.metric("codeup_judge_cancelled_total")
    host, port = server.base.removeprefix("http://").split(":")
    body = json.dumps({"items": [GOOD] * 5})
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /v1/judge/batch HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert slow.begun.wait(30)
    for _ in range(600):
        if server.metric("codeup_judge_cancelled_total") > before:
            break
        time.sleep(0.05)
    slow.go_on.set()
    assert server.metric("codeup_judge_cancelled_total") == before + 1
    assert is_well(server)
    assert slow.read == ["items[0]", ""]


def test_a_giant_body_is_refused_before_it_is_whole(server: Judging) -> None:
    host, port = server.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /v1/judge HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {1 << 40}\r\n\r\n".encode())
        with contextlib.suppress(OSError):  # it hangs up on us
            for _ in range(200):
                connection.sendall(b"x" * (1 << 16))
        with contextlib.suppress(ConnectionResetError):
            assert b"413" in connection.recv(1 << 16)
    assert is_well(server)


def test_connections_that_say_nothing_do_not_stop_the_others(server: Judging) -> None:
    host, port = server.base.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(100)]
    for connection in idle[:50]:
        connection.sendall(b"POST /v1/judge HTTP/1.1\r\nHost: ")
    started = time.monotonic()
    assert is_well(server)
    assert time.monotonic() - started < 20
    for connection in idle:
        connection.close()


def test_connections_that_ask_for_nothing_are_closed(server: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "HEAD_S", 0.1)
    host, port = server.base.removeprefix("http://").split(":")
    begun = b"POST /v1/judge HTTP/1.1\r\nHost: "
    for said in (b"", begun, f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(said)
            if said.startswith(b"GET"):
                assert line.recv(1 << 16).startswith(b"HTTP/1.1 200")
                line.sendall(begun)
            while line.recv(1 << 16):
                pass


def test_connections_that_ask_for_nothing_are_not_counted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_REQUESTS", 2)
    with judging(settings(file, workers=1)) as server:
        host, port = server.base.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(5)]
        assert is_well(server)
        for line in idle:
            line.close()


def test_more_requests_than_are_answered_at_once_may_come_again() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        end = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await end.wait()

        limited = waiting.at_most(app, 2)
        two = [asyncio.create_task(limited({"type": "http"}, None, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await limited({"type": "http"}, None, send)
        end.set()
        await asyncio.gather(*two)
        await limited({"type": "http"}, None, send)

    asyncio.run(ask())
    assert [message["status"] for message in sent if "status" in message] == [503]


def test_the_tests_of_a_request_never_run_in_the_judge(server: Judging, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    write = f"open({str(mark)!r}, 'w')"
    for tests in (
        f"assert f({write}) == 1", f"{write}\nassert f(1) == 1", f"assert f(1) == 1, {write}",
        f"assert [f(1) for _ in [{write}]]", f"assert (lambda: {write})() or f(1)",
        f"assert f(1) == 1 if {write} else f(2)",
    ):  # fmt: skip
        body = {"language": "python", "program": "def f(x):\n    return x\n", "entry_point": "f", "tests": tests}
        server.judge(**body)
    assert not mark.exists()


def test_the_client_needs_nothing_but_the_library() -> None:
    path = Path(running.__file__).with_name("client.py")
    tree = ast.parse(path.read_text())
    roots = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert roots
    assert roots <= sys.stdlib_module_names


def test_a_batch_that_could_never_wait_is_refused_at_the_start(file: Path) -> None:
    with pytest.raises(UserError, match="--max-batch 100 is more than may wait"):
        running.check(settings(file, max_queue=10), app.Limits(max_batch=100))
