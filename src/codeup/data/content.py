"""What is in the conversations that were kept, per source: languages of code, and what filters were asked to report.

    contents = Contents({"secrets": "report"})
    contents.lines(conversations)    one for each row:    ["alpaca:rows.json",{"code_langs":["python"]}]
    account(all lines)               {"alpaca:rows.json": {"rows": 999, "code_langs": {"python": 21, "html": 7},
                                      "inputs": {"web address": 2}, "secrets": {"aws_access_key": 1}}}

A row is looked at where it is in hand anyway, by whoever has it; its line depends on that row alone, so the account is
the same however the rows got there. Counts are rows: a row with three Python blocks counts once. `code_unparsed` counts
rows of the languages that `code_parses` names.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from codeup.data import code_languages, prose_language
from codeup.data.code_parses import parses
from codeup.data.mend import filter_functions
from codeup.data.rows import Drop
from codeup.data.secrets import PERSONAL, SECRET, find
from codeup.types import Conversation

_ADDRESS = re.compile(r"\s*https?://\S+\s*")
UNKNOWN = "not told"


class Contents:
    """What the filters of a recipe ask for."""

    def __init__(self, filters: Mapping[str, Any]) -> None:
        self._filters = filters
        self._kinds = tuple(
            kind
            for name, of_filter in (("secrets", SECRET), ("personal", PERSONAL))
            if filters.get(name, "off") != "off"
            for kind in of_filter
        )
        self._would = filter_functions({**filters, "report_only": False}) if filters.get("report_only") else []
        asks = (filters.get("code_parses"), self._kinds, filters.get("natural_languages"), self._would)
        self._asks = any(map(bool, asks))

    def lines(self, conversations: Sequence[Conversation]) -> Iterator[bytes]:
        """For each row a line of JSON, line break included: its source, and the names under which it counts."""
        answers = [[turn.content for turn in each.messages if turn.role == "assistant"] for each in conversations]
        code = iter(code_languages.of_texts([text for some in answers for text in some]))
        for conversation, some in zip(conversations, answers, strict=True):
            own = [block for _ in some for block in next(code)]
            found = {"code_langs": sorted({language or UNKNOWN for language, _ in own})}
            for turn in conversation.messages:
                if turn.input and _ADDRESS.fullmatch(turn.input):
                    found["inputs"] = ["web address"]
            if self._asks:
                found |= {name: sorted(each) for name, each in self._asked(conversation, own)}
            yield orjson.dumps([conversation.source, found], option=orjson.OPT_APPEND_NEWLINE)

    def _asked(self, row: Conversation, code: list[tuple[str, str]]) -> Iterator[tuple[str, set[str]]]:
        """For each count that a filter asks for, the names under which this row counts; `code` is its answers'."""
        if checked := self._filters.get("code_parses"):
            yield "code_unparsed", {name for name, text in code if name in checked and parses(name, text) is False}
        if self._kinds:
            texts = (text for turn in row.messages for text in (turn.content, turn.input))
            yield "secrets", {item.kind for text in texts for item in find(text, self._kinds)}
        if self._filters.get("natural_languages"):
            yield "natural_langs", {prose_language.of(row) or UNKNOWN}
        if self._would:
            yield "would_drop", {item.reason for keep in self._would if isinstance(item := keep(row), Drop)}


def account(lines: Iterable[bytes]) -> dict[str, Any]:
    """The counts of all rows, from their lines. Memory: that of the lines that differ, which are few."""
    tallies: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    rows: Counter[str] = Counter()
    for line, times in Counter(lines).items():
        source, found = orjson.loads(line)
        rows[source] += times
        for name, each in found.items():
            tallies[source][name].update(dict.fromkeys(each, times))
    return {
        source: {"rows": rows[source], **{name: _by_count(counts) for name, counts in tally.items()}}
        for source, tally in tallies.items()
    }


def _by_count(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first; equals by name, for the order of a set is another in every process."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
