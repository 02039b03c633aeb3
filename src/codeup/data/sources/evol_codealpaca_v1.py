"""Evol-CodeAlpaca v1: 111,272 code instructions, evolved from Code Alpaca.

The column `input` does not exist here. The set is known to hold solutions of benchmark problems: scores of a model that
learnt from it need a contamination check beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import Claim, Terms
from codeup.types import Conversation

HUB_ID = "theblackcat102/evol-codealpaca-v1"
TERMS = Terms(
    (
        Claim("cc-by-nc-4.0", "its card on the Hub in July 2023, as models derived from it record", "2026-11"),
        Claim("apache-2.0", "its card on the Hub", "2026-11"),
    ),
    made_with="OpenAI models (gpt-4-0314, gpt-4-0613)",
)
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
