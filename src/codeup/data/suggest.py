"""What a person probably meant: the source and the column mapping that fit the columns of a file.

    suggest("alpaca", {"instruction", "output"}, {}, ["question", "answer"])
    ->  "columns: {instruction: question, output: answer}"
    suggest("alpaca", {"instruction", "output"}, {}, ["id", "conversations"])   ->   "source: sharegpt"

Goes by names alone. A guess is only ever shown, never acted on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_QUESTIONS = (
    "instruction", "question", "query", "prompt", "problem", "task", "input", "request", "user", "human", "article",
    "message_1",
)  # fmt: skip
_ANSWERS = (
    "output", "response", "answer", "completion", "solution", "target", "reply", "assistant", "gpt", "label",
    "generation", "summary", "message_2",
)  # fmt: skip
_TURNS = ("conversations", "conversation", "messages", "dialogue", "dialog", "turns", "chat", "items")
_SYSTEMS = ("system", "system_prompt")
_MEANINGS = (_QUESTIONS, _ANSWERS, _TURNS, _SYSTEMS, ("chosen", "accepted", "preferred"),
             ("rejected", "refused", "dispreferred"))  # fmt: skip
_SHAPES = (
    (("chosen", "rejected"), "preferences"),
    (("conversations",), "sharegpt"),
    (("messages",), "messages"),
    (("instruction", "output"), "alpaca"),
    (("query", "response"), "metamathqa"),
    (("prompt", "response"), "prompt_response"),
    (("prompt", "completion"), "prompt_completion"),
)


def readings(found: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Sources that may read a file of these columns, likeliest first, each with the mapping it needs.

    readings(["question", "answer"])
    ->  [("gsm8k", {}), ("prompt_response", {"prompt": "question", "response": "answer"})]
    """
    columns = {column.lower(): column for column in found}

    def first(words: Sequence[str]) -> str:
        return next((columns[word] for word in words if word in columns), "")

    question, answer, system, turns = first(_QUESTIONS), first(_ANSWERS), first(_SYSTEMS), first(_TURNS)
    ways: list[tuple[str, dict[str, str]]] = []
    for needed, source in (*_SHAPES, (("question", "answer"), "gsm8k")):
        if {*needed} <= {*columns}:
            ways.append((source, {"prompt": question} if source == "preferences" and question and not turns else {}))
    if turns:
        ways += [("sharegpt", {"conversations": turns}), ("messages", {"messages": turns})]
    if question and answer and question.lower() == "instruction" and "input" in columns:
        ways.append(("alpaca", {"instruction": question, "input": columns["input"], "output": answer}))
    if question and answer:
        both = {"prompt": question, "response": answer}
        ways.append(("prompt_response", both | ({"system": system} if system else {})))
    return [(source, {name: to for name, to in mapping.items() if name != to}) for source, mapping in ways]


def suggest(source: str, missing: Iterable[str], mapping: Mapping[str, str], found: Sequence[str]) -> str:
    """A line for a recipe, or '' where nothing is near."""
    for columns, shape in _SHAPES:
        if shape != source and all(column in found for column in columns):
            return f"source: {shape}"
    free = [column for column in found if column not in mapping.values()]
    pairs = {}
    for wanted in missing:
        near = _nearest(wanted, free)
        if near:
            pairs[wanted] = near
            free.remove(near)
    return f"columns: {{{', '.join(f'{wanted}: {column}' for wanted, column in pairs.items())}}}" if pairs else ""


def _nearest(wanted: str, found: Sequence[str]) -> str:
    """The column with the nearest spelling, else the first of the same meaning."""
    lowered = {column.lower(): column for column in found}
    close = difflib.get_close_matches(wanted, list(lowered), n=1, cutoff=0.75)
    if close:
        return lowered[close[0]]
    meaning = next((words for words in _MEANINGS if wanted in words), ())
    return next((lowered[word] for word in meaning if word in lowered), "")
