"""Plain pairs: `prompt` and `response`, optional `system`.

For any two-column file: `columns: {prompt: problem, response: solution}`. Map `group` to a column to keep its rows on
one side of a validation split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import FILE_OF_YOURS
from codeup.types import Conversation

HUB_ID = None
TERMS = FILE_OF_YOURS
COLUMNS = {
    "prompt": rows.REQUIRED,
    "response": rows.REQUIRED,
    "system": rows.OPTIONAL,
    "group": rows.WHEN_MAPPED,
}
FIXTURE = [
    {"prompt": "Double 4.", "response": "8"},
    {"system": "Be terse.", "prompt": "What is recursion?", "response": "A function that calls itself."},
    {"prompt": "", "response": "An answer to nothing."},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """`prompt` and `response`."""
    found = rows.texts(row, columns, ("prompt", "response"), ("system",))
    if isinstance(found, rows.Drop):
        return found
    group = rows.mapped_group(row, columns)
    return rows.single_turn(found["prompt"], found["response"], system=found["system"], group=group)
