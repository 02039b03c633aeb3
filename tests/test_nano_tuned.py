"""The packaged tuned model: base plus adapter, merged as PEFT would, made once, and better than its base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from codeup import models, plugins
from codeup.chat import load_renderer
from codeup.engines.hf import Engine
from codeup.evaluate.extract import extract
from codeup.evaluate.programs import judge_one
from codeup.languages import python
from codeup.nano import tuned
from codeup.sandbox.pool import Pool
from codeup.types import Message, Outcome


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tuned.artifacts, "cache_folder", lambda: tmp_path)
    return tmp_path


def test_the_merge_is_the_one_that_peft_makes(cache: Path) -> None:
    folder = models.locate("nano")
    assert folder.parent.parent == cache and models.is_tuned(folder) and models.is_local("nano")
    base = AutoModelForCausalLM.from_pretrained(models.locate("nano-base"), dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, str(tuned.ADAPTER)).merge_and_unload().state_dict()
    ours = load_file(folder / "model.safetensors")
    assert ours.keys() == merged.keys()
    for name, tensor in ours.items():
        step = 2.0**-8 * merged[name].abs().clamp(min=1e-3)  # one rounding to bfloat16
        assert torch.all((tensor.float() - merged[name]).abs() <= step), name


def test_it_is_made_once_and_again_where_it_was_not_finished(cache: Path) -> None:
    folder = models.locate("nano")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert models.locate("nano") == folder and (folder / "model.safetensors").stat().st_mtime_ns == made
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    assert (models.locate("nano") / "model.safetensors").stat().st_size > 6_000_000


def test_it_solves_problems_that_its_base_does_not(cache: Path) -> None:
    benchmark = plugins.load("benchmarks", "nano")
    problems = benchmark.load(None).problems[:16]
    passed = {}
    with Pool(1) as pool:
        for name in ("nano", "nano-base"):
            folder = models.locate(name)
            renderer = load_renderer(folder, "alpaca")
            asked = [renderer.prompt([Message("user", benchmark.chat_instruction(problem))]) for problem in problems]
            answers = Engine(folder).generate(asked, max_new_tokens=192, end_ids=renderer.end_ids)
            codes = [
                extract(each.text, problem.entry_point, python).code
                for each, problem in zip(answers, problems, strict=True)
            ]
            verdicts = [judge_one(problem, code, pool=pool) for problem, code in zip(problems, codes, strict=True)]
            passed[name] = sum(verdict.outcome == Outcome.PASSED for verdict in verdicts)
    assert passed["nano"] >= 6 and passed["nano-base"] == 0


def test_the_package_names_its_base_and_no_folder_of_the_machine_it_was_made_on() -> None:
    settings = json.loads((tuned.ADAPTER / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "nano-base"
    assert (settings["r"], settings["lora_alpha"]) == (48, 48)
