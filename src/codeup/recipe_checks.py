"""What a recipe's settings need of each other: names that exist, sizes that fit, settings that work together.

The shape of each setting is pydantic's to check (recipe.py). `check_references` and `check_sizes` work on the raw
mapping, so that their findings come together with pydantic's; `check_conflicts` on a recipe that is otherwise right.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from codeup import plugins
from codeup.errors import UserError
from codeup.recipe_text import Path_, Problem, did_you_mean, section_at

if TYPE_CHECKING:
    from codeup.recipe import Recipe, Stage

SHARING_THE_BASE = ("fsdp2", "deepspeed-zero3")
"""Strategies under which no device holds the whole base."""


def check_references(value: Any, root: type[BaseModel]) -> list[Problem]:
    """Names that must exist elsewhere (data of stages, stages of variants, sources, benchmarks, thresholds), and
    settings that would not be read.

    Works on the raw mapping and ignores what has the wrong type, so that its findings come together with pydantic's.
    """
    data, stages = as_dict(value.get("data")), [s for s in as_list(value.get("stages")) if isinstance(s, dict)]
    names = [s["name"] for s in stages if isinstance(s.get("name"), str)]
    problems = [
        Problem(("stages", i, "data"), f"there is no data called {s['data']!r}" + did_you_mean(s["data"], list(data)))
        for i, s in enumerate(stages)
        if isinstance(s.get("data"), str) and s["data"] not in data
    ]
    problems += [
        Problem(("stages", i, "name"), f"another stage is also called {n!r}")
        for i, n in enumerate(names)
        if n in names[:i]
    ]
    for i, stage in enumerate(stages):
        problems += _selection_problems(("stages", i), stage, as_dict(data.get(str(stage.get("data")))))
    problems += _variant_problems(as_dict(value.get("variants")), names)
    for name, entry in data.items():
        for kind in ("sources", "pairs"):
            for i, source in enumerate(as_list(as_dict(entry).get(kind))):
                problems += _plugin_problem("sources", ("data", name, kind, i, "source"), as_dict(source).get("source"))
        for rule in as_dict(as_dict(entry).get("rules")):
            problems += _plugin_problem("rules", ("data", name, "rules", rule), rule, dotted=False)
        problems += _data_problems(name, as_dict(entry), root)
    for i, stage in enumerate(as_list(value.get("stages"))):
        problems += _stage_problems(i, as_dict(stage), data, root)
    evaluate = as_dict(value.get("evaluate"))
    benchmarks = [as_dict(b).get("name") for b in as_list(evaluate.get("benchmarks"))]
    asked = [name for b in as_list(evaluate.get("benchmarks")) for name in _by_language(as_dict(b))]
    for i, benchmark in enumerate(benchmarks):
        problems += _plugin_problem("benchmarks", ("evaluate", "benchmarks", i, "name"), benchmark)
    problems += _repeat_problems(value, names)
    ablate = value.get("ablate") if isinstance(value.get("ablate"), str) else None
    variants = list(as_dict(value.get("variants")) or default_chains(names, ablate))
    rows = ["base", *variants]
    models = rows + [f"{name}@{seed}" for name in variants for seed in as_list(value.get("seeds"))]
    compare_to = as_dict(value.get("report")).get("compare_to", "best")
    if isinstance(compare_to, str) and compare_to not in (*rows, "best", "before"):
        message = f"the table has no row {compare_to!r}" + did_you_mean(compare_to, [*rows, "best", "before"])
        problems.append(Problem(("report", "compare_to"), message))
    for i, need in enumerate(as_list(evaluate.get("require"))):
        for key, known in (("model", models), ("benchmark", asked)):
            given = as_dict(need).get(key)
            if isinstance(given, str) and given not in known:
                message = f"the study has no {key} {given!r}" + did_you_mean(given, known)
                problems.append(Problem(("evaluate", "require", i, key), message))
    return problems


def check_sizes(value: Any, root: type[BaseModel]) -> Iterator[Problem]:
    """Sizes of a stage and of its data, or of a benchmark, that do not fit together, defaults of `root` included.

    A step holds at least one pack, and a pack at least the longest row, or both answers of the longest pair.
    Evaluations that a stage asks for need rows.
    """
    data, stages = as_dict(value.get("data")), as_list(value.get("stages"))
    of_stage, of_data = section_at(root, ("stages",)), section_at(root, ("data",))
    for i, asked in enumerate(map(as_dict, as_list(as_dict(value.get("evaluate")).get("benchmarks")))):
        samples = _whole(asked, "samples", section_at(root, ("evaluate", "benchmarks")))
        for at, k in enumerate(as_list(asked.get("pass_at"))):
            if isinstance(k, int) and k > samples:
                message = f"pass@{k} needs {k} samples per problem, and samples is {samples}"
                yield Problem(("evaluate", "benchmarks", i, "pass_at", at), message)
    for i, stage in enumerate(stages):
        name = as_dict(stage).get("data")
        rows = as_dict(data.get(name)) if isinstance(name, str) else {}
        pack, batch = (_whole(as_dict(stage), key, of_stage) for key in ("pack_length", "batch_tokens"))
        cutoff, held_out = (_whole(rows, key, of_data) for key in ("cutoff", "validation_rows"))
        if batch < pack:
            message = f"{batch} is smaller than the {pack} of one pack; raise it, or lower pack_length"
            yield Problem(("stages", i, "batch_tokens"), message)
        what, longest = ("pair", 2 * cutoff) if as_dict(stage).get("kind") == "dpo" else ("row", cutoff)
        if rows and pack < longest:
            message = f"{pack} is smaller than the {longest} tokens that a {what} of {name} may have"
            message += f"; raise it to {longest}"
            yield Problem(("stages", i, "pack_length"), f"{message}, or lower data.{name}.cutoff")
        asked = as_dict(stage).get("evals_per_epoch", 0)
        runs_programs = as_dict(stage).get("select_by") == "pass@1"  # which needs no held-out row
        if rows and not held_out and not runs_programs and isinstance(asked, int) and asked > 0:
            message = f"{asked}, but {name} holds no row out; raise data.{name}.validation_rows, or write 0"
            yield Problem(("stages", i, "evals_per_epoch"), message)


def _whole(section: dict[str, Any], key: str, model: type[BaseModel]) -> int:
    """A whole number of a section or its default; 0 for what has the wrong type and is reported as such."""
    given = section.get(key, model.model_fields[key].default)
    return given if isinstance(given, int) else 0


def _selection_problems(path: Path_, stage: dict[str, Any], data: dict[str, Any]) -> Iterator[Problem]:
    """What a stage's choice of a step, or its early stop, lacks."""
    by, stops = stage.get("select_by", "last"), stage.get("early_stop", 0)
    key = "early_stop" if by == "last" else "select_by"
    if by == "last" and not stops:
        return
    if stage.get("evals_per_epoch") == 0:
        yield Problem((*path, key), "needs evaluations, and evals_per_epoch is 0")
    if by != "pass@1" and data.get("validation_rows") == 0:
        yield Problem((*path, key), "needs held-out rows, and validation_rows of its data is 0")
    if by == "pass@1" and not stage.get("select_on"):
        yield Problem((*path, key), "needs problems to run; name a benchmark: select_on: {name: …, limit: …}")
    yield from _plugin_problem("benchmarks", (*path, "select_on", "name"), as_dict(stage.get("select_on")).get("name"))


def _data_problems(name: str, entry: dict[str, Any], root: type[BaseModel]) -> Iterator[Problem]:
    """Examples or pairs, not both; a pair from files or from verdicts, not both."""
    sources, pairs = as_list(entry.get("sources")), as_list(entry.get("pairs"))
    if bool(sources) == bool(pairs):
        both = "not both: " if sources else ""
        yield Problem(("data", name), f"{both}give sources (examples, for sft stages) or pairs (for dpo stages)")
    if pairs and entry.get("overlong", "drop") != "drop":
        message = f"pairs that are too long are dropped; {entry['overlong']} is for sources"
        yield Problem(("data", name, "overlong"), message)
    for key in ("rules", "filters", "expect_rows"):
        if pairs and entry.get(key):
            yield Problem(("data", name, key), "is only read with sources")
    for i, pair in enumerate(map(as_dict, pairs)):
        at = ("data", name, "pairs", i)
        kinds = [kind for kind in ("path", "verdicts") if pair.get(kind) is not None]
        if len(kinds) != 1:
            yield Problem(at, "give path (a file of pairs) or verdicts (judged answers)")
            continue
        others = ("problems", "per_problem", "allow_evaluated")
        other = others if kinds == ["path"] else ("source", "rows", "columns", "revision")
        for key in _changed(section_at(root, at), pair):
            if key in other:
                yield Problem((*at, key), f"is only read with {'verdicts' if kinds == ['path'] else 'path'}")


def _stage_problems(
    number: int, stage: dict[str, Any], data: dict[str, Any], root: type[BaseModel]
) -> Iterator[Problem]:
    """A stage needs data of its kind, and settings of its kind."""
    kind, at = stage.get("kind", "sft"), ("stages", number)
    entry, dpo = as_dict(data.get(str(stage.get("data")))), as_dict(stage.get("dpo"))
    if kind == "dpo" and entry.get("sources"):
        message = f"data {stage['data']!r} holds examples (sources); a dpo stage learns from pairs of answers (pairs)"
        yield Problem((*at, "data"), message)
    if kind == "sft" and entry.get("pairs"):
        message = f"data {stage['data']!r} holds pairs of answers; an sft stage learns from examples (sources), or "
        yield Problem((*at, "data"), message + "is it to be kind: dpo?")
    if kind == "sft" and _changed(section_at(root, (*at, "dpo")), dpo):
        yield Problem((*at, "dpo"), "is only read with kind: dpo")
    if dpo.get("loss") == "ipo" and dpo.get("label_smoothing"):
        yield Problem((*at, "dpo", "label_smoothing"), "has no meaning for loss: ipo")


def _changed(section: type[BaseModel], given: dict[str, Any]) -> list[str]:
    """Keys of a section that do not have their default value."""
    fields = section.model_fields
    return [key for key in given if key in fields and given[key] != fields[key].get_default(call_default_factory=True)]


MOST_ABLATED = 6
"""Stages that `ablate` takes: 2 to the power of (n - 1) variants, 32 of six stages."""


def default_chains(names: list[str], ablate: str | None) -> dict[str, tuple[str, ...]]:
    """Variants where none are written: every prefix of the stages, or with `ablate` every choice that ends in the last,
    small ones first; the one of all stages is called full.

    >>> default_chains(["a", "b", "c"], None)
    {'a': ('a',), 'a-b': ('a', 'b'), 'a-b-c': ('a', 'b', 'c')}
    >>> list(default_chains(["instruct", "math", "code"], "stages"))
    ['code', 'instruct-code', 'math-code', 'full']
    """
    if ablate is None:
        return {"-".join(names[: i + 1]): tuple(names[: i + 1]) for i in range(len(names))}
    if not names or len(names) > MOST_ABLATED:
        return {}
    chosen = [(*some, names[-1]) for n in range(len(names)) for some in itertools.combinations(names[:-1], n)]
    return {"full" if 1 < len(chain) == len(names) else "-".join(chain): chain for chain in chosen}


def _repeat_problems(value: dict[str, Any], stages: list[str]) -> Iterator[Problem]:
    """What `ablate` and `seeds` cannot do."""
    seeds = as_list(value.get("seeds"))
    for i, seed in enumerate(seeds):
        if seed in seeds[:i]:
            message = f"{seed!r} is given twice; a repeated seed gives the same model again, and no error bar"
            yield Problem(("seeds", i), message)
    if value.get("ablate") is None:
        return
    if value.get("variants") is not None:
        yield Problem(("ablate",), "makes the variants itself; leave out either ablate or variants")
    if not 2 <= len(stages) <= MOST_ABLATED:
        message = f"needs 2 to {MOST_ABLATED} stages to choose from, and there are {len(stages)}"
        yield Problem(("ablate",), f"{message}; write variants by hand")
    if "full" in stages:
        yield Problem(("ablate",), "calls the variant of all stages full, and a stage has that name; rename the stage")


def _variant_problems(variants: dict[str, Any], stages: list[str]) -> Iterator[Problem]:
    seen: dict[tuple[str, ...], str] = {}
    for name, chain in variants.items():
        if name == "base":
            yield Problem(("variants", name), "the name base is taken by the base model itself")
        words = [word for word in as_list(chain) if isinstance(word, str)]
        for i, word in enumerate(words):
            if word not in stages:
                message = f"there is no stage called {word!r}" + did_you_mean(word, stages)
                yield Problem(("variants", name, i), message)
        if tuple(words) in seen:
            yield Problem(("variants", name), f"the same stages as variant {seen[tuple(words)]!r}")
        if not words:
            yield Problem(("variants", name), "names no stage")
        seen[tuple(words)] = name


def _by_language(benchmark: dict[str, Any]) -> list[str]:
    """What scores of a benchmark are called: its name, or with languages NAME:LANGUAGE for each."""
    name, languages = benchmark.get("name"), as_list(benchmark.get("languages"))
    if not isinstance(name, str):
        return []
    return [f"{name}:{language}" for language in languages] or [name]


def _plugin_problem(kind: str, path: Path_, name: Any, dotted: bool = True) -> list[Problem]:
    if not isinstance(name, str):
        return []
    try:
        plugins.check(kind, name if dotted else name.replace(".", "_"))
    except UserError as error:
        return [Problem(path, f"{error.what} ({error.mend})")]
    return []


def conflicts(
    *,
    method: str,
    quantization: str,
    dora: bool,
    init: str,
    trains_tokens: bool,
    token_init: str,
    strategy: str = "ddp",
) -> list[tuple[str, str]]:
    """Settings of a stage that do not work together, as (setting, why)."""
    found = []
    if method == "full" and quantization != "none":
        found.append(("method", f"full trains all weights, and those held in {quantization} cannot be trained"))
    if method == "lora" and init != "zero" and quantization != "none":
        found.append(("lora.init", f"{init} takes its directions out of the exact weights, not out of {quantization}"))
    if method == "lora" and dora and quantization == "int8":
        found.append(("lora.dora", "the lengths of rows cannot be read from an int8 base; nf4 works"))
    if token_init == "mean" and not trains_tokens:
        found.append(("lora.token_init", "mean is where trained rows begin, and trainable_tokens names none"))
    if strategy in SHARING_THE_BASE:
        reads = f"reads whole matrices, and under strategy {strategy} no device has them"
        not_in_shares = {
            ("method", f"full trains the base, and strategy {strategy} shares out a frozen one"): method == "full",
            ("method", f"strategy {strategy} does not share out a base in {quantization}"): quantization != "none",
            ("lora.dora", f"DoRA {reads}"): dora,
            ("lora.init", f"{init} {reads}"): init != "zero",
            ("lora.trainable_tokens", f"rows of tokens are not trained under strategy {strategy}"): trains_tokens,
        }
        found += [conflict for conflict, there in not_in_shares.items() if there]
    return found


def stage_conflicts(recipe: Recipe, stage: Stage, strategy: str) -> list[tuple[str, str]]:
    """Settings of a stage that do not work together under this strategy, as (setting, why)."""
    found = conflicts(
        method=stage.method,
        quantization=recipe.model.quantization,
        dora=stage.lora.dora,
        init=stage.lora.init,
        trains_tokens=stage.lora.trainable_tokens not in ("none", []),
        token_init=stage.lora.token_init,
        strategy=strategy,
    )
    if strategy in SHARING_THE_BASE and stage.select_by == "pass@1":
        shared = f"pass@1 needs the whole model on one device; strategy {strategy} shares it out"
        found.append(("select_by", shared))
    if stage.method == "full" and stage.lora != type(stage.lora)():
        found.append(("lora", "method: full trains no adapter; leave these settings out"))
    return found


def check_conflicts(recipe: Recipe) -> list[Problem]:
    """Settings of a recipe, valid each by itself, that do not work together."""
    problems = []
    for name, data in recipe.data.items():
        without = [at for at, source in enumerate(data.sources) if source.weight is None]
        if without and len(without) < len(data.sources):
            place = ("data", name, "sources", without[0])
            problems.append(Problem(place, "has no weight, and other sources of this data have one"))
    for at, stage in enumerate(recipe.stages):
        found = stage_conflicts(recipe, stage, recipe.strategy)
        problems += [Problem(("stages", at, *setting.split(".")), why) for setting, why in found]
        for key in ("rank_pattern", "alpha_pattern"):
            problems += [
                Problem(("stages", at, "lora", key, pattern), f"is no regular expression ({error})")
                for pattern in getattr(stage.lora, key)
                if (error := _not_a_pattern(pattern))
            ]
    written: dict[str, tuple[str, ...]] = {}
    for chain in recipe.prefixes():
        other = written.setdefault("-".join(chain), chain)
        if other != chain:
            why = f"stages {' → '.join(other)} and {' → '.join(chain)} would share the name {'-'.join(chain)}"
            problems.append(Problem(("stages",), f"{why}; give a stage another name"))
    return problems


def _not_a_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        return str(error)
    return ""


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
