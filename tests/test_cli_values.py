"""Option values that no command can mean: refused before any work, with the option's name and exit code 2."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from codeup.cli.app import app, main
from codeup.cli.command import guarded

EVALUATE = ["evaluate", "--benchmark", "nano", "--samples", "no-such.jsonl"]
GENERATE = ["generate", "--benchmark", "nano", "--model", "no-such-model", "--out", "no-such.jsonl"]
PLAN = ["plan", "recipes/nano.yaml", "--gpu", "h100"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*PLAN, "--price", "-1"], "'--price'"),
        (["report", ".", "--watch", "--port", "70000"], "'--port'"),
        ([*GENERATE, "--samples", "0"], "'--samples'"),
        ([*GENERATE, "--temperature", "-0.5"], "'--temperature'"),
        ([*GENERATE, "--max-new-tokens", "0"], "'--max-new-tokens'"),
        ([*EVALUATE, "--workers", "0"], "'--workers'"),
        ([*EVALUATE, "--timeout-s", "0"], "'--timeout-s'"),
        ([*EVALUATE, "--memory-mb", "-5"], "'--memory-mb'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_option(argv: list[str], message: str) -> None:
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 2
    assert message in done.stderr and "Input should be" in done.stderr
    assert done.stdout == ""


def test_a_value_at_the_edge_of_its_range_is_taken() -> None:
    done = CliRunner().invoke(app, ["report", "no-such-run", "--port", "65535"])
    assert done.exit_code == 2
    assert "is not a run folder" in done.stderr and "Input should be" not in done.stderr


def test_kinds_of_names_are_json_too_and_a_wrong_kind_is_told_all_of_them() -> None:
    done = CliRunner().invoke(app, ["list", "--json"])
    kinds = json.loads(done.stdout.splitlines()[-1])["kinds"]
    assert {"sources", "benchmarks", "settings"} <= set(kinds)
    wrong = CliRunner().invoke(app, ["list", "setings"])
    assert wrong.exit_code == 2
    assert ", ".join(kinds) in wrong.stderr


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    out = tmp_path / "file" / "below" / "m.gguf"
    done = CliRunner().invoke(app, ["export", "gguf", "nano-base", "--out", str(out)])
    assert done.exit_code == 2, done.output
    assert f"error: {out.parent}: cannot be written to (Not a directory)\n  to mend: name another folder" in done.stderr
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "bug", "f"), OSError(errno.EACCES, "no file"), OSError("bug")])
def test_an_error_that_is_not_about_a_place_keeps_its_traceback(error: OSError) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(OSError, match=r"bug|no file"):
        guarded(fails)()
    with pytest.raises(typer.Exit):
        guarded(lambda: Path("/").write_text("x"))()


def test_a_full_disk_is_named_where_the_error_names_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a command's paths the one whose disk is full; else the temporary folder where that is; else none."""

    def fails(model: str, data: Path, out: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    for full, named in (
        (tmp_path / "there", f"{tmp_path}/there/new: "),
        (tmp_path / "temporary", None),
        (Path("/none"), ""),
    ):
        (tmp_path / "there").mkdir(exist_ok=True)
        usage = lambda place, full=full: SimpleNamespace(free=5 if place == full else 1 << 30)  # noqa: E731
        monkeypatch.setattr("shutil.disk_usage", usage)
        with pytest.raises(typer.Exit) as ended:
            guarded(fails)(model="m", data=tmp_path / "d.jsonl", out=tmp_path / "there" / "new")
        said = f"{tmp_path}/temporary: " if named is None else named
        assert f"error: {said}No space left on device\n  to mend: free disk space" in capsys.readouterr().err
        assert ended.value.exit_code == 2


def test_a_closed_pipe_still_ends_a_command_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.dup2", lambda *_: 0)

    def printing() -> None:
        raise BrokenPipeError(errno.EPIPE, "pipe")

    with pytest.raises(typer.Exit) as ended:
        guarded(printing)()
    assert ended.value.exit_code == 0


def test_advice_of_a_library_is_kept_from_the_terminal_and_its_errors_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    advising = logging.getLogger("bitsandbytes.backends.cpu.ops")
    monkeypatch.setattr(advising, "level", logging.NOTSET)
    monkeypatch.setattr("sys.argv", ["codeup", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert advising.level == logging.ERROR


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "30000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, None)],
)
def test_threads_wait_less_by_spinning_where_nobody_said_how(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], spins: str | None
) -> None:
    here = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    monkeypatch.setattr(os, "environ", {**here, **given})
    monkeypatch.setattr("codeup.cli.app.app", lambda: None)
    main()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
