"""White space squeezed many texts at once, against what `str.split` takes for white space."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from codeup.data.white import WHITE_BYTES, squeezed

SPACES = "".join(chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace())


@given(st.lists(st.text(st.sampled_from(SPACES + "ab\0\u200bé’日"), max_size=30), max_size=6))
def test_texts_are_squeezed_as_split_and_join_do_it(texts: list[str]) -> None:
    assert squeezed([text.encode() for text in texts]) == [" ".join(text.split()).encode() for text in texts]


def test_every_white_sign_of_unicode_is_one_space() -> None:
    assert squeezed([f"a{sign}b".encode() for sign in SPACES]) == [b"a b"] * len(SPACES)


def test_every_byte_of_a_white_sign_is_known() -> None:
    assert set(SPACES.encode()) == set(WHITE_BYTES)
