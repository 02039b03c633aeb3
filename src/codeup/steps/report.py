"""Gather what the steps of a study left behind and build its report."""

from __future__ import annotations

import itertools
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from codeup import __version__, artifacts, stats
from codeup.types import Artifact, Context

CODE = ("report", "steps/report.py", "stats.py", "power.py", "repeats.py", "evaluate/answers.py")
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "pydantic")
LONGEST_TEXT = 4000
"""Characters of a prompt, answer or program shown in the report; the rest is in the run folder."""
MOST_ANSWERS = 50_000
"""Answers that the page lists; as many as fit have their text too (report/explorer.py)."""


class Spec(BaseModel):
    """Title, models with their chains of stages, and the resolved recipe."""

    model_config = ConfigDict(extra="forbid")

    title: str
    failures: int
    models: dict[str, list[str]]
    variants: dict[str, list[str]]
    trainings: dict[str, dict[str, Any]]
    compare_to: str
    recipe: str


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write report.html, report.json, charts/ and table.json, .csv, .md and .txt."""
    from codeup.report.build import build_report
    from codeup.report.table_files import written

    study = assemble(spec, context)
    build_report(study, context.folder, itertools.islice(_answers(context), MOST_ANSWERS))
    for name, text in written(study).items():
        artifacts.write_bytes(context.folder / name, text.encode())
    return {"scores": len(study["scores"]), "comparisons": len(study["comparisons"])}


LABELS = {
    "humaneval": "HumanEval",
    "humaneval_plus/base": "HumanEval (base)",
    "humaneval_plus": "HumanEval+",
    "mbpp_plus/base": "MBPP (base)",
    "mbpp_plus": "MBPP+",
    "humaneval_x": "HumanEval-X",
    "mbxp": "MBXP",
    "multipl_e": "MultiPL-E",
}
"""What the page calls benchmarks and their suites; others by name. (base): the original inputs as EvalPlus has them."""


def assemble(spec: Spec, context: Context) -> dict[str, Any]:
    """The study as plain JSON; the shape is described in report/__init__.py."""
    from codeup.report.claims import study_tables

    inputs = list(context.inputs.values())
    judged = [artifact for artifact in inputs if artifact.kind == "judge"]
    trained = [artifact for artifact in inputs if artifact.kind in ("sft", "dpo")]
    recipe = yaml.safe_load(spec.recipe)
    best = _best_forms(judged)
    labels = LABELS | _languages(judged)
    seeded = len({training["seed"] for training in spec.trainings.values()}) > 1
    return {
        **study_tables(
            {row: (spec.models[models[0]], models) for row, models in spec.variants.items()},
            {key: rates for key, (_, rates) in best.items()},
            {key: score["form"] for key, (score, _) in best.items()},
            [{**spec.trainings[artifact.step], **_spent(artifact)} for artifact in trained],
            compare_to=spec.compare_to,
            labels=labels,
        ),
        "name": recipe["name"],
        "title": spec.title,
        "labels": labels,
        "created": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": "codeup run RECIPE (the resolved recipe is below)",
        "seconds": round(sum(artifact.seconds for artifact in inputs), 1),
        "seed": recipe["seed"],
        "recipe_yaml": spec.recipe,
        "versions": {"codeup": __version__, "python": platform.python_version(), **_versions()},
        "machine": _machine(),
        "models": [{"name": name, "stages": stages} for name, stages in spec.models.items()],
        "scores": [score for artifact in judged for score in artifact.summary["scores"]],
        "comparisons": list(_comparisons(best, list(spec.models), to_base_only=seeded)),
        "stages": [
            {
                "name": spec.trainings[artifact.step]["chain"][-1],
                "model": artifact.step.removeprefix("train-"),
                "summary": dict(artifact.summary),
                "metrics": _lines(Path(artifact.folder) / "metrics.jsonl"),
            }
            for artifact in trained
        ],
        "merges": [
            {"name": artifact.step.removeprefix("merge-"), "summary": dict(artifact.summary)}
            for artifact in inputs
            if artifact.kind == "merge"
        ],
        "data": [
            {"name": artifact.summary["name"], "summary": dict(artifact.summary)}
            for artifact in inputs
            if artifact.kind in ("prepare", "pairs")
        ],
        "steps": [
            {"name": artifact.step, "kind": artifact.kind, "seconds": artifact.seconds, "skipped": False}
            for artifact in inputs
        ],
        "failures": [row for artifact in judged for row in _failures(artifact, spec.failures)],
    }


def _languages(judged: list[Artifact]) -> dict[str, str]:
    """What one language of a benchmark is called: humaneval_x:cpp is "HumanEval-X, C++"."""
    from codeup.report.languages import several, title

    names = dict.fromkeys(score["benchmark"] for artifact in judged for score in artifact.summary["scores"])
    parts = {name: (several(name), name.partition(":")[2]) for name in names if ":" in name}
    return {name: f"{LABELS.get(whole, whole)}, {title(language)}" for name, (whole, language) in parts.items()}


Scored = dict[tuple[str, str], tuple[dict[str, Any], dict[str, float]]]
"""(model, benchmark or suite) -> its pass@1, and of each problem the share of answers that passed."""


def _best_forms(judged: list[Artifact]) -> Scored:
    """Every model on every benchmark or suite; the base in the prompt form that it does better in."""
    best: Scored = {}
    for artifact in judged:
        for score, rates in _rates(artifact):
            key = (score["model"], score["benchmark"])
            if key not in best or score["value"] > best[key][0]["value"]:
                best[key] = score, rates
    return best


def _comparisons(best: Scored, models: list[str], *, to_base_only: bool) -> Iterator[dict[str, Any]]:
    """Every later model against every earlier one on the same benchmark or suite, by its first answer to each problem;
    with several seeds against the base only: between variants the table's tests stand, which hold the seeds."""
    for benchmark in dict.fromkeys(benchmark for _, benchmark in best):
        chosen = [best[model, benchmark] for model in models if (model, benchmark) in best]
        for (two, b), (one, a) in itertools.combinations(chosen, 2):
            if to_base_only and two["model"] != models[0]:
                continue
            shared = sorted(a.keys() & b.keys())
            pair = stats.compare_paired([a[task] == 1 for task in shared], [b[task] == 1 for task in shared])
            sides = {"a": one["model"], "b": two["model"], "form_a": one["form"], "form_b": two["form"]}
            yield {**sides, "benchmark": benchmark, **asdict(pair)}


def _rates(judged: Artifact) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """Each pass@1 of a judgement, and of each problem the share of answers that passed, suites before included."""
    rows = _lines(Path(judged.folder) / "verdicts.jsonl")
    statuses = [key for key in rows[0] if key.endswith("_status")] if rows else []
    for score in judged.summary["scores"]:
        if score["metric"] != "pass@1":
            continue
        needed = statuses[: statuses.index(f"{score['suite']}_status") + 1] if "suite" in score else []
        passed: dict[str, list[bool]] = {}
        for row in rows:
            good = all(row[key] == "pass" for key in needed) if needed else row["outcome"] == "PASSED"
            passed.setdefault(row["task_id"], []).append(good)
        yield score, {task: sum(each) / len(each) for task, each in passed.items()}


def _spent(trained: Artifact) -> dict[str, Any]:
    """What a training took, interruptions included."""
    summary = trained.summary
    seconds = summary["training_seconds"] + (summary.get("evaluation_seconds") or 0)
    return {"seconds": seconds, **{key: summary[key] for key in ("threads", "device", "tokens", "trained_tokens")}}


def _failures(judged: Artifact, per_kind: int) -> Iterator[dict[str, Any]]:
    """The first few failures of each outcome, with everything needed to understand them."""
    shown: dict[str, int] = {}
    score = judged.summary["scores"][-1]  # the one of the whole benchmark, where there are suites
    for row in _lines(Path(judged.folder) / "examples.jsonl"):
        if row["outcome"] != "PASSED" and shown.get(row["outcome"], 0) < per_kind:
            shown[row["outcome"]] = shown.get(row["outcome"], 0) + 1
            texts = {key: _shorten(row[key]) for key in ("prompt", "raw", "code", "detail")}
            names = {key: row[key] for key in ("task_id", "outcome")}
            yield {"model": score["model"], "benchmark": score["benchmark"], "form": score["form"], **names, **texts}


def _answers(context: Context) -> Iterator[dict[str, Any]]:
    """Every answer of every judged model, as explorer.pack takes them."""
    from codeup.evaluate import answers

    for artifact in context.inputs.values():
        if artifact.kind == "judge":
            score = artifact.summary["scores"][-1]
            named = {"model": score["model"], "benchmark": score["benchmark"], "form": score["form"]}
            for row in answers.read(Path(artifact.folder)):
                yield {**row, **named}


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\n… {len(text) - LONGEST_TEXT} more characters"


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> dict[str, Any]:
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": ", ".join(gpus) or "none",
        "python": platform.python_version(),
    }
