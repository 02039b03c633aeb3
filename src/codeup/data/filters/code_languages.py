"""Conversations whose answers hold code in a language that is not wanted are left out.

["python", "bash"]     an answer with a ```java block: dropped; without code, or in a language not told: kept
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from codeup.data.code_languages import named, of_answers
from codeup.data.rows import Drop
from codeup.types import Conversation

REASON = "filter: code_languages"


def make(setting: Sequence[str]) -> Callable[[Conversation], Conversation | Drop] | None:
    """The languages to keep; an empty list keeps all."""
    wanted = {"", *(named(name) or name for name in setting)}

    def keep(conversation: Conversation) -> Conversation | Drop:
        others = sorted(set(of_answers(conversation)) - wanted)
        return Drop(REASON, f"code in {', '.join(others)}") if others else conversation

    return keep if setting else None
