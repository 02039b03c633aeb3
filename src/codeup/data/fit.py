"""What happens to a conversation that is longer than the model may see: dropped, or shortened by whole turns.

An answer is never cut in the middle: a model that learns from half an answer learns to stop early. What fits is
decided by the caller, who has the tokenizer: `fits` takes a conversation and says whether its tokens are few enough.

    system, Q1 A1, Q2 A2, Q3 A3   too long   ->   system, Q1 A1, Q2 A2     (if that fits)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from codeup.data.rows import TOO_LONG, TURNS_CUT_TO_FIT, Drop, Repaired, plain
from codeup.types import Conversation

Fits = Callable[[Conversation], bool]


def cut_turns(conversation: Conversation, fits: Fits) -> Conversation | None:
    """The longest start made of whole question-answer pairs that fits; None if not even the first pair does.

    `fits` must not come back for a longer start once it failed for a shorter one. It is asked about log2(pairs) times.
    """
    messages = conversation.messages
    head = 1 if messages[0].role == "system" else 0
    pairs = (len(messages) - head) // 2

    def start(count: int) -> Conversation:
        return replace(conversation, messages=messages[: head + 2 * count])

    if fits(conversation):
        return conversation
    good, bad = 0, pairs
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(start(middle)) else (good, middle)
    return start(good) if good else None


def fit(conversation: Conversation, fits: Fits, overlong: Literal["drop", "cut_turns"] = "drop") -> Conversation | Drop:
    """The conversation if it fits; otherwise a `Repaired` one that does, or a drop.

    Count the result with `funnel.repair(result, TURNS_CUT_TO_FIT)` or `funnel.drop(conversation, TOO_LONG)`.
    """
    if overlong == "drop":
        shorter = conversation if fits(conversation) else None
    else:
        shorter = cut_turns(conversation, fits)
    if shorter is None:
        return Drop(TOO_LONG, source=conversation.source, row=conversation.row)
    if shorter is conversation:
        return conversation
    kept = plain(shorter, source=conversation.source, row=conversation.row)
    return Repaired(kept.messages, kept.source, kept.row, kept.group, (TURNS_CUT_TO_FIT,))
