"""Conversations whose answers hold code that its language's own compiler refuses are left out (in the sandbox).

    ["java"]     an answer with a ```java block that fails wherever it may stand: dropped; one that lacks a class: kept

It takes sandboxes, many rows at once: decided by codecheck/ after repeats and benchmark problems, not row by row here.
"""

from __future__ import annotations

from collections.abc import Sequence

REASON = "filter: code_compiles"


def make(setting: Sequence[str]) -> None:
    """Nothing is decided while rows are read."""
