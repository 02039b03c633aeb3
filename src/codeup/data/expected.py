"""Whether a set has the size it is known to have, and whether it is the same rows twice.

    143,000 expected, 286,000 conversations, row 143,000 + n repeats row n
    ->  "wizardlm…: its second half repeats its first: every row is there twice"

What is off is said and nothing is done about it: exact duplicates leave a dataset anyway (`dedup`), and a set may have
changed. More than 2 % is off. Only counts are compared, so rows that were exchanged are not noticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from codeup.data.dedup import EXACT
from codeup.data.rows import NOTHING_TO_LEARN, TOO_LONG

OFF = 0.02
"""The share from which a count is off."""
AFTER_SIFTING = (TOO_LONG, NOTHING_TO_LEARN, "mix")
"""Reasons of drops that come after duplicates and contamination are out."""


def warnings(
    summary: Mapping[str, Any], dropped: Path, *, expected: Sequence[int | None], expected_in_all: int | None
) -> list[str]:
    """What is off in a prepared set. `expected` has one count, or None, for each source of the recipe."""
    found = list(_twice(summary["sources"], dropped))
    for entry, count in enumerate(expected):
        files = [each for each in summary["sources"] if each["entry"] == entry]
        if count and files:
            found += _off(files[0]["source"], sum(each["usable"] for each in files), count, "conversations")
    if expected_in_all:
        in_all = summary["rows_kept"] + sum(summary["dropped"].get(reason, 0) for reason in AFTER_SIFTING)
        found += _off("all sources", in_all, expected_in_all, "conversations without duplicates")
    return found


def _off(what: str, count: int, expected: int, of: str) -> Iterator[str]:
    if abs(count - 2 * expected) <= OFF * 2 * expected:
        yield f"{what}: {count:,} {of}, twice the {expected:,} expected: is this a copy that holds every row twice?"
    elif abs(count - expected) > OFF * expected:
        yield f"{what}: {count:,} {of}, {expected:,} expected ({(count - expected) / expected:+.1%})"


def _twice(sources: Sequence[Mapping[str, Any]], dropped: Path) -> Iterator[str]:
    """Files that are the same, and files of which the second half is the first."""
    first: dict[str, str] = {}
    for each in sources:
        path = each["path"]
        if each["rows_in"] and first.setdefault(each["sha256"], path) != path:
            yield f"{each['source']}: {Path(path).name} is the same file as {Path(first[each['sha256']]).name}"
    counts = {label(each, sources[:at]): each for at, each in enumerate(sources)}
    for (name, of, shift), repeats in _repeats(dropped).items():
        usable, rows_in = counts[name]["usable"], counts[name]["rows_in"]
        if name == of and 2 * shift == rows_in and 4 * repeats > usable:
            yield f"{name}: its second half repeats its first ({repeats:,} of {shift:,} rows): every row is there twice"


def label(count: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> str:
    """The label of a file in the account, as `Funnel.add` gives it."""
    name = f"{count['source']}:{Path(count['path']).name}"
    same = sum(f"{each['source']}:{Path(each['path']).name}" == name for each in before)
    return f"{name}#{same + 1}" if same else name


def _repeats(dropped: Path) -> Counter[tuple[str, str, int]]:
    """How often a row of a file repeats the row so many rows before it, by (file, file of that row, distance)."""
    found: Counter[tuple[str, str, int]] = Counter()
    with dropped.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            if row["reason"] == EXACT:
                of, _, rest = row["detail"].rpartition(" row ")
                found[row["source"], of, row["row"] - int(rest.partition(",")[0])] += 1
    return found
