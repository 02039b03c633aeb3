"""The 2024 CodeUp study's way from an answer to a program (that of SelfCodeAlign), for comparing with its numbers.

    chat form   the text after the last ```python, up to the next ```; an answer without a fence is taken whole
    base form   for each stop string in turn, the text before its last occurrence
    program     the problem's prompt + that text, with nothing between

Taking the last block loses every answer that ends with an example call or an installation hint: 13 of the study's 164
HumanEval files hold no `def` at all. Our own rules are in extract.py.
"""

from __future__ import annotations

from collections.abc import Iterable


def from_chat(raw: str) -> str:
    """The last block that is tagged python."""
    return raw.split("```python")[-1].split("```")[0]


def from_completion(raw: str, stops: Iterable[str]) -> str:
    """A continuation cut before the last hit of each stop string, one stop after the other."""
    for stop in stops:
        raw = raw.rsplit(stop, 1)[0]
    return raw
