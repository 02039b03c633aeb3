"""In which natural language the sentences of a conversation are, with its code taken out first.

    "Schreibe eine Funktion.\\n```python\\nx = 1\\n```"   ->   "de"
    "for i in range(3): print(i)"                        ->   ""     too little prose to tell

Uses py3langid (the extra `code`), whose model comes with the package. Too little prose, and a guess that is
not sure, say nothing ("") rather than something wrong: a filter leaves such rows alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from codeup.data.code_languages import looks_like
from codeup.data.fences import has_fence, prose
from codeup.errors import UserError, installs
from codeup.types import Conversation

LEAST_LETTERS = 40
"""Fewer letters of prose than this say nothing."""
MOST_CHARACTERS = 2000
SURE = 0.9
"""Probability from which the guess is taken."""
_NOT_PROSE = re.compile(r"`[^`\n]*`|https?://\S+|<[^>\n]{1,80}>|[\w./\\]*[_/\\{}()=\[\];<>$#@|]\S*|\d+")


def of(conversation: Conversation) -> str:
    """The ISO 639-1 code of the language of all turns together; '' where it cannot be told."""
    return of_text("\n".join(_prose(turn.content) for turn in conversation.messages if turn.role != "system"))


def of_text(text: str) -> str:
    """The language of a text that holds no code blocks."""
    words = _NOT_PROSE.sub(" ", text[: 2 * MOST_CHARACTERS])[:MOST_CHARACTERS]
    if sum(map(str.isalpha, words)) < LEAST_LETTERS:
        return ""
    language, probability = _identifier().classify(words)
    return str(language) if probability >= SURE else ""


def check(languages: Sequence[str]) -> None:
    """Raise UserError for a code that the model does not know, or without py3langid."""
    known = _identifier().labels
    unknown = [code for code in languages if code not in known]
    if unknown:
        codes = ", ".join(sorted(known))
        raise UserError(f"{', '.join(unknown)}: no language that can be told", mend=f"codes of ISO 639-1: {codes}")


def _prose(text: str) -> str:
    if has_fence(text):
        return prose(text)
    return "" if looks_like(text) else text


@functools.cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError("py3langid is not installed", mend=installs("code")) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
