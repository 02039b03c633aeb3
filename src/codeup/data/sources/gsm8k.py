"""GSM8K: 7,473 grade-school mathematics problems with worked answers.

    "48/2 = <<48/2=24>>24 clips in May.\\n#### 72"   becomes   "48/2 = 24 clips in May.\\nThe answer is: 72"

The calculator marks are removed and the final line is written as in MetaMathQA. The question is the split group, so
that rewrites of it in MetaMathQA, mixed into the same study, fall on the same side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import Claim, Terms
from codeup.types import Conversation, Message

HUB_ID = "openai/gsm8k:main/*"
TERMS = Terms((Claim("mit", "its card on the Hub", "2026-11"),))
COLUMNS = {"question": rows.REQUIRED, "answer": rows.REQUIRED}
NO_FINAL_ANSWER = "no final answer"
FIXTURE = [
    {
        "question": "Tim had 5 pens and lost 2. How many are left?",
        "answer": "Tim has 5 - 2 = <<5-2=3>>3 pens left.\n#### 3",
    },
    {
        "question": "A ticket costs $1,200. What do two cost?",
        "answer": "Two cost 2 * 1200 = $<<2*1200=2400>>2400.\n#### 2,400",
    },
    {"question": "How many legs have 3 cats?", "answer": "3 * 4 = <<3*4=12>>12 legs."},
]
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_FINAL = re.compile(r"^####[ \t]*(\S.*?)[ \t]*\Z", re.MULTILINE)


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """The question, and the answer in plain text."""
    found = rows.texts(row, columns, ("question", "answer"))
    if isinstance(found, rows.Drop):
        return found
    answer, marks = _CALCULATOR.subn("", found["answer"].rstrip())
    final = _FINAL.search(answer)
    if answer and final is None:
        return rows.Drop(NO_FINAL_ANSWER, "no last line that begins with ####")
    if final is not None:
        answer = f"{answer[: final.start()]}The answer is: {final[1]}"
    item = rows.single_turn(found["question"], answer, group=found["question"])
    if isinstance(item, rows.Drop) or not marks:
        return item
    before = Conversation((item.messages[0], Message("assistant", found["answer"])), group=item.group)
    return rows.Repaired(item.messages, group=item.group, repairs=(rows.MARKS_REMOVED,), before=before)
