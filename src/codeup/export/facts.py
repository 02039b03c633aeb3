"""What a run folder says about one of its models: `gather`.

    run.json ── models.codeup ──> merge-instruct-code ── inputs ──> train-instruct-code ── inputs ──> data-code
                                        │ inputs                        stage, losses, adapter          funnel, manifest
                                  merge-instruct ── ...
    judge-* whose scores name the model, the base's beside them; report.json: versions, paired tests

The chain of stages is read from the artifacts, not guessed from names. Paths of this machine stay out: a base or file
that lies in a folder here is known by its last name. Reads only; nothing is judged or trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from codeup import artifacts
from codeup.errors import UserError

NANO = "nano-base"
MEND = "run `codeup run` on its recipe again"


@dataclass(frozen=True, slots=True)
class Stage:
    """One training: its seed, settings, summary, adapter folder (None where all weights were trained) and data."""

    name: str
    seed: int | None
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    adapter: Path | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """A model of a run. `folder` holds the merged weights; `base` is portable, `base_place` as the run had it.

    `seed` is the one it was trained with, `seeds` all of the study, where it repeats them.
    """

    run: str
    model: str
    folder: Path
    base: str
    base_place: str
    revision: str | None
    template: str
    dtype: str
    quantization: str
    seed: int
    seeds: tuple[int, ...]
    stages: tuple[Stage, ...]
    scores: tuple[Mapping[str, Any], ...]
    base_scores: tuple[Mapping[str, Any], ...]
    comparisons: tuple[Mapping[str, Any], ...]
    recipe: str
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    finished: str
    charts: tuple[Path, ...]

    @property
    def demonstration(self) -> bool:
        """Whether the model is one of the packaged demonstration base."""
        return self.base == NANO


def gather(run: Path, model: str = "") -> Facts:
    """Everything that is published about a model, of a finished run; `model` is a variant, by default the final one.

    Raises UserError for a folder that is no run, a run without a finished model, an unknown model, and a step that
    has lost files.
    """
    record = _run_record(run)
    names: dict[str, str] = record["models"]
    place = names.get(model) if model else record["final_model"]
    if place is None:
        raise UserError(
            f"has no finished model {model!r}" if model else "has not finished a model",
            where=str(run),
            mend=f"it has: {', '.join(names)}" if names else MEND,
        )
    name = model or next((key for key, value in names.items() if value == place), "final")
    stages = tuple(reversed(list(_chain(run, run / PurePath(place).parts[0] / PurePath(place).parts[1]))))
    recipe = yaml.safe_load(record["recipe"])
    scores = list(_scores(run, record["steps"]))
    report = _report(run, record["steps"])
    about = recipe["model"]
    return Facts(
        run=record["name"],
        model=name,
        folder=run / place,
        base=portable(about["base"]),
        base_place=about["base"],
        revision=about["revision"],
        template=about["template"],
        dtype=about["dtype"],
        quantization=about["quantization"],
        seed=recipe["seed"] if stages[-1].seed is None else stages[-1].seed,
        seeds=tuple(recipe.get("seeds") or ()),
        stages=stages,
        scores=tuple(score for score in scores if score["model"] == name),
        base_scores=tuple(score for score in scores if score["model"] == "base"),
        comparisons=tuple(c for c in report.get("comparisons", []) if c["a"] == name and c["b"] == "base"),
        recipe=portable_recipe(recipe),
        versions=report.get("versions", {}),
        machine=report.get("machine", {}),
        finished=_marker(run / PurePath(place).parts[0] / PurePath(place).parts[1])["finished"],
        charts=tuple(sorted((run / "charts").glob("loss-*.png"))) + tuple((run / "charts").glob("scores.png")),
    )


def portable(place: str) -> str:
    """A Hub id or packaged name as it is; of a folder on this machine its last part."""
    local = place.startswith((".", "/", "~")) or place.count("/") > 1 or Path(place).exists()
    return PurePath(place).name if local else place


def portable_recipe(recipe: Mapping[str, Any]) -> str:
    """The recipe as YAML without the folders of this machine."""
    plain = json.loads(json.dumps(dict(recipe)))
    for key in ("run_dir", "data_root"):
        plain.pop(key, None)
    plain["model"]["base"] = portable(plain["model"]["base"])
    for value in _mappings(plain):
        for key in ("path", "verdicts", "problems"):
            if isinstance(value.get(key), str) and value[key].startswith(("/", "~")):
                value[key] = PurePath(value[key]).name
    head = "# The resolved recipe of this model. Files are named without their folders: give data_root=FOLDER.\n"
    return head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a plain value, itself included."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _mappings(item)


def _run_record(run: Path) -> dict[str, Any]:
    file = run / "run.json"
    if not file.is_file():
        raise UserError("is not a run folder: it has no run.json", where=str(run), mend="give a folder of `codeup run`")
    try:
        record = dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError:
        raise UserError("damaged", where=str(file), mend=MEND) from None
    missing = [key for key in ("name", "recipe", "models", "final_model", "steps") if key not in record]
    if missing:
        raise UserError(f"has no {missing[0]}", where=str(file), mend=MEND)
    return record


def _marker(folder: Path) -> dict[str, Any]:
    """artifact.json of a step that is whole."""
    if artifacts.read_artifact(folder) is None:
        raise UserError("is not finished, or has lost files", where=str(folder), mend=MEND)
    return dict(json.loads((folder / artifacts.MARKER).read_text(encoding="utf-8")))


def _chain(run: Path, merge: Path) -> Iterator[Stage]:
    """The stages of a merge step, the last first."""
    while True:
        inputs = {name: artifacts.step_folder_of(run, name, mark) for name, mark in _marker(merge)["inputs"].items()}
        trained = next(folder for name, folder in inputs.items() if name.startswith("train-"))
        yield _stage(run, trained)
        before = next((folder for name, folder in inputs.items() if name.startswith("merge-")), None)
        if before is None:
            return
        merge = before


def _stage(run: Path, folder: Path) -> Stage:
    marker = _marker(folder)
    settings = {**marker["spec"]["stage"], **marker["spec"]["at"].get("running", {})}
    name, mark = next((n, m) for n, m in marker["inputs"].items() if n.startswith("data-"))
    adapter = folder / "adapter"
    return Stage(
        name=settings["name"],
        seed=marker["spec"].get("seed"),
        settings=settings,
        summary=marker["summary"],
        adapter=adapter if adapter.is_dir() else None,
        data=_data(artifacts.step_folder_of(run, name, mark), name.removeprefix("data-")),
    )


def _data(folder: Path, name: str) -> dict[str, Any]:
    """A prepared dataset: its account of rows, the places of its sources as the recipe had them, its manifest."""
    marker = _marker(folder)
    manifest = folder / "manifest.json"
    return {
        "name": name,
        "kind": marker["kind"],
        "summary": marker["summary"],
        "sources": marker["spec"].get("sources", marker["spec"].get("pairs", [])),
        "paths": marker["spec"].get("at", {}).get("paths", []),
        "manifest": json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else None,
        "decontaminated": bool(marker["spec"].get("decontaminate")),
    }


def _scores(run: Path, steps: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, place in steps.items():
        if name.startswith("judge-"):
            yield from _marker(run / place)["summary"]["scores"]


def _report(run: Path, steps: Mapping[str, str]) -> dict[str, Any]:
    file = run / steps.get("report", "") / "report.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
