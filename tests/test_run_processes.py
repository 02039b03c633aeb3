"""A stage on several processes through the command: one lost on the way, continued under torchrun, the same result."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from codeup import recipe as recipes
from codeup import run as engine
from codeup import study
from codeup.errors import UserError, WorkFailed
from codeup.steps import sft
from codeup.train import ranks
from codeup.train.metrics import read_metrics
from codeup.types import Event

RECIPE = """
name: crew
seed: 3
devices: {devices}
run_dir: {folder}
model: {{base: nano-base}}
data:
  a: {{sources: [{{source: wizardlm_evol_instruct_v2, path: "nano:instruct", rows: 60}}],
      cutoff: 256, validation_rows: 10}}
stages:
  - {{name: a, data: a, epochs: 2, learning_rate: 1e-3, batch_tokens: 1024, pack_length: 256, micro_batch_tokens: 512,
     lora: {{r: 4, alpha: 8}}, checkpoint_seconds: 0.01}}
"""


def written(folder: Path, devices: str) -> Path:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE.format(devices=devices, folder=folder / "run"))
    return folder / "recipe.yaml"


def train(recipe: Path, emit: Any) -> Any:
    steps = study.compile_recipe(recipes.load(recipe))
    return engine.run(steps, recipe.parent / "run", only="train-a", emit=emit)["train-a"]


def kill_second_after(tokens: int) -> Any:
    def hear(event: Event) -> None:
        if event.step == "train-a" and event.kind == "progress" and event.done >= tokens:
            for worker in psutil.Process().children():
                if worker.environ()["RANK"] == "1":
                    worker.kill()

    return hear


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.slow
def test_a_stage_that_lost_a_process_goes_on_under_torchrun_to_what_one_process_makes(tmp_path: Path) -> None:
    two = written(tmp_path / "two", "2")
    with pytest.raises(WorkFailed, match=r"process 1 of 2 was killed \(SIGKILL"):
        train(two, kill_second_after(3000))
    (checkpoint, *_) = (tmp_path / "two").rglob("step-*")
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command = [sys.executable, "-m", *torchrun, "-m", "codeup", "train", str(two), "--stage", "a"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "continuing after step" in done.stderr and done.stdout.count("adapter: ") == 1, "one process speaks"
    assert not checkpoint.exists()
    folders = [Path(train(recipe, lambda event: None).folder) for recipe in (written(tmp_path / "one", "1"), two)]
    left, right = ([row for row in read_metrics(folder / "metrics.jsonl") if "loss" in row] for folder in folders)
    assert len(left) == 6 and [row["loss"] for row in left] == pytest.approx([row["loss"] for row in right], rel=1e-5)
    adapters = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in folders]
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(tensor, adapters[1][name], rtol=1e-5, atol=1e-5)


def spec_of(devices: str, folder: Path) -> sft.Spec:
    recipe = recipes.parse(RECIPE.format(devices=devices, folder=folder))
    step = next(step for step in study.compile_recipe(recipe) if step.kind == "sft")
    return sft.Spec.model_validate(dict(step.spec))


def test_auto_is_one_process_for_each_gpu_that_a_step_has_packs_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step holds four packs."""
    assert [sft.processes(spec_of(devices, tmp_path)) for devices in ("auto", "cpu", "3")] == [1, 1, 3]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert [sft.processes(spec_of(devices, tmp_path)) for devices in ("auto", "cpu", "cuda", "3")] == [4, 1, 1, 3]
    with pytest.raises(UserError, match="devices: 9 GPUs are asked for and PyTorch sees 8 here"):
        sft.processes(spec_of("9", tmp_path))


def test_how_many_devices_there_are_repeats_nothing(tmp_path: Path) -> None:
    plans = []
    for devices in ("auto", "cpu", "2"):
        steps = study.compile_recipe(recipes.parse(RECIPE.format(devices=devices, folder=tmp_path)))
        plans.append([item.fingerprint for item in engine.plan(steps, tmp_path) if item.step.kind != "report"])
    assert plans[0] == plans[1] == plans[2]


def test_what_several_gpus_need_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ranks.dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 GPUs are asked for and PyTorch sees 1 here"):
        ranks.join()
    monkeypatch.setattr(ranks.dist, "is_nccl_available", lambda: False)
    with pytest.raises(UserError, match="this PyTorch has no NCCL"):
        ranks.join()


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"MASTER_PORT: the port of 127.0.0.1:{port} is taken by another program"):
            ranks.join("cpu")
