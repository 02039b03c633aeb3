"""WizardLM Evol-Instruct V2: 143,000 general instructions, evolved step by step (sharegpt shape).

Rows are `{"idx": ..., "conversations": [{"from": "human" | "gpt", "value": ...}, ...]}`; every turn is kept, not only
the last pair. The set was published without the ShareGPT half of the "196k" in its name; nothing here adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup.data import rows
from codeup.data.licences import Claim, Terms
from codeup.types import Conversation

HUB_ID = "WizardLMTeam/WizardLM_evol_instruct_V2_196k"
TERMS = Terms(
    (
        Claim("cc-by-nc-4.0", "the data licence of the authors' code repository", "2026-11"),
        Claim("mit", "its card on the Hub", "2026-11"),
    ),
    made_with="OpenAI models",
)
COLUMNS = {"conversations": rows.REQUIRED, "from": rows.IN_EACH_TURN, "value": rows.IN_EACH_TURN}
FIXTURE = [
    {
        "idx": "w1",
        "conversations": [
            {"from": "human", "value": "Reverse a string in Python, and explain each step."},
            {"from": "gpt", "value": "Slicing does it:\n```python\ntext[::-1]\n```\nThe step -1 walks backwards."},
        ],
    },
    {
        "idx": "w2",
        "conversations": [
            {"from": "human", "value": "What is a heap?"},
            {"from": "gpt", "value": "A tree whose parents are never larger than their children."},
            {"from": "human", "value": "And in Python?"},
            {"from": "gpt", "value": "The module `heapq` keeps one in a list."},
        ],
    },
    {"idx": "w3", "conversations": [{"from": "human", "value": "Sort these."}, {"from": "gpt", "value": ""}]},
]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """All turns of the row."""
    turns = rows.named_turns(
        rows.cell(row, columns, "conversations"), columns.get("from", "from"), columns.get("value", "value")
    )
    return turns if isinstance(turns, rows.Drop) else rows.alternating(turns)
