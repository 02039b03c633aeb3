"""OpenAI shape: `messages`, a list of turns with `role` (system, user, assistant) and `content`.

`content` may be a list of text parts, which are joined. Rows with tools or tool calls, and rows that switch off
learning for an answer with `weight: 0` (OpenAI) or `train: false` or `train_detail` (Axolotl), are dropped and counted:
the first cannot be shown, the second would be learnt.
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
    "messages": rows.REQUIRED,
    "role": rows.IN_EACH_TURN,
    "content": rows.IN_EACH_TURN,
    "group": rows.WHEN_MAPPED,
}
WEIGHTED = "answer with weight 0"
NOT_TRAINED = "answer marked not to be trained on"
FIXTURE = [
    {
        "messages": [
            {"role": "system", "content": "You write Python."},
            {"role": "user", "content": "Square x."},
            {"role": "assistant", "content": "x ** 2"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Is 7 "}, {"type": "text", "text": "prime?"}]},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "And 9?"},
        ]
    },
    {"messages": [{"role": "user", "content": "Time?"}, {"role": "assistant", "content": None, "tool_calls": [{}]}]},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """All turns of the row, as far as they have partners."""
    turns = rows.cell(row, columns, "messages")
    role, content = columns.get("role", "role"), columns.get("content", "content")
    if isinstance(turns, list):
        if row.get("tools") or any(isinstance(turn, dict) and turn.get("tool_calls") for turn in turns):
            return rows.Drop(rows.TOOL_CALL)
        if any(isinstance(turn, dict) and turn.get("weight") == 0 for turn in turns):
            return rows.Drop(WEIGHTED)
        if any(isinstance(turn, dict) and _not_trained(turn, role) for turn in turns):
            return rows.Drop(NOT_TRAINED)
        turns = [_with_text(turn, content) for turn in turns]
    messages = rows.named_turns(turns, role, content)
    if isinstance(messages, rows.Drop):
        return messages
    return rows.alternating(messages, group=rows.mapped_group(row, columns))


def _not_trained(turn: Mapping[str, Any], role: str) -> bool:
    """Whether an answer, or a part of it, is kept out of training; questions always are."""
    if rows.role_of(turn.get(role)) != "assistant":
        return False
    return turn.get("train") is False or bool(turn.get("train_detail"))


def _with_text(turn: Any, content: str) -> Any:
    """The turn with text parts joined; a part that is not text is left for `named_turns` to refuse."""
    parts = turn.get(content) if isinstance(turn, dict) else None
    if not isinstance(parts, list):
        return turn
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        return turn
    return {**turn, content: "".join(part["text"] for part in parts)}
