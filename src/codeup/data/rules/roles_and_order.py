"""Turns before the first question and a last question without an answer are cut; the other turns are kept.

    gpt "Hi." human "Add 1 and 2." gpt "3" human "Thanks"   ->   user "Add 1 and 2." assistant "3"

Done by the sources that hold turns (`rows.alternating`), which also unify the names of the speakers. Switched off, such
a row is dropped for its order.
"""

from __future__ import annotations

from codeup.data import rows

ON = True
SOURCES: frozenset[str] = frozenset()
REPAIRS = (rows.LEADING_TURNS_CUT, rows.TRAILING_QUESTION_CUT)
DROPS: tuple[str, ...] = ()
apply = None
