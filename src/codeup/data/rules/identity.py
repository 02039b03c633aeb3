"""Sentences in which an answer says that it is some model, or who made it, are cut from answers.

    "As an AI language model, I have no taste. Use a list."   ->   "Use a list."
    "I am Vicuna, a language model by LMSYS."                 ->   nothing is left: the pair and what follows are cut

Only the speaker's own words about itself count: first person, no quotation, no code. "I use the openai package",
"ChatGPT is a model by OpenAI", a text in a program and a character who says so in a story all stay. Off by default,
because a set may be there to teach an identity. A row of which nothing is left is dropped. English only.
"""

from __future__ import annotations

import re
from dataclasses import replace

from codeup.data.code_languages import looks_like
from codeup.data.fences import has_fence
from codeup.data.mend import repaired
from codeup.data.rows import Drop
from codeup.data.rules._sentences import pair_before, quoted, sentences
from codeup.types import Conversation, Message

ON = False
SOURCES: frozenset[str] = frozenset()
CUT = "sentences about being a model cut"
ENDED = "turns from an answer about being a model on cut"
DROPPED = "rule: identity"
REPAIRS = (CUT, ENDED)
DROPS = (DROPPED,)
LEAST_LEFT = 40
"""Characters of prose that must be left of an answer without code; less was only an introduction."""

_KIND = (
    r"(?:AI|A\.I\.|artificial intelligence|(?:large |AI )?language model|(?:machine learning|neural|text-based) model"
    r"|(?:virtual|digital|AI|automated) assistant|chat ?bot|computer program)"
)
_NAMES = r"(?:Chat ?GPT|GPT-?[345][\w.-]*|Vicuna|Claude|Bard|Gemini|Bing Chat|LLaMA|Alpaca|Open ?Assistant|Koala|Dolly)"
_MAKERS = (
    r"(?:Open ?AI|Anthropic|Google|Meta(?: AI)?|Microsoft|LMSYS|Large Model Systems Organization|Stability AI|Mistral)"
)
_PEOPLE = r"(?: (?:dev\b|developer|engineer|research|student|expert|enthusiast|scientist|programmer|fan|user|teacher))"
_MADE = r"(?:created|developed|trained|built|made|designed|programmed)"
_SELF = [
    rf"\bas an? (?:\w+ )?{_KIND}\b(?!{_PEOPLE})[^.!?]*\bI\b",
    rf"\bas an? {_KIND}(?: model| assistant| system| program)?,",
    r"\bI(?: a|')m (?:just |only |simply |merely |actually |also )?(?:an? |the |your )?(?:\w+ )?"
    rf"(?:{_KIND}|{_NAMES})\b(?!{_PEOPLE})",
    rf"\bI(?: a|')m (?:\w+|\{{\{{\w+\}}\}}), (?:an?|your) (?:\w+ )?{_KIND}\b",
    rf"\bmy name is (?:{_NAMES}|\w+, (?:and )?I(?: a|')m an? (?:\w+ )?{_KIND}|\{{\{{\w+\}}\}})",
    rf"\bI(?: was| am|'m| have been) {_MADE} by (?:\w+ )*?(?:{_MAKERS}|researchers|\{{\{{\w+\}}\}})",
    rf"\b(?:{_MAKERS}|researchers)\b[^.!?]{{0,60}} (?:has |have )?{_MADE} me\b",
    rf"\bmy (?:creators?|developers?|makers?) (?:is|are) (?:\w+ )*?(?:{_MAKERS}|researchers)",
    rf"\b(?:refer to|call) me(?: as)? (?:{_NAMES}|\{{\{{\w+\}}\}})",
]
_ABOUT_SELF = re.compile("|".join(_SELF), re.IGNORECASE)
_CASED = re.compile(r"\bI\b|\b[Aa]s an?\b|\b[Mm]y \w+\b|\bme\b")


def apply(conversation: Conversation) -> Conversation | Drop:
    """The conversation without such sentences; the same object where there are none."""
    messages: list[Message] = []
    for at, turn in enumerate(conversation.messages):
        text = without(turn.content) if turn.role == "assistant" else turn.content
        if text is None:
            kept = pair_before(conversation.messages, at)
            return repaired(conversation, tuple(messages[: len(kept)]), ENDED) if kept else Drop(DROPPED, _first(turn))
        messages.append(turn if text == turn.content else replace(turn, content=text))
    if all(new is old for new, old in zip(messages, conversation.messages, strict=True)):
        return conversation
    return repaired(conversation, tuple(messages), CUT)


def without(text: str) -> str | None:
    """The answer without its sentences about itself; None where too little is left to be an answer."""
    if not _ABOUT_SELF.search(text) or (not has_fence(text) and looks_like(text)):
        return text
    cut = [(begin, end) for begin, end in sentences(text) if _about_self(text, begin, end)]
    if not cut:
        return text
    left, at = [], 0
    for begin, end in cut:
        left.append(text[at:begin])
        at = end
    rest = "".join((*left, text[at:])).lstrip()
    return rest if "```" in rest or len(rest.strip()) >= LEAST_LEFT else None


def _about_self(text: str, begin: int, end: int) -> bool:
    sentence = text[begin:end]
    match = _ABOUT_SELF.search(sentence)
    return match is not None and bool(_CASED.search(match[0])) and not quoted(text, begin + match.start())


def _first(turn: Message) -> str:
    return turn.content[:160]
