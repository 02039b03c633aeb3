"""What is in the conversations that were kept, per source: languages of code, and what filters were asked to report.

    account(Path("conversations.jsonl"), {"secrets": "report"})
    ->  {"alpaca:rows.json": {"rows": 999, "code_langs": {"python": 21, "html": 7}, "inputs": {"web address": 2},
                              "secrets": {"aws_access_key": 1}}}

Made from the file alone, after everything else, so that it is the same however the rows got there. Counts are rows: a
row with three Python blocks counts once. `code_unparsed` counts rows of the languages that `code_parses` names.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from codeup.data import code_languages, prose_language
from codeup.data.code_parses import parses
from codeup.data.mend import filter_functions
from codeup.data.rows import Drop
from codeup.data.secrets import PERSONAL, SECRET, find
from codeup.data.store import from_value

_ADDRESS = re.compile(r"\s*https?://\S+\s*")
UNKNOWN = "not told"
CHUNK = 512
"""Rows whose code is looked at together."""


def account(path: Path, filters: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a file of conversations."""
    kinds = tuple(
        kind
        for name, of_filter in (("secrets", SECRET), ("personal", PERSONAL))
        if filters.get(name, "off") != "off"
        for kind in of_filter
    )
    would = filter_functions({**filters, "report_only": False}) if filters.get("report_only") else []
    tallies: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    rows: Counter[str] = Counter()
    for values in _chunks(path):
        code = iter(code_languages.of_texts([text for value in values for text in _answers(value)]))
        for value in values:
            source = value["source"]
            rows[source] += 1
            tally = tallies[source]
            own = [block for _ in _answers(value) for block in next(code)]
            counted = _found(value, own, filters, kinds)
            if would:
                conversation = from_value(value)
                drops = (item for keep in would if isinstance(item := keep(conversation), Drop))
                counted["would_drop"] = {item.reason for item in drops}
            for name, found in counted.items():
                counts = tally[name]
                for each in found:
                    counts[each] += 1
    return {
        source: {"rows": rows[source], **{name: _by_count(counts) for name, counts in tally.items()}}
        for source, tally in tallies.items()
    }


def _chunks(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The file's lines, some at a time, as plain values: most counts need no more than the texts."""
    with path.open("rb") as lines:
        while values := [orjson.loads(line) for line in itertools.islice(lines, CHUNK)]:
            yield values


def _answers(value: dict[str, Any]) -> list[str]:
    return [turn["content"] for turn in value["messages"] if turn["role"] == "assistant"]


def _found(
    value: dict[str, Any], code: list[tuple[str, str]], filters: Mapping[str, Any], kinds: tuple[str, ...]
) -> dict[str, set[str]]:
    """For each count, the names under which this one row counts; `code` is that of its answers."""
    found = {"code_langs": {language or UNKNOWN for language, _ in code}}
    if any("input" in turn and _ADDRESS.fullmatch(turn["input"]) for turn in value["messages"]):
        found["inputs"] = {"web address"}
    checked = filters.get("code_parses") or ()
    if checked:
        found["code_unparsed"] = {name for name, text in code if name in checked and parses(name, text) is False}
    if kinds:
        texts = (turn.get(name, "") for turn in value["messages"] for name in ("content", "input"))
        found["secrets"] = {item.kind for text in texts for item in find(text, kinds)}
    if filters.get("natural_languages"):
        found["natural_langs"] = {prose_language.of(from_value(value)) or UNKNOWN}
    return found


def _by_count(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first; equals by name, for the order of a set is another in every process."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
