"""Code Alpaca: 20,022 code instructions in the Alpaca shape, made by self-instruct (alpaca shape).

    {"instruction": "Write a function for the factorial.", "input": "", "output": "def factorial(n): ..."}

The rules are those of `alpaca`. Its repository also has parts of 2,017 and 4,535 rows; the latter has a fourth column,
`response`, equal to `output`, which is not read. Two licences are claimed for the set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import Claim, Terms
from codeup.data.sources import alpaca
from codeup.types import Conversation

HUB_ID = "sahil2801/CodeAlpaca-20k"
TERMS = Terms(
    (
        Claim("cc-by-nc-4.0", "DATA_LICENSE of its repository", "2026-11"),
        Claim("cc-by-4.0", "its card on the Hub", "2026-11"),
    ),
    made_with="an OpenAI model (text-davinci-003)",
)
COLUMNS = alpaca.COLUMNS
FIXTURE = [
    {"instruction": "Print hello in Python.", "input": "", "output": 'print("hello")'},
    {"instruction": "Add the numbers in SQL.", "input": "2 and 3", "output": "SELECT 2 + 3;", "response": "SELECT 5;"},
    {"instruction": "Sort a list.", "input": "<noinput>", "output": ""},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """As `alpaca`."""
    return alpaca.convert(row, columns=columns)
