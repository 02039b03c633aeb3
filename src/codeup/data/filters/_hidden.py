"""What the filters `secrets` and `personal` share: find, and then mask or drop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from codeup.data.rows import Drop, Repaired
from codeup.data.secrets import find, masked
from codeup.types import Conversation


def hide(
    action: str, kinds: tuple[str, ...], reason: str, repair: str
) -> Callable[[Conversation], Conversation | Drop] | None:
    """`mask` or `drop`; None for `off` and `report`, which change nothing. What was found is named by its kind only."""
    if action not in ("mask", "drop"):
        return None

    def keep(conversation: Conversation) -> Conversation | Drop:
        found = [(find(turn.content, kinds), find(turn.input, kinds)) for turn in conversation.messages]
        if not any(content or extra for content, extra in found):
            return conversation
        if action == "drop":
            named = sorted({item.kind for pair in found for part in pair for item in part})
            return Drop(reason, ", ".join(named))
        messages = tuple(
            replace(turn, content=masked(turn.content, content), input=masked(turn.input, extra))
            for turn, (content, extra) in zip(conversation.messages, found, strict=True)
        )
        return Repaired(messages, conversation.source, conversation.row, conversation.group, (repair,), None)

    return keep
