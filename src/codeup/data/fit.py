"""What happens to a conversation that is longer than the model may see: dropped, or cut or split between whole turns.

An answer is never cut in the middle: a model that learns from half an answer learns to stop early. What fits is
decided by the caller, who has the tokenizer: `fits` takes a conversation and says whether its tokens are few enough.

    system, Q1 A1, Q2 A2, Q3 A3   too long   ->   system, Q1 A1, Q2 A2                          cut_turns
                                             ->   system, Q1 A1, Q2 A2   and   system, Q3 A3    split_turns

A later part of a split conversation begins without what was said before it. All parts are in one validation group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from codeup.data.rows import PAIR_LEFT_OUT, SPLIT_TO_FIT, TOO_LONG, TURNS_CUT_TO_FIT, Drop, Repaired, plain
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


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is left of a conversation that was too long, and what was done. No parts: drop it as too long."""

    parts: tuple[Conversation, ...]
    repairs: tuple[str, ...] = ()


def shorten(conversation: Conversation, fits: Fits, overlong: str) -> Fitted:
    """A conversation that does not fit, by the recipe's choice: `drop`, `cut_turns` or `split_turns`."""
    if overlong == "split_turns":
        return split_turns(conversation, fits)
    shorter = cut_turns(conversation, fits) if overlong == "cut_turns" else None
    return Fitted((shorter,), (TURNS_CUT_TO_FIT,)) if shorter is not None else Fitted(())


def split_turns(conversation: Conversation, fits: Fits) -> Fitted:
    """As few parts as it takes, each as many whole question-answer pairs as fit, the system turn before every one.

    Every pair is in exactly one part, in order; one that does not fit even alone is left out, which is named.
    """
    messages = conversation.messages
    head = messages[:1] if messages[0].role == "system" else ()
    first = messages[len(head)]
    group = conversation.group if conversation.group.strip() else f"{first.content}\n{first.input}"
    left, parts, alone = messages[len(head) :], [], False
    while left:
        part = cut_turns(replace(conversation, messages=(*head, *left), group=group), fits)
        if part is None:
            alone, left = True, left[2:]
            continue
        parts.append(part)
        left = left[len(part.messages) - len(head) :]
    repairs = ((SPLIT_TO_FIT,) if len(parts) > 1 else ()) + ((PAIR_LEFT_OUT,) if alone and parts else ())
    return Fitted(tuple(parts), repairs)
