"""The client of `codeup data synth`: what it repeats, what it gives up, what ends a run, and what it never tells."""

from __future__ import annotations

import email.utils
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synth_endpoint import KEY, Fault, Scripted

from codeup.errors import UserError, WorkFailed
from codeup.synth.budget import Budget, worst_case
from codeup.synth.cache import Cache, key_of
from codeup.synth.endpoint import Endpoint


def bodies(count: int) -> list[dict[str, Any]]:
    return [
        {"model": "m", "messages": [{"role": "user", "content": f"question {n}"}], "max_tokens": 100, "seed": n}
        for n in range(count)
    ]


def echo(body: dict[str, Any]) -> tuple[str, str]:
    return f"answer to {body['messages'][0]['content']}", "stop"


class Client:
    """An endpoint, a client with an empty cache, and the seconds that it would have waited."""

    def __init__(self, folder: Path, served: Scripted) -> None:
        self.served, self.waits = served, list[float]()
        self.cache = Cache(folder / "cache.sqlite")

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        def make(**options: Any) -> Endpoint:
            return Endpoint(served.url, self.cache, **{"key": KEY, "timeout_s": 5.0, "sleep": sleep, **options})

        self.make: Callable[..., Endpoint] = make


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Scripted(answer=echo) as served:
        made = Client(tmp_path, served)
        with made.cache:
            yield made


def test_answers_come_in_the_order_of_the_questions_and_once(client: Client) -> None:
    endpoint = client.make(concurrency=5)
    texts = [each.text for each in endpoint.ask(bodies(9))]
    assert texts == [f"answer to question {n}" for n in range(9)]
    assert [each.text for each in endpoint.ask(bodies(9))] == texts
    assert len(client.served.requests) == 9
    assert (endpoint.traffic.sent, endpoint.traffic.answered, endpoint.traffic.replayed) == (9, 9, 9)
    assert set(client.served.keys) == {f"Bearer {KEY}"}


def test_the_key_of_a_request_is_that_of_its_canonical_json() -> None:
    body = {"b": 1, "a": [{"y": "ü", "x": None}]}
    assert key_of(body) == key_of({"a": [{"x": None, "y": "ü"}], "b": 1})
    assert key_of(body) != key_of({**body, "b": 2})
    assert key_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # printf '{}' | sha256sum


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Fault(500, "{}"), "status 500"),
        (Fault(503, "<html>down</html>"), "status 503"),
        (Fault(200, "{not json"), "status 200"),
        (Fault(200, '{"choices": []}'), "status 200"),
        (Fault(200, '{"choices": [{"message": {"content": 7}}]}'), "status 200"),
        (Fault(hang_s=0.6), "no answer in 0.2 s"),
    ],
    ids=["500", "503 page", "no json", "no choice", "no text", "hangs"],
)
def test_what_may_pass_is_tried_again(fault: Fault, name: str, client: Client) -> None:
    client.served.faults = [fault, fault]
    endpoint = client.make(timeout_s=0.2 if fault.hang_s else 5.0, concurrency=1)
    (answer,) = endpoint.ask(bodies(1))
    assert answer.text == "answer to question 0"
    assert endpoint.traffic.repeated == {name: 2}
    first, second = client.waits
    assert 0.75 <= first <= 1.25
    assert 1.5 <= second <= 2.5


def test_retry_after_is_obeyed_as_seconds_and_as_a_date(client: Client) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    client.served.faults = [Fault(429, retry_after="7"), Fault(503, retry_after=date)]
    (answer,) = client.make().ask(bodies(1))
    assert answer.text
    for_429, for_503, *_ = client.waits
    assert 6.5 < for_429 <= 7.0
    assert 25 < for_503 <= 30


def test_a_wait_that_is_too_long_ends_the_run(client: Client) -> None:
    client.served.faults = [Fault(429, retry_after="86400")]
    with pytest.raises(WorkFailed, match="come back in 86,400 s"):
        client.make().ask(bodies(1))


@pytest.mark.parametrize(
    ("status", "words"), [(401, "refuses the key"), (403, "refuses the key"), (404, "no such model")]
)
def test_what_no_request_could_survive_ends_the_run_without_telling_the_key(
    status: int, words: str, client: Client
) -> None:
    client.served.faults = [Fault(status, json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}))]
    with pytest.raises(UserError, match=words) as told:
        client.make(concurrency=1).ask(bodies(4))
    assert KEY not in str(told.value)
    assert "***" in str(told.value)
    assert len(client.served.requests) == 1


def test_a_redirect_is_not_followed(client: Client) -> None:
    client.served.faults = [Fault(307)]
    with pytest.raises(UserError, match="elsewhere"):
        client.make().ask(bodies(1))
    assert len(client.served.requests) == 1


def test_one_request_that_is_refused_is_lost_and_recorded_so_that_a_rerun_is_the_same(client: Client) -> None:
    client.served.faults = [Fault(400, '{"error": {"message": "context length exceeded"}}')]
    answers = client.make(concurrency=1).ask(bodies(6))
    assert [bool(each.failure) for each in answers] == [True, False, False, False, False, False]
    assert "context length exceeded" in answers[0].failure
    again = client.make().ask(bodies(6))
    assert again == answers
    assert len(client.served.requests) == 6


def test_an_endpoint_that_refuses_everything_ends_the_run_with_its_words_and_records_nothing(client: Client) -> None:
    client.served.faults = [Fault(400, '{"error": "unknown field: seed"}')] * 4
    with pytest.raises(UserError, match="unknown field: seed"):
        client.make(concurrency=1).ask(bodies(9))
    client.served.faults = []
    assert all(each.text for each in client.make().ask(bodies(9)))


def test_an_endpoint_that_is_down_ends_the_run_and_the_same_questions_work_later(client: Client) -> None:
    client.served.faults = [Fault(500)] * 10
    with pytest.raises(WorkFailed, match="the same command continues"):
        client.make(attempts=2, concurrency=1).ask(bodies(20))
    client.served.faults = []
    before = len(client.served.requests)
    assert before == 10, "went on asking after five of twenty were given up"
    assert all(each.text for each in client.make().ask(bodies(20)))
    assert len(client.served.requests) == before + 20


def test_nobody_listens(tmp_path: Path) -> None:
    async def sleep(seconds: float) -> None:
        pass

    with Cache(tmp_path / "c.sqlite") as cache, pytest.raises(WorkFailed, match="ConnectError"):
        Endpoint("http://127.0.0.1:9/v1", cache, sleep=sleep).ask(bodies(1))


def test_tokens_that_are_not_reported_count_as_the_most_they_can_be(client: Client) -> None:
    client.served.usage = False
    (answer,) = client.make().ask(bodies(1))
    assert not answer.counted
    assert answer.prompt_tokens == len("question 0") + 16
    assert answer.completion_tokens == len("answer to question 0")


def test_a_cap_is_kept_before_the_request_is_sent() -> None:
    budget = Budget(max_tokens=1000)
    assert worst_case("x" * 84, 200) == (100, 200)
    assert budget.fitting([(100, 200)] * 5) == 3  # 900; the fourth could make 1,200
    assert budget.stopped_by == ""
    for _ in range(3):
        budget.charge(50, 150)
    assert budget.fitting([(100, 200)] * 2) == 1  # 600 spent
    budget.charge(100, 200)
    assert budget.fitting([(100, 200)]) == 0
    assert budget.stopped_by == "max-tokens-total"
    assert Budget(max_cost=0.001, price_in=1, price_out=10).fitting([(100, 50)] * 9) == 1  # 0.0006 each


def test_a_damaged_cache_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="remove this file"):
        Cache(tmp_path / "c.sqlite")


def run(tmp_path: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "codeup", "data", "synth", *more, "--out", str(tmp_path / "out")]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"METHOD": "selfinstruct"}, "use self-instruct, evol, oss-instruct"),
        ({"--base-url": "localhost:8000"}, "is not the URL of an endpoint"),
        ({"--base-url": "http://user:pw@host/v1"}, "keep keys in --api-key-env"),
        ({"--api-key-env": "NO_SUCH_VARIABLE"}, "has no NO_SUCH_VARIABLE"),
        ({"--max-cost": "1"}, "--price-in"),
        ({"--param": "top_p"}, "NAME=JSON"),
        ({"--seeds": "nowhere.jsonl"}, "no such file"),
        ({"--seeds": "nowhere"}, "no such file"),
        ({"--tests": "maybe"}, "use require, optional, none"),
        ({"--against": "humaneval"}, "NAME=FILE"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_wrong_options_are_one_message_and_exit_2(change: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"instruction": "Double x."}\n')
    options = {"--seeds": str(tmp_path / "s.jsonl"), "--base-url": "http://127.0.0.1:9/v1", "--model": "m", **change}
    method = options.pop("METHOD", "self-instruct")
    done = run(tmp_path, method, *(word for pair in options.items() for word in pair))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert "--seeds" not in change or not (tmp_path / "out").exists()  # the next command may have it


def test_the_key_is_in_no_file_and_no_line(tmp_path: Path) -> None:
    seeds = tmp_path / "s.jsonl"
    seeds.write_text('{"instruction": "Double x."}\n{"instruction": "Halve a number."}\n')
    with Scripted() as served:
        served.faults = [Fault(500, json.dumps({"error": {"message": f"key {KEY} is fine"}}))]
        options = ["--seeds", str(seeds), "--base-url", served.url, "--model", "m", "--rows", "2", "--json"]
        done = run(tmp_path, "self-instruct", *options, "--api-key-env", "SCRIPT_KEY", SCRIPT_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert set(served.keys) == {f"Bearer {KEY}"}
        written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert len(written) > 5
        assert not [path for path in written if KEY.encode() in path.read_bytes()]
        assert KEY not in done.stdout + done.stderr
        served.faults = [Fault(401, json.dumps({"error": f"wrong key {KEY}"}))]
        refused = run(tmp_path, "self-instruct", *options, "--rows", "9", "--api-key-env", "SCRIPT_KEY", SCRIPT_KEY=KEY)
        assert refused.returncode == 2
        assert "refuses the key" in refused.stderr
        assert KEY not in refused.stderr
