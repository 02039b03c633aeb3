"""Turns before the first question, a last one without an answer and turns from the first out of order on are cut.

    gpt "Hi." human "Add 1 and 2." gpt "3" human "Thanks"   ->   user "Add 1 and 2." assistant "3"

Done by the sources that hold turns (`rows.alternating`), which also unify the names of the speakers. Switched off, such
a row is dropped for its order.
"""

from __future__ import annotations

from codeup.data import rows

ON = True
SOURCES: frozenset[str] = frozenset()
REPAIRS = (rows.LEADING_TURNS_CUT, rows.TRAILING_QUESTION_CUT, rows.DISORDER_CUT)
DROPS: tuple[str, ...] = ()
apply = None
