"""Preference pairs: a prompt with a `chosen` and a `rejected` answer, in the shapes that are in use.

    prompt, chosen, rejected       texts; optional `system` and `input` (Alpaca's second field)
    conversations, chosen, ...     the turns before the answers as `from`/`value`, each answer a turn (LLaMA-Factory)
    prompt, chosen, rejected       lists of `role`/`content` turns: the prompt, and the answers (TRL)
    chosen, rejected               whole conversations of such turns, equal but for the last (UltraFeedback, HH)

Earlier answers in the prompt are context. Rows whose turns do not alternate, whose answers are equal or empty, or whose
two prompts differ are dropped and counted. Under `sources:` of a recipe the chosen answers are examples like any other;
under `pairs:` both answers are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codeup.data import rows
from codeup.data.licences import FILE_OF_YOURS
from codeup.types import Conversation, Message

HUB_ID = None
TERMS = FILE_OF_YOURS
COLUMNS = {
    "chosen": rows.REQUIRED,
    "rejected": rows.REQUIRED,
    "prompt": rows.OPTIONAL,
    "conversations": rows.OPTIONAL,
    "messages": rows.OPTIONAL,
    "system": rows.OPTIONAL,
    "input": rows.OPTIONAL,
    "group": rows.WHEN_MAPPED,
}
FIXTURE = [
    {"prompt": "Double x in Python.", "chosen": "2 * x", "rejected": "x ^ 2"},
    {
        "conversations": [
            {"from": "system", "value": "Be terse."},
            {"from": "human", "value": "Is 7 prime?"},
            {"from": "gpt", "value": "Yes."},
            {"from": "human", "value": "And 9?"},
        ],
        "chosen": {"from": "gpt", "value": "No, 3 * 3."},
        "rejected": {"from": "gpt", "value": "Yes."},
    },
    {
        "chosen": [{"role": "user", "content": "Capital of France?"}, {"role": "assistant", "content": "Paris."}],
        "rejected": [{"role": "user", "content": "Capital of France?"}, {"role": "assistant", "content": "Lyon."}],
    },
    {"prompt": "Say yes.", "chosen": "yes", "rejected": "yes"},
]
Turns = list[Message]


def convert(row: dict[str, Any], *, columns: Mapping[str, str]) -> Conversation | rows.Drop:
    """A `Pair`, or why there is none."""
    missing = [name for name in ("chosen", "rejected") if columns.get(name, name) not in row]
    if missing:
        return rows.Drop(rows.MISSING_COLUMN, f"no {' and no '.join(missing)}")
    answers = [_turns(rows.cell(row, columns, name), "assistant") for name in ("chosen", "rejected")]
    before = _prompt(row, columns)
    for part in (*answers, before):
        if isinstance(part, rows.Drop):
            return part
    heads = [_head(before, turns) for turns in answers]  # type: ignore[arg-type]
    if heads[0] != heads[1]:
        return rows.Drop(rows.OTHER_PROMPT)
    chosen, rejected = (turns[-1].content if isinstance(turns, list) and turns else "" for turns in answers)
    problem = _problem(heads[0], chosen, rejected)
    if problem is not None:
        return problem
    messages = (*heads[0], Message("assistant", chosen))
    return rows.Pair(messages, group=rows.mapped_group(row, columns), rejected=rejected)


def _prompt(row: dict[str, Any], columns: Mapping[str, str]) -> Turns | rows.Drop:
    """The turns before the answers, as far as the row has them in columns of their own; `system` first."""
    texts = rows.texts(row, columns, (), ("system", "input"))
    if isinstance(texts, rows.Drop):
        return texts
    names = ("conversations", "messages", "prompt")
    given = next((value for name in names if (value := rows.cell(row, columns, name)) is not None), None)
    turns = [] if given is None else _turns(given, "user")
    if isinstance(turns, rows.Drop):
        return turns
    if isinstance(given, str) and not rows.blank(texts["input"]):
        turns = [Message("user", given, texts["input"])]
    has_system = bool(turns) and turns[0].role == "system"
    return turns if has_system or rows.blank(texts["system"]) else [Message("system", texts["system"]), *turns]


def _turns(value: Any, role: str) -> Turns | rows.Drop:
    """A text is one turn of `role`; an object one turn; a list its turns."""
    if value is None:
        return rows.Drop(rows.EMPTY_ANSWER if role == "assistant" else rows.EMPTY_QUESTION)
    if isinstance(value, str):
        return [Message("assistant" if role == "assistant" else "user", value)]
    turns = value if isinstance(value, list) else [value]
    first = turns[0] if turns else None
    names = ("from", "value") if isinstance(first, dict) and "from" in first else ("role", "content")
    return rows.named_turns(turns, *names)


def _head(before: Turns, answer: Turns) -> Turns:
    """The whole prompt: what stands before the last turn of an answer that is a whole conversation, else `before`."""
    system = [turn for turn in before if turn.role == "system"]
    if len(answer) < 2:
        return before
    return answer[:-1] if answer[0].role == "system" else [*system, *answer[:-1]]


def _problem(head: Sequence[Message], chosen: str, rejected: str) -> rows.Drop | None:
    """What is wrong with the pair; None for one that can be learnt from."""
    for answer in (chosen, rejected):
        problem = rows.shape_problem([*head, Message("assistant", answer)])
        if problem is not None:
            return problem
    return rows.Drop(rows.EQUAL_ANSWERS) if chosen == rejected else None
