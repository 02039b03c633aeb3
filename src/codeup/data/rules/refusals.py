"""Answers that only refuse end their conversation there; a row that is nothing else is dropped.

    "I'm sorry, but I cannot help with that."             ->   dropped (in a later turn: cut from its question on)
    "I can't run it, but here is the code:\\n```…```"      ->   stays: it answers

Counts as a refusal: a first sentence in which the speaker says that it is sorry or unable, in an answer without code of
at most three sentences and 400 characters. Off by default. English only.
"""

from __future__ import annotations

import re

from codeup.data.mend import repaired
from codeup.data.rows import Drop
from codeup.data.rules._sentences import pair_before, sentences
from codeup.types import Conversation

ON = False
SOURCES: frozenset[str] = frozenset()
ENDED = "turns from a refusal on cut"
DROPPED = "rule: refusals"
REPAIRS = (ENDED,)
DROPS = (DROPPED,)
MOST_SENTENCES = 3
MOST_CHARACTERS = 400

_UNABLE = r"(?:cannot|can ?not|can['’]t|could ?n[o'’]t|(?: am|['’]m) (?:unable|not able) to|won['’]t)"
_ACTS = (
    r"(?:help|assist|provide|comply|fulfil|answer|generate|create|write|do|complete|support|engage|access|browse|open"
    r"|view|see|offer|give|share|discuss|continue|process|perform)"
)
_SORRY = r"(?:I(?: a|['’])m (?:very |really |so )?(?:sorry|afraid)|I apologi[sz]e|Sorry|My apologies)"
_REFUSES = re.compile(
    rf"\s*(?:{_SORRY}\b[^.!?]*?\bI\b[^.!?]*?(?:{_UNABLE}|unable|not able|not (?:appropriate|comfortable)|against)"
    rf"|(?:As an? [^,.]{{2,40}}, |Unfortunately, )?I ?{_UNABLE} {_ACTS}\b)",
    re.IGNORECASE,
)
_OFFERS = re.compile(
    r"\b(?:but|however|instead)\b[^.!?]{0,20}\b(?:here|(?:I|you) (?:can|could)|try|use|consider)\b", re.I
)
_STRUCTURE = re.compile(r"^\s*(?:\d+\.|[-*]) |[=;{}]", re.MULTILINE)


def apply(conversation: Conversation) -> Conversation | Drop:
    """The turns before the first refusal; the same object where there is none."""
    for at, turn in enumerate(conversation.messages):
        if turn.role == "assistant" and refuses(turn.content):
            kept = pair_before(conversation.messages, at)
            return repaired(conversation, kept, ENDED) if kept else Drop(DROPPED, turn.content[:160])
    return conversation


def refuses(text: str) -> bool:
    """Whether an answer does nothing but refuse."""
    if len(text) > MOST_CHARACTERS or "`" in text or not _REFUSES.match(text):
        return False
    return sum(bool(text[begin:end].strip()) for begin, end in sentences(text)) <= MOST_SENTENCES and not _goes_on(text)


def _goes_on(text: str) -> bool:
    """It says something useful after all: a "but" that offers it, a list, or an assignment."""
    return bool(_OFFERS.search(text) or _STRUCTURE.search(text))
