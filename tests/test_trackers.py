"""Trackers get every row of metrics.jsonl once, across resumptions, and never stop a training."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from test_train_resume import SETTINGS, STEPS, stop_in_step
from train_models import random_documents, save_tiny_llama

from codeup import recipe as recipes
from codeup import study
from codeup.errors import UserError
from codeup.train import trackers
from codeup.train.metrics import Metrics, read_metrics
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.train.trackers import Trackers
from codeup.types import Event

ROWS = [
    {"step": 1, "epoch": 0.5, "loss": 2.0},
    {"step": 1, "epoch": 0.5, "eval_loss": 3.0},
    {"step": 2, "epoch": 1.0, "loss": 1.5},
]


def send(
    out: Path, names: list[str], rows: list[dict[str, Any]], *, keep_to: int = 0, identity: str = "a"
) -> list[str]:
    """What a training does with its rows, the first `keep_to` steps being restored; the notes it gives."""
    notes: list[Event] = []
    out.mkdir(exist_ok=True)
    followers = Trackers(names, out, project="study", identity=identity, emit=notes.append, step_name="train-x")
    metrics = Metrics(out / "metrics.jsonl", keep_to=keep_to, also=followers.add)
    for row in rows:
        if row["step"] > keep_to:
            metrics.add(**row)
    metrics.close()
    followers.close()
    return [note.text for note in notes]


class FakeWandb(ModuleType):
    """wandb as far as it is used here; `fail_at` a step whose row it does not take."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__("wandb")
        self.__spec__ = SimpleNamespace(name="wandb")  # type: ignore[assignment]
        self.started: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.finished = 0
        self.fail_at = fail_at

    def Settings(self, **settings: Any) -> dict[str, Any]:
        return settings

    def init(self, **settings: Any) -> Any:
        self.started.append(settings)
        return self

    def log(self, values: dict[str, float], *, step: int) -> None:
        if step == self.fail_at:
            raise ConnectionError("no route to host")
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return fake


def test_every_row_is_sent_with_its_step(tmp_path: Path, wandb: FakeWandb) -> None:
    assert send(tmp_path / "train-x-1", ["wandb"], ROWS) == []
    assert wandb.rows == [(row["step"], {name: value for name, value in row.items() if name != "step"}) for row in ROWS]
    assert wandb.started[0]["name"] == "train-x-1-a" and wandb.started[0]["project"] == "study"
    assert wandb.finished == 1


def test_wandb_is_offline_unless_the_user_says_otherwise(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(tmp_path / "a", ["wandb"], ROWS)
    monkeypatch.setenv("WANDB_MODE", "online")
    send(tmp_path / "b", ["wandb"], ROWS)
    assert [settings["mode"] for settings in wandb.started] == ["offline", "online"]


def test_a_resumed_training_sends_no_row_twice_and_is_the_same_run(tmp_path: Path, wandb: FakeWandb) -> None:
    """Two resumptions from step 1; the second begins before the first has come as far as before."""
    send(tmp_path, ["wandb"], ROWS)
    send(tmp_path, ["wandb"], ROWS[:2], keep_to=1)
    send(tmp_path, ["wandb"], [*ROWS, {"step": 3, "epoch": 1.5, "loss": 1.0}], keep_to=1)
    assert [(step, "loss" in values) for step, values in wandb.rows] == [(1, True), (1, False), (2, True), (3, True)]
    assert len({settings["id"] for settings in wandb.started}) == 1
    assert {settings["resume"] for settings in wandb.started} == {"allow"}


def test_a_tracker_added_later_gets_the_rows_before(tmp_path: Path, wandb: FakeWandb) -> None:
    send(tmp_path, [], ROWS)
    send(tmp_path, ["wandb"], [*ROWS, {"step": 3, "epoch": 1.5, "loss": 1.0}], keep_to=2)
    assert [step for step, _ in wandb.rows] == [1, 1, 2, 3]


def test_another_training_in_the_folder_is_another_run(tmp_path: Path, wandb: FakeWandb) -> None:
    send(tmp_path, ["wandb"], ROWS)
    send(tmp_path, ["wandb"], ROWS, identity="b")
    send(tmp_path, ["wandb"], ROWS, keep_to=1, identity="b")
    assert len(wandb.rows) == 6 and len({settings["id"] for settings in wandb.started}) == 2


def test_a_tracker_that_fails_is_reported_once_and_the_others_go_on(tmp_path: Path, wandb: FakeWandb) -> None:
    pytest.importorskip("tensorboard")
    wandb.fail_at = 2
    more = [*ROWS, {"step": 3, "epoch": 1.5, "loss": 1.0}]
    (note,) = send(tmp_path, ["wandb", "tensorboard"], more)
    assert note == ("wandb failed (no route to host); training goes on without it, metrics.jsonl has every row")
    assert [step for step, _ in wandb.rows] == [1, 1]
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2, 3]
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 4


def test_a_tracker_that_does_not_start_is_a_note(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("api_key not configured\nrun wandb login")

    monkeypatch.setattr(wandb, "init", refuse)
    (note,) = send(tmp_path, ["wandb"], ROWS)
    assert note.startswith("wandb failed (api_key not configured);")


def test_a_missing_package_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    recipe = recipes.parse("{name: x, model: {base: nano-base}, report_to: trackio}")
    with pytest.raises(UserError, match="package trackio is not installed") as refused:
        study.compile_recipe(recipe)
    assert "pip install -c constraints.txt '.[track]'" in str(refused.value)


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(UserError, match="unknown tracker 'mlflow'"):
        trackers.check(["mlflow"])


# --- the real ones -------------------------------------------------------------------------------------------------


def scalars(out: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from the event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(out / "trackers" / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return {name: [(event.step, event.value) for event in reader.Scalars(name)] for name in reader.Tags()["scalars"]}


def test_tensorboard_reads_a_training_that_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    write_tokens(tmp_path / "tokens", random_documents(45))
    write_tokens(tmp_path / "validation", random_documents(8, seed=1))
    save_tiny_llama(tmp_path / "model")
    settings = {
        **{name: tmp_path / name for name in ("model", "tokens", "validation")}, "out": tmp_path / "out", **SETTINGS,
        "report_to": ["tensorboard"],
    }  # fmt: skip
    with monkeypatch.context() as patched:
        stop_in_step(patched, 6)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**settings)
    assert train_sft(**settings)["steps"] == STEPS
    found = scalars(tmp_path / "out")
    for name in ("loss", "learning_rate", "eval_loss"):
        rows = [row for row in read_metrics(tmp_path / "out" / "metrics.jsonl") if name in row]
        assert [step for step, _ in found[name]] == [row["step"] for row in rows]
        assert [value for _, value in found[name]] == pytest.approx([row[name] for row in rows], rel=1e-6)


def test_trackio_holds_every_row_in_its_local_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import trackio
        from trackio import utils
    except ImportError:
        pytest.skip("trackio is not installed, or in a version that needs more than is installed")
    monkeypatch.setattr(utils, "TRACKIO_DIR", tmp_path)
    for module in (trackio.sqlite_storage, trackio):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path, raising=False)
    assert send(tmp_path / "out", ["trackio"], ROWS) == []
    assert send(tmp_path / "out", ["trackio"], [*ROWS, {"step": 3, "epoch": 1.5, "loss": 1.0}], keep_to=1) == []
    with sqlite3.connect(tmp_path / "study.db") as database:
        kept = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step, id").fetchall()
    assert {run for run, _, _ in kept} == {"out-a"}
    assert [(step, json.loads(metrics).get("loss")) for _, step, metrics in kept] == [
        (1, 2.0), (1, None), (2, 1.5), (3, 1.0),
    ]  # fmt: skip


def test_wandb_keeps_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    assert send(tmp_path / "out", ["wandb"], ROWS) == []
    (run,) = (tmp_path / "out" / "trackers" / "wandb").glob("offline-run-*")
    assert next(run.glob("*.wandb")).stat().st_size > 0
