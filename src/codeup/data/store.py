"""Conversations on disk: JSON lines that come back exactly as they were.

{"messages":[{"role":"user","content":"Add","input":"1, 2"},{"role":"assistant","content":"3"}],
 "source":"alpaca:rows.json","row":7,"group":""}                                     (one line per conversation)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from codeup.data.files import read_rows
from codeup.errors import UserError
from codeup.types import Conversation, Message


def to_json(conversation: Conversation) -> bytes:
    """One line, without the line break."""
    messages: list[dict[str, Any]] = [
        {"role": turn.role, "content": turn.content, "input": turn.input} if turn.input
        else {"role": turn.role, "content": turn.content}
        for turn in conversation.messages
    ]  # fmt: skip
    return orjson.dumps(
        {
            "messages": messages,
            "source": conversation.source,
            "row": conversation.row,
            "group": conversation.group,
        }
    )


def from_json(line: bytes | str) -> Conversation:
    """What `to_json` wrote."""
    return from_value(orjson.loads(line))


def texts_of(conversation: Conversation) -> list[str]:
    """The turns of a row, each with what is pasted below its question."""
    return [f"{turn.content}\n{turn.input}" if turn.input else turn.content for turn in conversation.messages]


def texts_in(line: bytes) -> list[str]:
    """The same of a line of `to_json`, without making the conversation."""
    turns = orjson.loads(line)["messages"]
    return [f"{turn['content']}\n{turn['input']}" if turn.get("input") else turn["content"] for turn in turns]


def read_conversations(path: Path) -> Iterator[Conversation]:
    """The conversations of a file of such lines (compressed since, if you like)."""
    if path.is_file() and path.stat().st_size == 0:
        return  # nothing was held out, say; no mistake in a file of our own
    for row in read_rows(path):
        try:
            if row.value is None:
                raise TypeError(row.error)
            yield from_value(row.value)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"line {row.number + 1} is not a conversation ({error})", where=str(path), mend="prepare the data again"
            ) from error


def from_value(value: dict[str, Any]) -> Conversation:
    """A line that has been decoded."""
    messages = [
        Message(turn["role"], turn["content"], turn["input"]) if "input" in turn
        else Message(turn["role"], turn["content"])
        for turn in value["messages"]
    ]  # fmt: skip
    return Conversation(tuple(messages), value["source"], value["row"], value["group"])
