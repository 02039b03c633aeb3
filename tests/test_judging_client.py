"""The client that is copied into a trainer: rewards in order, busy servers waited for, broken connections mended."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from judge_for_tests import Judging, judging, settings, write_benchmark

from codeup.judging import client as packaged
from codeup.judging.client import Judge, JudgeError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    file = write_benchmark(tmp_path_factory.mktemp("benchmark") / "made.jsonl")
    with judging(settings(file, workers=1)) as running:
        yield running


def fenced(code: str) -> str:
    return f"Here:\n```python\n{code}```\n"


RIGHT, WRONG = fenced("def f1(x):\n    return x + 1\n"), fenced("def f1(x):\n    return 0\n")


def test_rewards_come_in_the_order_of_the_completions(server: Judging) -> None:
    judge = Judge(server.base, batch=3)
    completions = [RIGHT, WRONG, "no code", RIGHT, fenced("def f2(x):\n    return x + 2\n")]
    tasks = ["T/1", "T/1", "T/1", "T/1", "T/2"]
    rewards = judge.reward(prompts=["p"] * 5, completions=completions, task_id=tasks, completion_ids=[[1]] * 5)
    assert rewards == [1.0, 0.0, 0.0, 1.0, 1.0]


def test_conversations_are_judged_by_their_last_message(server: Judging) -> None:
    judge = Judge(server.base)
    said = [[{"role": "assistant", "content": text}] for text in (RIGHT, WRONG)]
    assert judge.reward([[], []], said, task_id=["T/1", "T/1"]) == [1.0, 0.0]
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": RIGHT}]}], []]
    assert judge.reward([[], []], parts, task_id=["T/1", "T/1"]) == [1.0, 0.0]


def test_half_a_character_may_stand_anywhere_in_an_item() -> None:
    with scripted(stream({"id": 0, "reward": 1.0}, CLOSING)) as (url, asked):
        Judge(url).judge(
            language="python", program="", calls=[{"arguments": [{"\ud800": ("b\udfff",)}], "expected": 1}]
        )
    (sent,) = json.loads(asked[0])["items"]
    assert sent["calls"] == [{"arguments": [{"?": ["b?"]}], "expected": 1}]


def test_half_a_character_is_an_answer_too(server: Judging) -> None:
    assert Judge(server.base).reward(["p"], [RIGHT + "\ud83d"], task_id=["T/1"]) == [1.0]


def test_a_dataset_without_the_column_is_named(server: Judging) -> None:
    with pytest.raises(ValueError, match="the dataset needs that column"):
        Judge(server.base).reward(["p"], [RIGHT])


def test_what_the_server_refuses_is_raised_with_its_words(server: Judging) -> None:
    with pytest.raises(JudgeError, match=r"items\[0\].task_id: humaneval has no problem 'T/9'") as raised:
        Judge(server.base).judge(task_id="T/9", answer="x")
    assert raised.value.status == 404


def test_the_file_works_alone(server: Judging, tmp_path: Path) -> None:
    shutil.copy(packaged.__file__, tmp_path / "my_judge.py")
    code = f"import my_judge; print(my_judge.Judge({server.base!r}).judge(task_id='T/1', answer={RIGHT!r})['reward'])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        capture_output=True, text=True, check=True, env={},
    )  # fmt: skip
    assert done.stdout.strip() == "1.0"


@contextmanager
def scripted(*replies: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends these bytes, one after the other, and hangs up; what it was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for reply in replies:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                length = 0
                while line := lines.readline().strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                asked.append(lines.read(length))
                connection.sendall(reply)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.close()


def stream(*rows: dict[str, Any]) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"".join(json.dumps(row).encode() + b"\n" for row in rows)


BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}"
CLOSING = {"done": True, "verdicts": 1, "errors": 0}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the client would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(packaged.time, "sleep", slept.append)
    return slept


def test_a_busy_server_is_asked_again_when_it_said(waits: list[float]) -> None:
    with scripted(BUSY, BUSY, stream({"id": 0, "reward": 1.0}, CLOSING)) as (url, asked):
        assert Judge(url).judge(task_id="a", answer="x")["reward"] == 1.0
    assert waits == [7.0, 7.0]
    assert len(set(asked)) == 1


def test_a_busy_server_is_waited_for_as_long_as_asked_whatever_the_attempts(waits: list[float]) -> None:
    with scripted(*[BUSY] * 9, stream({"id": 0, "reward": 1.0}, CLOSING)) as (url, _):
        assert Judge(url, attempts=1).judge(task_id="a", answer="x")["reward"] == 1.0
    with scripted(*[BUSY] * 3) as (url, _), pytest.raises(JudgeError, match=r"after 14 s of waiting: .*busy \(429\)"):
        Judge(url, patience_s=20).judge(task_id="a", answer="x")
    assert waits == [7.0] * 11


def test_health_of_a_server_that_is_away_is_an_error_of_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(JudgeError, match="ConnectionRefusedError"):
        Judge(url).health()


def test_after_a_broken_stream_only_the_rest_is_sent_again(waits: list[float]) -> None:
    first = stream({"id": 1, "reward": 0.0})
    half = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"id": 2, "rew'
    with scripted(first, half, stream({"id": 2, "reward": 1.0}, {"id": 0, "reward": 1.0}, CLOSING)) as (url, asked):
        items = [{"task_id": str(n), "answer": "x", "id": f"n{n}"} for n in range(3)]
        found = Judge(url).judge_many(items)
    assert [(row["id"], row["reward"]) for row in found] == [("n0", 1.0), ("n1", 0.0), ("n2", 1.0)]
    assert [[row["id"] for row in json.loads(body)["items"]] for body in asked] == [[0, 1, 2], [0, 2], [0, 2]]


def test_a_sandbox_that_failed_gives_no_reward() -> None:
    failed = {"id": 0, "reward": None, "error": {"message": "x", "code": "sandbox"}}
    with scripted(stream(failed, CLOSING)) as (url, _):
        assert Judge(url).reward(["p"], ["c"], task_id=["a"]) == [None]


def test_a_server_that_stays_away_is_an_error_and_no_reward(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(JudgeError, match="no verdict after 3 attempts: ConnectionRefusedError"):
        Judge(url, attempts=3).reward(["p"], ["c"], task_id=["a"])
    assert len(waits) == 3


@pytest.mark.slow
def test_trl_takes_it_as_a_reward_function(server: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of TRL's GRPOTrainer that asks reward functions, with our method in it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("trl")
    try:
        importlib.import_module("trackio")
    except ImportError:  # an experiment tracker of TRL's that is not needed here
        stand_in = ModuleType("trackio")
        stand_in.__spec__ = ModuleSpec("trackio", None)
        monkeypatch.setitem(sys.modules, "trackio", stand_in)
    trainer = importlib.import_module("trl.trainer.grpo_trainer")
    utils = importlib.import_module("trl.trainer.utils")
    judge = Judge(server.base)
    assert utils.get_callable_name(judge.reward) == "reward"
    assert not utils.is_async_callable(judge.reward)

    class Half:
        """What `_calculate_rewards` uses of a trainer."""

        accelerator = type("A", (), {"device": torch.device("cpu"), "is_main_process": True})
        state = environments = _log_completion_extra = _log_metric = None
        reward_funcs, reward_processing_classes, reward_func_names = [judge.reward], [None], ["judge"]

    monkeypatch.setattr(trainer, "gather", lambda value: value)
    monkeypatch.setattr(trainer, "profiling_context", lambda *_: _nothing())
    rows = [{"prompt": "p", "task_id": "T/1"}] * 2
    found = trainer.GRPOTrainer._calculate_rewards(Half(), rows, ["p", "p"], [RIGHT, WRONG], [[1], [2]])
    assert found.tolist() == [[1.0], [0.0]]


@contextmanager
def _nothing() -> Iterator[None]:
    yield
