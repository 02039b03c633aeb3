"""Conversations whose answers hold code that does not parse are left out, in the languages that are named.

    ["python"]     an answer with a ```python block that ends in the middle of a line: dropped

Code that is meant to be a part only (a line with "...", a method without its class) is dropped too where its grammar
refuses it: look at what would go first (`codeup data inspect`, or the `content` of funnel.json).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from codeup.data.code_languages import of_text
from codeup.data.code_parses import check_installed, parses
from codeup.data.rows import Drop
from codeup.types import Conversation

REASON = "filter: code_parses"


def make(setting: Sequence[str]) -> Callable[[Conversation], Conversation | Drop] | None:
    """Raises UserError for a language without a grammar, or whose grammar is not installed."""
    check_installed(list(setting))

    def keep(conversation: Conversation) -> Conversation | Drop:
        for turn in conversation.messages:
            if turn.role == "assistant":
                for language, code in of_text(turn.content):
                    if language in setting and parses(language, code) is False:
                        return Drop(REASON, f"{language} that does not parse")
        return conversation

    return keep if setting else None
