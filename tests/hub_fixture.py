"""A finished run on the packaged nano base, made by hand: two stages of random adapters, really merged, with scores.

Nothing here was trained: the adapters are random and large enough to change what the model says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from codeup import artifacts, nano
from codeup import recipe as recipes
from codeup.chat import load_renderer
from codeup.train import lora
from codeup.train.merge import merge_adapter
from codeup.types import Step

RECIPE = """\
name: study
seed: 3
run_dir: /home/somebody/runs/study
data_root: /home/somebody/data
model: {base: BASE, template: alpaca}
data:
  instruct: {sources: [{source: wizardlm_evol_instruct_v2, path: "INSTRUCT"}]}
  code: {sources: [{source: evol_codealpaca_v1, path: "CODE"}]}
stages:
  - {name: instruct, data: instruct, lora: {r: 4, alpha: 8}}
  - {name: code, data: code, lora: {r: 4, alpha: 8}}
variants: {only: [instruct], full: [instruct, code]}
evaluate: {benchmarks: [{name: humaneval_plus}, {name: nano}]}
"""
SCORES = [
    {"benchmark": "humaneval_plus/base", "value": 0.5, "low": 0.4243, "high": 0.5757, "n": 164, "compat": "evalplus"},
    {"benchmark": "humaneval_plus", "value": 0.4, "low": 0.3282, "high": 0.4764, "n": 164, "compat": "evalplus"},
    {"benchmark": "nano", "value": 0.25, "low": 0.19, "high": 0.32, "n": 100},
]
TRAINED = {"steps": 9, "epochs": 3, "tokens": 1000, "train_loss": 1.5, "eval_loss": None, "device": "cpu",
           "training_seconds": 36.0, "dtype": "float32"}  # fmt: skip


class Run:
    """Writes steps into `folder` and remembers them for run.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: dict[str, str] = {}
        self.prints: dict[str, str] = {}

    def step(self, kind: str, name: str, spec: Mapping[str, Any], inputs: tuple[str, ...] = ()) -> Path:
        """A new step's folder; `done` finishes it."""
        self.prints[name] = artifacts.fingerprint([name, dict(spec)])
        self.spec = Step(kind, name, spec, inputs)
        place = artifacts.step_folder(self.folder, self.spec, self.prints[name])
        place.mkdir(parents=True)
        self.steps[name] = place.relative_to(self.folder).as_posix()
        return place

    def done(self, place: Path, summary: Mapping[str, Any]) -> None:
        inputs = {name: self.prints[name] for name in self.spec.inputs}
        artifacts.finish(place, self.spec, self.prints[self.spec.name], inputs, summary, 1.0)


def make_run(
    folder: Path, *, base: str = "nano-base", instruct: str = "nano:instruct", code: str = "nano:code",
    scores: list[dict[str, Any]] | None = None, targets: Any = "all-linear",
) -> Path:  # fmt: skip
    """The run folder. `base` is only what it is called: the weights are those of nano."""
    run, before = Run(folder), nano.base_folder()
    recipe = recipes.parse(RECIPE.replace("BASE", base).replace("INSTRUCT", instruct).replace("CODE", code))
    models = {}
    for number, (stage, place, variant) in enumerate(
        zip(recipe.stages, (instruct, code), ("only", "full"), strict=True)
    ):
        chain = "-".join(each.name for each in recipe.stages[: number + 1])
        _data(run, stage.data, recipe.data[stage.data].sources[0].source, place)
        merged = (f"merge-{recipe.stages[0].name}",) if number else ()
        trained = run.step(
            "sft",
            f"train-{chain}",
            {"stage": stage.model_dump(mode="json"), "seed": 7, "at": {}},
            (f"data-{stage.data}", *merged),
        )
        random_adapter(before, trained / "adapter", seed=number, targets=targets)
        run.done(trained, TRAINED)
        step = run.step("merge", f"merge-{chain}", {"template": "alpaca"}, (f"train-{chain}", *merged))
        merge_adapter(model=before, adapter=trained / "adapter", out=step / "model", check_logits=False)
        load_renderer(before, "alpaca").save(step / "model")
        run.done(step, {})
        models[variant] = f"{run.steps[f'merge-{chain}']}/model"
        before = step / "model"
    for model, lower in (("base", 0.1), ("full", 0.0)):
        judged = run.step("judge", f"judge-{model}-x-chat", {"model": model})
        run.done(judged, {"scores": [_score(model, each, lower) for each in (SCORES if scores is None else scores)]})
    pairs = [
        {"a": "full", "b": "base", "benchmark": "humaneval_plus", "difference": 0.1, "low": 0.02, "high": 0.18,
         "p_value": 0.02},
        {"a": "full", "b": "base", "benchmark": "nano", "difference": 0.1, "low": -0.02, "high": 0.2, "p_value": 0.2},
        {"a": "full", "b": "only", "benchmark": "nano", "difference": 0.3, "low": 0.2, "high": 0.4, "p_value": 0.001},
    ]  # fmt: skip
    report = run.step("report", "report", {})
    (report / "report.json").write_text(
        json.dumps({"comparisons": pairs, "versions": {"torch": "2"}, "machine": {"cores": 2}})
    )
    run.done(report, {})
    (folder / "charts").mkdir()
    (folder / "charts" / "scores.png").write_bytes(b"PNG")
    record = {"name": "study", "recipe": recipes.dump(recipe), "models": models, "final_model": models["full"]}
    (folder / "run.json").write_text(json.dumps({**record, "steps": run.steps}))
    return folder


def _data(run: Run, name: str, source: str, place: str) -> None:
    account = {
        "source": source,
        "path": f"/home/somebody/{name}.json",
        "rows_in": 12,
        "kept": 10,
        "dropped": {"empty": 2},
    }
    summary = {"name": name, "train_rows": 9, "sources": [account], "dropped": {"empty": 2}}
    spec = {"dataset": name, "sources": [{"source": source}], "decontaminate": [], "at": {"paths": [place]}}
    run.done(run.step("prepare", f"data-{name}", spec), summary)


def _score(model: str, score: Mapping[str, Any], lower: float) -> dict[str, Any]:
    about = {"model": model, "form": "chat", "metric": "pass@1", "interval": "wilson-95", "temperature": 0.0,
             "prompt_style": "default", "extraction_mode": "codeup", "data_version": "v1", "data_sha256": "ab" * 32,
             "engine": "hf", "sandbox": "strong (namespaces)"}  # fmt: skip
    return {**about, **score, "value": score["value"] - lower, "problems_in_benchmark": 164}


def random_adapter(base: Path, out: Path, *, seed: int, targets: Any) -> None:
    """A PEFT folder as a stage leaves it, its B random instead of zero."""
    model = lora.attach(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), r=4, alpha=8, targets=targets)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    lora.save_adapter(model, out, facts={"base": str(base), "base_name": "somewhere"}, initial=None)
    settings = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": str(base)}))
