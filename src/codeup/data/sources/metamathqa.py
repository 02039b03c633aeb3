"""MetaMathQA: 395,000 mathematics questions rewritten from GSM8K and MATH, with worked answers.

One original question has many rewrites (`type` says how). `original_question` becomes the split group, so that rewrites
of one question never stand on both sides of a validation split; an older file without that column is grouped by the
question itself. The whole `query` is the question, also where it has several lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codeup.data import rows
from codeup.data.licences import Claim, Terms
from codeup.types import Conversation

HUB_ID = "meta-math/MetaMathQA"
TERMS = Terms(
    (Claim("mit", "its card on the Hub", "2026-11"),),
    made_with="an OpenAI model",
)
COLUMNS = {"query": rows.REQUIRED, "response": rows.REQUIRED, "original_question": rows.OPTIONAL}
FIXTURE = [
    {
        "type": "GSM_Rephrased",
        "query": "Ann owns 3 bags of 4 apples. How many apples has she?",
        "original_question": "Ann has 3 bags with 4 apples each. How many apples?",
        "response": "3 bags of 4 apples are 3 * 4 = 12 apples.\nThe answer is: 12",
    },
    {
        "type": "GSM_FOBAR",
        "query": "Ann has x bags with 4 apples each.\nIf the answer is 12, what is x?",
        "original_question": "Ann has 3 bags with 4 apples each. How many apples?",
        "response": "4 * x = 12, so x = 3.\nThe answer is: 3",
    },
    {"type": "MATH_AnsAug", "query": "What is 2 + 2?", "original_question": "What is 2 + 2?", "response": ""},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """`query` and `response`, grouped by `original_question`."""
    found = rows.texts(row, columns, ("query", "response"), ("original_question",))
    if isinstance(found, rows.Drop):
        return found
    alone = rows.single_turn(found["query"], found["response"])
    original = found["original_question"]
    if isinstance(alone, rows.Drop) or rows.blank(original) or original == found["query"]:
        return alone if isinstance(alone, rows.Drop) else replace(alone, group=original)
    return rows.Repaired(alone.messages, group=original, repairs=(rows.GROUPED,), before=alone)
