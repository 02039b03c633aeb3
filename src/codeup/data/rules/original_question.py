"""Rewrites of one MetaMath question are kept together when rows are held out.

    "If the answer is 12, what is x?"   in the group of   "Ann has 3 bags with 4 apples each. How many apples?"

Done by the source `metamathqa`, from `original_question`. Switched off, every row is a group of its own, and
rewrites of a question that was trained on may be held out.
"""

from __future__ import annotations

from codeup.data import rows

ON = True
SOURCES = frozenset({"metamathqa"})
REPAIRS = (rows.GROUPED,)
DROPS: tuple[str, ...] = ()
apply = None
