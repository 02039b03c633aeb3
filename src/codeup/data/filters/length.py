"""Conversations that are too long or too short in characters or turns are left out.

    {"max_characters": 20000, "min_answer": 10, "max_turns": 20}     answers of fewer than 10 characters: dropped

A turn is a question or an answer, the system turn is none. Length in tokens is a matter of `cutoff` and `overlong`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codeup.data.rows import Drop
from codeup.types import Conversation

REASON = "filter: length"


def make(setting: Mapping[str, int | None]) -> Callable[[Conversation], Conversation | Drop] | None:
    """Limits that are None or 0 are not looked at; None where there is none."""
    most, shortest, turns = (setting.get(name) or 0 for name in ("max_characters", "min_answer", "max_turns"))

    def keep(conversation: Conversation) -> Conversation | Drop:
        spoken = [turn for turn in conversation.messages if turn.role != "system"]
        if turns and len(spoken) > turns:
            return Drop(REASON, f"{len(spoken)} turns")
        size = sum(len(turn.content) + len(turn.input) for turn in conversation.messages)
        if most and size > most:
            return Drop(REASON, f"{size} characters")
        answers = [len(turn.content.strip()) for turn in spoken if turn.role == "assistant"]
        if shortest and min(answers) < shortest:
            return Drop(REASON, f"an answer of {min(answers)} characters")
        return conversation

    return keep if most or shortest or turns else None
