"""Conversations with e-mail or public network addresses are left out, or those are masked.

    "bob.smith@acme-tools.io"   ->   mask: "<EMAIL>"; drop: the whole conversation; report: counted only

What counts is in `data/secrets.py`. No report and no example ever shows what was found.
"""

from __future__ import annotations

from collections.abc import Callable

from codeup.data.filters._hidden import hide
from codeup.data.rows import Drop
from codeup.data.secrets import PERSONAL
from codeup.types import Conversation

REASON = "filter: personal"
MASKED = "addresses masked"


def make(setting: str) -> Callable[[Conversation], Conversation | Drop] | None:
    """`mask` or `drop`; None for `off` and `report`, which change nothing."""
    return hide(setting, PERSONAL, REASON, MASKED)
