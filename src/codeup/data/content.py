"""What is in the conversations that were kept, per source: languages of code, and what filters were asked to report.

    account(Path("conversations.jsonl"), {"secrets": "report"})
    ->  {"alpaca:rows.json": {"rows": 999, "code_langs": {"python": 21, "html": 7}, "inputs": {"web address": 2},
                              "secrets": {"aws_access_key": 1}}}

Made from the file alone, after everything else, so that it is the same however the rows got there. Counts are rows: a
row with three Python blocks counts once. `code_unparsed` counts rows of the languages that `code_parses` names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeup.data import code_languages, prose_language
from codeup.data.code_parses import parses
from codeup.data.mend import filter_functions
from codeup.data.rows import Drop
from codeup.data.secrets import PERSONAL, SECRET, find
from codeup.data.store import read_conversations
from codeup.types import Conversation

_ADDRESS = re.compile(r"\s*https?://\S+\s*")
UNKNOWN = "not told"


def account(path: Path, filters: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a file of conversations."""
    kinds = tuple(
        kind
        for name, of_filter in (("secrets", SECRET), ("personal", PERSONAL))
        if filters.get(name, "off") != "off"
        for kind in of_filter
    )
    would = filter_functions({**filters, "report_only": False}) if filters.get("report_only") else []
    tallies: dict[str, dict[str, Counter[str]]] = {}
    rows: Counter[str] = Counter()
    for conversation in read_conversations(path):
        rows[conversation.source] += 1
        tally = tallies.setdefault(conversation.source, {})
        counted = _found(conversation, filters, kinds)
        if would:
            counted["would_drop"] = {item.reason for keep in would if isinstance(item := keep(conversation), Drop)}
        for name, found in counted.items():
            tally.setdefault(name, Counter()).update(found)
    return {
        source: {"rows": rows[source], **{name: dict(counts.most_common()) for name, counts in tally.items()}}
        for source, tally in tallies.items()
    }


def _found(conversation: Conversation, filters: Mapping[str, Any], kinds: tuple[str, ...]) -> dict[str, set[str]]:
    """For each count, the names under which this one row counts."""
    answers = [turn.content for turn in conversation.messages if turn.role == "assistant"]
    code = [block for answer in answers for block in code_languages.of_text(answer)]
    found = {"code_langs": {language or UNKNOWN for language, _ in code}}
    if any(turn.input and _ADDRESS.fullmatch(turn.input) for turn in conversation.messages):
        found["inputs"] = {"web address"}
    checked = filters.get("code_parses") or ()
    if checked:
        found["code_unparsed"] = {name for name, text in code if name in checked and parses(name, text) is False}
    if kinds:
        texts = (text for turn in conversation.messages for text in (turn.content, turn.input))
        found["secrets"] = {item.kind for text in texts for item in find(text, kinds)}
    if filters.get("natural_languages"):
        found["natural_langs"] = {prose_language.of(conversation) or UNKNOWN}
    return found
