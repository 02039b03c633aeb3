"""Conversations whose sentences are in a language that is not wanted are left out.

["en", "de"]     a conversation in French: dropped; one with too little prose to tell: kept
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from codeup.data import prose_language
from codeup.data.rows import Drop
from codeup.types import Conversation

REASON = "filter: natural_languages"


def make(setting: Sequence[str]) -> Callable[[Conversation], Conversation | Drop] | None:
    """The languages to keep as ISO 639-1 codes; an empty list keeps all. Raises UserError without py3langid."""
    if not setting:
        return None
    prose_language.check(setting)
    wanted = {"", *setting}

    def keep(conversation: Conversation) -> Conversation | Drop:
        found = prose_language.of(conversation)
        return conversation if found in wanted else Drop(REASON, f"prose in {found}")

    return keep
