"""The judge over HTTP: verdicts as `codeup evaluate` gives them, none lost, none mixed up; work ends when it should."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from judge_for_tests import LIMITS, LOOP, Judging, judging, settings, write_benchmark

from codeup.benchmarks import humaneval
from codeup.errors import UserError, WorkFailed
from codeup.evaluate.judge import judge_samples
from codeup.judging import app, load
from codeup.judging.court import Court, Loading
from codeup.sandbox import layers
from codeup.sandbox.pool import Job
from codeup.types import Event


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark") / "made.jsonl")


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Judging]:
    with judging(settings(file, languages=("python", "bash"))) as running:
        yield running


def batch(server: Judging, items: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """The lines of a streamed batch."""
    with server.client() as client:
        reply = client.post("/v1/judge/batch", json={"items": items, **more})
    assert reply.status_code == 200, reply.text
    return [json.loads(line) for line in reply.text.splitlines() if line]


SLOW = "    import time\n    time.sleep(0.3)\n    return x\n"

PROGRAMS = {
    "right": "def f0(x):\n    return x\n",
    "wrong": "def f0(x):\n    return 1\n",
    "raises": "def f0(x):\n    raise KeyError(x)\n",
    "no function": "def g(x):\n    return x\n",
    "no Python": "def f0(x):\n    return (\n",
    "exits": "import os\ndef f0(x):\n    os._exit(0)\n",
    "exits while loading": "raise SystemExit(0)\n",
    "equal to all": "class E:\n    def __eq__(self, other):\n        return True\ndef f0(x):\n    return E()\n",
    "prints passed": "print('PASSED')\ndef f0(x):\n    print('{\"outcome\": \"PASSED\"}')\n",
    "wants memory": "def f0(x):\n    return bytes(2 << 30)\n",
    "kills": "import os, signal\ndef f0(x):\n    os.kill(os.getppid(), signal.SIGKILL)\n    return x\n",
    "frames": "import sys\ndef f0(x):\n    return sys._getframe(1).f_locals.get('expected', 0)\n",
    "loops": "def f0(x):\n" + LOOP,
}


def test_verdicts_are_those_of_local_judging(server: Judging, file: Path, tmp_path: Path) -> None:
    samples = [{"task_id": "T/0", "solution": code} for code in PROGRAMS.values()]
    samples += [{"task_id": f"T/{n}", "completion": f"    return x + {n}\n"} for n in range(1, 4)]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in samples))
    judge_samples(path, humaneval, humaneval.load(file), tmp_path / "out", workers=2, limits=LIMITS)
    local = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    items = [{**row, "index": place if place < len(PROGRAMS) else 0} for place, row in enumerate(samples)]
    remote = batch(server, items)
    assert remote.pop() == {"done": True, "verdicts": len(items), "errors": 0}
    remote.sort(key=lambda row: row["id"])
    assert [row["outcome"] for row in local][:2] == ["PASSED", "FAILED"]
    for ours, theirs in zip(remote, local, strict=True):
        assert set(theirs) <= set(ours)
        timed = {"seconds", "detail"} if theirs["outcome"] == "TIMEOUT" else {"seconds"}
        assert {key: ours[key] for key in theirs if key not in timed} == {
            key: value for key, value in theirs.items() if key not in timed
        }
        assert ours["reward"] == (1.0 if theirs["outcome"] == "PASSED" else 0.0)
        assert ours["benchmark"] == "humaneval"
    assert sum(row["reward"] for row in remote) == 4.0


def test_an_answer_is_judged_by_the_code_in_it(server: Judging) -> None:
    prose = "Sure!\n```python\ndef f1(x):\n    return x + 1\n```\nThat adds one."
    found = server.judge(task_id="T/1", answer=prose).json()
    assert (found["outcome"], found["reward"], found["extraction"]) == ("PASSED", 1.0, "fence")
    for _ in range(3):  # one more than there are workers
        nothing = server.judge(task_id="T/1", answer="I cannot do that.").json()
        assert (nothing["outcome"], nothing["reward"]) == ("NO_CODE", 0.0)
    assert server.judge(task_id="T/1", answer=prose).json()["reward"] == 1.0


def test_the_first_verdict_does_not_wait_for_the_last(server: Judging) -> None:
    items = [{"id": "slow", "task_id": "T/0", "completion": SLOW}] + [
        {"id": f"fast-{n}", "task_id": "T/0", "completion": "    return x\n"} for n in range(3)
    ]
    lines = batch(server, items)
    assert [line.get("id") for line in lines[:3]] == ["fast-0", "fast-1", "fast-2"]
    assert (lines[3]["id"], lines[3]["outcome"]) == ("slow", "PASSED")


def test_collected_results_are_in_the_order_of_the_items(server: Judging) -> None:
    items = [{"task_id": "T/0", "completion": SLOW}, {"task_id": "T/2", "completion": "    return 2\n"}]
    with server.client() as client:
        found = client.post("/v1/judge/batch", json={"items": items, "stream": False}).json()["results"]
    assert [(row["id"], row["outcome"]) for row in found] == [(0, "PASSED"), (1, "FAILED")]


def test_many_clients_at_once_get_their_own_verdicts(server: Judging) -> None:
    seen: list[bool] = []

    def ask(number: int) -> None:
        answer = f"def f3(x):\n    return x + 3 if {number % 2} else {number}\n"
        reply = server.judge(id=number, task_id="T/3", index=number, solution=answer).json()
        seen.append(
            (reply["id"], reply["index"], reply["reward"]) == (number, number, float(number % 2))
            and (number % 2 == 1 or f"returned {number}" in reply["detail"])
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 16


FREE: list[tuple[str, dict[str, Any], str, float | None]] = [
    ("calls right", {"calls": [{"arguments": [n], "expected": [n, n]} for n in range(4)]}, "PASSED", 1.0),
    ("calls wrong at the third", {"calls": [{"arguments": [n], "expected": [n, min(n, 1)]} for n in range(4)]},
     "FAILED", 0.5),
    ("tests right", {"tests": "assert twice(1) == (1, 1)\nassert sorted(twice(2)) == [2, 2]\n"}, "PASSED", 1.0),
    ("tests wrong", {"tests": "assert twice(1) == (1, 2)\n"}, "FAILED", None),
]  # fmt: skip


@pytest.mark.parametrize(("what", "checks", "outcome", "fraction"), FREE, ids=[row[0] for row in FREE])
def test_functions_are_checked_by_calls_and_by_assertions(
    server: Judging, what: str, checks: dict[str, Any], outcome: str, fraction: float | None
) -> None:
    program = "def twice(x):\n    return x, x\n"
    found = server.judge(language="python", program=program, entry_point="twice", **checks).json()
    assert (found["outcome"], found["fraction"]) == (outcome, fraction), found


def test_programs_are_checked_by_what_they_print(server: Judging) -> None:
    cases = [{"stdin": "1 2\n", "expected": "3"}, {"stdin": "5 5\n", "expected": "10"}, {"stdin": "", "expected": "0"}]
    free = {"language": "python", "cases": cases}
    right = server.judge(program="import sys\nprint(sum(map(int, sys.stdin.read().split())))\n", **free).json()
    assert (right["outcome"], right["reward"], right["fraction"], right["checks"]) == ("PASSED", 1.0, 1.0, 3)
    wrong = server.judge(program="print(sum(map(int, input().split())))\n", **free).json()
    assert (wrong["outcome"], wrong["reward"], wrong["fraction"]) == ("FAILED", 0.0, 0.666667)
    slow = server.judge(program="while True: pass\n", time_limit_s=0.5, **free).json()
    assert (slow["outcome"], slow["fraction"]) == ("TIMEOUT", 0.0)


def test_another_language_brings_its_tests(server: Judging) -> None:
    tests = 'candidate() { add "$@"; }\nset -e\n[[ $(candidate 1 2) = 3 ]]\n'
    free = {"language": "bash", "tests": tests}
    assert server.judge(program="add() { echo $(($1 + $2)); }\n", **free).json()["outcome"] == "PASSED"
    assert server.judge(program="add() { echo 7; }\n", **free).json()["outcome"] == "FAILED"
    assert server.judge(program="add() { echo 3; }\nexit 0\n", **free).json()["reward"] == 0.0


def until(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        time.sleep(0.02)
    return true()


def test_a_client_that_leaves_frees_the_workers(file: Path) -> None:
    waits = "    import time\n    time.sleep(100)\n"
    with judging(settings(file, limits=LIMITS.__class__(cpu_s=30, wall_s=120, memory_mb=512))) as server:
        body = json.dumps({"items": [{"task_id": "T/0", "completion": waits}] * 6}).encode()
        host, port = server.base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/judge/batch HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert until(lambda: server.court.workers.load() == (2, 4))
        assert until(lambda: server.court.workers.load() == (0, 0))
        assert server.metric("codeup_judge_cancelled_total") == 1
        assert server.metric("codeup_judge_interrupted") == 2
        good = {"task_id": "T/0", "completion": "    return x\n"}
        assert [line.get("reward") for line in batch(server, [good] * 4)] == [1.0] * 4 + [None]


def test_a_full_queue_is_refused_and_the_refused_may_come_again(file: Path) -> None:
    with judging(settings(file, workers=1, max_queue=2), limits=app.Limits(max_batch=2)) as server:
        found: list[dict[str, Any]] = []
        slow = [{"task_id": "T/0", "completion": SLOW}, {"task_id": "T/0", "completion": "    return x\n"}]
        thread = threading.Thread(target=lambda: found.extend(batch(server, slow)))
        thread.start()
        assert until(lambda: server.court.workers.load() == (1, 1))
        with server.client() as client:
            refused = client.post("/v1/judge/batch", json={"items": slow})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert server.metric("codeup_judge_refused_total") == 1
        thread.join()
        assert sorted(str(line.get("outcome")) for line in found) == ["None", "PASSED", "PASSED"]
        assert server.judge(task_id="T/0", completion="    return x\n").json()["reward"] == 1.0


def test_at_the_deadline_what_is_done_is_told_and_the_rest_is_no_verdict(file: Path) -> None:
    waits = "    import time\n    time.sleep(100)\n"
    with judging(settings(file, limits=LIMITS.__class__(cpu_s=30, wall_s=120, memory_mb=512))) as server:
        items = [{"task_id": "T/0", "completion": waits}, {"task_id": "T/0", "completion": "    return x\n"}]
        good, late, closing = batch(server, items, deadline_s=1.5)
        assert (good["id"], good["reward"]) == (1, 1.0)
        assert (late["id"], late["reward"], late["error"]["code"]) == (0, None, "deadline")
        assert "outcome" not in late
        assert closing == {"done": True, "verdicts": 1, "errors": 1}
        one = server.judge(task_id="T/0", completion=waits, deadline_s=0.5)
        assert (one.status_code, one.json()["error"]["code"]) == (504, "deadline")
        assert until(lambda: server.court.workers.load() == (0, 0))


def test_a_sandbox_that_dies_is_an_error_or_replaced_but_no_reward(file: Path) -> None:
    with judging(settings(file, workers=1)) as server:
        worker = server.court.pools[0].workers[0]
        os.killpg(worker.process.pid, 9)
        assert server.judge(task_id="T/0", completion="    return x\n").json()["reward"] == 1.0


def test_while_no_sandbox_can_be_made_again_nothing_is_judged(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeup.judging.workers.RENEW_WAIT_S", 0.0)
    monkeypatch.setattr("codeup.judging.workers.LOST_WAIT_S", 0.02)
    with judging(settings(file, workers=1)) as server:
        pool = server.court.pools[0]

        def broken(*_: Any) -> Any:
            from codeup.errors import WorkFailed

            raise WorkFailed("no more processes")

        real = pool.judge_on, pool.renew
        monkeypatch.setattr(pool, "judge_on", broken)
        monkeypatch.setattr(pool, "renew", broken)
        first = server.judge(task_id="T/0", completion="    return x\n")
        assert (first.status_code, first.json()["error"]["code"]) == (500, "sandbox")
        assert until(lambda: server.court.workers.alive == 0)
        assert server.judge(task_id="T/0", completion="    return x\n").status_code == 503
        with server.client() as client:
            assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (503, "failed")
        pool.judge_on, pool.renew = real  # type: ignore[method-assign]
        assert until(lambda: server.court.workers.alive == 1)
        assert server.judge(task_id="T/0", completion="    return x\n").json()["reward"] == 1.0


def test_a_program_that_ran_out_of_time_on_a_busy_machine_is_judged_again_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judging(settings(file, workers=1)) as server:
        real, asked = server.court.pools[0].judge_on, list[Any]()

        def busy_at_first(place: int, job: Any) -> Any:
            asked.append(job)
            found = real(place, job)
            return found if len(asked) > 1 else {**found, "outcome": "TIMEOUT", "contended": True}

        monkeypatch.setattr(server.court.pools[0], "judge_on", busy_at_first)
        assert server.judge(task_id="T/0", completion="    return x\n").json()["reward"] == 1.0
        assert len(asked) == 2


def test_one_program_need_not_wait_for_a_batch_of_others(file: Path) -> None:
    with judging(settings(file, workers=1)) as server:
        order: list[str] = []
        slow = {"task_id": "T/0", "completion": "    import time\n    time.sleep(0.2)\n    return x\n"}
        lines: list[dict[str, Any]] = []

        def ask() -> None:
            lines.extend(batch(server, [slow] * 6))
            order.append("batch")

        thread = threading.Thread(target=ask)
        thread.start()
        assert until(lambda: server.court.workers.load()[1] >= 4)
        server.judge(task_id="T/1", completion="    return x + 1\n")
        order.append("one")
        thread.join()
        assert order == ["one", "batch"]


def test_health_says_how_strong_the_sandbox_is(server: Judging) -> None:
    with server.client() as client:
        found = client.get("/health").json()
        about = client.get("/v1/benchmarks").json()
    assert (found["status"], found["workers"], found["floor"]) == ("ok", 2, "confined")
    assert found["sandbox"] == layers.level(found["layers"])
    assert [(one["name"], one["task_ids"]) for one in about["benchmarks"]] == [
        ("humaneval", ["T/0", "T/1", "T/2", "T/3"])
    ]
    assert about["languages"] == ["python", "bash"]


def test_below_the_floor_nothing_is_served(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeup.sandbox.pool.layers.level", lambda reached: "confined")
    with pytest.raises(UserError, match="--floor asks for strong"):
        Court(settings(file, workers=1, floor="strong"))


def test_the_load_test_counts_what_is_mixed_up_lost_and_twice(file: Path) -> None:
    found = load.load("humaneval", file, workers=1, clients=4, rounds=1)
    assert found.programs == 8
    assert [(way.verdicts, way.mixed, way.lost) for way in (found.single, found.batch)] == [(8, 0, 0)] * 2
    seen = load._Seen()
    seen.add([{"task_id": "a", "index": 0, "outcome": "PASSED"}, {"task_id": "a", "index": 1, "outcome": "PASSED"},
              {"task_id": "a", "index": 1, "outcome": "PASSED"}, {"error": "x"}], 1.0)  # fmt: skip
    served = load._served(1.0, 0.0, seen, {("a", 0): "FAILED", ("a", 1): "PASSED"})
    assert (served.mixed, served.lost) == (2, 1)


def test_a_server_that_still_loads_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOADING_ENDS_S", 0.05)
    go_on, loaded, closed, failed = (threading.Event() for _ in range(4))

    def slow(loading: Loading) -> Any:
        go_on.wait(20)
        loaded.set()
        return SimpleNamespace(close=closed.set)

    async def stopped() -> app.Desk:
        desk = app.Desk(slow, lambda court: None, failed.set)
        desk.start()
        await desk.stop()
        return desk

    desk = asyncio.run(stopped())
    assert (desk.state, desk.error, loaded.is_set()) == ("stopped", None, False)
    go_on.set()
    assert closed.wait(20) and not failed.is_set()  # what it opened late is not left behind


def test_what_a_court_has_opened_ends_when_its_loading_is_stopped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loading = Loading()

    def stopped_meanwhile(bench: Any, pool: Any, emit: Any) -> Any:
        threading.Thread(target=loading.stop).start()
        return list(pool.judge([Job("t/0", 0, "import time\ntime.sleep(99)\n", "f", "def check(f): f()\n", "")]))

    monkeypatch.setattr("codeup.judging.court.expected_values", stopped_meanwhile)
    with pytest.raises(WorkFailed, match="closed while it worked"):
        Court(settings(file, workers=1), loading)
    assert not Path(loading.pools[0].home).exists()
    with pytest.raises(WorkFailed, match="stopped while it loaded"):
        loading.emit(Event("progress", "expected values"))


def test_with_nothing_to_judge_it_does_not_start() -> None:
    with pytest.raises(UserError, match="nothing to judge"):
        Court(settings(Path("unused"), benchmarks={}))
