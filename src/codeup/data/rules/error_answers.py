"""Error messages of a chat page that were saved as answers end their conversation there.

    gpt "Too many requests in 1 hour. Try again later."   ->   the question and everything after it are cut

Only answers that are such a message and nothing else. A row that is nothing else is dropped.
"""

from __future__ import annotations

import re

from codeup.data.mend import repaired
from codeup.data.rows import Drop
from codeup.data.rules._sentences import pair_before
from codeup.types import Conversation

ON = True
SOURCES = frozenset({"sharegpt", "sharegpt_parts"})
ENDED = "turns from a chat page's error message on cut"
DROPPED = "rule: error_answers"
REPAIRS = (ENDED,)
DROPS = (DROPPED,)
_MESSAGE = re.compile(
    r"\s*(?:!|<p>)?(?:Too many requests in 1 hour\. Try again later\.|network error|Network error"
    r"|An error occurred\. If this issue persists please contact us through our help center at help\.openai\.com\.?"
    r"|Something went wrong[^\n]{0,120}help\.openai\.com\.?"
    r"|The server had an error while processing your request[^\n]{0,80}"
    r"|Error in (?:body|message) stream|Conversation not found)(?:</p>)?\s*\Z"
)


def apply(conversation: Conversation) -> Conversation | Drop:
    """The turns before the first such message; the same object where there is none."""
    for at, turn in enumerate(conversation.messages):
        if turn.role == "assistant" and len(turn.content) < 400 and _MESSAGE.match(turn.content):
            kept = pair_before(conversation.messages, at)
            return repaired(conversation, kept, ENDED) if kept else Drop(DROPPED, turn.content[:160])
    return conversation
