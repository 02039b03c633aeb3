"""LLaMA-Factory's `dataset_info.json`: a data set's entry becomes a source of a recipe.

    "metamathqa": {"hf_hub_url": "meta-math/MetaMathQA", "columns": {"prompt": "query", "response": "response"}}
        -> {source: metamathqa}                                              rows: 395,000, known
    "mine": {"file_name": "mine.json", "formatting": "sharegpt", "columns": {"messages": "dialogue"}}
        -> {source: sharegpt, path: data/mine.json, columns: {conversations: dialogue}}

Rules are those of its data/parser.py: without `columns` the defaults hold (instruction, input, output), with `columns`
a name that is not given there is not read. Local files are read once, to count rows and see their columns; data sets of
the Hub are fetched only where the caller says so.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup.data import rows as row_rules
from codeup.data.files import read_rows
from codeup.data.resolve import resolve
from codeup.errors import UserError

FILE = "dataset_info.json"
ALPACA_DEFAULTS = {"prompt": "instruction", "query": "input", "response": "output"}
TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
COLUMNS = {
    "alpaca": ("prompt", "query", "response", "history", "system"),
    "sharegpt": ("messages", "system"),
    "openai": ("messages", "system"),
}
OTHER_COLUMNS = ("tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag")
PLACES = ("hf_hub_url", "file_name")
OTHER_PLACES = ("ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
ENTRY = (
    *PLACES, *OTHER_PLACES, "formatting", "ranking", "subset", "split", "folder", "num_samples", "revision", "columns",
    "tags",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """A Hub data set that a source of ours reads: how LLaMA-Factory has to describe it for the two to mean the same."""

    source: str
    formatting: str
    columns: Mapping[str, str]
    rows: int


_WIZARD = Known("wizardlm_evol_instruct_v2", "sharegpt", {"messages": "conversations"}, 143_000)
KNOWN: dict[str, Known] = {
    "wizardlmteam/wizardlm_evol_instruct_v2_196k": _WIZARD,
    "wizardlm/wizardlm_evol_instruct_v2_196k": _WIZARD,  # its former owner, still in their dataset_info.json
    "meta-math/metamathqa": Known("metamathqa", "alpaca", {"prompt": "query", "response": "response"}, 395_000),
    "theblackcat102/evol-codealpaca-v1": Known(
        "evol_codealpaca_v1", "alpaca", {"prompt": "instruction", "response": "output"}, 111_272
    ),
}
"""Row counts are those of the published files (facts of 2026; used for shares like val_size: 0.1 only)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One source of a recipe, its rows and mean characters per row where they are known, and what is not the same."""

    source: dict[str, Any]
    rows: int | None = None
    characters: float | None = None
    differs: tuple[str, ...] = ()


@dataclass
class Info:
    """A dataset_info.json, with the lines on which its entries stand."""

    path: Path
    text: str
    entries: Mapping[str, Any] = field(default_factory=dict)

    def where(self, name: str, key: str = "") -> str:
        """`file:line` of an entry, or of a key in it."""
        start = re.search(rf'"{re.escape(name)}"\s*:', self.text)
        at = start.start() if start else 0
        inner = re.search(rf'"{re.escape(key)}"\s*:', self.text[at:]) if key else None
        line = self.text.count("\n", 0, at + (inner.start() if inner else 0)) + 1
        return f"{self.path}:{line}"


def read_info(dataset_dir: str, beside: Path) -> Info:
    """The dataset_info.json of a folder, looked for from the current folder, then from that of the YAML file."""
    if dataset_dir == "ONLINE" or dataset_dir.startswith("REMOTE:"):
        raise UserError(
            f"dataset_dir {dataset_dir!r} is fetched while training there", mend=f"write a {FILE} with hf_hub_url"
        )
    tried = list(dict.fromkeys([Path(dataset_dir), beside / dataset_dir]))
    found = next((folder / FILE for folder in tried if (folder / FILE).is_file()), None)
    if found is None:
        raise UserError(
            f"no {FILE} in {' or '.join(map(str, tried))}",
            mend="start where LLaMA-Factory was started, or set dataset_dir",
        )
    text = found.read_text(encoding="utf-8-sig")
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise UserError(f"not valid JSON ({error})", where=str(found)) from None
    if not isinstance(entries, dict):
        raise UserError("is not an object of data sets by name", where=f"{found}:1")
    return Info(found, text, entries)


def find(info: Info, name: str, *, max_rows: int | None = None, fetch: bool = False) -> Found:
    """The source that an entry describes. Raises UserError with file:line for what would not be the same here.

    `fetch` allows a data set of the Hub to be downloaded in order to count its rows.
    """
    entry = info.entries.get(name)
    if not isinstance(entry, dict):
        close = difflib.get_close_matches(name, list(info.entries), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(list(info.entries)[:8]) or 'none'}"
        raise UserError(f"there is no data set {name!r}", where=f"{info.path}:1", mend=hint)
    _refuse(info, name, entry)
    formatting = str(entry.get("formatting") or "alpaca")
    columns = _columns(info, name, entry, formatting)
    source: dict[str, Any] = {}
    if entry.get("hf_hub_url"):
        known = _known(entry, formatting, columns)
        if known is not None:
            source, rows = {"source": known.source}, known.rows
            return Found(_limited(source, info, name, entry, rows, max_rows), _fewer(rows, entry, max_rows))
        pattern = f":{entry['folder']}/*" if entry.get("folder") else ""
        source = {"path": f"hub:{entry['hf_hub_url']}{pattern}"}
        if entry.get("revision"):
            source["revision"] = entry["revision"]
    else:
        source = {"path": str(info.path.parent / str(entry["file_name"]))}
    shape, mapped = _shape(formatting, columns, _tags(info, name, entry))
    plain = {ours: theirs for ours, theirs in mapped.items() if ours != theirs}
    source = {"source": shape, **source, **({"columns": plain} if plain else {})}
    local = not source["path"].startswith("hub:")
    if not local and not fetch:
        return Found(_limited(source, info, name, entry, None, max_rows), None, differs=_differs(shape))
    try:
        rows, characters, names = _measure(resolve(source["path"], None, source.get("revision")))
    except UserError as error:
        raise UserError(f"{name}: {error.what}", where=info.where(name), mend=error.mend) from None
    _refuse_unread(info, name, shape, mapped, names)
    limited = _limited(source, info, name, entry, rows, max_rows)
    return Found(limited, _fewer(rows, entry, max_rows), characters, _differs(shape))


def _refuse(info: Info, name: str, entry: Mapping[str, Any]) -> None:
    """Keys that are unknown, or that name what is not read here."""
    for key in entry:
        if key not in ENTRY:
            close = difflib.get_close_matches(key, ENTRY, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(ENTRY)})"
            raise UserError(f"{name}: unknown key {key!r}{hint}", where=info.where(name, key))
    if entry.get("ranking"):
        raise UserError(
            f"{name}: a preference set cannot be learned by sft", where=info.where(name, "ranking"),
            mend="leave it out; in a recipe a stage of kind dpo learns from pairs",
        )  # fmt: skip
    if not any(entry.get(place) for place in PLACES):
        other = next((place for place in OTHER_PLACES if entry.get(place)), "")
        what = f"{other} cannot be read here" if other else "it names neither file_name nor hf_hub_url"
        raise UserError(f"{name}: {what}", where=info.where(name, other), mend="give file_name or hf_hub_url")
    if entry.get("split") not in (None, "train"):
        raise UserError(
            f"{name}: only the train split is read here", where=info.where(name, "split"),
            mend="give the rows of the other split as a file of their own",
        )  # fmt: skip
    if entry.get("subset"):
        raise UserError(
            f"{name}: a subset {entry['subset']!r} cannot be named here",
            where=info.where(name, "subset"),
            mend="give the folder of its files as folder, or the file as file_name",
        )


def _columns(info: Info, name: str, entry: Mapping[str, Any], formatting: str) -> dict[str, str]:
    """Their column names, as parser.py fills them in."""
    if formatting not in COLUMNS:
        raise UserError(
            f"{name}: formatting {formatting!r} is not one of {', '.join(COLUMNS)}",
            where=info.where(name, "formatting"),
        )
    known, given = COLUMNS[formatting], entry.get("columns")
    if given is None:
        default = "messages" if formatting == "openai" else "conversations"
        return dict(ALPACA_DEFAULTS) if formatting == "alpaca" else {"messages": default}
    for key, column in given.items():
        if key in OTHER_COLUMNS and column:
            raise UserError(f"{name}: the column {key!r} has no meaning here", where=info.where(name, key))
        if key not in known and key not in OTHER_COLUMNS:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})"
            raise UserError(f"{name}: unknown column {key!r}{hint}", where=info.where(name, key))
    columns = {key: str(column) for key, column in given.items() if key in known and column}
    needed = ("prompt", "response") if formatting == "alpaca" else ("messages",)
    missing = [key for key in needed if key not in columns]
    if missing:
        raise UserError(f"{name}: columns name no {' and no '.join(missing)}", where=info.where(name, "columns"))
    return columns


def _tags(info: Info, name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    given = entry.get("tags") or {}
    for key in given:
        if key not in TAGS:
            close = difflib.get_close_matches(key, TAGS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(TAGS)})"
            raise UserError(f"{name}: unknown tag {key!r}{hint}", where=info.where(name, key))
    tags = {**TAGS, **given}
    roles = {
        "user_tag": row_rules.USER_ROLES,
        "assistant_tag": row_rules.ASSISTANT_ROLES,
        "system_tag": row_rules.SYSTEM_ROLES,
    }
    for key, names in roles.items():
        if str(tags[key]).lower() not in names:
            raise UserError(
                f"{name}: the role {tags[key]!r} is not known here as {key.removesuffix('_tag')}",
                where=info.where(name, key),
                mend=f"rename it in the file; known: {', '.join(sorted(names))}",
            )
    return tags


def _known(entry: Mapping[str, Any], formatting: str, columns: Mapping[str, str]) -> Known | None:
    """The source of ours that reads this Hub data set in the same way, if there is one."""
    known = KNOWN.get(str(entry["hf_hub_url"]).lower())
    plain = not entry.get("tags") and not entry.get("folder") and not entry.get("revision")
    same = known is not None and known.formatting == formatting and dict(known.columns) == dict(columns)
    return known if same and plain else None


def _shape(formatting: str, columns: Mapping[str, str], tags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Our source and its columns."""
    if formatting == "alpaca":
        if "query" not in columns and "history" not in columns:
            names = {"prompt": "prompt", "response": "response", "system": "system"}
            return "prompt_response", {names[key]: column for key, column in columns.items()}
        names = {"prompt": "instruction", "query": "input", "response": "output"}
        return "alpaca", {names.get(key, key): column for key, column in columns.items()}
    if formatting == "openai" and "system" not in columns:
        return "messages", {"messages": columns["messages"]}
    role, content = ("role", "content") if formatting == "openai" else (tags["role_tag"], tags["content_tag"])
    mapped = {"conversations": columns["messages"], "from": role, "value": content}
    return "sharegpt", {**mapped, **({"system": columns["system"]} if "system" in columns else {})}


def _measure(paths: list[Path]) -> tuple[int, float, set[str]]:
    """Rows, mean characters of text per row, and the columns of the first rows."""
    count, characters, names = 0, 0, set[str]()
    for path in paths:
        for row in read_rows(path):
            count += 1
            characters += _length(row.value)
            if count <= 64 and row.value is not None:
                names |= set(row.value)
    return count, characters / max(1, count), names


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(_length(part) for part in parts)


def _refuse_unread(info: Info, name: str, shape: str, mapped: Mapping[str, str], names: set[str]) -> None:
    """A column that our source would read by its own name and LLaMA-Factory leaves out."""
    readable = {"alpaca": ("input", "system", "history"), "prompt_response": ("system",), "sharegpt": ("system",)}
    for column in readable.get(shape, ()):
        if column in names and column not in mapped:
            raise UserError(
                f"{name}: the rows have a column {column!r}, which is read here and left out by LLaMA-Factory",
                where=info.where(name, "columns"),
                mend="name it under columns if it is wanted, or remove it from the file",
            )


def _limited(
    source: dict[str, Any], info: Info, name: str, entry: Mapping[str, Any], rows: int | None, max_rows: int | None
) -> dict[str, Any]:
    """The source with `rows`, from num_samples and max_samples."""
    wanted = entry.get("num_samples")
    if wanted and rows is not None and wanted > rows:
        raise UserError(
            f"{name}: num_samples {wanted} of {rows} rows would repeat some; rows are used once here",
            where=info.where(name, "num_samples"),
        )
    limits = [int(limit) for limit in (wanted, max_rows) if limit]
    if limits and (rows is None or min(limits) < rows):
        source["rows"] = min(limits)
    return source


def _fewer(rows: int, entry: Mapping[str, Any], max_rows: int | None) -> int:
    return min([rows, *(int(limit) for limit in (entry.get("num_samples"), max_rows) if limit)])


def _differs(shape: str) -> tuple[str, ...]:
    if shape != "alpaca":
        return ()
    return ("an input is put where the template has its place (alpaca: its own heading; else after an empty line), "
            "there on the line after the instruction",)  # fmt: skip
