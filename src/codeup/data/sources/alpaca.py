"""Alpaca shape: `instruction`, optional `input`, `output` (also `system` and `history` where a file has them).

An `input` that only says there is none (`<noinput>`, `No input`, `N/A`) counts as no input; white space too. `history`
is a list of [question, answer] pairs that come before the instruction. All other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import FILE_OF_YOURS
from codeup.types import Conversation, Message

HUB_ID = None
TERMS = FILE_OF_YOURS
COLUMNS = {
    "instruction": rows.REQUIRED,
    "input": rows.OPTIONAL,
    "output": rows.REQUIRED,
    "system": rows.OPTIONAL,
    "history": rows.OPTIONAL,
    "group": rows.WHEN_MAPPED,
}
FIXTURE = [
    {"instruction": "Add the numbers.", "input": "2 and 3", "output": "5"},
    {"instruction": "Name a sorting algorithm.", "input": "<noinput>", "output": "Merge sort."},
    {"instruction": "And its cost?", "output": "O(n log n)", "history": [["Name a sort.", "Merge sort."]]},
    {"instruction": "Draw a cat.", "input": "", "output": "<No Output>"},
]
# The ways in which Alpaca-like sets write "there is none", listed by the AlpacaDataCleaned project; compared in lower
# case without the final full stop. For outputs only the bracketed form, because "n/a" may be a true answer.
NO_INPUT = frozenset(
    {"<noinput>", "<no input>", "<no-input>", "[no input]", "(no input)", "noinput", "no input", "n/a", "<n/a>"}
    | {"no input required", "no input needed", "no input provided", "not applicable"}
)
NO_OUTPUT = frozenset({"<nooutput>", "<no output>", "<no-output>", "[no output]"})


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """The history, then the instruction with its input, then the output."""
    found = rows.texts(row, columns, ("instruction", "output"), ("input", "system"))
    if isinstance(found, rows.Drop):
        return found
    says_none = _bare(found["input"]) in NO_INPUT
    answer = "" if _bare(found["output"]) in NO_OUTPUT else found["output"]
    last = rows.single_turn(
        found["instruction"],
        answer,
        extra_input="" if says_none else found["input"],
        system=found["system"],
        group=rows.mapped_group(row, columns),
    )
    earlier = _history(rows.cell(row, columns, "history"))
    if isinstance(last, rows.Drop):
        return last
    if isinstance(earlier, rows.Drop):
        return earlier
    if not earlier and not says_none:
        return last
    messages = (*last.messages[:-2], *earlier, *last.messages[-2:])
    problem = rows.shape_problem(messages)
    if problem is not None:
        return problem
    if says_none:
        said = Message("user", last.messages[-2].content, found["input"])
        before = Conversation((*messages[:-2], said, messages[-1]), group=last.group)
        return rows.Repaired(messages, group=last.group, repairs=(rows.NO_INPUT_EMPTIED,), before=before)
    return Conversation(messages, group=last.group)


def _bare(text: str) -> str:
    return text.strip().lower().removesuffix(".") if len(text) < 32 else text


def _history(value: Any) -> tuple[Message, ...] | rows.Drop:
    """Earlier turns of the conversation."""
    turns: list[Message] = []
    if value is not None and not isinstance(value, list):
        return rows.Drop(rows.NOT_TEXT, f"the history is {type(value).__name__}, not a list")
    for pair in value or ():
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            return rows.Drop(rows.NOT_TEXT, "the history is not a list of [question, answer] pairs")
        turns += (Message("user", pair[0]), Message("assistant", pair[1]))
    return tuple(turns)
