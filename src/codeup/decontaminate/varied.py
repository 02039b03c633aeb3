"""More inputs for a problem with few tests, made of those it has: the same kinds of values, other ones.

    [3, 1, 2], 4   ->   [2, 1, 3], 4    [1, 2], 4    [3, 1, 2], 5    [3, 1, 3], 4 ...

A yes-or-no question with three tests is passed by many wrong functions; EvalPlus showed what more inputs do (Liu et al.
2023, arXiv 2305.01210). Nothing is made negative, zero or empty that was not, so that most inputs are ones the problem
allows; not all are, which is why an answer need only agree on most of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

TRIES = 400


def varied(inputs: Sequence[Sequence[Any]], count: int, seed: int = 0) -> Iterator[list[Any]]:
    """Up to `count` new argument lists, the same for the same inputs."""
    draw = random.Random(seed)
    seen = {repr(list(each)) for each in inputs}
    for _ in range(TRIES if inputs else 0):
        arguments = list(draw.choice(inputs))
        if not arguments:
            continue
        place = draw.randrange(len(arguments))
        arguments[place] = other(arguments[place], draw)
        if repr(arguments) not in seen:
            seen.add(repr(arguments))
            yield arguments
            count -= 1
        if count <= 0:
            return


def other(value: Any, draw: random.Random) -> Any:
    """A value of the same kind, near by."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = value + draw.choice([1, 2, 3, 5, 7, 10, -1, -2, -3])
        return near if (near < 0) == (value < 0) and (near == 0) == (value == 0) else value + (1 if value >= 0 else -1)
    if isinstance(value, float):
        return value * draw.choice([0.5, 1.5, 2.0]) + (0.25 if value > 0 else -0.25)
    if isinstance(value, str):
        return "".join(_rearranged(list(value), draw)) if len(value) > 1 else value
    if isinstance(value, list | tuple) and value:
        return type(value)(_rearranged(list(value), draw))
    if isinstance(value, dict) and value:
        return _with_another_entry(value, draw)
    return value


def _with_another_entry(entries: dict[Any, Any], draw: random.Random) -> dict[Any, Any]:
    """One entry gone, or with another key or value of the same kind."""
    key, how = draw.choice(list(entries)), draw.randrange(3)
    left = {each: value for each, value in entries.items() if each != key}
    if how == 0 and left:
        return left
    return {**left, (other(key, draw) if how == 1 else key): entries[key] if how == 1 else other(entries[key], draw)}


def _rearranged(parts: list[Any], draw: random.Random) -> list[Any]:
    """One part gone, two exchanged, one repeated or one changed."""
    how, place = draw.randrange(4), draw.randrange(len(parts))
    if how == 0 and len(parts) > 1:
        del parts[place]
    elif how == 1:
        elsewhere = draw.randrange(len(parts))
        parts[place], parts[elsewhere] = parts[elsewhere], parts[place]
    elif how == 2:
        parts.insert(draw.randrange(len(parts) + 1), parts[place])
    elif not isinstance(parts[place], str):
        parts[place] = other(parts[place], draw)
    return parts
