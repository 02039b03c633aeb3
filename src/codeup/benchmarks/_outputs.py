"""When two outputs are the same: of programs that print, and of functions whose values went through JSON.

    printed "1 2 \\n3\\n\\n"   expected "1 2\\n3"        strict: same (white space at the end of lines and of the text)
    printed "2 1\\n3\\n"      expected "1 2\\n3\\n"      strict: not the same; lenient: same, as in APPS's own grader

Each is called with what was printed and what is expected, in the judge. `lenient` follows apps/eval/testing_util.py of
hendrycks/apps as it is described: it ends in comparing sets of sets of tokens, so a wrong order or repetition can pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any


def strict(printed: str, expected: str) -> bool:
    """Line by line, without white space at the end of lines and of the text."""
    return _lines(printed) == _lines(expected)


def decimals(printed: str, expected: str) -> bool:
    """As LiveCodeBench: lines without outer white space are equal, or hold equal numbers ("1.0" is "1.00")."""
    ours, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (printed, expected))
    if len(ours) != len(theirs):
        return False
    return all(
        a == b or ((x := _numbers(a)) is not None and x == _numbers(b)) for a, b in zip(ours, theirs, strict=True)
    )


def lenient(printed: str, expected: str) -> bool:
    """As APPS: equal lines, close numbers, or the same set of sets of tokens, numbers rounded to three places."""
    ours, theirs = ([line.strip() for line in text.split("\n") if line.strip()] for text in (printed, expected))
    if ours == theirs:
        return True
    if len(ours) == len(theirs) and all(_close(a.split(), b.split()) for a, b in zip(ours, theirs, strict=True)):
        return True
    if {frozenset(line.split()) for line in ours} == {frozenset(line.split()) for line in theirs}:
        return True
    rounded = [_tokens(lines, lambda token: str(round(float(token), 3))) for lines in (ours, theirs)]
    return rounded[0] is not None and rounded[0] == rounded[1]


def same_value(got: Any, expected: Any) -> bool:
    """Of a function: equal after JSON (tuples are lists, keys are text). APPS wraps some results in a list of one, and
    does not say which, so the element of such a list is right too."""
    plain = as_json(got)
    if plain == expected:
        return True
    return isinstance(expected, list) and len(expected) == 1 and plain == expected[0]


def same_json(got: Any, expected: Any) -> bool:
    """Of a function: equal after JSON (tuples are lists, keys are text)."""
    return bool(as_json(got) == expected)


def as_json(value: Any) -> Any:
    """A plain value as JSON would bring it back."""
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    if isinstance(value, dict):
        return {str(key): as_json(part) for key, part in value.items()}
    return value


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _numbers(line: str) -> list[Decimal] | None:
    try:
        return [Decimal(token) for token in line.split()]
    except InvalidOperation:
        return None


def _close(ours: list[str], theirs: list[str]) -> bool:
    """numpy.allclose's tolerances, as the original calls it."""
    try:
        pairs = [(float(a), float(b)) for a, b in zip(ours, theirs, strict=True)]
    except ValueError:
        return False
    return all(a == b or abs(a - b) <= 1e-8 + 1e-5 * abs(b) for a, b in pairs if not (math.isnan(a) or math.isnan(b)))


def _tokens(lines: list[str], read: Callable[[str], str]) -> set[frozenset[str]] | None:
    try:
        return {frozenset(read(token) for token in line.split()) for line in lines}
    except (ValueError, OverflowError):
        return None
