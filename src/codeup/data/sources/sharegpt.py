"""ShareGPT shape: `conversations`, a list of turns with `from` (human, gpt, ...) and `value`; optional `system`.

Turns before the first question, a last question without an answer and turns from the first out of order on are cut and
counted as repairs; tool calls and unknown roles drop the row. Where turns are written with other field names, map them:
`columns: {conversations: dialogue, from: role, value: text}`.
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
    "conversations": rows.REQUIRED,
    "system": rows.OPTIONAL,
    "from": rows.IN_EACH_TURN,
    "value": rows.IN_EACH_TURN,
    "group": rows.WHEN_MAPPED,
}
FIXTURE = [
    {"id": "a", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
    {
        "id": "b",
        "system": "Answer in one word.",
        "conversations": [
            {"from": "gpt", "value": "How can I help?"},
            {"from": "user", "value": "Capital of France?"},
            {"from": "bing", "value": "Paris."},
            {"from": "human", "value": "Thanks"},
        ],
    },
    {"id": "c", "conversations": [{"from": "human", "value": "Are you there?"}]},
    {"id": "d", "conversations": [{"from": "human", "value": "What time is it?"}, {"from": "tool", "value": "12:00"}]},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """All turns of the row, as far as they have partners."""
    found = rows.texts(row, columns, (), ("system",))
    if isinstance(found, rows.Drop):
        return found
    turns = rows.named_turns(
        rows.cell(row, columns, "conversations"), columns.get("from", "from"), columns.get("value", "value")
    )
    if isinstance(turns, rows.Drop):
        return turns
    return rows.alternating(turns, system=found["system"], group=rows.mapped_group(row, columns))
