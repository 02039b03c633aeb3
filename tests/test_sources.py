"""One row of each shape becomes the right conversation, or a drop with the right reason."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from codeup import plugins
from codeup.data import rows
from codeup.data.licences import level, normal
from codeup.data.rows import Drop, Repaired
from codeup.types import Conversation, Message

SOURCES = plugins.names("sources")


def turns(item: Conversation | Drop) -> list[tuple[str, str]]:
    assert isinstance(item, Conversation), item
    return [(message.role, message.content) for message in item.messages]


def convert(name: str, row: dict[str, Any], **columns: str) -> Conversation | Drop:
    result: Conversation | Drop = plugins.load("sources", name).convert(row, columns=columns)
    return result


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> ModuleType:
    return plugins.load("sources", request.param)


def test_the_named_datasets_and_shapes_are_there() -> None:
    assert {"wizardlm_evol_instruct_v2", "metamathqa", "evol_codealpaca_v1", "gsm8k", "code_alpaca"} <= set(SOURCES)
    assert {"alpaca", "sharegpt", "messages", "prompt_response"} <= set(SOURCES)


def test_every_source_says_what_it_is_and_under_which_licence(source: ModuleType) -> None:
    assert (source.__doc__ or "").split("\n")[0].endswith(".")
    assert source.HUB_ID is None or "/" in source.HUB_ID
    assert (source.HUB_ID is None) == (not source.TERMS.claims), "a dataset has claims, a shape has its user's word"
    assert all(claim.licence == normal(claim.licence) and claim.by and claim.read for claim in source.TERMS.claims)
    assert all(level(claim.licence) < 7 for claim in source.TERMS.claims), "an identifier that has a level"


def test_every_source_keeps_and_drops_rows_of_its_fixture(source: ModuleType) -> None:
    made = [source.convert(row, columns={}) for row in source.FIXTURE]
    kept = [item for item in made if isinstance(item, Conversation)]
    assert kept and len(kept) < len(made)
    assert all(isinstance(item, Drop) and item.reason for item in made if item not in kept)
    for item in kept:
        assert rows.shape_problem(item.messages) is None and rows.is_valid_unicode(item)


def test_every_source_leaves_its_row_as_it_was(source: ModuleType) -> None:
    before = repr(source.FIXTURE)
    for row in source.FIXTURE:
        source.convert(row, columns={})
    assert repr(source.FIXTURE) == before


def test_every_source_reads_mapped_columns_the_same(source: ModuleType) -> None:
    columns = {name: f"my {name}" for name, use in source.COLUMNS.items() if use in (rows.REQUIRED, rows.OPTIONAL)}
    for row in source.FIXTURE:
        renamed = {columns.get(name, name): value for name, value in row.items()}
        assert source.convert(renamed, columns=columns) == source.convert(row, columns={})


def test_every_source_drops_a_row_without_its_columns(source: ModuleType) -> None:
    item = source.convert({"unrelated": 1}, columns={})
    assert isinstance(item, Drop) and item.reason == rows.MISSING_COLUMN


def test_every_source_drops_numbers_and_nulls_instead_of_failing(source: ModuleType) -> None:
    needed = [name for name, use in source.COLUMNS.items() if use == rows.REQUIRED]
    for value in (3, None, ["x"], {"x": 1}, [None]):
        assert isinstance(source.convert(dict.fromkeys(needed, value), columns={}), Drop)


TEXT = "  Ünïcode\r\n\tkept {{name}} <|eot_id|> ### Response:\n \\n \u2028 "


def test_the_text_of_a_turn_is_kept_to_the_byte() -> None:
    expected = [("user", TEXT), ("assistant", TEXT)]
    assert turns(convert("alpaca", {"instruction": TEXT, "output": TEXT})) == expected
    assert turns(convert("metamathqa", {"query": TEXT, "response": TEXT})) == expected
    assert turns(convert("prompt_response", {"prompt": TEXT, "response": TEXT})) == expected
    pair = [{"from": "human", "value": TEXT}, {"from": "gpt", "value": TEXT}]
    assert turns(convert("sharegpt", {"conversations": pair})) == expected
    pair = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}]
    assert turns(convert("messages", {"messages": pair})) == expected


# --- alpaca ----------------------------------------------------------------------------------------------------------


def test_alpaca_input_is_a_field_of_its_own() -> None:
    item = convert("alpaca", {"instruction": "Add", "input": " 1, 2\n", "output": "3"})
    assert item == Conversation((Message("user", "Add", " 1, 2\n"), Message("assistant", "3")))


@pytest.mark.parametrize("text", ["<noinput>", "<No Input>", " No input. ", "NoInput", "N/A", "n/a."])
def test_an_alpaca_input_that_says_there_is_none_is_none_and_is_named(text: str) -> None:
    item = convert("alpaca", {"instruction": "Add", "input": text, "output": "3"})
    assert isinstance(item, Repaired) and item.repairs == (rows.NO_INPUT_EMPTIED,)
    assert item.messages[0] == Message("user", "Add", "")


@pytest.mark.parametrize("text", ["None", "no input was given to the function, why?", "0", "N"])
def test_an_alpaca_input_that_could_mean_something_is_kept(text: str) -> None:
    item = convert("alpaca", {"instruction": "Add", "input": text, "output": "3"})
    assert isinstance(item, Conversation) and item.messages[0].input == text


@pytest.mark.parametrize("blank", ["", "  \n", None])
def test_a_blank_alpaca_input_is_no_input(blank: str | None) -> None:
    item = convert("alpaca", {"instruction": "Add", "input": blank, "output": "3"})
    assert item == Conversation((Message("user", "Add"), Message("assistant", "3")))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "x", "output": ""}, rows.EMPTY_ANSWER),
        ({"instruction": "x", "output": " \n"}, rows.EMPTY_ANSWER),
        ({"instruction": "x", "output": None}, rows.EMPTY_ANSWER),
        ({"instruction": "x", "output": "<No Output>"}, rows.EMPTY_ANSWER),
        ({"instruction": "", "output": "x"}, rows.EMPTY_QUESTION),
        ({"instruction": "x"}, rows.MISSING_COLUMN),
        ({"instruction": "x", "output": 7}, rows.NOT_TEXT),
        ({"instruction": "x", "input": ["y"], "output": "z"}, rows.NOT_TEXT),
        ({"instruction": "x", "output": "z", "history": [["only one"]]}, rows.NOT_TEXT),
        ({"instruction": "x", "output": "z", "history": 3}, rows.NOT_TEXT),
        ({"instruction": "x", "output": "z", "history": [["q", ""]]}, rows.EMPTY_ANSWER),
    ],
)
def test_an_unusable_alpaca_row_is_dropped_by_name(row: dict[str, Any], reason: str) -> None:
    item = convert("alpaca", row)
    assert isinstance(item, Drop) and item.reason == reason


def test_alpaca_history_comes_before_the_instruction_and_the_system_text_first() -> None:
    row = {"instruction": "c", "input": "d", "output": "e", "system": "s", "history": [["a", "b"]]}
    item = convert("alpaca", row)
    assert turns(item) == [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "e")]
    assert isinstance(item, Conversation) and item.messages[3].input == "d"


def test_a_group_is_used_where_it_is_mapped_and_only_there() -> None:
    row = {"instruction": "x", "output": "y", "group": "g", "family": 12}
    plain, mapped = convert("alpaca", row), convert("alpaca", row, group="family")
    assert isinstance(plain, Conversation) and plain.group == ""
    assert isinstance(mapped, Conversation) and mapped.group == "12"


# --- conversations ---------------------------------------------------------------------------------------------------


def talk(*pairs: str) -> list[dict[str, str]]:
    """`h:` human, `g:` gpt, `s:` system, otherwise the role as written."""
    names = {"h": "human", "g": "gpt", "s": "system"}
    split = [pair.partition(":") for pair in pairs]
    return [{"from": names.get(role, role), "value": text} for role, _, text in split]


def test_every_turn_of_a_long_conversation_is_kept_in_order() -> None:
    item = convert("wizardlm_evol_instruct_v2", {"conversations": talk("h:1", "g:2", "h:3", "g:4", "h:5", "g:6")})
    assert [text for _, text in turns(item)] == list("123456")


def test_the_many_names_of_the_two_speakers_are_understood() -> None:
    item = convert("sharegpt", {"conversations": talk("User:a", "bing:b", "human:c", "ChatGPT:d")})
    assert [role for role, _ in turns(item)] == ["user", "assistant"] * 2


def test_turns_without_a_partner_are_cut_at_both_ends_and_named() -> None:
    item = convert("sharegpt", {"conversations": talk("s:be kind", "g:hello", "h:a", "g:b", "h:thanks")})
    assert turns(item) == [("system", "be kind"), ("user", "a"), ("assistant", "b")]
    assert isinstance(item, Repaired)
    assert item.repairs == (rows.LEADING_TURNS_CUT, rows.TRAILING_QUESTION_CUT)


@pytest.mark.parametrize(
    ("rest", "cut"),
    [
        (["h:c", "h:d", "g:e"], rows.DISORDER_CUT),
        (["h:c", "h:d"], rows.DISORDER_CUT),
        (["h:c", "g: ", "h:d", "g:e"], rows.DISORDER_CUT),
        (["h: ", "g:c"], rows.DISORDER_CUT),
        (["h:c", "g:d", "g:e"], rows.DISORDER_CUT),
        (["h:c"], rows.TRAILING_QUESTION_CUT),
    ],
)
def test_the_exchanges_before_the_first_turn_out_of_order_are_kept(rest: list[str], cut: str) -> None:
    item = convert("sharegpt", {"conversations": talk("h:a", "g:b", *rest)})
    assert turns(item) == [("user", "a"), ("assistant", "b")]
    assert isinstance(item, Repaired)
    assert item.repairs == (cut,)


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (talk("h:a"), rows.NOTHING_TO_LEARN),
        (talk("g:a"), rows.NOTHING_TO_LEARN),
        (talk("s:a"), rows.NOTHING_TO_LEARN),
        ([], rows.NOTHING_TO_LEARN),
        (talk("h:a", "h:b", "g:c"), rows.NOT_ALTERNATING),
        (talk("h:a", "g:b", "g:c"), rows.NOT_ALTERNATING),
        (talk("h:a", "g:b", "g:c", "h:d", "g:e"), rows.NOT_ALTERNATING),
        (talk("h:a", "g:"), rows.EMPTY_ANSWER),
        (talk("h:a", "g: ", "h:b", "g:c"), rows.EMPTY_ANSWER),
        (talk("h: ", "g:a"), rows.EMPTY_QUESTION),
        (talk("h:a", "s:late", "g:b"), rows.MISPLACED_SYSTEM),
        (talk("h:a", "function_call:f()", "observation:1", "g:b"), rows.TOOL_CALL),
        (talk("h:a", "narrator:b"), rows.UNKNOWN_ROLE),
        ([{"from": "human"}], rows.MISSING_COLUMN),
        (["human: hi"], rows.MISSING_COLUMN),
        ([{"from": "human", "value": 3}], rows.NOT_TEXT),
        ("human: hi", rows.NOT_TEXT),
    ],
)
def test_a_conversation_that_cannot_be_kept_whole_is_dropped_by_name(conversation: Any, reason: str) -> None:
    item = convert("sharegpt", {"conversations": conversation})
    assert isinstance(item, Drop) and item.reason == reason


def test_a_shape_is_only_right_if_an_answer_ends_it_and_follows_each_question() -> None:
    ask, answer, system = Message("user", "a"), Message("assistant", "b"), Message("system", "s")
    assert rows.shape_problem((system, ask, answer, ask, answer)) is None
    for wrong in ((), (system,), (ask,), (answer,), (ask, answer, ask), (ask, answer, system), (ask, ask, answer)):
        assert rows.shape_problem(wrong) is not None, wrong


def test_turn_fields_can_be_mapped() -> None:
    row = {"talk": [{"who": "human", "what": "a"}, {"who": "gpt", "what": "b"}]}
    assert turns(convert("sharegpt", row, **{"conversations": "talk", "from": "who", "value": "what"})) == [
        ("user", "a"),
        ("assistant", "b"),
    ]


def test_a_system_column_and_the_same_system_turn_are_one() -> None:
    same = convert("sharegpt", {"system": "s", "conversations": talk("s:s", "h:a", "g:b")})
    assert turns(same) == [("system", "s"), ("user", "a"), ("assistant", "b")]
    other = convert("sharegpt", {"system": "t", "conversations": talk("s:s", "h:a", "g:b")})
    assert isinstance(other, Drop) and other.reason == rows.MISPLACED_SYSTEM


def test_openai_text_parts_are_joined_and_pictures_refused() -> None:
    def ask(*parts: dict[str, str]) -> Conversation | Drop:
        return convert(
            "messages",
            {"messages": [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": "b"}]},
        )

    assert turns(ask({"type": "text", "text": "a "}, {"type": "text", "text": "c"}))[0] == ("user", "a c")
    refused = ask({"type": "image_url", "image_url": "x"})
    assert isinstance(refused, Drop) and refused.reason == rows.NOT_TEXT


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"tool_calls": [{"id": 1}]}, rows.TOOL_CALL),
        ({"weight": 0}, "answer with weight 0"),
        ({"train": False}, "answer marked not to be trained on"),
        (
            {"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]},
            "answer marked not to be trained on",
        ),
    ],
)
def test_openai_rows_that_would_be_learnt_wrongly_are_dropped(extra: dict[str, Any], reason: str) -> None:
    answer = {"role": "assistant", "content": "b", **extra}
    item = convert("messages", {"messages": [{"role": "user", "content": "a"}, answer]})
    assert isinstance(item, Drop) and item.reason == reason


def test_a_question_that_is_not_trained_on_changes_nothing_in_axolotls_rows() -> None:
    question = {"role": "user", "content": "a", "train": False, "weight": 1}
    item = convert("messages", {"messages": [question, {"role": "assistant", "content": "b", "train": True}]})
    assert turns(item) == [("user", "a"), ("assistant", "b")]


def test_trl_prompts_and_completions_are_texts_or_turns_and_disliked_ones_are_left_out() -> None:
    assert turns(convert("prompt_completion", {"prompt": "a ", "completion": " b"})) == [
        ("user", "a "),
        ("assistant", " b"),
    ]
    told = {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}
    assert turns(convert("prompt_completion", told)) == [("user", "a"), ("assistant", "b")]
    disliked = convert("prompt_completion", {**told, "label": False})
    assert isinstance(disliked, Drop) and disliked.reason == "completion labelled false"
    mixed = convert("prompt_completion", {**told, "completion": "b"})
    assert isinstance(mixed, Drop) and mixed.reason == rows.NOT_TEXT


# --- mathematics -----------------------------------------------------------------------------------------------------


def test_metamath_rewrites_carry_their_original_question_as_group() -> None:
    row = {"query": "How\nmany?", "response": "2", "original_question": "Many?", "type": "GSM_SV"}
    item = convert("metamathqa", row)
    turns = (Message("user", "How\nmany?"), Message("assistant", "2"))
    assert item == Repaired(turns, group="Many?", repairs=(rows.GROUPED,), before=Conversation(turns))
    own = convert("metamathqa", {**row, "original_question": "How\nmany?"})
    assert own == Conversation(turns, group="How\nmany?")


def test_gsm8k_loses_its_calculator_marks_and_says_its_answer_in_words() -> None:
    answer = "She sold 48/2 = <<48/2=24>>24 in May.\nShe sold 48+24 = <<48+24=72>>72 together.\n#### 72"
    item = convert("gsm8k", {"question": "How many?", "answer": answer})
    assert turns(item)[1][1] == "She sold 48/2 = 24 in May.\nShe sold 48+24 = 72 together.\nThe answer is: 72"
    assert isinstance(item, Conversation) and item.group == "How many?"


def test_gsm8k_without_a_final_line_is_dropped_and_other_shifts_are_left_alone() -> None:
    without = convert("gsm8k", {"question": "?", "answer": "It is 3. #### 3 is not on its own line"})
    assert isinstance(without, Drop) and without.reason == "no final answer"
    shifts = convert("gsm8k", {"question": "?", "answer": "1 << 3 is 8\n#### -1,234.5 "})
    assert turns(shifts)[1][1] == "1 << 3 is 8\nThe answer is: -1,234.5"
