"""The text side of a recipe: YAML with line numbers, overrides, and messages a person can act on.

YAML is read as people expect: `1e-4` is a float (PyYAML alone reads a string), only true/false are booleans (a source
named `no` stays a name), and a key given twice is an error. Knows nothing of torch, files of data, or steps.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

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
            else f"give a path from {Path.cwd()}; CodeUp's own recipes are in recipes/ of a clone of it"
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
        except RecursionError:
            raise UserError("is nested too deeply for a recipe", where=name, mend="give a recipe") from None
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


def explain_all(items: Sequence[Mapping[str, Any]], root: type[BaseModel]) -> list[Problem]:
    """Pydantic's errors as sentences, one for each mistake.

    A value that may be one of several things (a word, or a number) gets an error for each of them. Those that look
    further into it know more, else they become one sentence: "0 is not one of auto, cpu; or it should be at least 1".
    """
    together: dict[Path_, list[Mapping[str, Any]]] = {}
    for item in items:
        together.setdefault(_place(item), []).append(item)
    deepest = [path for path in together if not any(path == other[: len(path)] for other in together if other != path)]
    return [_explain_one(path, together[path], root) for path in deepest]


def _explain_one(path: Path_, items: Sequence[Mapping[str, Any]], root: type[BaseModel]) -> Problem:
    """The errors of one value; words that it may be come first and together."""
    if len(items) == 1:
        return explain(items[0], root)
    words = [word for item in items if item["type"] == "literal_error" for word in _words(item)]
    others = [_sentence(item) for item in items if item["type"] != "literal_error"]
    given = items[0].get("input")
    first = [_not_one_of(given, words)] if words else []
    ends = "" if words else f", not {given!r}"
    return Problem(path, "; or it ".join(dict.fromkeys(first + others)) + ends)


def explain(item: Mapping[str, Any], root: type[BaseModel]) -> Problem:
    """A pydantic error as a sentence, with the nearest right key or value where one exists."""
    path = _place(item)
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        known = list(section_at(root, path[:-1]).model_fields)
        return Problem(path, "unknown key" + did_you_mean(str(path[-1]), known))
    if kind == "missing":
        return Problem(path, "is required")
    if kind == "literal_error":
        return Problem(path, _not_one_of(given, _words(item)))
    return Problem(path, f"{_sentence(item)}, not {given!r}")


def _place(item: Mapping[str, Any]) -> Path_:
    return tuple(part for part in item["loc"] if not _is_union_branch(part))


def _words(item: Mapping[str, Any]) -> list[str]:
    """The words that a literal may be."""
    return re.findall(r"'([^']*)'", str(item.get("ctx", {}).get("expected", "")))


def _not_one_of(given: Any, words: list[str]) -> str:
    return f"{given!r} is not one of {', '.join(words)}" + did_you_mean(str(given), words, quiet=True)


def _sentence(item: Mapping[str, Any]) -> str:
    message = str(item["msg"]).replace("Input should be", "should be")
    return message[0].lower() + message[1:]


def did_you_mean(given: str, known: list[str], quiet: bool = False) -> str:
    """The nearest of the known names, or all of them (`quiet`: then nothing), as the end of a sentence."""
    close = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "" if quiet or not known else f" (known: {', '.join(known)})"


def section_at(model: type[BaseModel], path: Path_) -> type[BaseModel]:
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
