"""Duplicates: which rows are found, against comparing all pairs; which row of a cluster stays."""

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeup.data import dedup
from codeup.data.spool import Spool
from codeup.types import Conversation, Message

WHITE = [chr(code) for code in range(0x3001) if chr(code).isspace()]


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
    few, more = row("q", "word"), row("q", "words, more of them than there are signs of code in any of the others here")
    some = [broken, few, whole, more, few]
    by_rule = [2, 3, 0, 1, 4]
    for count in range(1, 6):
        for rows in itertools.permutations(range(5), count):
            wanted = [place for place in by_rule if place in rows]
            assert dedup.best_first(rows, dict(enumerate(some))) == wanted


def test_an_exact_duplicate_of_a_dropped_row_points_at_the_row_that_is_kept(spool: Spool) -> None:
    text = " ".join(f"w{number}" for number in range(80))
    fill(spool, [row(text, "short"), row(text, "short"), row(text, "short and longer")])
    found = dedup.find(spool, "near", 0.8).duplicates
    assert {each.row: (each.of, each.reason) for each in found.values()} == {0: (2, dedup.NEAR), 1: (2, dedup.NEAR)}


def test_rows_too_short_for_a_shingle_are_near_only_when_equal(spool: Spool) -> None:
    fill(spool, [row("a", "b"), row("a", "c"), row("a", "b!")])
    assert not dedup.find(spool, "near", 0.5).duplicates


@given(st.lists(st.text(alphabet="ab \n\t\x1c\x85\xa0\u2003\u2028\u00e9e\u0301", max_size=8), max_size=12))
def test_keys_are_equal_exactly_where_texts_are_but_for_white_space_and_composition(texts: list[str]) -> None:
    keys = [key.tobytes() for key in dedup._keys(texts)]
    plain = [" ".join(unicodedata.normalize("NFC", text).split()) for text in texts]
    assert [keys.index(key) for key in keys] == [plain.index(text) for text in plain]


@given(
    st.lists(
        st.tuples(st.text("abe\u00e9\u0301", max_size=3), st.sampled_from(WHITE), st.sampled_from(WHITE)), max_size=9
    )
)
def test_rows_that_differ_in_white_space_and_composition_are_proposed(parts: list[tuple[str, str, str]]) -> None:
    """By either method."""
    one, other = ("".join(f"{part[0]}{part[way]}" for part in parts) for way in (1, 2))
    rows_in = [row(one, "x"), row(unicodedata.normalize("NFC", other), "x"), row(f"{one}c", "x"), row("c" + one, "x")]
    for method in ("exact", "near"):
        first, same, *others = (key.tobytes() for key in dedup.sign(rows_in, method, 0.8).keys)
        assert first == same and first not in others


def test_rows_of_one_proposal_that_are_not_equal_stay(spool: Spool) -> None:
    """All four differ in white space and in what else its bytes write; the first and the last in white space alone."""
    check_proposal(spool, "exact", [row("a b", "c"), row("ab", "c"), row("a\u2080b", "c"), row(" a\u2003b\n", "c")])


def test_rows_of_the_same_words_that_are_not_equal_stay(spool: Spool) -> None:
    """Case and Unicode forms do not count in words; the first and the last differ in white space alone."""
    rows_in = [row("a fi", "c"), row("A fi", "c"), row("a \ufb01", "c"), row(" a\u2003fi\n", "c")]
    check_proposal(spool, "near", rows_in)


def check_proposal(spool: Spool, method: dedup.Method, rows_in: Sequence[Conversation]) -> None:
    assert len({key.tobytes() for key in dedup.sign(rows_in, method, 0.8).keys}) == 1
    fill(spool, rows_in)
    equal = (each for each in dedup.find(spool, method).duplicates.values() if each.reason == dedup.EXACT)
    assert {(each.row, each.of) for each in equal} == {(3, 0)}


def test_pairs_must_share_as_many_bands_as_usual() -> None:
    """Rows 0 and 1 share 4 of 8 bands, 0 and 2 three, 1 and 2 three others; rows 3 to 5 none."""
    bands = np.arange(48, dtype=np.uint32).reshape(6, 8)
    bands[1, :4] = bands[0, :4]
    bands[2, :3] = bands[0, :3]
    assert dedup.candidates(bands, 4).tolist() == [[0, 1]]
    assert dedup.candidates(bands, 3).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert dedup.candidates(bands[3:], 1).tolist() == []


def test_pairs_are_counted_in_parts_without_losing_any(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    bands = draw.integers(0, 40, (300, 8)).astype(np.uint32)
    whole = dedup.candidates(bands, 2).tolist()
    monkeypatch.setattr(dedup, "MOST_PAIRS", 10)
    monkeypatch.setattr(dedup, "CHUNK", 7)
    assert dedup.candidates(bands, 2).tolist() == whole and len(whole) > 100


@pytest.mark.parametrize("threshold", [0.95, 0.9, 0.8, 0.75, 0.6, 0.5])
def test_a_pair_at_the_threshold_shares_enough_bands_nearly_always(threshold: float) -> None:
    """By drawing, not by the formula: 20,000 pairs whose signatures agree with the threshold's probability."""
    size, least = dedup.band_rows(threshold), dedup.least_bands(threshold)
    agree = np.random.default_rng(1).random((20_000, 128 // size, size)) < threshold
    shared = agree.all(axis=2).sum(axis=1)
    assert (shared >= least).mean() >= dedup.RECALL
    assert least == 1 or (shared >= least).mean() > 0.999
    one_more = (shared >= least + 1).mean()
    assert one_more < 1 and (least > 1 or one_more < 0.9999)
