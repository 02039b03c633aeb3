"""What holds for any text a person or a model may write into a message."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_for_tests import SPECIAL, byte_level

from codeup.chat import TEMPLATES, Renderer
from codeup.types import Conversation, Message, Tokens

# Pieces that have gone wrong somewhere: special tokens whole and in halves, templates, headings, whitespace, emoji.
PIECES = [
    *SPECIAL,
    "<|",
    "|>",
    "im_end",
    "{{idx}}",
    "{% x %}",
    "### Response:\n",
    "\n",
    "\r\n",
    "  ",
    "\t",
    "😀",
    "é",
    ".",
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map("".join)
# lone surrogates are refused with a message of their own
texts = texts.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
ordinary = st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=30).filter(
    lambda text: not text[:1].isspace()
)


@cache
def renderer(template: str) -> Renderer:
    return Renderer(byte_level(), template)


def conversation(ask: str, second: str, answer: str) -> Conversation:
    return Conversation((Message("user", ask, second), Message("assistant", answer)))


@cache
def template_specials(template: str, bare: bool = True) -> list[int]:
    return specials(template, renderer(template).render(conversation("x", "", "x")))


def specials(template: str, rendered: Tokens) -> list[int]:
    known = renderer(template).tokenizer.added_tokens_decoder
    return [token for token in rendered.ids if token in known]


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=150, deadline=None)
@given(ask=texts, second=texts, answer=texts)
def test_no_text_makes_a_special_token(template: str, ask: str, second: str, answer: str) -> None:
    rendered = renderer(template).render(conversation(ask, second, answer))
    assert specials(template, rendered) == template_specials(template)


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=150, deadline=None)
@given(ask=texts, second=texts, answer=texts)
def test_the_answer_part_decodes_to_the_answer(template: str, ask: str, second: str, answer: str) -> None:
    ours = renderer(template)
    rendered = ours.render(conversation(ask, second, answer))
    learned = [token for token, trained in zip(rendered.ids, rendered.trained, strict=True) if trained]
    assert learned[-1] == ours.end_ids[0]
    assert ours.decode(learned) == answer
    assert "".join(text for text, trained in ours.text_pieces(rendered) if trained) == answer + ours.end_token


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=150, deadline=None)
@given(ask=ordinary, second=ordinary, answer=ordinary)
def test_ordinary_text_gives_the_ids_of_apply_chat_template(template: str, ask: str, second: str, answer: str) -> None:
    ours = renderer(template)
    rendered = ours.render(conversation(ask, second, answer))
    theirs = [{"role": "user", "content": ask, "input": second}, {"role": "assistant", "content": answer}]
    assert list(rendered.ids) == ours.tokenizer.apply_chat_template(theirs, return_dict=False)
