"""What a source makes of one row: a conversation, a mended conversation, or a drop with its reason.

    {"instruction": "Add", "input": "1, 2", "output": "3"}   ->  Conversation(user "Add" + input "1, 2", assistant "3")
    {"instruction": "Add", "input": "1, 2", "output": ""}    ->  Drop("empty answer")
    gpt "Hi." human "Add" gpt "3" human "Thanks"             ->  Repaired(user "Add", assistant "3"; two repairs named)

The text of a turn is never stripped, unescaped or normalised: the model learns the bytes that are in the file. A shape
that cannot be kept whole is dropped rather than guessed at; the only things cut are whole turns with no partner.
Covers shapes only; whether an example is too long depends on the tokenizer and is decided later (fit.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeup.types import Conversation, Message, Role

# Why a row is dropped. A source may use a reason of its own; these are the shared ones.
NOT_AN_OBJECT = "not an object"
MISSING_COLUMN = "missing column"
NOT_TEXT = "not text"
BAD_UNICODE = "text is not valid Unicode"
EMPTY_QUESTION = "empty question"
EMPTY_ANSWER = "empty answer"
NOTHING_TO_LEARN = "nothing to learn"
UNKNOWN_ROLE = "unknown role"
NOT_ALTERNATING = "turns do not alternate"
MISPLACED_SYSTEM = "system turn not first"
TOOL_CALL = "tool call"
BEYOND_LIMIT = "beyond limit"
EQUAL_ANSWERS = "both answers are the same"
OTHER_PROMPT = "the answers have different prompts"
TOO_LONG = "too long"
TOO_LARGE = "more than 4,000,000 characters"

# What was mended in a row that was kept.
LEADING_TURNS_CUT = "turns before the first question cut"
TRAILING_QUESTION_CUT = "last question without an answer cut"
DISORDER_CUT = "turns from the first out of order on cut"
NO_INPUT_EMPTIED = "input that says there is none emptied"
MARKS_REMOVED = "calculator marks removed"
GROUPED = "grouped with the other rewrites of its question"
TURNS_CUT_TO_FIT = "whole turns cut to fit"
SPLIT_TO_FIT = "split between turns to fit"
PAIR_LEFT_OUT = "a question and answer that are too long alone left out"

# How a source uses a column that it names in COLUMNS.
ColumnUse = Literal["required", "optional", "when mapped", "in each turn"]
REQUIRED: ColumnUse = "required"
OPTIONAL: ColumnUse = "optional"
WHEN_MAPPED: ColumnUse = "when mapped"
IN_EACH_TURN: ColumnUse = "in each turn"

USER_ROLES = frozenset({"human", "user"})
ASSISTANT_ROLES = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard", "claude", "model", "ai", "bot"})
SYSTEM_ROLES = frozenset({"system", "developer"})
TOOL_ROLES = frozenset({"tool", "function", "function_call", "tool_call", "observation", "ipython"})
_ROLES: dict[str, Role] = {
    **dict.fromkeys(USER_ROLES, "user"), **dict.fromkeys(ASSISTANT_ROLES, "assistant"),
    **dict.fromkeys(SYSTEM_ROLES, "system"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that is not kept. `reason` is counted; `detail` is for the person who looks at this one row."""

    reason: str
    detail: str = ""
    source: str = ""
    row: int = -1


@dataclass(frozen=True, slots=True)
class Repaired(Conversation):
    """A conversation that was mended on the way; `repairs` names what was done. `load` hands on the plain one.

    `before` is the row without the repairs, for examples and for rules that are switched off: it may have a shape that
    cannot be learnt from. None where it must not be shown.
    """

    repairs: tuple[str, ...] = ()
    before: Conversation | None = None


@dataclass(frozen=True, slots=True)
class Pair(Conversation):
    """A preference: a conversation that ends with the chosen answer, and the answer that was rejected in its place."""

    rejected: str = ""

    @property
    def rejected_conversation(self) -> Conversation:
        """The same prompt with the rejected answer."""
        messages = (*self.messages[:-1], Message("assistant", self.rejected))
        return Conversation(messages, self.source, self.row, self.group)


def blank(text: str) -> bool:
    """Nothing but white space. Looks no further than the first character that is not, and copies nothing."""
    return not text or text.isspace()


def cell(row: Mapping[str, Any], columns: Mapping[str, str], name: str) -> Any:
    """The value of column `name`, under the name the user mapped it to; None where the row has none."""
    return row.get(columns.get(name, name))


def texts(
    row: Mapping[str, Any], columns: Mapping[str, str], required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, str] | Drop:
    """The named columns as text. A null counts as empty text; a required column that is absent is a drop."""
    found: dict[str, str] = {}
    for name in (*required, *optional):
        column = columns.get(name, name)
        value = row.get(column)
        if value is None and name in required and column not in row:
            return Drop(MISSING_COLUMN, f"no column {column!r}")
        if value is not None and not isinstance(value, str):
            return Drop(NOT_TEXT, f"{column!r} holds {type(value).__name__}")
        found[name] = value or ""
    return found


def mapped_group(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """The split group, for a generic source whose user mapped `group` to a column; empty otherwise."""
    value = row.get(columns["group"]) if "group" in columns else None
    return "" if value is None else str(value)


def single_turn(
    question: str, answer: str, *, extra_input: str = "", system: str = "", group: str = ""
) -> Conversation | Drop:
    """One question and one answer. Empty means nothing but white space; text that is kept is kept exactly."""
    if blank(question) and blank(extra_input):
        return Drop(EMPTY_QUESTION)
    if blank(answer):
        return Drop(EMPTY_ANSWER)
    head = () if blank(system) else (Message("system", system),)
    user = Message("user", question, "" if blank(extra_input) else extra_input)
    return Conversation((*head, user, Message("assistant", answer)), group=group)


def role_of(name: Any) -> Role | Drop:
    """The role behind the many names that dumps use (`human`, `gpt`, `bing`, ...)."""
    known = _ROLES.get(name) if isinstance(name, str) else None
    if known is not None:
        return known
    lowered = name.strip().lower() if isinstance(name, str) else ""
    if lowered in USER_ROLES:
        return "user"
    if lowered in ASSISTANT_ROLES:
        return "assistant"
    if lowered in SYSTEM_ROLES:
        return "system"
    return Drop(TOOL_CALL if lowered in TOOL_ROLES else UNKNOWN_ROLE, f"role {name!r}")


def named_turns(turns: Any, role_field: str, text_field: str) -> list[Message] | Drop:
    """A list of `{role_field: ..., text_field: ...}` as messages, roles unified, order and text as they are."""
    if turns is None:
        return Drop(MISSING_COLUMN, "no turns")
    if not isinstance(turns, list):
        return Drop(NOT_TEXT, f"the turns are {type(turns).__name__}, not a list")
    if (known := _known_turns(turns, role_field, text_field)) is not None:
        return known
    messages: list[Message] = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or role_field not in turn or text_field not in turn:
            return Drop(MISSING_COLUMN, f"turn {number} has no {role_field!r} and {text_field!r}")
        role, text = role_of(turn[role_field]), turn[text_field]
        if isinstance(role, Drop):
            return role
        if text is not None and not isinstance(text, str):
            return Drop(NOT_TEXT, f"turn {number} holds {type(text).__name__}")
        messages.append(Message(role, text or ""))
    return messages


def _known_turns(turns: list[Any], role_field: str, text_field: str) -> list[Message] | None:
    """The messages where every turn has a role as it is usually written, and a text; None where one does not."""
    try:
        found = [Message(_ROLES[turn[role_field]], turn[text_field]) for turn in turns]
    except (KeyError, TypeError):
        return None
    return found if all([type(each.content) is str for each in found]) else None


def alternating(turns: Sequence[Message], *, system: str = "", group: str = "") -> Conversation | Drop:
    """A conversation from turns in file order.

    Answers before the first question and a last question without an answer have no partner: they are cut, and the cut
    is named. So are the turns from the first that is empty or out of order on; a row without a whole exchange before
    it is a drop. Nothing is joined or invented: that would change the text.
    """
    head = [] if blank(system) else [Message("system", system)]
    if _sound(turns):
        return Conversation((*head, *turns), group=group)
    body = list(turns)
    if body and body[0].role == "system":
        first = body.pop(0)
        if head and first.content != system:
            return Drop(MISPLACED_SYSTEM, "the row has two system texts")
        head = [] if blank(first.content) else [first]
    if any(turn.role == "system" for turn in body):
        return Drop(MISPLACED_SYSTEM)
    repairs: list[str] = []
    whole = tuple(body)
    start = next((index for index, turn in enumerate(body) if turn.role == "user"), len(body))
    if 0 < start < len(body):
        body, repairs = body[start:], [LEADING_TURNS_CUT]
    kept = _exchanges(body)
    if 0 < kept < len(body):
        only_a_question = kept == len(body) - 1 and body[-1].role == "user"
        body = body[:kept]
        repairs.append(TRAILING_QUESTION_CUT if only_a_question else DISORDER_CUT)
    messages = (*head, *body)
    problem = shape_problem(messages)
    if problem is not None:
        return problem
    if repairs:
        return Repaired(
            messages, group=group, repairs=tuple(repairs), before=Conversation((*head, *whole), group=group)
        )
    return Conversation(messages, group=group)


def shape_problem(messages: Sequence[Message]) -> Drop | None:
    """What is wrong with the order or emptiness of these turns; None for a conversation that can be learnt from."""
    body = messages[1:] if messages and messages[0].role == "system" else messages
    if _sound(body):
        return None
    if not any(turn.role == "assistant" for turn in body):
        return Drop(NOTHING_TO_LEARN, "no answer in it")
    if body[0].role != "user":
        return Drop(NOTHING_TO_LEARN, "no question in it")
    for number, turn in enumerate(body):
        if turn.role != ("user", "assistant")[number % 2]:
            return Drop(NOT_ALTERNATING, f"turn {number} is {turn.role}")
        if blank(turn.content) and blank(turn.input):
            return Drop(EMPTY_ANSWER if turn.role == "assistant" else EMPTY_QUESTION, f"turn {number}")
    if body[-1].role != "assistant":
        return Drop(NOT_ALTERNATING, "the last turn is a question")
    return None


def _sound(turns: Sequence[Message]) -> bool:
    """Questions and answers by turns and none of them empty, as nearly all rows have them."""
    wanted: Role = "user"
    for turn in turns:
        text = turn.content
        if turn.role != wanted or ((not text or text.isspace()) and blank(turn.input)):
            return False
        wanted = "assistant" if wanted == "user" else "user"
    return wanted == "user" and bool(turns)


def _exchanges(turns: Sequence[Message]) -> int:
    """How many turns, from the first, are whole exchanges; an answer that another one may continue is not whole."""
    kept = 0
    while _sound(turns[kept : kept + 2]) and (kept + 2 == len(turns) or turns[kept + 2].role == "user"):
        kept += 2
    return kept


def plain(conversation: Conversation, *, source: str, row: int) -> Conversation:
    """The conversation without the notes on its repairs, and with where it came from."""
    return Conversation(conversation.messages, source=source, row=row, group=conversation.group)


def is_valid_unicode(conversation: Conversation) -> bool:
    """False if some text holds half a surrogate pair or bytes that were not UTF-8: no tokenizer can take those."""
    for turn in conversation.messages:
        if not ((turn.content.isascii() or _encodes(turn.content)) and (turn.input.isascii() or _encodes(turn.input))):
            return False
    if isinstance(conversation, Pair) and not _encodes(conversation.rejected):
        return False
    return conversation.group.isascii() or _encodes(conversation.group)


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
