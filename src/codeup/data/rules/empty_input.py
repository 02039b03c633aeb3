"""An Alpaca input that only says there is none (`<noinput>`, `N/A`) is emptied.

    input "<noinput>"   ->   no input, and so the prompt without the "### Input:" part

Done by the sources `alpaca` and `code_alpaca`. Switched off, the words stay in the prompt.
"""

from __future__ import annotations

from codeup.data import rows

ON = True
SOURCES = frozenset({"alpaca", "code_alpaca"})
REPAIRS = (rows.NO_INPUT_EMPTIED,)
DROPS: tuple[str, ...] = ()
apply = None
