"""Conversations whose answers hold code that crashes when it is run are left out (in the sandbox).

    ["python"]     an answer with a ```python block that ends in a TypeError: dropped; in a NameError: kept

It takes sandboxes, many rows at once: decided by codecheck/ after repeats and benchmark problems, not row by row here.
"""

from __future__ import annotations

from collections.abc import Sequence

REASON = "filter: code_runs"


def make(setting: Sequence[str]) -> None:
    """Nothing is decided while rows are read."""
