"""Salvage rules: each mends what it names, counts it, shows examples, and can be switched off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeup import plugins, study
from codeup import recipe as recipes
from codeup.data import rows
from codeup.data.fit import split_turns
from codeup.data.load import Funnel, load_source
from codeup.data.mend import described, mender
from codeup.data.rows import Drop
from codeup.errors import UserError
from codeup.steps import prepare
from codeup.types import Context, Conversation, Message

RULES = plugins.names("rules")


def talk(*turns: str) -> list[dict[str, str]]:
    names = {"h": "human", "g": "gpt", "s": "system"}
    return [{"from": names[turn[0]], "value": turn[2:]} for turn in turns]


def read(
    folder: Path, source: str, given: list[dict[str, Any]], **switches: bool
) -> tuple[list[Conversation | Drop], dict[str, Any]]:
    """What becomes of rows, and the account."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    funnel = Funnel()
    return list(load_source(source, [path], funnel=funnel, mend=mender(switches))), funnel.to_dict()


def texts(item: Conversation | Drop) -> list[str]:
    assert isinstance(item, Conversation), item
    return [turn.content + (f"|{turn.input}" if turn.input else "") for turn in item.messages]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_in_one_sentence_what_it_does_and_what_it_counts(name: str) -> None:
    (found,) = [rule for rule in described() if rule["name"] == name]
    assert found["about"].endswith(".") and len(found["about"]) < 130
    assert found["counts"] and isinstance(found["on"], bool)


def test_no_two_rules_count_under_the_same_words() -> None:
    counted = [word for rule in described() for word in rule["counts"]]
    assert len(counted) == len(set(counted))


DONE_BY_SOURCES = [
    (
        "roles_and_order",
        "sharegpt",
        {"conversations": talk("g:hello", "h:a", "g:b", "h:thanks")},
        ["a", "b"],
        "turns do not alternate",
    ),
    (
        "empty_input",
        "alpaca",
        {"instruction": "a", "input": "<noinput>", "output": "b"},
        ["a", "b"],
        ["a|<noinput>", "b"],
    ),
    (
        "gsm8k_marks",
        "gsm8k",
        {"question": "a", "answer": "1+1=<<1+1=2>>2\n#### 2"},
        ["a", "1+1=2\nThe answer is: 2"],
        ["a", "1+1=<<1+1=2>>2\n#### 2"],
    ),
]


@pytest.mark.parametrize(("rule", "source", "row", "on", "off"), DONE_BY_SOURCES, ids=[c[0] for c in DONE_BY_SOURCES])
def test_what_a_source_mends_is_undone_where_the_rule_is_off(
    tmp_path: Path, rule: str, source: str, row: dict[str, Any], on: list[str], off: list[str] | str
) -> None:
    usable: dict[str, dict[str, Any]] = {
        "sharegpt": {"conversations": talk("h:x", "g:y")},
        "alpaca": {"instruction": "x", "output": "y"},
        "gsm8k": {"question": "x", "answer": "y\n#### 1"},
    }
    plain = usable[source]
    items, account = read(tmp_path, source, [row, plain])
    assert texts(items[0]) == on
    assert sum(account["repaired"].values()) >= 1
    (example, *_) = account["repair_examples"][next(iter(account["repaired"]))]
    assert example["source"] == f"{source}:rows.jsonl" and example["row"] == 0
    assert example["before"] != example["after"]
    items, account = read(tmp_path, source, [row, plain], **{rule: False})
    assert account["repaired"] == {} and account["repair_examples"] == {}
    if isinstance(off, str):
        assert isinstance(items[0], Drop) and items[0].reason in (off, rows.NOTHING_TO_LEARN)
    else:
        assert texts(items[0]) == off
    assert isinstance(items[1], Conversation)


def test_rewrites_are_grouped_by_their_question_unless_the_rule_is_off(tmp_path: Path) -> None:
    row = {"query": "If 12, what is x?", "response": "3", "original_question": "How many?"}
    own = {"query": "How many?", "response": "12", "original_question": "How many?"}
    items, account = read(tmp_path, "metamathqa", [row, own])
    assert [item.group for item in items if isinstance(item, Conversation)] == ["How many?", "How many?"]
    assert account["repaired"] == {rows.GROUPED: 1}
    assert "How many?" in account["repair_examples"][rows.GROUPED][0]["after"]
    items, _ = read(tmp_path, "metamathqa", [row], original_question=False)
    assert [item.group for item in items if isinstance(item, Conversation)] == [""]


def test_at_most_five_examples_of_a_repair_are_kept(tmp_path: Path) -> None:
    row = {"instruction": "a", "input": "N/A", "output": "b"}
    _, account = read(tmp_path, "alpaca", [row] * 7)
    assert account["repaired"] == {rows.NO_INPUT_EMPTIED: 7}
    assert [example["row"] for example in account["repair_examples"][rows.NO_INPUT_EMPTIED]] == [0, 1, 2, 3, 4]


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    text = "{name: x, model: {base: b}, stages: [{name: s, data: d}], data: {d: {sources: [{source: alpaca}], "
    text += "rules: {empty_imput: false}}}}"
    with pytest.raises(UserError, match=r"data\.d\.rules\.empty_imput.*did you mean 'empty_input'"):
        recipes.parse(text)
    recipes.parse(text.replace("imput", "input"))
    with pytest.raises(UserError, match="no rule is called"):
        mender({"nonsense": True})


# --- splitting -------------------------------------------------------------------------------------------------------


def conversation(*letters: str, system: str = "") -> Conversation:
    roles = ("user", "assistant")
    head = (Message("system", system),) if system else ()
    return Conversation((*head, *(Message(roles[i % 2], text) for i, text in enumerate(letters))), "s", 3)  # type: ignore[arg-type]


def at_most(letters: int) -> Any:
    return lambda item: sum(len(turn.content) for turn in item.messages) <= letters


def test_a_long_conversation_is_split_between_turns_and_nothing_is_lost() -> None:
    whole = conversation("aa", "bb", "cc", "dd", "ee", "ff", system="s")
    split = split_turns(whole, at_most(9))
    assert [[turn.content for turn in part.messages] for part in split.parts] == [
        ["s", "aa", "bb", "cc", "dd"],
        ["s", "ee", "ff"],
    ]
    assert split.repairs == (rows.SPLIT_TO_FIT,)
    assert {part.group for part in split.parts} == {"aa\n"} and {part.row for part in split.parts} == {3}


def test_a_pair_too_long_alone_is_left_out_and_named_and_alone_nothing_stays() -> None:
    split = split_turns(conversation("a", "b", "long question", "d", "e", "f"), at_most(4))
    assert [[turn.content for turn in part.messages] for part in split.parts] == [["a", "b"], ["e", "f"]]
    assert split.repairs == (rows.SPLIT_TO_FIT, rows.PAIR_LEFT_OUT)
    assert split_turns(conversation("long question", "b"), at_most(4)).parts == ()


@pytest.mark.parametrize("limit", range(4, 40))
def test_no_part_is_empty_or_too_long_and_every_pair_is_in_one(limit: int) -> None:
    letters = [letter * (1 + i % 3) for i, letter in enumerate("abcdefghijklmnop")]
    split = split_turns(conversation(*letters), at_most(limit))
    assert [turn.content for part in split.parts for turn in part.messages] == letters or limit < 6
    assert all(part.messages and len(part.messages) % 2 == 0 and at_most(limit)(part) for part in split.parts)


def prepared(folder: Path, given: list[dict[str, Any]], settings: str) -> tuple[dict[str, Any], Path]:
    """The summary and the folder of a prepare step over one ShareGPT file."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    text = (
        f"{{name: x, data_root: {folder}, model: {{base: nano-base}}, stages: [{{name: s, data: d, pack_length: 64, "
        f"evals_per_epoch: 0}}], data: {{d: {{sources: [{{source: sharegpt, path: rows.jsonl}}], validation_rows: 0, "
        f"{settings}}}}}}}"
    )
    step = next(each for each in study.compile_recipe(recipes.parse(text)) if each.kind == "prepare")
    out = folder / "step"
    out.mkdir(exist_ok=True)
    return prepare.run(prepare.Spec.model_validate(step.spec), Context(out, step.name, {})), out


def test_a_prepared_set_counts_the_conversations_that_one_row_was_split_into(tmp_path: Path) -> None:
    words = " ".join(["word"] * 10)
    row = {"conversations": talk(*(f"{who}:{n} {words}" for n in range(6) for who in "hg"))}
    summary, out = prepared(tmp_path, [row], "cutoff: 64, overlong: split_turns")
    lines = [json.loads(line) for line in (out / "conversations.jsonl").read_text().splitlines()]
    turns = [turn["content"] for line in lines for turn in line["messages"]]
    assert turns == [turn["value"] for turn in row["conversations"]]
    assert summary["rows_kept"] == 1 and summary["train_rows"] == len(lines) == 1 + summary["rows_added"] > 1
    assert summary["repaired"] == {rows.SPLIT_TO_FIT: 1} and summary["dropped"] == {}
    cut, _ = prepared(tmp_path, [row], "cutoff: 64, overlong: cut_turns")
    assert cut["rows_added"] == 0 and cut["train_rows"] == 1
