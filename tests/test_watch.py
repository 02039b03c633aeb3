"""The live page of a running study: what it says, who may ask, and that it shows in a browser."""

from __future__ import annotations

import http.client
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeup.errors import UserError
from codeup.report import watch

ATTACK = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A study of four steps: data done, training half way, one not begun, one answering."""
    steps = [
        {"name": "data-code", "kind": "prepare", "folder": "steps/data-code-1"},
        {"name": "train-code", "kind": "sft", "folder": "steps/train-code-1", "epochs": 2},
        {"name": "merge-code", "kind": "merge", "folder": "steps/merge-code-1"},
        {"name": "generate-base", "kind": "generate", "folder": "steps/generate-base-1"},
    ]
    (tmp_path / "study.json").write_text(json.dumps({"name": "small", "recipe_file": "r.yaml", "steps": steps}))
    for name in ("data-code-1", "train-code-1", "generate-base-1"):
        (tmp_path / "steps" / name).mkdir(parents=True)
    (tmp_path / "steps" / "data-code-1" / "artifact.json").write_text('{"seconds": 12.5}')
    rows = [
        {"step": i, "epoch": i / 100, "loss": 3 - i / 100, "tokens": 10 * i, "tokens_per_s": 50.0, "seconds": 0.6 * i}
        for i in range(1, 101)
    ]
    metrics = [json.dumps(row) for row in rows] + ['{"step": 100, "eval_loss": 2.5}', '{"step": 101, "lo']
    (tmp_path / "steps" / "train-code-1" / "metrics.jsonl").write_text("\n".join(metrics))
    samples = [{"task_id": f"nano/{i}", "raw": f"answer {i} {ATTACK}"} for i in range(7)]
    (tmp_path / "steps" / "generate-base-1" / "samples.jsonl").write_text(
        "".join(json.dumps(s) + "\n" for s in samples)
    )
    return tmp_path


def steps_of(run: Path) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in watch.state(run)["steps"]}


def test_steps_are_done_started_or_waiting(run: Path) -> None:
    assert {name: step["state"] for name, step in steps_of(run).items()} == {
        "data-code": "done",
        "train-code": "started",
        "merge-code": "waiting",
        "generate-base": "started",
    }
    assert watch.state(run)["done"] == 1
    assert steps_of(run)["data-code"]["seconds"] == 12.5


def test_a_training_shows_its_loss_and_when_it_will_end(run: Path) -> None:
    step = steps_of(run)["train-code"]
    assert (step["loss"], step["step"], step["tokens"]) == (2.0, 100, 1000)
    assert step["share"] == 0.5, "epoch 1 of 2"
    assert step["left_s"] == pytest.approx(60.0), "half took 60 s"
    assert step["eval_losses"] == [[100, 2.5]]
    assert step["losses"][0] == [1, 2.99]


def test_samples_and_verdicts_so_far_are_counted(run: Path) -> None:
    step = steps_of(run)["generate-base"]
    assert step["samples"] == 7
    assert step["answer"]["task_id"] == "nano/6"
    folder = run / "steps" / "generate-base-1"
    (folder / "verdicts.jsonl").write_text('{"outcome": "PASSED"}\n{"outcome": "FAILED"}\n{"outc')
    assert (steps_of(run)["generate-base"]["verdicts"], steps_of(run)["generate-base"]["passed"]) == (2, 1)


def test_a_loss_that_is_no_number_does_not_break_the_page(run: Path) -> None:
    path = run / "steps" / "train-code-1" / "metrics.jsonl"
    path.write_text(path.read_text().rpartition("\n")[0] + '\n{"step": 101, "epoch": 1.01, "loss": NaN, "tokens": 1, '
                    '"tokens_per_s": 1.0, "seconds": 61.0}\n')  # fmt: skip
    assert math.isnan(json.loads(path.read_text().splitlines()[-1])["loss"])
    json.dumps(watch.state(run), allow_nan=False)


@pytest.mark.parametrize("harm", ["missing", "broken", "old"])
def test_a_folder_without_a_plan_is_a_clear_error(run: Path, harm: str) -> None:
    if harm == "missing":
        (run / "study.json").unlink()
    else:
        (run / "study.json").write_text("{" if harm == "broken" else '{"name": "small"}')
    with pytest.raises(UserError, match="is not the folder of a study"):
        watch.make_server(run)


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    with watch.make_server(run) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, path: str, host: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": host})
    reply = connection.getresponse()
    return reply.status, reply.read()


def test_only_a_loopback_name_is_answered(port: int) -> None:
    for host in (f"127.0.0.1:{port}", "localhost", f"localhost:{port}"):
        assert ask(port, "/state", host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "0.0.0.0"):
        assert ask(port, "/state", host)[0] == 403
        assert ask(port, "/", host)[0] == 403


def test_there_are_two_paths(port: int) -> None:
    assert json.loads(ask(port, "/state", "localhost")[1])["name"] == "small"
    assert b"<title>CodeUp" in ask(port, "/", "localhost")[1]
    for path in ("/study.json", "/../study.json", "/state/", "/report.html"):
        assert ask(port, path, "localhost")[0] == 404


def test_a_port_that_is_taken_is_a_clear_error(port: int, run: Path) -> None:
    with pytest.raises(UserError, match=f"port {port} cannot be opened"):
        watch.make_server(run, port)


def test_the_page_follows_the_study_in_a_browser(browser: Any, run: Path, port: int) -> None:
    page = browser.new_page()
    page.set_default_timeout(300_000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}/")
    page.get_by_text("1 of 4 steps done").wait_for()
    text = page.inner_text("body")
    for shown in ("train-code", "2.0000", "50 %", "samples so far", "nano/6", ATTACK):
        assert shown in text
    assert page.evaluate("window.hacked") is None
    assert page.locator("polyline").get_attribute("points").count(",") > 50
    (run / "steps" / "train-code-1" / "artifact.json").write_text('{"seconds": 99}')
    page.get_by_text("2 of 4 steps done").wait_for()
    assert all(url.startswith(f"http://127.0.0.1:{port}/") for url in asked)
    assert complaints == []
    page.close()
