"""ShareGPT as it was published, cut into parts (ids `X_0`, `X_4`): each conversation is put together again.

Shape and repairs of `sharegpt`; the parts of a conversation are joined by their ids (data/rejoin.py), and the rows that
were joined are counted. Without a path it reads the unfiltered set of 2023, whose card speaks of 53,000 conversations;
the file holds them in parts. Whether its parts follow each other without gaps has not been seen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup.data import rows
from codeup.data.files import Row
from codeup.data.licences import Claim, Terms
from codeup.data.rejoin import rejoined
from codeup.data.sources import sharegpt
from codeup.types import Conversation

HUB_ID = "anon8231489123/ShareGPT_Vicuna_unfiltered:ShareGPT_V3_unfiltered_cleaned_split.json"
TERMS = Terms((Claim("apache-2.0", "its card on the Hub", "2026-11"),), made_with="OpenAI models")
COLUMNS = {**sharegpt.COLUMNS, "id": rows.REQUIRED}
FIXTURE = [{"id": f"{row['id']}_0", **row} for row in sharegpt.FIXTURE]


def read(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a file with their parts joined."""
    return rejoined(path, columns.get("id", "id"), columns.get("conversations", "conversations"))


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """As `sharegpt`."""
    if columns.get("id", "id") not in row:
        return rows.Drop(rows.MISSING_COLUMN, "no id")
    return sharegpt.convert(row, columns={name: column for name, column in columns.items() if name != "id"})
