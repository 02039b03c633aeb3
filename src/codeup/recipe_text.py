"""The text side of a recipe: YAML with line numbers, overrides, and messages a person can act on.

YAML is read as people expect: `1e-4` is a float (PyYAML alone reads a string), only true/false are booleans (a source
named `no` stays a name), and a key given twice is an error. Knows nothing of torch, files of data, or steps.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from codeup import plugins
from codeup.errors import UserError

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake at a place in the recipe. `at_value` points to the value rather than the key (they may differ)."""

    path: Path_
    message: str


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the two surprises removed: floats like 1e-4, and yes/no/on/off as words."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in rules if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read(path: Path) -> str:
    """The text of a recipe file, or UserError when it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else [], n=1
        )
        hint = (
            f"did you mean {path.parent / near[0]}?"
            if near
            else "give the path of a YAML recipe, e.g. recipes/nano.yaml"
        )
        raise UserError("no such recipe", where=str(path), mend=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read ({error})", where=str(path), mend="give a UTF-8 text file") from None


def scalar(value: str) -> Any:
    """A value as the recipe would read it.

    >>> scalar("1e-4"), scalar("no"), scalar("[1, 2]")
    (0.0001, 'no', [1, 2])
    """
    try:
        return yaml.load(value, Loader=_Loader)
    except yaml.YAMLError:
        return value


class Document:
    """A YAML document with, for every path in it, the line it stands on."""

    def __init__(self, source: str, name: str) -> None:
        self.name, self.lines = name, source.splitlines()
        self.problems: list[Problem] = []
        self.places: dict[Path_, str] = {}
        self.numbers: dict[Path_, int] = {}
        try:
            root = yaml.compose(source, Loader=_Loader)
            self.value: Any = self._build(root, ()) if root is not None else {}
        except yaml.MarkedYAMLError as error:
            ended = "stream end" in str(error.problem)  # then the place where the unclosed thing began helps more
            mark = (error.context_mark if ended else None) or error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            message = f"{name}:{line}: not valid YAML: {error.problem or error.context}"
            raise UserError(message + self._quote(line), mend="check indentation, colons and quotes there") from None
        except yaml.YAMLError as error:
            raise UserError(f"not valid YAML: {error}", where=name, mend="give a UTF-8 text file") from None
        if not isinstance(self.value, dict):
            raise UserError("a recipe is a mapping of keys to values", where=f"{name}:1", mend="begin with `name: …`")

    def _build(self, node: yaml.Node, path: Path_) -> Any:
        """Plain values from YAML nodes, noting the line of each path and keys given twice."""
        self.numbers.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*path, i)) for i, item in enumerate(node.value)]
        return _construct(node)

    def _build_mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        inherited: dict[str, Any] = {}
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, at = str(key_node.value), (*path, str(key_node.value))
            if key_node.tag == "tag:yaml.org,2002:merge":  # {<<: *stage, …}: what the anchor has, where not said here
                merged = self._build(value_node, path)
                for part in reversed(merged if isinstance(merged, list) else [merged]):
                    inherited.update(part if isinstance(part, dict) else {})
                continue
            if key in result:
                self.problems.append(Problem(at, f"given twice, first on line {self.numbers[at]}"))
            self.numbers[at] = key_node.start_mark.line + 1
            result[key] = self._build(value_node, at)
        return {**inherited, **result}

    def override(self, settings: list[str]) -> None:
        """Apply `a.b.c=value`. A list item is addressed by its number or, where items have one, by its name."""
        for setting in settings:
            key, sign, value = setting.partition("=")
            if not sign or not key:
                raise UserError(f"{setting!r} is not a setting", mend="write key=value, e.g. stages.code.epochs=1")
            path = self._set(key, scalar(value))
            self.places[path] = setting

    def _set(self, key: str, value: Any) -> Path_:
        at: Any = self.value
        path: list[str | int] = []
        words = key.split(".")
        for i, word in enumerate(words):
            last = i == len(words) - 1
            if isinstance(at, list):
                index = _item(at, word)
                if index is None:
                    named = [
                        str(item.get("name", n)) if isinstance(item, dict) else str(n) for n, item in enumerate(at)
                    ]
                    raise UserError(
                        f"{key}: no item {word!r} in {'.'.join(map(str, path))}",
                        where="command line",
                        mend=f"one of: {', '.join(named) or 'the list is empty'}",
                    )
                step: str | int = index
            else:
                step = word
            path.append(step)
            if last:
                at[step] = value
            else:
                if isinstance(at, dict) and not isinstance(at.get(word), dict | list):
                    at[word] = {}
                at = at[step]
        return tuple(path)

    def render(self, problems: list[Problem]) -> str:
        """All problems, one block each, in the order of the file."""
        seen, blocks = set(), []
        for problem in sorted(problems, key=lambda p: self._line(p.path)):
            origin = self._origin(problem.path)
            where = f"command line {origin!r}" if origin else f"{self.name}:{self._line(problem.path)}"
            head = f"{where}: {_dotted(problem.path)}: {problem.message}"
            if head not in seen:
                seen.add(head)
                blocks.append(head + ("" if origin else self._quote(self._line(problem.path))))
        count = f"{len(blocks)} mistake{'s' if len(blocks) > 1 else ''} in {self.name}"
        return "\n".join(blocks) + f"\n{count}; nothing was run"

    def _origin(self, path: Path_) -> str:
        return next((self.places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.places), "")

    def _line(self, path: Path_) -> int:
        return next((self.numbers[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.numbers), 1)

    def _quote(self, line: int) -> str:
        return f"\n    {self.lines[line - 1].strip()}" if 0 < line <= len(self.lines) else ""


def explain(item: Mapping[str, Any], root: type[BaseModel]) -> Problem:
    """A pydantic error as a sentence, with the nearest right key or value where one exists."""
    path = tuple(part for part in item["loc"] if not _is_union_branch(part))
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(_model_at(root, path[:-1]).model_fields)
        return Problem(path, "unknown key" + _did_you_mean(str(path[-1]), known))
    if kind == "missing":
        return Problem(path, "is required")
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return Problem(
            path, f"{given!r} is not one of {', '.join(known)}" + _did_you_mean(str(given), known, quiet=True)
        )
    message = item["msg"].replace("Input should be", "should be")
    return Problem(path, f"{message[0].lower()}{message[1:]}, not {given!r}")


def check_references(value: Any, root: type[BaseModel]) -> list[Problem]:
    """Names that must exist elsewhere (data of stages, stages of variants, sources, benchmarks, thresholds), and
    settings that would not be read.

    Works on the raw mapping and ignores what has the wrong type, so that its findings come together with pydantic's.
    """
    data, stages = _dict(value.get("data")), [s for s in _list(value.get("stages")) if isinstance(s, dict)]
    names = [s["name"] for s in stages if isinstance(s.get("name"), str)]
    problems = [
        Problem(("stages", i, "data"), f"there is no data called {s['data']!r}" + _did_you_mean(s["data"], list(data)))
        for i, s in enumerate(stages)
        if isinstance(s.get("data"), str) and s["data"] not in data
    ]
    problems += [
        Problem(("stages", i, "name"), f"another stage is also called {n!r}")
        for i, n in enumerate(names)
        if n in names[:i]
    ]
    for i, stage in enumerate(stages):
        problems += _selection_problems(("stages", i), stage, _dict(data.get(str(stage.get("data")))))
    problems += _variant_problems(_dict(value.get("variants")), names)
    for name, entry in data.items():
        for kind in ("sources", "pairs"):
            for i, source in enumerate(_list(_dict(entry).get(kind))):
                problems += _plugin_problem("sources", ("data", name, kind, i, "source"), _dict(source).get("source"))
        for rule in _dict(_dict(entry).get("rules")):
            problems += _plugin_problem("rules", ("data", name, "rules", rule), rule, dotted=False)
        problems += _data_problems(name, _dict(entry), root)
    for i, stage in enumerate(_list(value.get("stages"))):
        problems += _stage_problems(i, _dict(stage), data, root)
    evaluate = _dict(value.get("evaluate"))
    benchmarks = [_dict(b).get("name") for b in _list(evaluate.get("benchmarks"))]
    asked = [name for b in _list(evaluate.get("benchmarks")) for name in _by_language(_dict(b))]
    for i, benchmark in enumerate(benchmarks):
        problems += _plugin_problem("benchmarks", ("evaluate", "benchmarks", i, "name"), benchmark)
    problems += _repeat_problems(value, names)
    ablate = value.get("ablate") if isinstance(value.get("ablate"), str) else None
    variants = list(_dict(value.get("variants")) or default_chains(names, ablate))
    rows = ["base", *variants]
    models = rows + [f"{name}@{seed}" for name in variants for seed in _list(value.get("seeds"))]
    compare_to = _dict(value.get("report")).get("compare_to", "best")
    if isinstance(compare_to, str) and compare_to not in (*rows, "best", "before"):
        message = f"the table has no row {compare_to!r}" + _did_you_mean(compare_to, [*rows, "best", "before"])
        problems.append(Problem(("report", "compare_to"), message))
    for i, need in enumerate(_list(evaluate.get("require"))):
        for key, known in (("model", models), ("benchmark", asked)):
            given = _dict(need).get(key)
            if isinstance(given, str) and given not in known:
                message = f"the study has no {key} {given!r}" + _did_you_mean(given, known)
                problems.append(Problem(("evaluate", "require", i, key), message))
    return problems


def check_sizes(value: Any, root: type[BaseModel]) -> Iterator[Problem]:
    """Sizes of a stage and of its data that do not fit together, defaults of `root` included.

    A step holds at least one pack, and a pack at least the longest row, or both answers of the longest pair.
    Evaluations that a stage asks for need rows.
    """
    data, stages = _dict(value.get("data")), _list(value.get("stages"))
    of_stage, of_data = _model_at(root, ("stages",)), _model_at(root, ("data",))
    for i, stage in enumerate(stages):
        name = _dict(stage).get("data")
        rows = _dict(data.get(name)) if isinstance(name, str) else {}
        pack, batch = (_whole(_dict(stage), key, of_stage) for key in ("pack_length", "batch_tokens"))
        cutoff, held_out = (_whole(rows, key, of_data) for key in ("cutoff", "validation_rows"))
        if batch < pack:
            message = f"{batch} is smaller than the {pack} of one pack; raise it, or lower pack_length"
            yield Problem(("stages", i, "batch_tokens"), message)
        what, longest = ("pair", 2 * cutoff) if _dict(stage).get("kind") == "dpo" else ("row", cutoff)
        if rows and pack < longest:
            message = f"{pack} is smaller than the {longest} tokens that a {what} of {name} may have"
            message += f"; raise it to {longest}"
            yield Problem(("stages", i, "pack_length"), f"{message}, or lower data.{name}.cutoff")
        asked = _dict(stage).get("evals_per_epoch", 0)
        if rows and not held_out and isinstance(asked, int) and asked > 0:
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
    yield from _plugin_problem("benchmarks", (*path, "select_on", "name"), _dict(stage.get("select_on")).get("name"))


def _data_problems(name: str, entry: dict[str, Any], root: type[BaseModel]) -> Iterator[Problem]:
    """Examples or pairs, not both; a pair from files or from verdicts, not both."""
    sources, pairs = _list(entry.get("sources")), _list(entry.get("pairs"))
    if bool(sources) == bool(pairs):
        both = "not both: " if sources else ""
        yield Problem(("data", name), f"{both}give sources (examples, for sft stages) or pairs (for dpo stages)")
    if pairs and entry.get("overlong", "drop") != "drop":
        message = f"pairs that are too long are dropped; {entry['overlong']} is for sources"
        yield Problem(("data", name, "overlong"), message)
    for key in ("rules", "filters", "expect_rows"):
        if pairs and entry.get(key):
            yield Problem(("data", name, key), "is only read with sources")
    for i, pair in enumerate(map(_dict, pairs)):
        at = ("data", name, "pairs", i)
        kinds = [kind for kind in ("path", "verdicts") if pair.get(kind) is not None]
        if len(kinds) != 1:
            yield Problem(at, "give path (a file of pairs) or verdicts (judged answers)")
            continue
        others = ("problems", "per_problem", "allow_evaluated")
        other = others if kinds == ["path"] else ("source", "rows", "columns", "revision")
        for key in _changed(_model_at(root, at), pair):
            if key in other:
                yield Problem((*at, key), f"is only read with {'verdicts' if kinds == ['path'] else 'path'}")


def _stage_problems(
    number: int, stage: dict[str, Any], data: dict[str, Any], root: type[BaseModel]
) -> Iterator[Problem]:
    """A stage needs data of its kind, and settings of its kind."""
    kind, at = stage.get("kind", "sft"), ("stages", number)
    entry, dpo = _dict(data.get(str(stage.get("data")))), _dict(stage.get("dpo"))
    if kind == "dpo" and entry.get("sources"):
        message = f"data {stage['data']!r} holds examples (sources); a dpo stage learns from pairs of answers (pairs)"
        yield Problem((*at, "data"), message)
    if kind == "sft" and entry.get("pairs"):
        message = f"data {stage['data']!r} holds pairs of answers; an sft stage learns from examples (sources), or "
        yield Problem((*at, "data"), message + "is it to be kind: dpo?")
    if kind == "sft" and _changed(_model_at(root, (*at, "dpo")), dpo):
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
    seeds = _list(value.get("seeds"))
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
        words = [word for word in _list(chain) if isinstance(word, str)]
        for i, word in enumerate(words):
            if word not in stages:
                message = f"there is no stage called {word!r}" + _did_you_mean(word, stages)
                yield Problem(("variants", name, i), message)
        if tuple(words) in seen:
            yield Problem(("variants", name), f"the same stages as variant {seen[tuple(words)]!r}")
        if not words:
            yield Problem(("variants", name), "names no stage")
        seen[tuple(words)] = name


def _by_language(benchmark: dict[str, Any]) -> list[str]:
    """What scores of a benchmark are called: its name, or with languages NAME:LANGUAGE for each."""
    name, languages = benchmark.get("name"), _list(benchmark.get("languages"))
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


def _did_you_mean(given: str, known: list[str], quiet: bool = False) -> str:
    close = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "" if quiet or not known else f" (known: {', '.join(known)})"


def _model_at(model: type[BaseModel], path: Path_) -> type[BaseModel]:
    """The section whose keys stand at a path of the recipe."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            found = section_in(model.model_fields[part].annotation)
            model = found or model
    return model


def section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_in(inner))), None)


def _is_union_branch(part: str | int) -> bool:
    """Pydantic puts the branch of a union into the location, e.g. `literal['all-linear']` or `list[str]`."""
    return isinstance(part, str) and bool(
        re.match(r"^(literal|list|dict|str|int|float|bool|function|constrained)[\[(-]|^(str|int|float|bool)$", part)
    )


def _construct(node: yaml.Node) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _item(items: list[Any], word: str) -> int | None:
    if word.isdigit() and int(word) < len(items):
        return int(word)
    return next((i for i, item in enumerate(items) if isinstance(item, dict) and item.get("name") == word), None)


def _dotted(path: Path_) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else (f".{p}" if i else p) for i, p in enumerate(path)) or "recipe"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
