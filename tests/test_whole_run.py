"""The main job on the packaged model, small enough for a test: the same steps as recipes/nano.yaml with few rows."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = """\
name: small
seed: 3
model: {base: nano-base, template: alpaca}
data:
  instruct:
    sources: [{source: wizardlm_evol_instruct_v2, path: "nano:instruct", rows: 60}]
    cutoff: 256
    validation_rows: 6
  code:
    sources: [{source: evol_codealpaca_v1, path: "nano:code", rows: 60}]
    cutoff: 256
    validation_rows: 6
stages:
  - &stage
    name: instruct
    data: instruct
    epochs: 2
    learning_rate: 1e-3
    batch_tokens: 512
    pack_length: 256
    micro_batch_tokens: 512
    lora: {r: 4, alpha: 8, dropout: 0.05}
    evals_per_epoch: 1
    checkpoint_seconds: 0.2
  - {<<: *stage, name: code, data: code}
variants: {full: [instruct, code]}
evaluate:
  benchmarks: [{name: nano, limit: 6, max_new_tokens: 16, timeout_s: 3, memory_mb: 512}]
  base_forms: [chat]
  require: [{model: full, benchmark: nano, at_least: 1.0}]
"""

pytestmark = pytest.mark.slow


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "codeup", "run", str(folder / "small.yaml"), f"run_dir={folder / 'run'}", *more]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command(folder, *more), capture_output=True, text=True, timeout=900, env=environment)


def adapters(folder: Path) -> dict[str, str]:
    """Stage -> digest of its adapter's weights."""
    return {
        path.parent.parent.name.rsplit("-", 1)[0]: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "run" / "steps").glob("train-*/adapter/adapter_model.safetensors"))
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(RECIPE)
    return folder, run(folder, "--json")


def test_the_run_ends_with_a_report_and_exit_code_3_for_a_missed_threshold(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = finished
    assert done.returncode == 3, done.stderr[-3000:]
    record = json.loads(done.stdout.strip().splitlines()[-1])
    assert record["missed"]
    page = (folder / "run" / record["report"]).read_text()
    assert "instruct" in page
    assert list((folder / "run" / "charts").glob("*.png"))
    assert (folder / "run" / record["final_model"] / "chat_template.jinja").is_file()
    for score in record["scores"]:
        assert score["n"] == 6
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
        assert "only the first 6" in score["data_version"]


def test_every_row_is_accounted_for(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    for path in (folder / "run" / "steps").glob("data-*/funnel.json"):
        funnel = json.loads(path.read_text())
        assert funnel["rows_in"] == funnel["rows_kept"] + sum(funnel["dropped"].values()) == 60
        assert funnel["rows_kept"] == funnel["train_rows"] + funnel["validation_rows"]
        dropped = (path.parent / "dropped.jsonl").read_text().splitlines()
        assert len(dropped) == sum(funnel["dropped"].values())


def test_a_second_run_does_nothing(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "run" / "steps").rglob("*") if path.is_file()}
    done = run(folder)
    assert done.returncode == 3
    assert "✓" not in done.stderr
    assert done.stderr.count("already done") == len(list((folder / "run" / "steps").iterdir()))
    after = {path: path.stat().st_mtime_ns for path in (folder / "run" / "steps").rglob("*") if path.is_file()}
    assert after == before


def test_kill_9_in_the_second_stage_and_again_gives_the_same_bytes(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = finished
    (tmp_path / "small.yaml").write_text(RECIPE)
    process = subprocess.Popen(command(tmp_path, "--only", "train-instruct-code"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list((tmp_path / "run" / "steps").glob("train-instruct-code-*/checkpoints/step-*/manifest.json")):
        assert process.poll() is None, "the stage ended before it could be killed; give it more rows"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "train-instruct-code" not in adapters(tmp_path)
    assert run(tmp_path, "--only", "train-instruct-code").returncode == 0
    assert adapters(tmp_path) == adapters(folder)
    summary = next((tmp_path / "run" / "steps").glob("train-instruct-code-*/artifact.json")).read_text()
    assert json.loads(summary)["summary"]["resumed_from"], "the second run continued rather than began again"


def test_the_saved_model_renders_as_it_was_trained(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from transformers import AutoTokenizer

    from codeup import models
    from codeup.chat import load_renderer
    from codeup.types import Conversation, Message

    folder, _ = finished
    model = models.locate(str(folder / "run"))
    renderer, tokenizer = load_renderer(model), AutoTokenizer.from_pretrained(model)
    turns = [Message("user", "Add one."), Message("assistant", "x + 1"), Message("user", "Now two.")]
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    prompt = tokenizer.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
    assert list(prompt) == renderer.prompt(turns)
    trained = renderer.render(Conversation((*turns, Message("assistant", "x + 2")))).ids
    assert list(trained[: len(prompt)]) == list(prompt)
