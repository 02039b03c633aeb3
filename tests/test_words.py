"""Words and runs of words as hashes: equal where the text says the same, different where it does not."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeup.data import words
from codeup.data.words import CODE, PROSE


def same(a: str, b: str, kind: words.Kind) -> bool:
    found = words.words([a, b], kind)
    return found.of(0).tolist() == found.of(1).tolist()


def test_case_and_white_space_do_not_count() -> None:
    assert same("Add  a\tand\nB", "add a and b", PROSE)


def test_signs_count_in_code_and_not_in_prose() -> None:
    assert not same("a + b", "a - b", CODE)
    assert same("a + b", "a - b", PROSE)
    assert same("max_length", "max length", PROSE)
    assert not same("max_length", "max length", CODE)


def test_unicode_forms_of_one_text_are_the_same_words() -> None:
    assert same("Cafe\u0301", "café", PROSE)
    assert not same("café", "cafe", PROSE)


def test_case_does_not_count_beyond_ascii_either() -> None:
    assert same("ÉTÉ Straße", "été straße", PROSE) and same("’A’ é", "’a’ é", CODE)
    assert same("ΣΑΣ", "σας", PROSE)  # which small sigma, the place in the word decides


def test_distinct_words_are_sorted_and_each_text_keeps_its_own() -> None:
    found = words.distinct(words.words(["b a b a", "", "a"], PROSE))
    a, b = words.words(["a", "b"], PROSE).hashes.tolist()
    assert [found.of(text).tolist() for text in range(3)] == [sorted([a, b]), [], [a]]


def test_each_text_has_its_own_words_also_empty_ones() -> None:
    found = words.words(["one two", "", "...", "three"], PROSE)
    assert found.counts().tolist() == [2, 0, 0, 1]
    assert words.words([], CODE).counts().tolist() == []


@given(st.lists(st.text(alphabet="ab c_+é", max_size=12), max_size=6))
def test_words_are_those_of_splitting_each_text_alone(texts: list[str]) -> None:
    together = words.words(texts, CODE)
    for number, text in enumerate(texts):
        assert together.of(number).tolist() == words.words([text], CODE).hashes.tolist()


def test_a_window_is_a_run_of_words_in_order_and_inside_one_text() -> None:
    found = words.windows(words.words(["a b c d", "b c", "c b", "d"], PROSE), 2)
    assert found.counts().tolist() == [3, 1, 1, 1]  # "d" alone is a window of one word
    assert found.of(0)[1] == found.of(1)[0]
    assert found.of(1)[0] != found.of(2)[0]
    assert words.windows(words.words(["d", ""], PROSE), 2, whole=False).counts().tolist() == [0, 0]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_windows_are_equal_exactly_where_the_words_are(size: int) -> None:
    text = "x y x y x y z x y x"
    split = text.split()
    expected = [tuple(split[i : i + size]) for i in range(len(split) - size + 1)]
    found = words.windows(words.words([text], PROSE), size).hashes.tolist()
    assert [found.index(each) for each in found] == [expected.index(each) for each in expected]


def test_jaccard_is_that_of_the_sets() -> None:
    found = words.distinct(words.words(["a b b c", "b c d e"], PROSE))
    assert words.jaccard(found.of(0), found.of(1)) == 2 / 5
    assert words.jaccard(found.of(0), np.zeros(0, np.uint64)) == 0.0


def test_runs_hash_the_same_wherever_they_stand() -> None:
    """The running sum goes over all texts; a run's hash must not tell where in it the run lies."""
    texts = ["a b c d e f g", *["x y z"] * 40, "c d e f g h"]
    found = words.windows(words.words(texts, PROSE), 5)
    alone = [words.windows(words.words([text], PROSE), 5).hashes.tolist() for text in texts]
    assert [found.of(number).tolist() for number in range(len(texts))] == alone
    assert found.of(0)[2] == found.of(41)[0]  # c d e f g


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.lists(st.integers(0, 2**64 - 1), max_size=40), st.data())
def test_known_hashes_are_found_and_no_others(known: list[int], others: list[int], data: st.DataObject) -> None:
    near = [(each + data.draw(st.sampled_from([-1, 0, 1, 1 << 40]))) % 2**64 for each in known]
    asked = [*others, *near, *known]
    table = words.Known(np.unique(np.array(known, np.uint64)))
    where, place = table.find(np.array(asked, np.uint64))
    assert where.tolist() == [number for number, each in enumerate(asked) if each in known]
    assert [int(table.hashes[each]) for each in place] == [each for each in asked if each in known]


def test_signs_that_are_taken_for_normalised_are_so_next_to_any_other() -> None:
    """Unicode's quick check (UAX 15): a form of its own, no mark, and second in no composition."""
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(0x110000))
    second = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    jamo = {chr(code) for code in (*range(0x1160, 0x1200), *range(0xA960, 0xA980), *range(0xD7B0, 0xD800))}
    usual = [sign for code in range(128, 0x110000) if words._USUAL.fullmatch(sign := chr(code))]
    assert len(usual) > 30_000
    wrong = [each for each in usual if unicodedata.normalize("NFKC", each) != each or unicodedata.combining(each)]
    assert not wrong and not (second | jamo).intersection(usual)
