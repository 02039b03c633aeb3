"""What each template writes: as segments for our own tokenisation, and as jinja for everybody else's.

Both forms stand side by side here, and tests/test_chat.py proves that they give the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from codeup.errors import UserError
from codeup.types import Message

# Stanford Alpaca, in the form of alpaca-lora's templates/alpaca.json: the newline after "### Response:" belongs to it.
ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
ALPACA_PREAMBLE_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text tokenised on its own.

    `fixed` text is the template's own, where special tokens are tokens; all other text is plain. `opens` marks plain
    text that stands directly after a special token (some tokenizers put a space there).
    """

    text: str
    fixed: bool = False
    opens: bool = False
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """`needs` are the special tokens it writes; `end` closes an answer, "" being the tokenizer's end-of-text token."""

    needs: tuple[str, ...]
    end: str
    segments: Callable[[Sequence[Message], str, bool], list[Segment]]
    jinja: str


@lru_cache(maxsize=256)
def _own(text: str, trained: bool = False) -> Segment:
    """A segment of the template's own, of which there are few."""
    return Segment(text, fixed=True, trained=trained)


def _alpaca_segments(messages: Sequence[Message], end: str, open_answer: bool) -> list[Segment]:
    system = messages[0].content if messages[0].role == "system" else ""
    segments: list[Segment] = []
    for message in (m for m in messages if m.role != "system"):
        if message.role == "user":
            preamble = "" if segments else system or (ALPACA_PREAMBLE_INPUT if message.input else ALPACA_PREAMBLE)
            second = f"### Input:\n{message.input}\n\n" if message.input else ""
            ask = f"{preamble}\n\n### Instruction:\n{message.content}\n\n{second}### Response:\n"
            segments.append(Segment(ask, opens=True))
        else:
            segments += [Segment(message.content, trained=True), _own(end, True)]
    prefilled = open_answer and messages[-1].role == "assistant"
    return segments[:-1] if prefilled else segments


@lru_cache(maxsize=256)
def _heading(header: str, role: str, before: str) -> Segment:
    return _own(before + header.format(role=role))


def _headed_segments(
    messages: Sequence[Message], end: str, open_answer: bool, *, header: str, separator: str
) -> list[Segment]:
    segments: list[Segment] = []
    for message in messages:
        if message.role == "system" and not message.content:
            continue
        trained = message.role == "assistant"
        both = message.content and message.input
        text = f"{message.content}\n\n{message.input}" if both else message.content or message.input
        before = _heading(header, message.role, separator if segments else "")
        segments += (before, Segment(text, False, False, trained), _own(end, trained))
    if open_answer and messages[-1].role == "assistant":
        return segments[:-1]
    if open_answer:
        segments.append(_own(separator + header.format(role="assistant")))
    return segments


_JINJA_CHECK = """\
{%- set offset = 1 if messages[0]['role'] == 'system' else 0 -%}
{%- for message in messages[offset:] -%}
    {%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
        {{- raise_exception('after an optional system message, user and assistant must take turns, user first') -}}
    {%- endif -%}
{%- endfor -%}
"""

_JINJA_ALPACA = (
    """\
{{- bos_token -}}
"""
    + _JINJA_CHECK
    + """\
{%- for message in messages[offset:] -%}
    {%- if message['role'] == 'user' -%}
        {%- if not loop.first -%}
        {%- elif offset and messages[0]['content'] -%}
            {{- messages[0]['content'] -}}
        {%- elif message['input'] -%}
            {{- 'PREAMBLE_INPUT' -}}
        {%- else -%}
            {{- 'PREAMBLE' -}}
        {%- endif -%}
        {{- '\\n\\n### Instruction:\\n' + message['content'] + '\\n\\n' -}}
        {%- if message['input'] -%}
            {{- '### Input:\\n' + message['input'] + '\\n\\n' -}}
        {%- endif -%}
        {{- '### Response:\\n' -}}
    {%- else -%}
        {{- message['content'] + eos_token -}}
    {%- endif -%}
{%- endfor -%}
""".replace("PREAMBLE_INPUT", ALPACA_PREAMBLE_INPUT).replace("PREAMBLE", ALPACA_PREAMBLE)
)

_JINJA_HEADED = (
    """\
{{- bos_token -}}
"""
    + _JINJA_CHECK
    + """\
{%- if offset and messages[0]['content'] -%}
    {{- 'OPENsystemCLOSE' + messages[0]['content'] + 'ENDSEPARATOR' -}}
{%- endif -%}
{%- for message in messages[offset:] -%}
    {{- 'OPEN' + message['role'] + 'CLOSE' + message['content'] -}}
    {%- if message['input'] -%}
        {{- ('\\n\\n' if message['content'] else '') + message['input'] -}}
    {%- endif -%}
    {{- 'END' -}}
    {{- 'SEPARATOR' if not loop.last or add_generation_prompt -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- 'OPENassistantCLOSE' -}}
{%- endif -%}
"""
)


def _headed(opening: str, closing: str, *, end: str, separator: str, needs: tuple[str, ...]) -> Template:
    """A template whose turns are <opening>role<closing>text<end>, `separator` standing between turns, untrained."""
    words = {"OPEN": opening, "CLOSE": closing, "END": end, "SEPARATOR": separator}
    source = _JINJA_HEADED if separator else re.sub(".*SEPARATOR' if.*\n", "", _JINJA_HEADED)
    jinja = re.sub("OPEN|CLOSE|END|SEPARATOR", lambda m: words[m[0]].replace("\n", "\\n"), source)
    segments = partial(_headed_segments, header=opening + "{role}" + closing, separator=separator)
    return Template(needs, end, segments, jinja)


TEMPLATE_BY_NAME: Mapping[str, Template] = {
    "alpaca": Template((), "", _alpaca_segments, _JINJA_ALPACA),
    "llama3": _headed(
        "<|start_header_id|>",
        "<|end_header_id|>\n\n",
        end="<|eot_id|>",
        separator="",
        needs=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "chatml": _headed("<|im_start|>", "\n", end="<|im_end|>", separator="\n", needs=("<|im_start|>", "<|im_end|>")),
}
TEMPLATES: tuple[str, ...] = tuple(TEMPLATE_BY_NAME)


def check_turns(messages: Sequence[Message], *, where: str = "") -> None:
    """Raise UserError unless it is an optional system message, then user and assistant in turns, user first."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise UserError("a conversation without a user message", where=where)
    for number, message in enumerate(turns):
        wanted = "assistant" if number % 2 else "user"
        if message.role != wanted:
            raise UserError(
                f"message {number + 1} is from {message.role!r}, expected {wanted!r}",
                where=where,
                mend="after an optional system message, user and assistant must take turns, user first",
            )
        if message.input and message.role != "user":
            raise UserError(f"message {number + 1} has an input but is not from the user", where=where)
