"""From a recipe to the steps of a run.

    data-instruct   data-math   data-code
          |             |           |
    train-instruct -> merge-instruct -> train-instruct-math -> merge-... -> train-instruct-math-code -> merge-...
          |
    generate-MODEL-BENCHMARK-FORM -> judge-MODEL-BENCHMARK-FORM -> report

A trained model is named by its chain of stages, so variants share their common prefixes and nothing is trained twice.
With `seeds` each chain is trained once per seed (train-instruct-code@2, merge-instruct-code@2) on data that is prepared
once, with the recipe's own seed; the models of variant full are then full@1, full@2 ….
Covers naming, order and what each step depends on; runs nothing and reads no data beyond hashing it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup import artifacts, models, plugins
from codeup import recipe as recipes
from codeup.codecheck import compilers
from codeup.data.mend import filter_functions
from codeup.data.resolve import resolve
from codeup.errors import UserError
from codeup.evaluate import matrix
from codeup.evaluate.pairs import find_judged
from codeup.evaluate.subset import first
from codeup.train import shapes
from codeup.train.trackers import check as check_trackers
from codeup.types import BenchmarkData, Problem, Step

AFTER_ANSWERS = ("extract", "pass_at")
"""Settings of a benchmark that change no answer."""
SCORING_CODE = ("sandbox", "languages", "engines", "chat", "benchmarks", "evaluate", "stats.py", "steps/_scorer.py")
"""Sources that a stage's result depends on when its step is chosen by pass@1."""


def compile_recipe(recipe: recipes.Recipe) -> list[Step]:
    """The steps of a study, each after those it builds on. Raises UserError for data files that are not there."""
    check_trackers(recipe.trackers())
    chains = recipe.chains()
    base = models.identity(recipe.model.base, recipe.model.revision)
    _check_targets(recipe)
    steps = list(_nano_steps(recipe, chains))
    for name in _used_data(recipe, chains):
        steps.append(_pairs(recipe, name, base) if recipe.data[name].pairs else _prepare(recipe, name, base))
    evaluated = {model.name: model for model in study_models(recipe)} if recipe.evaluate else {}
    for seed in recipe.each_seed():
        for chain in recipe.prefixes():
            steps += _train_and_merge(recipe, chain, seed, base)
        for name in [name for name, model in evaluated.items() if model.seed == seed or not model.chain]:
            assert recipe.evaluate is not None
            steps += _evaluations(recipe, recipe.evaluate, evaluated.pop(name), base)
    steps.append(_report(recipe, steps))
    return steps


def _check_targets(recipe: recipes.Recipe) -> None:
    """Raise UserError for layers that the base has not, and for a damaged config.json.

    A base of the Hub is looked at when training has fetched it.
    """
    if not recipe.stages or not models.is_local(recipe.model.base):
        return
    config = models.read_config(recipe.model.base)
    for stage in recipe.stages:
        if stage.method == "lora":
            shapes.check_targets(config, stage.lora.targets, where=f"stages.{stage.name}.lora.targets")


@dataclass(frozen=True, slots=True)
class StudyModel:
    """A model that the study evaluates; the base has no stages. `seed` is None where the recipe gives no seeds."""

    name: str
    variant: str
    chain: tuple[str, ...]
    seed: int | None

    @property
    def step(self) -> str | None:
        """The step that makes it; None for the base."""
        return merge_name(self.chain, self.seed) if self.chain else None


def study_models(recipe: recipes.Recipe) -> list[StudyModel]:
    """The models of the study: the base, then every variant, once per seed."""
    trained = [
        StudyModel(variant if seed is None else f"{variant}@{seed}", variant, chain, seed)
        for variant, chain in recipe.chains().items()
        for seed in recipe.each_seed()
    ]
    return [StudyModel("base", "base", (), None), *trained]


def chain_name(chain: tuple[str, ...], seed: int | None = None) -> str:
    """What the steps of a chain are called after.

    >>> chain_name(("instruct", "code")), chain_name(("instruct", "code"), 2)
    ('instruct-code', 'instruct-code@2')
    """
    return "-".join(chain) + ("" if seed is None else f"@{seed}")


def merge_name(chain: tuple[str, ...], seed: int | None = None) -> str:
    """The step that makes the model of a chain."""
    return "merge-" + chain_name(chain, seed)


@dataclass(frozen=True, slots=True)
class Shared:
    """One training of the study (per seed): the chain it ends, and the variants that use its result."""

    chain: tuple[str, ...]
    variants: tuple[str, ...]


def shared_work(recipe: recipes.Recipe) -> list[Shared]:
    """Every training with the variants that it serves, a stage's successors right after it.

    Variants full: [a, b] and a-c: [a, c] train a once: Shared(("a",), ("full", "a-c")).
    """
    chains = recipe.chains()
    places = {chain: place for place, chain in enumerate(recipe.prefixes())}
    tree = sorted(places, key=lambda chain: [places[chain[: n + 1]] for n in range(len(chain))])
    return [
        Shared(chain, tuple(name for name, other in chains.items() if other[: len(chain)] == chain)) for chain in tree
    ]


def run_folder(recipe: recipes.Recipe) -> Path:
    """Where a recipe's run is kept."""
    return Path(recipe.run_dir or f"runs/{recipe.name}")


def _used_data(recipe: recipes.Recipe, chains: dict[str, tuple[str, ...]]) -> list[str]:
    if not recipe.stages:
        return list(recipe.data)
    used = {stage for chain in chains.values() for stage in chain}
    return list(dict.fromkeys(stage.data for stage in recipe.stages if stage.name in used))


def _nano_steps(recipe: recipes.Recipe, chains: dict[str, tuple[str, ...]]) -> Iterator[Step]:
    """The step that writes the nano datasets, when a source's path is nano:SET."""
    rows: dict[str, int] = {}
    for name in _used_data(recipe, chains):
        for i, source in enumerate(recipe.data[name].sources):
            if source.path and source.path.startswith("nano:"):
                set_ = source.path.removeprefix("nano:")
                if set_ not in ("instruct", "math", "code") or source.rows is None:
                    raise UserError(
                        f"data.{name}.sources[{i}]: {source.path!r} with rows: {source.rows} cannot be generated",
                        mend="give nano:instruct, nano:math or nano:code, and rows: how many to generate",
                    )
                rows[set_] = max(rows.get(set_, 0), source.rows)
    if rows:
        yield Step("nano_data", "nano-data", {"seed": recipe.seed, "rows": dict(sorted(rows.items()))})


def _prepare(recipe: recipes.Recipe, name: str, base: str) -> Step:
    dataset = recipe.data[name]
    sources, places = [], []
    inputs: tuple[str, ...] = ()
    for source in dataset.sources:
        plain = source.model_dump(exclude={"path"})
        if source.path and source.path.startswith("nano:"):
            plain["data"], inputs = source.path, ("nano-data",)
            places.append(source.path)
        elif source.path and not source.path.startswith("hub:"):
            found = resolve(source.path, Path(recipe.data_root) if recipe.data_root else None, source.revision)
            plain["data"] = [[path.name, artifacts.file_sha256(path)] for path in found]
            places.append(source.path)
        else:
            plain["data"] = source.path or "hub"
            places.append(source.path or "")
        sources.append(plain)
    root = Path(recipe.data_root) if recipe.data_root else None
    against = [_one_file(f"data.{name}.decontaminate {each.name}", each.path, root) for each in dataset.decontaminate]
    spec = {
        "dataset": name,
        "sources": sources,
        **dataset.model_dump(exclude={"sources", "pairs", "decontaminate"}),
        **_checked(name, dataset.filters),
        "decontaminate": [
            {**each.model_dump(exclude={"path"}), "data": artifacts.file_sha256(path)}
            for each, path in zip(dataset.decontaminate, against, strict=True)
        ],
        "template": recipe.model.template,
        "base": base,
        "seed": recipe.seed,
        "at": {
            "data_root": recipe.data_root,
            "paths": places,
            "against": [str(path) for path in against],
            "workers": recipe.evaluate.workers if recipe.evaluate else None,
            "allow_unsafe": recipe.evaluate.allow_unsafe if recipe.evaluate else False,
            **_base_at(recipe),
        },
    }
    return Step("prepare", f"data-{name}", spec, inputs)


def _checked(name: str, filters: recipes.Filters) -> dict[str, Any]:
    """What the rows' code is tried with, where it is: other tools, or another sandbox, may say something else.

    Raises UserError for a filter that cannot do what it is asked, such as a language that it does not know.
    """
    try:
        filter_functions({**filters.model_dump(), "report_only": False})
        if not filters.code_compiles and not filters.code_runs:
            return {"tools": {}}
        found = compilers.versions(filters.code_compiles, filters.code_runs)
    except UserError as error:
        raise UserError(error.what, where=f"data.{name}.filters", mend=error.mend) from None
    return {"tools": {**found, "codeup": artifacts.code_version(("languages", "sandbox"))}}


def _one_file(what: str, path: str, root: Path | None) -> Path:
    found = resolve(path, root)
    if len(found) != 1:
        raise UserError(f"{path!r} are {len(found)} files", where=what, mend="name each file in an entry of its own")
    return found[0]


def _pairs(recipe: recipes.Recipe, name: str, base: str) -> Step:
    dataset, root = recipe.data[name], Path(recipe.data_root) if recipe.data_root else None
    entries, places = [], []
    for entry in dataset.pairs:
        place = entry.model_dump(include={"path", "verdicts", "problems"})
        if entry.verdicts:
            folder = (root or Path()) / entry.verdicts
            if folder.resolve() == run_folder(recipe).resolve():
                raise UserError(
                    f"data.{name}: {entry.verdicts} is the folder of this run, whose verdicts change as it runs",
                    mend="name one of its steps, steps/judge-..., or the run folder of another recipe",
                )
            judged = find_judged(folder)
            files = [path for each in judged for path in (each.verdicts, each.samples)]
        elif entry.path and not entry.path.startswith("hub:"):
            files = resolve(entry.path, root, entry.revision)
        else:
            files = []
        data = [[path.name, artifacts.file_sha256(path)] for path in files] or entry.path
        entries.append({**entry.model_dump(exclude=set(place)), "data": data})
        places.append(place)
    benchmarks = [asked for asked, _ in _asked(recipe)] if any(e.verdicts for e in dataset.pairs) else []
    spec = {
        "dataset": name,
        "pairs": entries,
        **dataset.model_dump(include={"cutoff", "validation_rows"}),
        "template": recipe.model.template,
        "base": base,
        "seed": recipe.seed,
        "evaluated": [{"name": each.name, "data": _benchmark_data(recipe, each)} for each in benchmarks],
        "at": {
            "data_root": recipe.data_root,
            "places": places,
            "evaluated_paths": [each.path for each in benchmarks],
            **_base_at(recipe),
        },
    }
    return Step("pairs", f"data-{name}", spec)


def _train_and_merge(recipe: recipes.Recipe, chain: tuple[str, ...], seed: int | None, base: str) -> list[Step]:
    stage, name = recipe.stage(chain[-1]), chain_name(chain, seed)
    before = (merge_name(chain[:-1], seed),) if len(chain) > 1 else ()
    model: dict[str, Any] = {"base": base if not before else "", "at": {**_base_at(recipe), "device": recipe.device}}
    running = stage.model_dump(mode="json", include=running_settings(stage))
    train = {
        "stage": stage.model_copy(update={"select_on": None}).model_dump(mode="json", exclude=set(running)),
        "select": _selection(recipe, stage),
        "template": recipe.model.template,
        "dtype": recipe.model.dtype,
        "quantization": recipe.model.quantization,
        "seed": recipe.seed if seed is None else seed,
        **model,
        "at": {
            **model["at"],
            **_selection_at(recipe, stage),
            "processes": recipe.processes,
            "strategy": recipe.strategy,
            "running": running,
            "report_to": recipe.trackers(),
            "project": recipe.name,
        },
    }
    merge = {"template": recipe.model.template, **model}
    return [
        Step(stage.kind, f"train-{name}", train, (f"data-{stage.data}", *before)),
        Step("merge", merge_name(chain, seed), merge, (f"train-{name}", *before)),
    ]


def running_settings(stage: recipes.Stage) -> set[str]:
    """Settings of a stage that do not change what it learns, so that changing them repeats nothing.

    How often it saves and how memory is used; how many tokens go through at a time, unless something is drawn at random
    in each pass (dropout, noise); what is evaluated on the way, unless a step is chosen or the stage stopped by it.
    """
    found = {"checkpoint_seconds", "keep_last", "activation_checkpointing"}
    if not stage.lora.dropout and not stage.neftune_alpha:
        found.add("micro_batch_tokens")
    if stage.select_by == "last" and not stage.early_stop:
        found |= {"evals_per_epoch", "eval_rows", "eval_share"}
    return found


def _selection(recipe: recipes.Recipe, stage: recipes.Stage) -> dict[str, Any] | None:
    """The problems that a stage's step is chosen by: those of select_on that the final evaluation does not ask.

    Raises UserError when none is left: a score on problems that a model was chosen by is no measurement.
    """
    if stage.select_by != "pass@1" or stage.select_on is None:
        return None
    asked = stage.select_on
    offered = _load(recipe, asked).problems
    taken = {key for other, _ in _asked(recipe) for problem in first(_load(recipe, other), other.limit).problems
             for key in _identities(problem)}  # fmt: skip
    free = [problem.task_id for problem in offered if not taken.intersection(_identities(problem))]
    if not free:
        raise UserError(
            f"all {len(offered)} problems of {asked.name} are asked in the final evaluation too",
            where=f"stages.{stage.name}.select_on",
            mend="select on another benchmark (nano has nano_dev), or give one in evaluate.benchmarks a smaller limit",
        )
    return {
        "benchmark": asked.model_dump(mode="json", exclude={"path"}),
        "data": _benchmark_data(recipe, asked),
        "problems": free[: asked.limit],
        "offered": len(offered),
        "left_out": len(offered) - len(free),
        "template": recipe.model.template,
        "allow_unsafe": recipe.evaluate.allow_unsafe if recipe.evaluate else False,
        "code": artifacts.code_version(SCORING_CODE),
    }


def _selection_at(recipe: recipes.Recipe, stage: recipes.Stage) -> dict[str, Any]:
    """Where the problems lie and who judges them."""
    if stage.select_by != "pass@1" or stage.select_on is None:
        return {}
    workers = recipe.evaluate.workers if recipe.evaluate else None
    return {"path": stage.select_on.path, "data_root": recipe.data_root, "workers": workers}


def _identities(problem: Problem) -> tuple[str, str]:
    """Two problems that share one of these are the same: HumanEval and HumanEval+ differ in a few docstrings only."""
    return f"{problem.task_id} {problem.entry_point}", " ".join(problem.prompt.split())


def _load(recipe: recipes.Recipe, benchmark: recipes.Benchmark) -> BenchmarkData:
    path = Path(recipe.data_root or ".") / benchmark.path if benchmark.path else None
    data: BenchmarkData = plugins.load("benchmarks", benchmark.name).load(path)
    return data


def _evaluations(recipe: recipes.Recipe, evaluate: recipes.Evaluate, model: StudyModel, base: str) -> Iterator[Step]:
    for benchmark, language in _asked(recipe):
        data = _benchmark_data(recipe, benchmark)
        for form in evaluate.base_forms if model.step is None else ["chat"]:
            label = "-".join(filter(None, (model.name, benchmark.name, language, form)))
            asked = benchmark.model_dump(mode="json", exclude={"path", "languages"})
            asked |= {"language": language} if language else {}
            common = {"benchmark": asked, "data": data}
            place = {"path": benchmark.path, "data_root": recipe.data_root}
            generate = {
                **common,
                "benchmark": {key: value for key, value in asked.items() if key not in AFTER_ANSWERS},
                "model": model.name,
                "form": form,
                "template": recipe.model.template,
                "base": base if model.step is None else "",
                "seed": recipe.seed if model.seed is None else model.seed,
                "at": {**place, **_base_at(recipe), "device": recipe.device},
            }
            judge = {
                **common,
                "model": model.name,
                "form": form,
                "allow_unsafe": evaluate.allow_unsafe,
                "at": {**place, "workers": evaluate.workers},
            }
            yield Step("generate", f"generate-{label}", generate, (model.step,) if model.step else ())
            yield Step("judge", f"judge-{label}", judge, (f"generate-{label}",))


def _asked(recipe: recipes.Recipe) -> Iterator[tuple[recipes.Benchmark, str]]:
    """Every benchmark of the final evaluation; one with languages once for each, with its file, and the language."""
    for benchmark in recipe.evaluate.benchmarks if recipe.evaluate else []:
        _runs_programs(benchmark.name)
        if not benchmark.languages:
            yield benchmark, ""
            continue
        root = Path(recipe.data_root or ".")
        module = plugins.load("benchmarks", benchmark.name)
        for language, (path, _) in matrix.files(module, root / (benchmark.path or ""), benchmark.languages).items():
            place = os.path.relpath(path, root)
            yield benchmark.model_copy(update={"path": place, "languages": []}), language


def _runs_programs(name: str) -> None:
    """Raise UserError for a benchmark that compares texts: a study's table is of pass@1."""
    if metrics := vars(plugins.load("benchmarks", name)).get("METRICS"):
        raise UserError(
            f"{name} gives {', '.join(metrics)}, not pass@1", where="evaluate.benchmarks",
            mend="answer it with `codeup generate` and score it with `codeup evaluate`",
        )  # fmt: skip


def _benchmark_data(recipe: recipes.Recipe, benchmark: recipes.Benchmark) -> Any:
    """Contents of the benchmark's file, for the fingerprint; a packaged or Hub benchmark is named by itself."""
    if benchmark.path is None:
        return "packaged or hub"
    found = resolve(benchmark.path, Path(recipe.data_root) if recipe.data_root else None, None)
    return [[path.name, artifacts.file_sha256(path)] for path in found]


def _report(recipe: recipes.Recipe, steps: list[Step]) -> Step:
    found = study_models(recipe)
    spec = {
        "title": recipe.report.title or recipe.name,
        "failures": recipe.report.failures,
        "models": {model.name: list(model.chain) for model in found},
        "variants": {name: [m.name for m in found if m.variant == name] for name in ("base", *recipe.chains())},
        "trainings": {
            f"train-{chain_name(chain, seed)}": {"chain": list(chain), "seed": seed}
            for chain in recipe.prefixes()
            for seed in recipe.each_seed()
        },
        "compare_to": recipe.report.compare_to,
        "recipe": recipes.dump(recipe),
    }
    return Step("report", "report", spec, tuple(step.name for step in steps))


def _base_at(recipe: recipes.Recipe) -> dict[str, Any]:
    return {"base": recipe.model.base, "revision": recipe.model.revision}
