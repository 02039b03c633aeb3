"""`codeup run`, `check`, `train`, `report` and `merge`: recipes, runs and what they left behind."""

from __future__ import annotations

import contextlib
import json as jsonlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from codeup import artifacts, executors, models, study
from codeup import recipe as recipes
from codeup import run as engine
from codeup.cli import shared
from codeup.cli.progress import display
from codeup.errors import UserError
from codeup.steps import _crew
from codeup.types import Artifact, Step


def run(
    path: str,
    settings: list[str],
    *,
    only: str | None = None,
    force: str | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> list[str]:
    """Run a recipe (or print its plan) and return the thresholds that were missed, in words."""
    recipe = recipes.load(path, settings)
    if not dry_run and _crew.follow(recipe.device):
        return []
    steps, folder = study.compile_recipe(recipe), study.run_folder(recipe)
    planned = engine.plan(steps, folder)
    engine.claim(folder, name=recipe.name, recipe_file=path, planned=planned, look_only=dry_run)
    if dry_run:
        _print_plan(path, recipe, planned, json)
        return []
    started = time.monotonic()
    with (
        executors.opened(recipe.executor, recipe.replicas) as executor,
        display() as emit,
        _crew.leading(recipe.device),
    ):
        done = engine.run(steps, folder, emit=emit, only=only, force=force, executor=executor)
    record = _remember(recipe, path, folder, done)
    scores = _scores(done.values())
    missed = _missed(recipe, scores) if "report" in done else []
    if json:
        tables = _tables(folder) if "report" in done else {}
        print(jsonlib.dumps({**record, "run_dir": str(folder), "scores": scores, "missed": missed, **tables}))
    else:
        if "report" in done and (folder / "table.txt").is_file():
            print((folder / "table.txt").read_text(encoding="utf-8"))
        else:
            _print_scores(scores)
        print(f"{len(done)} steps in {time.monotonic() - started:.1f} s; run folder {folder}")
        if record["report"]:
            print(f"report: {folder / record['report']}")
        for line in missed:
            print(f"missed: {line}")
    return missed


def train_stage(path: str, settings: list[str], stage: str, *, json: bool) -> None:
    """Run one stage of a recipe and what it still needs, without merging or evaluating it."""
    recipe = recipes.load(path, settings)
    if _crew.follow(recipe.device):
        return
    chains = [chain for chain in recipe.chains().values() if stage in chain]
    if not chains:
        known = ", ".join(s.name for s in recipe.stages)
        raise UserError(f"the recipe has no stage {stage!r} in a variant", where=path, mend=f"--stage one of: {known}")
    steps, folder = study.compile_recipe(recipe), study.run_folder(recipe)
    engine.claim(folder, name=recipe.name, recipe_file=path, planned=engine.plan(steps, folder))
    first_seed = recipe.seeds[0] if recipe.seeds else None
    name = "train-" + study.chain_name(chains[0][: chains[0].index(stage) + 1], first_seed)
    with (
        executors.opened(recipe.executor, recipe.replicas) as executor,
        display() as emit,
        _crew.leading(recipe.device),
    ):
        artifact = engine.run(steps, folder, emit=emit, only=name, executor=executor)[name]
    adapter = str(Path(artifact.folder) / "adapter")
    print(jsonlib.dumps({"adapter": adapter, **artifact.summary}) if json else f"adapter: {adapter}")


def report(run_folder: Path, *, json: bool) -> None:
    """Say where a run's report is; build it again when it is gone."""
    record = read_run(run_folder)
    page = run_folder / (record.get("report") or "report.html")
    if not page.is_file():
        run(record["recipe_file"], [f"run_dir={run_folder}"], only="report", json=json)
        return
    print(jsonlib.dumps({"report": str(page)}) if json else f"report: {page}")


def watch(run_folder: Path, port: int, *, json: bool) -> None:
    """Serve the live page of a study on this machine until Ctrl-C."""
    from codeup.report.watch import make_server

    with make_server(run_folder, port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(jsonlib.dumps({"address": address}) if json else f"watching {run_folder} at {address} (Ctrl-C ends it)")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def merge(model: str, adapter: Path, out: Path, *, json: bool) -> None:
    """Merge an adapter outside of any run."""
    base = models.locate(model)
    models.check_adapter(adapter)
    from codeup.chat import load_renderer
    from codeup.train.merge import merge_adapter

    with display() as emit:
        summary = merge_adapter(model=base, adapter=adapter, out=out, emit=emit, step_name="merge")
    if (base / "chat_template.jinja").is_file():
        load_renderer(base).save(out)
    print(jsonlib.dumps({"model": str(out), **summary}) if json else f"model: {out}")


def read_run(folder: Path) -> dict[str, Any]:
    """The record that `codeup run` leaves in a run folder."""
    try:
        return dict(jsonlib.loads((folder / "run.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError("is not a run folder", where=str(folder), mend="give the run_dir of a recipe") from None
    except (ValueError, TypeError):
        raise UserError("damaged run.json", where=str(folder), mend="run `codeup run` on its recipe again") from None


def _remember(recipe: recipes.Recipe, path: str, folder: Path, done: dict[str, Artifact]) -> dict[str, Any]:
    """Write run.json (what chat, serve and compare read) and put the report where people look for it."""
    found = study.study_models(recipe)
    where = {
        model.name: str((Path(done[model.step].folder) / "model").relative_to(folder))
        for model in found
        if model.step is not None and model.step in done
    }
    page = None
    if "report" in done:
        source = Path(done["report"].folder)
        page = "report.html"
        artifacts.write_bytes(folder / page, (source / page).read_bytes())
        for table in source.glob("table.*"):
            artifacts.write_bytes(folder / table.name, table.read_bytes())
        if (source / "charts").is_dir():
            shutil.copytree(source / "charts", folder / "charts", dirs_exist_ok=True)
    last = next(model.name for model in found if model.variant == found[-1].variant)  # of several seeds the first
    record = {
        "name": recipe.name,
        "recipe_file": path,
        "recipe": recipes.dump(recipe),
        "models": where,
        "final_model": where.get(last),
        "report": page,
        "steps": {name: str(Path(artifact.folder).relative_to(folder)) for name, artifact in done.items()},
    }
    artifacts.write_json(folder / "run.json", record)
    return {"name": recipe.name, "models": where, "final_model": record["final_model"], "report": page}


def _scores(done: Any) -> list[dict[str, Any]]:
    return [score for artifact in done if artifact.kind == "judge" for score in artifact.summary["scores"]]


def _tables(folder: Path) -> dict[str, Any]:
    """The study's table and the claims it supports, as the report step wrote them."""
    path = folder / "table.json"
    return dict(jsonlib.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _missed(recipe: recipes.Recipe, scores: list[dict[str, Any]]) -> list[str]:
    """Thresholds that were not reached. A variant of several seeds is held to their mean, as the table shows it."""
    lines = []
    members = {model.name: [model.name] for model in study.study_models(recipe)}
    for model in study.study_models(recipe):
        if model.seed is not None:
            members.setdefault(model.variant, []).append(model.name)
    for need in recipe.evaluate.require if recipe.evaluate else []:
        found = [_best_of(scores, model, need.benchmark) for model in members[need.model]]
        known = [score for score in found if score is not None]
        mean = sum(score["value"] for score in known) / len(known) if known else 0.0
        if len(known) < len(found) or mean < need.at_least:
            got = f"{mean:.3f} (mean of {len(found)} seeds)" if known else "no score"
            if len(found) == 1 and known:
                best = known[0]
                got = f"{best['value']:.3f} (95 % [{best['low']:.3f}, {best['high']:.3f}], n={best['n']})"
            lines.append(f"pass@1 of {need.model} on {need.benchmark} is {got}, required {need.at_least}")
    return lines


def _best_of(scores: list[dict[str, Any]], model: str, benchmark: str) -> dict[str, Any] | None:
    found = [s for s in scores if (s["model"], s["benchmark"], s["metric"]) == (model, benchmark, "pass@1")]
    return max(found, key=lambda score: float(score["value"]), default=None)


def _print_scores(scores: list[dict[str, Any]]) -> None:
    if not scores:
        return
    model, benchmark = (max(14, *(len(s[key]) + 2 for s in scores)) for key in ("model", "benchmark"))
    head = f"{'model':<{model}}{'benchmark':<{benchmark}}{'form':<6}{'metric':<8}"
    print(f"{head}{'value':>6}  {'95 % interval':<16}{'n':>5}")
    for s in scores:
        interval = f"[{s['low']:.3f}, {s['high']:.3f}]"
        name = f"{s['model']:<{model}}{s['benchmark']:<{benchmark}}{s['form']:<6}{s['metric']:<8}"
        print(f"{name}{s['value']:>6.3f}  {interval:<16}{s['n']:>5}")


def _print_plan(path: str, recipe: recipes.Recipe, planned: list[engine.Planned], json: bool) -> None:
    if json:
        rows = [
            {"step": p.step.name, "kind": p.step.kind, "state": p.state, "inputs": list(p.step.inputs)} for p in planned
        ]
        print(jsonlib.dumps({"recipe": path, "steps": rows, "shared": shared.as_json(recipe)}))
        return
    print(f"{path}: no mistakes; {len(planned)} steps")
    width = max(len(item.step.name) for item in planned) + 2
    for item in planned:
        print(f"  {item.state:<8}{item.step.kind:<10}{item.step.name:<{width}}{_after(item.step)}")
    print("\n".join(shared.lines(recipe)))
    if not models.is_local(recipe.model.base):
        print(f"{recipe.model.base} is no folder here: whether the Hub has it is seen when the study runs")


def _after(step: Step) -> str:
    shown = ", ".join(step.inputs[:3]) + (f" and {len(step.inputs) - 3} more" if len(step.inputs) > 3 else "")
    return f"after {shown}" if shown else ""
