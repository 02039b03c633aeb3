"""Further rows of a generated list that were left in an answer are cut off.

    "A list.\\n\\n18. Instruction: Name a fruit.\\n18. Output: Apple"   ->   "A list."

Sets made by Self-Instruct were cut out of lists of twenty tasks; where the cut failed, the next task stands in the
answer. An answer that holds a "1. Instruction:", or whose question speaks of instructions, is such a list on purpose
and stays.
"""

from __future__ import annotations

import re
from dataclasses import replace

from codeup.data.mend import repaired
from codeup.types import Conversation

ON = True
SOURCES = frozenset({"alpaca", "code_alpaca", "evol_codealpaca_v1"})
CUT = "following rows in an answer cut"
REPAIRS = (CUT,)
DROPS: tuple[str, ...] = ()
_NEXT = re.compile(r"\n\s*(?:#{2,3}\s*)?(?P<n>[2-9]|[1-9]\d)\. ?Instructions?: ?\S")
_FIRST = re.compile(r"(?:^|\n)\s*(?:#{2,3}\s*)?1\. ?Instructions?:")


def apply(conversation: Conversation) -> Conversation:
    """The conversation with its last answer ended before the next row; the same object where there is none."""
    answer, question = conversation.messages[-1], conversation.messages[-2]
    found = _NEXT.search(answer.content) if "nstruction" in answer.content else None
    if found is None or _FIRST.search(answer.content) or "nstruction" in question.content:
        return conversation
    kept = answer.content[: found.start()].rstrip()
    if not kept:
        return conversation
    return repaired(conversation, (*conversation.messages[:-1], replace(answer, content=kept)), CUT)
