"""What a chat page left in its saved text is removed: its HTML, "Copy code" labels, counters, zero-width signs.

    "1 / 2\\n\\nSure:\\n```\\npythonCopy code\\nx = 1\\n```\\n\\u200b"   ->   "Sure:\\n```python\\nx = 1\\n```\\n"

Only forms that a chat page writes are touched, so text that talks about HTML stays as it is, to the byte:

- a turn that is one frame of the page (`<div class="markdown prose …">` … `</div>`) is turned into Markdown (_page.py)
- `<span class="hljs-…">` of its code colours, and two or more `</div>` at the end of a text that has no other tag
- "Copy code" as a fence's first line, alone or glued to a language; glued to a language also outside of fences
- "Copy12 chars / 3 words"; "1 / 2" on a first line before an empty one, in answers
- U+200B, U+FEFF and U+2060 next to ASCII or at an end, outside of code

Code in fences is never changed but for that label. Done twice is done once. For sources in ShareGPT's shape only.
"""

from __future__ import annotations

import re
from dataclasses import replace

from codeup.data.code_languages import ALIASES
from codeup.data.fences import has_fence, pieces
from codeup.data.mend import repaired
from codeup.data.rules._page import to_markdown
from codeup.types import Conversation, Message

ON = True
SOURCES = frozenset({"sharegpt", "sharegpt_parts"})
REPAIRED = "text of the chat page removed"
REPAIRS = (REPAIRED,)
DROPS: tuple[str, ...] = ()

_FRAME = r"\bmarkdown prose\b|min-h-\[20px\] flex|flex flex-grow flex-col gap-3|group w-full text-gray-"
_PAGE = re.compile(rf'\s*<div class="[^">]*(?:{_FRAME})[^">]*">[\s\S]*</div>\s*\Z')
_SPAN = re.compile(r'<span class="(?:hljs-[\w -]+)?">([^<]*)</span>')
_CLOSERS = re.compile(r"(?:\s*</div>){2,}\s*\Z")
_TAG = re.compile(r"<[A-Za-z!]")
_KNOWN = sorted(
    {*ALIASES, *ALIASES.values(), "css", "html", "java", "json", "xml", "lua", "scala", "swift", "matlab", "plaintext"}
    | {"vbnet", "graphql", "makefile", "less", "diff", "arduino", "latex"},
    key=len,
    reverse=True,
)
_NAMES = "|".join(map(re.escape, _KNOWN))
_LABEL = re.compile(rf"\A[ \t]*(?P<name>{_NAMES})?[ \t]*(?:Copy code)+[ \t]*\n?", re.IGNORECASE)
_GLUED = re.compile(rf"^(?:{_NAMES})Copy code[ \t]*\n?", re.MULTILINE)
_CHARS = re.compile(r"[ \t]*Copy\d+ chars / \d+ words[ \t]*")
_COUNTER = re.compile(r"\A\s*(?P<n>\d{1,2}) / (?P<of>\d{1,2})[ \t]*\n[ \t]*\n+(?=[A-Za-z`#*])")
_WIDTHLESS = re.compile(r"(?:(?<=[\x00-\x7f])|\A)[\u200b\ufeff\u2060]+|[\u200b\ufeff\u2060]+(?=[\x00-\x7f]|\Z)")
_TAGS = ("<div", "</div>", "<span")
_WIDTHLESS_SIGNS = ("\u200b", "\ufeff", "\u2060")
MOST_ROUNDS = 6


def apply(conversation: Conversation) -> Conversation:
    """The conversation with every turn clean; the same object if they were."""
    if not _may_need_it("\n".join([turn.content for turn in conversation.messages])):
        return conversation
    messages = tuple(_clean(turn) if _may_need_it(turn.content) else turn for turn in conversation.messages)
    if all(new is old for new, old in zip(messages, conversation.messages, strict=True)):
        return conversation
    return repaired(conversation, messages, REPAIRED)


def _may_need_it(text: str) -> bool:
    """Whether one of the page's signs is in a text; those that begin alike are not looked for one by one."""
    return (
        "Copy" in text or " / " in text or ("<" in text and any(map(text.__contains__, _TAGS))) or _has_widthless(text)
    )


def _has_widthless(text: str) -> bool:
    return not text.isascii() and any(map(text.__contains__, _WIDTHLESS_SIGNS))


def _clean(turn: Message) -> Message:
    text = clean(turn.content, answer=turn.role == "assistant")
    return turn if text == turn.content else replace(turn, content=text)


def clean(text: str, *, answer: bool) -> str:
    """The text without what the page left; again until nothing changes, so that done twice is done once."""
    before, now = None, text
    for _ in range(MOST_ROUNDS):
        before, now = now, _once(now, answer)
        if now == before:
            return now
    return text


def _once(text: str, answer: bool) -> str:
    if _PAGE.match(text):
        text = to_markdown(text)
    if "</div>" in text and (closers := _CLOSERS.search(text)) and not _TAG.search(text):
        text = text[: closers.start()]
    if answer and (counter := _COUNTER.match(text)) and 1 <= int(counter["n"]) <= int(counter["of"]) > 1:
        text = text[counter.end() :]
    if not has_fence(text):
        return _prose(text)
    return "".join(_fence(piece.text, piece.code) if piece.fenced else _prose(piece.text) for piece in pieces(text))


def _prose(text: str) -> str:
    if "Copy" in text:
        text = _CHARS.sub("", _GLUED.sub("", text))
    if "<span" in text:
        text = _SPAN.sub(r"\1", text)
    return _WIDTHLESS.sub("", text) if _has_widthless(text) else text


def _fence(block: str, code: str) -> str:
    """A fenced block whose first line is the label "Copy code": the language it names moves to the fence."""
    label = _LABEL.match(code)
    if label is None:
        return block
    at = block.index("\n") + 1
    opening = block[: at - 1].rstrip()
    name = (label["name"] or "") if not opening.lstrip().lstrip("`~") else ""
    return f"{opening}{name}\n{block[at + label.end() :]}"
