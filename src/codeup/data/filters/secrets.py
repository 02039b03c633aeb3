"""Conversations with keys, tokens or private keys are left out, or those are masked.

    "AKIAQ3EGRVJYXKJ4TL2M"   ->   mask: "<AWS_ACCESS_KEY>"; drop: the whole conversation; report: counted only

What counts is in `data/secrets.py`. No report and no example ever shows what was found.
"""

from __future__ import annotations

from collections.abc import Callable

from codeup.data.filters._hidden import hide
from codeup.data.rows import Drop
from codeup.data.secrets import SECRET
from codeup.types import Conversation

REASON = "filter: secrets"
MASKED = "secrets masked"


def make(setting: str) -> Callable[[Conversation], Conversation | Drop] | None:
    """`mask` or `drop`; None for `off` and `report`, which change nothing."""
    return hide(setting, SECRET, REASON, MASKED)
