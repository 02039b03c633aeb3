"""Evol-CodeAlpaca v1: 111,272 code instructions, evolved from Code Alpaca.

The column `input` does not exist here. The set is known to hold solutions of benchmark problems: scores of a model that
learnt from it need a contamination check beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.types import Conversation

HUB_ID = "theblackcat102/evol-codealpaca-v1"
LICENCE = "Apache-2.0 by its dataset card, earlier CC BY-NC 4.0; answers come from OpenAI models"
COLUMNS = {"instruction": rows.REQUIRED, "output": rows.REQUIRED}
FIXTURE = [
    {
        "instruction": "Rewrite `def f(a): return a*2` so that it also refuses strings.",
        "output": "```python\ndef f(a):\n    if isinstance(a, str):\n        raise TypeError(a)\n    return a * 2\n```",
    },
    {"instruction": "Print the numbers 1 to 3 in C.", "output": 'for (int i = 1; i < 4; i++) printf("%d\\n", i);'},
    {"instruction": "Explain this code.", "output": "  \n"},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """`instruction` and `output`."""
    found = rows.texts(row, columns, ("instruction", "output"))
    return found if isinstance(found, rows.Drop) else rows.single_turn(found["instruction"], found["output"])
