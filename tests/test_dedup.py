"""Duplicates: which rows are found, against comparing all pairs; which row of a cluster stays."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from codeup.data import dedup
from codeup.data.spool import Spool
from codeup.types import Conversation, Message


def row(question: str, answer: str, number: int = 0) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), "rows", number)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as opened:
        yield opened


def fill(spool: Spool, rows: Sequence[Conversation]) -> None:
    for each in rows:
        spool.append(each)


def shingle_sets(rows: Sequence[Conversation]) -> list[set[tuple[str, ...]]]:
    """The oracle: shingles as tuples of text, by another route than words.py."""
    import re

    split = [re.findall(r"\w+|[^\w\s]", dedup.text_of(each).lower()) for each in rows]
    return [{tuple(each[i : i + 5]) for i in range(max(1, len(each) - 4))} for each in split]


def close_pairs(rows: Sequence[Conversation], threshold: float) -> dict[tuple[int, int], float]:
    sets = shingle_sets(rows)
    found = {}
    for a, b in itertools.combinations(range(len(rows)), 2):
        similarity = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        if similarity >= threshold:
            found[a, b] = similarity
    return found


def check_against_all_pairs(spool: Spool, rows: Sequence[Conversation], threshold: float) -> None:
    fill(spool, rows)
    found = dedup.find(spool, "near", threshold)
    pairs = close_pairs(rows, threshold)
    assert pairs
    for each in found.duplicates.values():  # no false pair: each dropped row is that close to a row that is kept
        assert each.of not in found.duplicates
        if each.reason == dedup.NEAR:
            assert pairs[tuple(sorted((each.row, each.of)))] == pytest.approx(each.similarity)  # type: ignore[index]
    missed = [pair for pair in pairs if not set(pair) & found.duplicates.keys()]
    assert len(missed) <= 0.01 * len(pairs), (len(missed), len(pairs))


def changed(text: str, draw: random.Random) -> str:
    parts = text.split()
    for _ in range(draw.randrange(1, 6)):
        parts[draw.randrange(len(parts))] = f"w{draw.randrange(1000)}"
    return " ".join(parts)


@pytest.mark.parametrize("threshold", [0.9, 0.8, 0.6])
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(spool: Spool, threshold: float) -> None:
    draw = random.Random(1)
    rows = []
    for number in range(60):
        question = " ".join(f"w{draw.randrange(1000)}" for _ in range(60))
        rows.append(row(question, f"answer {number}"))
        rows += [row(changed(question, draw), f"answer {number}") for _ in range(3)]
    draw.shuffle(rows)
    check_against_all_pairs(spool, rows, threshold)


@pytest.mark.real_data
def test_the_same_on_real_rows(spool: Spool, public_data: Path) -> None:
    rows = []
    for name in ("code_alpaca_2k.json", "new_codealpaca.json"):
        some = json.loads((public_data / "train" / name).read_text(encoding="utf-8"))[:400]
        rows += [row(f"{each['instruction']}\n{each['input']}", each["output"]) for each in some]
    check_against_all_pairs(spool, rows, 0.5)


def test_white_space_and_composition_do_not_make_another_row(spool: Spool) -> None:
    fill(spool, [row("caf\u00e9", "a  b\n"), row("cafe\u0301", "a b"), row("caf\u00e9", "a B"), row("café", "a b")])
    found = dedup.find(spool, "exact")
    assert {each.row: (each.of, each.reason) for each in found.duplicates.values()} == {
        1: (0, dedup.EXACT), 3: (0, dedup.EXACT),
    }  # fmt: skip
    assert found.clusters == {3: 1}


def test_who_speaks_is_part_of_a_row(spool: Spool) -> None:
    turns = (Message("user", "a"), Message("assistant", "b"))
    spool.append(Conversation(turns))
    spool.append(Conversation((Message("system", "a"), *turns)))
    assert not dedup.find(spool, "exact").duplicates


def test_no_row_is_dropped_because_of_a_chain_of_neighbours(spool: Spool) -> None:
    words = [f"w{number}" for number in range(100)]
    middle = " ".join(words)
    left, right = " ".join(words[:92]), " ".join(words[8:])  # both near the middle, not near each other
    fill(spool, [row(left, "x" * 9), row(middle, "x" * 3), row(right, "x" * 6)])
    found = dedup.find(spool, "near", 0.88)
    assert found.confirmed == 2
    assert {each.row: each.of for each in found.duplicates.values()} == {1: 0}  # 0 has the longest answer; 2 stays


def test_code_that_parses_is_better_than_a_longer_answer_and_that_than_an_earlier_row() -> None:
    broken = row("q", "```python\ndef f(:\n    return 1 + 1 + 1\n```")
    whole = row("q", "```python\ndef f():\n    return 1\n```")
    assert dedup.quality(whole) < dedup.quality(broken)
    assert dedup.quality(row("q", "longer words")) < dedup.quality(row("q", "words"))


def test_an_exact_duplicate_of_a_dropped_row_points_at_the_row_that_is_kept(spool: Spool) -> None:
    text = " ".join(f"w{number}" for number in range(80))
    fill(spool, [row(text, "short"), row(text, "short"), row(text, "short and longer")])
    found = dedup.find(spool, "near", 0.8).duplicates
    assert {each.row: (each.of, each.reason) for each in found.values()} == {0: (2, dedup.NEAR), 1: (2, dedup.NEAR)}


def test_rows_too_short_for_a_shingle_are_near_only_when_equal(spool: Spool) -> None:
    fill(spool, [row("a", "b"), row("a", "c"), row("a", "b!")])
    assert not dedup.find(spool, "near", 0.5).duplicates
