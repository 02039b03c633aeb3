"""TRL's pairs: `prompt` and `completion`, both texts, or both lists of turns with `role` and `content`.

With a column `label` (unpaired preferences), rows whose label is false are dropped and counted: their completion is one
that was not liked. Answers in the prompt are learned from, too; TRL learns from the completion alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import FILE_OF_YOURS
from codeup.data.sources import messages
from codeup.types import Conversation

HUB_ID = None
TERMS = FILE_OF_YOURS
COLUMNS = {
    "prompt": rows.REQUIRED,
    "completion": rows.REQUIRED,
    "system": rows.OPTIONAL,
    "label": rows.OPTIONAL,
    "role": rows.IN_EACH_TURN,
    "content": rows.IN_EACH_TURN,
    "group": rows.WHEN_MAPPED,
}
NOT_LIKED = "completion labelled false"
FIXTURE = [
    {"prompt": "Double 4.", "completion": "8"},
    {
        "prompt": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Is 7 prime?"}],
        "completion": [{"role": "assistant", "content": "Yes."}],
    },
    {"prompt": "Double 5.", "completion": "11", "label": False},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """The prompt's turns, then the completion's."""
    if rows.cell(row, columns, "label") is False:
        return rows.Drop(NOT_LIKED)
    prompt, completion = (rows.cell(row, columns, name) for name in ("prompt", "completion"))
    if isinstance(prompt, list) and isinstance(completion, list):
        joined = {**row, "messages": [*prompt, *completion]}
        return messages.convert(joined, columns={name: to for name, to in columns.items() if name in messages.COLUMNS})
    found = rows.texts(row, columns, ("prompt", "completion"), ("system",))
    if isinstance(found, rows.Drop):
        return found
    group = rows.mapped_group(row, columns)
    return rows.single_turn(found["prompt"], found["completion"], system=found["system"], group=group)
