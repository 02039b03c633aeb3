"""Loading accounts for every row; limits, splits and cuts are reproducible and never cut an answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeup.data import rows
from codeup.data.fit import cut_turns, fit
from codeup.data.load import Funnel, SourceSpec, load_mix, load_source
from codeup.data.rows import Drop, Repaired
from codeup.data.split import choose_validation, group_key, split
from codeup.data.store import from_json, read_conversations, to_json
from codeup.errors import UserError
from codeup.types import Conversation, Message


def pair(number: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"question {number}", "output": f"answer {number}", **more}


def write(path: Path, items: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def kept(items: Iterable[Conversation | Drop]) -> list[Conversation]:
    return [item for item in items if isinstance(item, Conversation)]


def say(question: str, answer: str = "a", group: str = "") -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), group=group)


# --- accounts --------------------------------------------------------------------------------------------------------


def test_every_row_is_kept_or_dropped_by_reason_and_carries_its_place(tmp_path: Path) -> None:
    bad = [{"instruction": "x", "output": ""}, {"instruction": "x"}, 7, {"instruction": "\ud800", "output": "y"}]
    path = write(tmp_path / "rows.jsonl", [pair(0), *bad, pair(5, input="<noinput>")])
    funnel = Funnel()
    items = list(load_source("alpaca", [path], funnel=funnel))
    assert [(item.source, item.row) for item in items] == [("alpaca:rows.jsonl", row) for row in range(6)]
    assert [type(item) for item in items] == [Conversation, Drop, Drop, Drop, Drop, Conversation]
    (count,) = funnel.to_dict()["sources"]
    assert count.pop("sha256") and count == {
        "source": "alpaca",
        "path": str(path),
        "rows_in": 6,
        "kept": 2,
        "added": 0,
        "usable": 2,
        "entry": 0,
        "dropped": {
            "empty answer": 1,
            "missing column": 1,
            "not an object": 1,
            "text is not valid Unicode": 1,
        },
        "repaired": {rows.NO_INPUT_EMPTIED: 1},
    }


def test_a_later_drop_moves_a_row_from_kept_to_dropped(tmp_path: Path) -> None:
    funnel = Funnel()
    for item in kept(load_source("alpaca", [write(tmp_path / "r.jsonl", map(pair, range(5)))], funnel=funnel)):
        if item.row % 2:
            funnel.drop(item, rows.TOO_LONG)
    assert (funnel.rows_in, funnel.rows_kept) == (5, 3)
    assert funnel.to_dict()["dropped"] == {"too long": 2}


def test_an_account_that_does_not_add_up_is_our_bug(tmp_path: Path) -> None:
    funnel = Funnel()
    list(load_source("alpaca", [write(tmp_path / "r.jsonl", map(pair, range(5)))], funnel=funnel))
    next(iter(funnel.counts.values())).kept -= 1
    with pytest.raises(AssertionError, match="1 of 5 rows are unaccounted for"):
        funnel.check()


def test_two_files_of_one_name_have_accounts_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [write(tmp_path / "r.jsonl", [pair(0)]), write(tmp_path / "other" / "r.jsonl", [pair(1), pair(2)])]
    funnel = Funnel()
    labels = [item.source for item in load_source("alpaca", paths, funnel=funnel)]
    assert labels == ["alpaca:r.jsonl", "alpaca:r.jsonl#2", "alpaca:r.jsonl#2"]
    assert [count.rows_in for count in funnel.counts.values()] == [1, 2]


@pytest.mark.parametrize("bad", [[], [{"instruction": "x", "output": ""}] * 3])
def test_a_file_without_one_usable_row_is_an_error_with_the_reasons(tmp_path: Path, bad: list[Any]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(bad))
    message = r"none of 3 rows can be used as 'alpaca': empty answer \(3\)" if bad else "there are no rows in it"
    with pytest.raises(UserError, match=message):
        list(load_source("alpaca", [path]))


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_needed_column_that_no_row_has_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"instructions": "x", "output": "y"}] * 100)
    with pytest.raises(UserError) as error:
        next(iter(load_source("alpaca", [path])))
    assert "no column 'instruction' (did you mean 'instructions'?)" in str(error.value)
    assert "the columns are: 'instructions', 'output'" in str(error.value)


def test_a_mapped_column_that_no_row_has_is_an_error_even_if_optional(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [pair(0)])
    with pytest.raises(UserError, match="no column 'inptu'"):
        list(load_source("alpaca", [path], columns={"input": "inptu"}))


def test_an_unknown_name_on_the_left_of_the_mapping_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [pair(0)])
    with pytest.raises(UserError, match="has no column 'ouput' \\(did you mean 'output'"):
        list(load_source("alpaca", [path], columns={"ouput": "output"}))


def test_a_column_that_only_some_rows_lack_drops_those_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"instruction": "first row lacks it"}, *map(pair, range(200)), {"output": "x"}])
    funnel = Funnel()
    list(load_source("alpaca", [path], funnel=funnel))
    assert funnel.to_dict()["dropped"] == {"missing column": 2} and funnel.rows_kept == 200


def test_a_source_of_the_users_own_is_a_dotted_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    code = """
from codeup.data.licences import FILE_OF_YOURS
from codeup.data.rows import REQUIRED, single_turn
HUB_ID, TERMS, COLUMNS, FIXTURE = None, FILE_OF_YOURS, {"q": REQUIRED}, []
def convert(row, *, columns):
    return single_turn(row["q"], row["q"].upper()) if row["q"] != "bad" else 3
"""
    (tmp_path / "mine" / "shouting.py").write_text(code)
    (tmp_path / "mine" / "lacking.py").write_text("HUB_ID = None")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path / "r.jsonl", [{"q": "a"}, {"q": "bad"}])
    items = load_source("mine.shouting", [path])
    assert next(items) == Conversation((Message("user", "a"), Message("assistant", "A")), "mine.shouting:r.jsonl", 0)
    with pytest.raises(UserError, match="made int of row 1"):
        next(items)
    with pytest.raises(UserError, match="lacks COLUMNS, FIXTURE, TERMS, convert"):
        list(load_source("mine.lacking", [path]))
    for name in ("mine.shouting", "mine.lacking", "mine"):
        sys.modules.pop(name, None)


# --- limits ----------------------------------------------------------------------------------------------------------


def draw(path: Path, limit: int, seed: int = 0) -> list[int]:
    return [item.row for item in kept(load_source("alpaca", [path], limit=limit, seed=seed))]


def test_a_limit_keeps_exactly_that_many_usable_rows_and_counts_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [pair(i) if i % 3 else {**pair(i), "output": ""} for i in range(300)])
    funnel = Funnel()
    list(load_source("alpaca", [path], limit=50, funnel=funnel))
    assert funnel.rows_kept == 50
    assert funnel.to_dict()["dropped"] == {"beyond limit": 150, "empty answer": 100}


def test_a_limit_draws_evenly_reproducibly_and_a_larger_one_keeps_the_smaller(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", map(pair, range(2000)))
    first = draw(path, 400)
    assert first == draw(path, 400) == sorted(first) and first != draw(path, 400, seed=1)
    assert set(first) < set(draw(path, 800))
    quarters = [sum(1 for row in first if row // 500 == quarter) for quarter in range(4)]
    assert sum(quarters) == 400 and all(70 < count < 130 for count in quarters), "expected 100 each, sd 8"
    assert draw(path, 5000) == list(range(2000))


def test_a_limit_counts_over_all_files_of_a_source(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.jsonl", map(pair, range(100))) for name in "abc"]
    funnel = Funnel()
    list(load_source("alpaca", paths, limit=60, funnel=funnel))
    assert funnel.rows_kept == 60 and all(count.kept > 5 for count in funnel.counts.values())


# --- mixes -----------------------------------------------------------------------------------------------------------


def test_a_mix_reads_sources_in_order_each_with_its_own_cap_and_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", map(pair, range(20)))
    write(tmp_path / "b.jsonl", [{"p": f"{i}", "r": "x"} for i in range(20)])
    specs = [
        SourceSpec("alpaca", "a.jsonl", rows=5),
        SourceSpec("prompt_response", "b.jsonl", columns={"prompt": "p", "response": "r"}),
    ]
    funnel = Funnel()
    items = list(load_mix(specs, funnel=funnel, data_root=tmp_path))
    assert [item.source for item in kept(items)] == ["alpaca:a.jsonl"] * 5 + ["prompt_response:b.jsonl"] * 20
    assert (funnel.rows_in, funnel.rows_kept) == (40, 25)


def test_a_shuffled_mix_holds_the_same_conversations_in_an_order_drawn_from_the_seed(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", map(pair, range(50)))
    specs = [SourceSpec("alpaca", "a.jsonl")]

    def order(**settings: Any) -> list[int]:
        return [item.row for item in kept(load_mix(specs, funnel=Funnel(), data_root=tmp_path, **settings))]

    shuffled = order(shuffle=True, seed=4)
    assert shuffled == order(shuffle=True, seed=4) != order(shuffle=True, seed=5)
    assert shuffled != order() == sorted(shuffled)


def test_a_shape_without_a_path_is_an_error_because_it_names_no_dataset() -> None:
    with pytest.raises(UserError, match="'alpaca' is a shape, not a dataset"):
        list(load_mix([SourceSpec("alpaca")], funnel=Funnel()))


# --- splits ----------------------------------------------------------------------------------------------------------


def test_a_group_never_stands_on_both_sides_and_the_number_of_rows_is_met() -> None:
    items = [say(f"rewrite {i}", group=f"original {i % 40}") for i in range(400)] + [say(f"own {i}") for i in range(30)]
    result = split(items, validation_rows=57, seed=3)
    assert len(result.validation) == 57 and len(result.train) == 373
    assert not {group_key(item) for item in result.train} & {group_key(item) for item in result.validation}
    assert sorted(result.train + result.validation, key=items.index) == items


def test_the_same_question_stays_on_one_side_without_a_group_and_across_sources() -> None:
    assert group_key(say("What is 2 + 2?")) == group_key(say("What is  2 + 2?\n", "four"))
    assert group_key(say("Rewritten", group="What is 2 + 2?")) == group_key(say("What is 2 + 2?"))
    with_input = Conversation((Message("user", "Add", "1"), Message("assistant", "a")))
    assert group_key(with_input) != group_key(say("Add"))


def test_a_split_does_not_depend_on_the_order_of_rows_but_on_the_seed() -> None:
    items = [say(f"q{i}") for i in range(300)]
    chosen = {item.messages[0].content for item in split(items, validation_rows=30).validation}
    assert chosen == {item.messages[0].content for item in split(items[::-1], validation_rows=30).validation}
    assert chosen != {item.messages[0].content for item in split(items, validation_rows=30, seed=1).validation}


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=30), wanted=st.integers(0, 60), seed=st.integers(0, 99))
def test_a_split_never_takes_more_than_wanted_unless_every_group_is_larger(
    sizes: list[int], wanted: int, seed: int
) -> None:
    keys = [bytes([index]) * 16 for index, size in enumerate(sizes) for _ in range(size)]
    if wanted >= len(keys):
        with pytest.raises(UserError, match=r"validation_rows: .* leave none to train on\n.* make it smaller than"):
            choose_validation(keys, rows=wanted, seed=seed)
        return
    chosen = choose_validation(keys, rows=wanted, seed=seed)
    held_out = sum(1 for key in keys if key in chosen)
    assert held_out <= wanted or (len(chosen) == 1 and held_out == min(sizes))
    assert (held_out > 0) == (wanted > 0) and held_out < len(keys)


def test_a_fraction_and_nothing_at_all_can_be_held_out() -> None:
    items = [say(f"q{i}") for i in range(200)]
    assert len(split(items, fraction=0.1).validation) == 20
    assert split(items, validation_rows=0).validation == []


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(UserError, match="belong to one group"):
        split([say(str(i), group="g") for i in range(9)], validation_rows=3)


# --- length ----------------------------------------------------------------------------------------------------------

LONG = Conversation(
    (
        Message("system", "s" * 10),
        *(Message(role, role[0] * 10) for _ in range(5) for role in ("user", "assistant")),
    ),
    source="s",
    row=3,
    group="g",
)


def at_most(letters: int) -> Any:
    return lambda conversation: sum(len(message.content) for message in conversation.messages) <= letters


@pytest.mark.parametrize(
    ("letters", "turns"), [(999, 11), (110, 11), (109, 9), (89, 7), (50, 5), (30, 3), (29, None), (0, None)]
)
def test_turns_are_cut_in_whole_pairs_from_the_end(letters: int, turns: int | None) -> None:
    shorter = cut_turns(LONG, at_most(letters))
    assert (shorter.messages if shorter else None) == (LONG.messages[:turns] if turns else None)


def test_a_conversation_that_is_too_long_is_dropped_or_cut_and_says_so() -> None:
    assert fit(LONG, at_most(110)) is LONG
    assert fit(LONG, at_most(109)) == Drop(rows.TOO_LONG, source="s", row=3)
    shorter = fit(LONG, at_most(60), "cut_turns")
    assert shorter == Repaired(LONG.messages[:5], "s", 3, "g", (rows.TURNS_CUT_TO_FIT,))
    assert fit(LONG, at_most(9), "cut_turns") == Drop(rows.TOO_LONG, source="s", row=3)


# --- on disk ---------------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text, text), text, st.integers(-1, 10**12))
def test_a_conversation_comes_back_from_json_exactly(message: Message, word: str, row: int) -> None:
    conversation = Conversation((message, message), word, row, word)
    line = to_json(conversation)
    assert from_json(line) == conversation and b"\n" not in line


def test_a_file_of_conversations_comes_back_exactly_even_if_empty(tmp_path: Path) -> None:
    items = [LONG, say("é\u2028😀", "\r\n\x00")]
    (tmp_path / "c.jsonl").write_bytes(b"".join(to_json(each) + b"\n" for each in items))
    assert list(read_conversations(tmp_path / "c.jsonl")) == items
    (tmp_path / "none.jsonl").touch()
    assert list(read_conversations(tmp_path / "none.jsonl")) == []


def test_a_file_of_something_else_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1 is not a conversation"):
        list(read_conversations(write(tmp_path / "c.jsonl", [{"text": "x"}])))


# --- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("source", "file", "rows_in", "dropped", "repaired"),
    [
        ("alpaca", "new_codealpaca.json", 4535, {}, {}),
        ("alpaca", "code_alpaca_2k.json", 2017, {"empty answer": 2}, {rows.NO_INPUT_EMPTIED: 1}),
        ("alpaca", "alpaca_en_demo.json", 999, {}, {rows.NO_INPUT_EMPTIED: 6}),
        ("alpaca", "identity.json", 91, {}, {}),
        ("gsm8k", "gsm8k_train.jsonl", 7473, {}, {rows.MARKS_REMOVED: 7378}),
        ("gsm8k", "gsm8k_test.jsonl", 1319, {}, {rows.MARKS_REMOVED: 1301}),
        ("sharegpt", "sharegpt_dummy_conversation.json", 500, {}, {}),
        (
            "sharegpt",
            "dpo_en_demo.json",
            300,
            {rows.NOTHING_TO_LEARN: 194},
            {rows.TRAILING_QUESTION_CUT: 106},
        ),
    ],
)
def test_real_files_are_accounted_for_to_the_row(
    public_data: Path, source: str, file: str, rows_in: int, dropped: dict[str, int], repaired: dict[str, int]
) -> None:
    path = public_data / "train" / file
    raw = path.read_text()
    whole = json.loads(raw) if path.suffix == ".json" else [json.loads(line) for line in raw.splitlines()]
    funnel = Funnel()
    items = list(load_source(source, [path], funnel=funnel))
    account = funnel.to_dict()
    assert len(items) == len(whole) == account["rows_in"] == rows_in
    assert (account["dropped"], account["repaired"]) == (dropped, repaired)
    assert account["rows_kept"] == rows_in - sum(dropped.values()) == len(kept(items))
    if source == "alpaca":
        for item in kept(items):
            row = whole[item.row]
            assert (item.messages[0].content, item.messages[-1].content) == (row["instruction"], row["output"])
    elif source == "gsm8k":
        assert not any(mark in item.messages[1].content for item in kept(items) for mark in ("<<", ">>", "####"))


@pytest.mark.real_data
def test_placeholders_and_duplicate_columns_of_real_files_do_no_harm(public_data: Path) -> None:
    identity = kept(load_source("alpaca", [public_data / "train/identity.json"]))
    assert identity[0].messages[1].content.startswith("Hello! I am {{name}}, an AI assistant developed by {{author}}.")
    path = public_data / "train/new_codealpaca.json"
    by_response = kept(load_source("alpaca", [path], columns={"output": "response"}))
    assert by_response == kept(load_source("alpaca", [path]))
