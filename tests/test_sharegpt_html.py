"""What a chat page left in its text goes; clean text, and text about HTML, stays to the byte; twice is once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeup.data import fences
from codeup.data.mend import mender
from codeup.data.rows import Repaired
from codeup.data.rules.sharegpt_html import apply, clean
from codeup.types import Conversation, Message

PAGE = (
    '<div class="markdown prose w-full break-words light"><p>Use <code>x</code> &amp; <strong>y</strong>:</p>'
    '<pre><div class="bg-black mb-4"><div class="flex items-center"><span>python</span><button class="flex ml-auto">'
    '<svg><path d="M1"></path></svg>Copy code</button></div><div class="p-4"><code class="!whitespace-pre hljs '
    'language-python"><span class="hljs-keyword">if</span> x &lt; <span class="hljs-number">2</span>:\n    y = '
    '"&lt;div&gt;"\n\n\n\n    z\n</code></div></div></pre><ol><li>One</li><li><p>Two</p></li></ol><ul><li>dot</li></ul>'
    "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>"
    '<p>See <a href="https://docs.python.org">the docs</a>.</p></div>'
)
SHOWN = (
    'Use `x` & **y**:\n\n```python\nif x < 2:\n    y = "<div>"\n\n\n\n    z\n```\n\n1. One\n2. Two\n\n- dot\n\n'
    "| a | b |\n| --- | --- |\n| 1 | 2 |\n\nSee [the docs](https://docs.python.org)."
)
LEFT = [
    (PAGE, SHOWN),
    ("1 / 2\n\nSure, here.", "Sure, here."),
    ("```\npythonCopy code\nx = 1\n```", "```python\nx = 1\n```"),
    ("```\npythonCopy codex = 1\n```\nDone", "```python\nx = 1\n```\nDone"),
    ("```csharp\nCopy code\nvar x;\n```", "```csharp\nvar x;\n```"),
    ("Here:\npythonCopy code\nx = 1\n", "Here:\nx = 1\n"),
    ("Here it is. Copy123 chars / 4 words\nBye", "Here it is.\nBye"),
    ("Text.</div>\n</div>", "Text."),
    ('The <span class="hljs-keyword">if</span> word', "The if word"),
    ("\u200bHello\u200b world\ufeff", "Hello world"),
]


@pytest.mark.parametrize(("before", "after"), LEFT)
def test_what_the_page_left_is_removed(before: str, after: str) -> None:
    assert clean(before, answer=True) == after
    assert clean(after, answer=True) == after


ABOUT_HTML = [
    'To centre it, write `<div class="center">` and close it with </div>.',
    '<div class="w-full flex">\n  <span class="x">Hi</span>\n</div>\n\nWhy is this not centred?',
    "<div>\n<div>\n</div>\n</div>",
    '<html><body><div class="markdown">text</div></div></body></html>',
    '<div class="markdown prose">is what the page writes; how do I select it?',
    "```html\n<div class=\"markdown prose\"><span class=\"hljs-tag\">x</span>\n<button>Copy code</button></div>\n```",
    "```html\n<div>\n</div></div></div>\n```",
    "Add a button that says Copy code.\nCopy code\n",
    "Copy code from one file to another with `cp`.",
    "1 / 2 is a half.",
    "1 / 2\nis a half",
    "1 / 2",
    "7 / 3\n\nThe fraction is improper.",
    "Page 1 / 2\n\nText",
    "`Copy code` is a label; pythonic Copy code is not.",
    "ไทย\u200bไทย and 👩\u200d💻",
    "a &lt;b&gt; &amp;nbsp; c",
    "~~~\nx\u200by = 1\n~~~",
]  # fmt: skip


@pytest.mark.parametrize("text", ABOUT_HTML)
def test_text_about_html_and_counters_stays_to_the_byte(text: str) -> None:
    assert clean(text, answer=True) == text


def test_a_counter_is_only_one_in_an_answer() -> None:
    asked = Conversation((Message("user", "1 / 2\n\nWhat is it?"), Message("assistant", "1 / 2\n\nHalf.")))
    mended = apply(asked)
    assert [turn.content for turn in mended.messages] == ["1 / 2\n\nWhat is it?", "Half."]
    assert isinstance(mended, Repaired) and mended.before is not None and mended.before.messages == asked.messages


def test_the_rule_is_for_sharegpt_alone_and_an_answer_that_was_nothing_else_is_dropped() -> None:
    item = Conversation((Message("user", "a"), Message("assistant", "b\u200b")))
    assert mender()("alpaca", item) is item
    assert mender()("sharegpt", item).messages[1].content == "b"  # type: ignore[union-attr]
    assert mender({"sharegpt_html": False})("sharegpt", item) is item
    nothing = Conversation((Message("user", "a"), Message("assistant", "\u200b")))
    assert mender()("sharegpt", nothing).reason == "empty answer"  # type: ignore[union-attr]


FRAGMENTS = [before for before, _ in LEFT] + ABOUT_HTML + [
    "\n", "\n\n", " ", "```\n", "```python\n", "~~~\n", "<div>", "</div>", "<span>", "</span>", "&lt;", "1 / 2\n\n",
    '<div class="markdown prose">', "<p>", "</p>", "<hr>", "<pre>", "<code>", "</code></pre>", "Copy code\n", "\u200b",
    "pythonCopy code", "&lt;div class=\"markdown prose\"&gt;", "é", "x = 1\n", "Copy1 chars / 2 words", "<li>", "</li>",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join), st.booleans())
def test_done_twice_is_done_once(text: str, answer: bool) -> None:
    once = clean(text, answer=answer)
    assert clean(once, answer=answer) == once


@settings(max_examples=300, deadline=None)
@given(st.text(), st.booleans())
def test_any_other_text_only_loses_zero_width_signs(text: str, answer: bool) -> None:
    kept = clean(text, answer=answer)
    assert kept == text or any(sign in text for sign in "\u200b\ufeff\u2060")


HTML = st.recursive(
    st.text(alphabet="abc 123&;<>\n", max_size=12),
    lambda inner: st.builds(
        lambda tag, name, body: f'<{tag} class="{name}">{"".join(body)}</{tag}>',
        st.sampled_from(["div", "span", "p", "button", "a", "li"]),
        st.sampled_from(["box", "w-full", "flex flex-col", "prose", "x-1 y"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(HTML, st.sampled_from(["{}", "```html\n{}\n```", "Write this:\n{}\nand save it.", "1. {}", "```\n{}"]))
def test_html_that_is_the_subject_stays_to_the_byte_in_and_outside_of_fences(html: str, around: str) -> None:
    text = around.replace("{}", html)
    assert clean(text, answer=True) == text


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="x=1 <div>/\n\u200b", max_size=40), st.sampled_from(["html", "python", ""]))
def test_code_in_a_fence_is_never_changed(code: str, tag: str) -> None:
    text = f"1 / 2\n\nHere\u200b:\n```{tag}\n{code}\n```\nDone\u200b."
    before = [piece.code for piece in fences.blocks(text)]
    assert [piece.code for piece in fences.blocks(clean(text, answer=True))] == before


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["alpaca_en_demo.json", "code_alpaca_2k.json", "new_codealpaca.json", "sharegpt_dummy_conversation.json"]
)
def test_clean_files_stay_to_the_byte(public_data: Path, name: str) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return [text for each in inside for text in texts(each)]

    every = texts(json.loads((public_data / "train" / name).read_text()))
    assert len(every) > 500
    assert [text for text in every if clean(text, answer=True) != text] == []
