"""A step folder is complete when its marker says so and its files are whole; nothing else counts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from codeup import artifacts
from codeup.errors import UserError
from codeup.types import Step

STEP = Step("sft", "train-a", {"epochs": 1, "at": {"device": "cpu"}}, ("data-a",))


def finished(folder: Path) -> Path:
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"12345")
    artifacts.finish(folder, STEP, "f" * 64, {"data-a": "d"}, {"loss": 0.5}, 1.25)
    return folder


def test_a_finished_folder_reads_back_as_its_artifact(tmp_path: Path) -> None:
    artifact = artifacts.read_artifact(finished(tmp_path / "s"))
    assert artifact is not None
    assert (artifact.step, artifact.kind, artifact.summary, artifact.seconds) == ("train-a", "sft", {"loss": 0.5}, 1.25)


def test_a_folder_without_a_marker_is_unfinished(tmp_path: Path) -> None:
    folder = finished(tmp_path / "s")
    (folder / artifacts.MARKER).unlink()
    assert artifacts.read_artifact(folder) is None


@pytest.mark.parametrize("damage", ["delete", "shorten"])
def test_a_lost_or_shortened_file_makes_the_step_unfinished(tmp_path: Path, damage: str) -> None:
    folder = finished(tmp_path / "s")
    if damage == "delete":
        (folder / "weights.bin").unlink()
    else:
        (folder / "weights.bin").write_bytes(b"123")
    assert artifacts.read_artifact(folder) is None


def test_a_damaged_marker_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = finished(tmp_path / "s")
    (folder / artifacts.MARKER).write_text('{"step": "tra')
    with pytest.raises(UserError, match=r"artifact\.json: damaged marker"):
        artifacts.read_artifact(folder)


def test_the_fingerprint_follows_settings_inputs_and_code_but_not_places() -> None:
    base = artifacts.step_fingerprint(STEP, ["x"], "code")
    moved = Step(STEP.kind, STEP.name, {"epochs": 1, "at": {"device": "cuda"}}, STEP.inputs)
    changed = Step(STEP.kind, STEP.name, {"epochs": 2, "at": {"device": "cpu"}}, STEP.inputs)
    assert artifacts.step_fingerprint(moved, ["x"], "code") == base
    assert (
        len(
            {
                base,
                *(
                    artifacts.step_fingerprint(*v)
                    for v in [(changed, ["x"], "code"), (STEP, ["y"], "code"), (STEP, ["x"], "c2")]
                ),
            }
        )
        == 4
    )


def test_json_is_replaced_whole_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"x": "é"})
    artifacts.write_json(tmp_path / "a.json", {"x": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_a_clear_error_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts.write_json(tmp_path / "a.json", {"x": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        artifacts.write_json(tmp_path / "a.json", {"x": 2})
    assert '"x": 1' in (tmp_path / "a.json").read_text()
    assert len(list(tmp_path.iterdir())) == 1


def test_the_version_of_code_counts_pages_and_scripts_and_no_compiled_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "__file__", str(tmp_path / "artifacts.py"))
    version = artifacts.code_version.__wrapped__
    (tmp_path / "page" / "__pycache__").mkdir(parents=True)
    (tmp_path / "page" / "page.py").write_text("x = 1")
    (tmp_path / "page" / "page.js").write_text("let x = 1;")
    first = version(("page",))
    (tmp_path / "page" / "__pycache__" / "page.pyc").write_bytes(b"1")
    assert version(("page",)) == first
    (tmp_path / "page" / "page.js").write_text("let x = 2;")
    assert version(("page",)) != first


def test_a_pipe_a_socket_a_device_and_a_folder_are_no_input(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))
        for kind in ("pipe", "socket", "device", "folder"):
            with pytest.raises(UserError, match=f"{kind}: this is a {kind}, not a file"):
                artifacts.check_ordinary(tmp_path / kind)
    (tmp_path / "file").write_text("text")
    artifacts.check_ordinary(tmp_path / "file")
    with pytest.raises(UserError, match="this is a device"):
        artifacts.file_sha256(tmp_path / "device")
