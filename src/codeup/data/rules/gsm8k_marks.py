"""GSM8K's calculator marks are removed, and its last line is written out in words.

    "48/2 = <<48/2=24>>24 clips\\n#### 24"   ->   "48/2 = 24 clips\\nThe answer is: 24"

Done by the source `gsm8k`. Switched off, the model learns the marks.
"""

from __future__ import annotations

from codeup.data import rows

ON = True
SOURCES = frozenset({"gsm8k"})
REPAIRS = (rows.MARKS_REMOVED,)
DROPS: tuple[str, ...] = ()
apply = None
