"""Interrupted training ends with the same bytes: killed, stopped by Ctrl-C, on a full disk, or damaged."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from train_models import random_documents, save_tiny_llama, stop_in_step

from codeup.errors import UserError
from codeup.train import base, checkpoint, loop, saving, selection
from codeup.train.metrics import read_metrics
from codeup.train.ranks import ALONE
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Event

SETTINGS: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
    "epochs": 2,
    "tokens_per_batch": 128,
    "pack_length": 64,
    "micro_batch_tokens": 64,
    "learning_rate": 1e-2,
    "eval_share": 1.0,
    "evals_per_epoch": 2,
    "checkpoint_every_steps": 3,
}
STEPS = 10
DRIVEN = SETTINGS | {"learning_rate": 0.1, "select_by": "eval_loss"}
"""For the kill driver: so coarse a rate that the best step comes before the last."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("resume")
    write_tokens(folder / "tokens", random_documents(45))
    write_tokens(folder / "validation", random_documents(8, seed=1))
    save_tiny_llama(folder / "model")
    return {name: folder / name for name in ("model", "tokens", "validation")}


@pytest.fixture(scope="module")
def uninterrupted(inputs: dict[str, Any]) -> Path:
    out = inputs["model"].parent / "uninterrupted"
    assert train_sft(**inputs, out=out, **SETTINGS)["steps"] == STEPS
    return out


def adapter_bytes(out: Path) -> bytes:
    return (out / "adapter" / "adapter_model.safetensors").read_bytes()


def losses(out: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss" if "loss" in row else "eval_loss"]) for row in read_metrics(out / "metrics.jsonl")]


def drive(action: str, inputs: dict[str, Any], points: Any, *before: str, **more: Any) -> list[dict[str, Any]]:
    """The uninterrupted run's results, then those of every point (train_kill_driver.py)."""
    folder = inputs["model"].parent / action
    folder.mkdir()
    arguments = {name: str(path) for name, path in inputs.items()} | DRIVEN
    order = json.dumps({"folder": str(folder), "arguments": arguments, "points": points, **more})
    driver = [sys.executable, str(Path(__file__).with_name("train_kill_driver.py")), action, order]
    done = subprocess.run([*before, *driver], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_training_killed_at_any_moment_ends_with_the_same_bytes(inputs: dict[str, Any]) -> None:
    """20 moments, drawn from steps, from inside the writing of checkpoints, and from inside publishing."""
    whole, *points = drive("kill", inputs, {"step": 8, "checkpoint": 6, "publish": 6})
    assert whole["told"]["selected_step"] < whole["told"]["steps"], "an earlier step's adapter is published"
    assert len(points) == 20
    for point in points:
        assert point["signal"] == 9, point
        for what in ("adapter", "rows", "files"):
            assert point[what] == whole[what], (what, point["moment"], point["second"])
    assert {point["second"]["resumed_from"] for point in points} > {None, whole["told"]["steps"]}


def test_a_full_disk_ends_with_a_message_and_loses_nothing(inputs: dict[str, Any], may_mount: None) -> None:
    disk = inputs["model"].parent / "disk"
    disk.mkdir()
    mounted = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=2m none "$0" && exec "$@"', str(disk)]
    starts = ["gradient begins", "gradient begins#3", "open checkpoints/.partial-000002/manifest.json"]
    ends = ["os.mkdir .adapter.partial", "open .adapter.partial/adapter_config", "os.rename .adapter.partial"]
    whole, *points = drive("fill", inputs, [*starts, *ends], *mounted, disk=str(disk))
    places = [point["first"].get("message", "").partition(": ")[0].rpartition("/")[2] for point in points]
    assert places == ["metrics.jsonl", "step-000005", "step-000002", "adapter", "adapter", "train.json"]
    for point in points:
        assert point["first"]["error"] == "UserError" and "No space left on device" in point["first"]["message"]
        assert "to mend: free disk space" in point["first"]["message"]
        for what in ("adapter", "rows", "files"):
            assert point[what] == whole[what], (what, point["moment"], point["second"])


@pytest.fixture
def may_mount() -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True).returncode
    ):
        pytest.skip("a small disk can be mounted by root with CAP_SYS_ADMIN only")


@pytest.mark.parametrize("kind", ["a file", "a folder inside a file"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_loaded(
    kind: str, tmp_path: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" if kind == "a file" else tmp_path / "file" / "out"
    monkeypatch.setattr(base, "load_base", None)
    with pytest.raises(UserError, match=f"{out}: cannot be written to"):
        train_sft(**inputs, out=out, **SETTINGS)


def save_empty(root: Path, step: int, **keeping: Any) -> None:
    checkpoint.save(root, step, {"x": torch.zeros(1)}, {}, **keeping)


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    """keep_last 2; step 2 is the best until step 5 is."""
    keeper = saving.Saving("", 1e9, 1, keep_last=2)
    kept = {}
    for step, chosen in [(1, None), (2, 2), (3, 2), (4, 2), (5, 5), (6, 5), (7, 5), (8, 5)]:
        run = SimpleNamespace(progress=loop.Progress(step=step), named={}, optimizer=None, out=tmp_path, ranks=ALONE)
        keeper.save(run, chosen)  # type: ignore[arg-type]
        kept[step] = checkpoint.steps(tmp_path / "checkpoints")
    assert kept == {1: [1], 2: [1, 2], 3: [2, 3], 4: [2, 3, 4], 5: [4, 5], 6: [5, 6], 7: [5, 6, 7], 8: [5, 7, 8]}


def disk_with_room_for(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write = checkpoint.save_file

    def limited(tensors: Any, path: Path) -> None:
        if len(list(path.parent.parent.glob("step-*"))) >= count:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", limited)


def test_older_checkpoints_make_room_but_never_those_that_a_resumption_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3, 4):
        save_empty(tmp_path, step, keep=range(9), chosen=2 if step > 1 else None)
    disk_with_room_for(4, monkeypatch)
    save_empty(tmp_path, 5, keep=range(9), vital=(4, 2), chosen=2)
    assert checkpoint.steps(tmp_path) == [2, 3, 4, 5], "1, the oldest, made room; 2 is relied on"
    disk_with_room_for(0, monkeypatch)
    with pytest.raises(UserError, match=r"step-000006: cannot write \(No space left on device\)"):
        save_empty(tmp_path, 6, keep=range(9), vital=(5, 2), chosen=2)
    assert checkpoint.steps(tmp_path) == [2, 5]
    assert not list(tmp_path.glob(".partial-*"))
    latest = checkpoint.load_latest(tmp_path)
    assert latest is not None and (latest.step, latest.damaged) == (5, [])


def test_a_checkpoint_whose_chosen_step_is_damaged_is_passed_over(tmp_path: Path) -> None:
    for step, chosen in [(1, None), (2, 2), (3, 2)]:
        save_empty(tmp_path, step, keep=range(9), chosen=chosen)
    (tmp_path / "step-000002" / "state.json").unlink()
    latest = checkpoint.load_latest(tmp_path)
    assert latest is not None and (latest.step, latest.damaged) == (1, ["step-000003", "step-000002"])


def test_a_renamed_checkpoint_is_not_taken_for_another_step(tmp_path: Path) -> None:
    save_empty(tmp_path, 3)
    (tmp_path / "step-000003").rename(tmp_path / "step-000007")
    assert checkpoint.load_latest(tmp_path) is None


def test_another_seed_gives_other_bytes(tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path) -> None:
    train_sft(**inputs, out=tmp_path, **SETTINGS, seed=1)
    assert adapter_bytes(tmp_path) != adapter_bytes(uninterrupted)


def test_ctrl_c_saves_the_last_finished_step(
    tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_in_step(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=tmp_path, **SETTINGS | {"checkpoint_every_steps": None})
    notes: list[Event] = []
    summary = train_sft(**inputs, out=tmp_path, **SETTINGS, emit=notes.append)
    assert summary["resumed_from"] == 4
    assert notes[0].text == "continuing after step 4"
    assert adapter_bytes(tmp_path) == adapter_bytes(uninterrupted)


def test_ctrl_c_in_an_evaluation_loses_no_step(
    tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third evaluation is interrupted (after step 7); it is made when the training goes on."""
    calls = iter(range(2))
    original = selection.held_out_means

    def interrupted(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(selection, "held_out_means", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=tmp_path, **SETTINGS | {"checkpoint_every_steps": None})
    summary = train_sft(**inputs, out=tmp_path, **SETTINGS)
    assert summary["resumed_from"] == summary["evaluations"][2]["step"] == 7
    assert losses(tmp_path) == losses(uninterrupted)
    assert adapter_bytes(tmp_path) == adapter_bytes(uninterrupted)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    name: str, harm: Callable[[Path], None], stopped: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(stopped / "checkpoints", tmp_path / "checkpoints")
    before, last = checkpoint.steps(root)
    harm(root / f"step-{last:06d}" / name)
    found = checkpoint.load_latest(root)
    assert found is not None and (found.step, found.damaged) == (before, [f"step-{last:06d}"])


@pytest.fixture(scope="module")
def stopped(inputs: dict[str, Any]) -> Path:
    """A run with the settings of `uninterrupted` that Ctrl-C ended in step 9."""
    out = inputs["model"].parent / "stopped"
    with pytest.MonkeyPatch.context() as patched:
        stop_in_step(patched, 9)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=out, **SETTINGS)
    return out


def test_after_a_damaged_checkpoint_the_bytes_are_the_same(
    stopped: Path, tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path
) -> None:
    out = shutil.copytree(stopped, tmp_path / "out")
    before, last = checkpoint.steps(out / "checkpoints")
    flip(out / "checkpoints" / f"step-{last:06d}" / "tensors.safetensors")
    notes: list[Event] = []
    summary = train_sft(**inputs, out=out, **SETTINGS, emit=notes.append)
    assert summary["resumed_from"] == before
    assert f"damaged and passed over: step-{last:06d}" in notes[0].text
    assert adapter_bytes(out) == adapter_bytes(uninterrupted)
    assert losses(out) == losses(uninterrupted), "every row once, with the same loss"


@pytest.mark.parametrize("harm", [b"[1]", b'{"step": 3, "lo', b"\xff\xfe"])
def test_a_damaged_row_of_the_metrics_is_all_that_is_lost_and_that_is_said(
    harm: bytes, stopped: Path, tmp_path: Path, inputs: dict[str, Any], uninterrupted: Path
) -> None:
    out = shutil.copytree(stopped, tmp_path / "out")
    rows = (out / "metrics.jsonl").read_bytes().splitlines()
    at = next(at for at, row in enumerate(map(json.loads, rows)) if row["step"] == 3 and "loss" in row)
    (out / "metrics.jsonl").write_bytes(b"\n".join([*rows[:at], harm, *rows[at + 1 :], b""]))
    notes: list[Event] = []
    train_sft(**inputs, out=out, **SETTINGS, emit=notes.append)
    assert any("damaged: 1 of 8 steps have no row any more" in event.text for event in notes if event.kind == "note")
    whole = losses(uninterrupted)
    assert losses(out) == [*whole[:at], *whole[at + 1 :]]


def test_checkpoints_of_another_training_are_refused(
    tmp_path: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_in_step(patched, 4)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=tmp_path, **SETTINGS)
    with pytest.raises(UserError, match="belong to a training with other data, another base model or other settings"):
        train_sft(**inputs, out=tmp_path, **SETTINGS | {"learning_rate": 3e-3})


def test_a_finished_training_is_not_done_again(
    inputs: dict[str, Any], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(loop, "train_step", never)
    assert train_sft(**inputs, out=uninterrupted, **SETTINGS)["steps"] == STEPS
    assert not (uninterrupted / "checkpoints").exists()


def test_a_finished_adapter_is_not_replaced_by_a_training_with_other_settings(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    train_sft(**inputs, out=tmp_path, **SETTINGS)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for other in ({"learning_rate": 2e-2}, {"seed": 5}, {"micro_batch_tokens": 128}):
        with pytest.raises(UserError, match="holds a finished training with other settings"):
            train_sft(**inputs, out=tmp_path, **SETTINGS | other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_settings_that_change_nothing_learned_find_the_finished_adapter_again(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    plain = SETTINGS | {"lora": {"r": 4, "alpha": 8, "dropout": 0.0}}
    first = train_sft(**inputs, out=tmp_path, **plain)
    before = adapter_bytes(tmp_path)
    other = {"micro_batch_tokens": 128, "evals_per_epoch": 1, "keep_last": 5, "checkpoint_every_s": 9.0}
    assert train_sft(**inputs, out=tmp_path, **plain | other) == first
    assert adapter_bytes(tmp_path) == before


def test_the_size_of_a_pass_does_not_change_what_is_learned_without_dropout(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    plain = SETTINGS | {"lora": {"r": 4, "alpha": 8, "dropout": 0.0}}
    learned = []
    for size in (64, 128):
        train_sft(**inputs, out=tmp_path / str(size), **plain | {"micro_batch_tokens": size})
        learned.append(load_file(tmp_path / str(size) / "adapter" / "adapter_model.safetensors"))
    for name, weights in learned[0].items():
        torch.testing.assert_close(weights, learned[1][name], rtol=1e-3, atol=1e-5)
