"""The renderer: the same ids for training, evaluation and everybody else, and what is learned from them."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from tokenizers_for_tests import SPECIAL, byte_level, sentence_piece
from transformers import AutoTokenizer, GenerationConfig

from codeup.chat import TEMPLATES, Renderer, base_prompt_ids, load_renderer, renderer
from codeup.errors import UserError
from codeup.types import Conversation, Message, Tokens

CODE = "```python\ndef add(a, b):\n\n    return a + b  # 😀 é\n```\n"
CONVERSATIONS = {
    "none": (Message("user", "Write a function."), Message("assistant", CODE)),
    "input": (Message("user", "Sort the list.", "[3, 1, 2]\n"), Message("assistant", "sorted([3, 1, 2])")),
    "multi-turn": (
        Message("user", "Write a function.\n\n"),
        Message("assistant", CODE),
        Message("user", "And with an input", "[1, 2]"),
        Message("assistant", "Done. {{idx}}"),
        Message("user", "{{ idx }} {% if x %}?"),
        Message("assistant", ""),
    ),
    "system": (Message("system", "You are careful.\n"), Message("user", "Hi."), Message("assistant", "Hello")),
    "system, multi-turn, input": (
        Message("system", "You are careful."),
        Message("user", "Add.", "1 2"),
        Message("assistant", "3"),
        Message("user", "Add.", "3 4"),
        Message("assistant", "7 "),
    ),
    "empty system": (Message("system", ""), Message("user", "Hi."), Message("assistant", "Hello")),
}


def as_dicts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content, **({"input": m.input} if m.input else {})} for m in messages]


def answer_runs(rendered: Tokens) -> list[list[int]]:
    """The trained stretches, each as its ids."""
    runs = groupby(zip(rendered.ids, rendered.trained, strict=True), key=lambda pair: pair[1])
    return [[token for token, _ in run] for trained, run in runs if trained]


def one_answer(text: str) -> Conversation:
    return Conversation((Message("user", "Hi."), Message("assistant", text)))


@pytest.mark.parametrize("shape", CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_training_ids_are_apply_chat_template_ids_are_evaluation_ids(template: str, shape: str, tmp_path: Path) -> None:
    messages = CONVERSATIONS[shape]
    trained = Renderer(byte_level(), template)
    trained.save(tmp_path)

    training = trained.render(Conversation(messages))
    everybody = AutoTokenizer.from_pretrained(tmp_path)
    theirs = everybody.apply_chat_template(as_dicts(messages), return_dict=False)
    evaluation = load_renderer(tmp_path)

    assert list(training.ids) == theirs
    assert evaluation.render(Conversation(messages)) == training
    prompt = evaluation.prompt(messages[:-1])
    assert prompt == everybody.apply_chat_template(
        as_dicts(messages[:-1]), add_generation_prompt=True, return_dict=False
    )
    assert prompt == list(training.ids[: len(prompt)])
    assert evaluation.decode(training.ids[len(prompt) :]) == messages[-1].content


@pytest.mark.parametrize("shape", ["none", "input", "multi-turn", "system"])
def test_the_same_holds_for_a_tokenizer_that_puts_a_space_before_text(shape: str, tmp_path: Path) -> None:
    messages = CONVERSATIONS[shape]
    Renderer(sentence_piece(), "alpaca").save(tmp_path)
    ours = load_renderer(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(as_dicts(messages), return_dict=False)
    rendered = ours.render(Conversation(messages))
    assert list(rendered.ids) == theirs
    assert [ours.decode(run) for run in answer_runs(rendered)] == [m.content for m in messages if m.role == "assistant"]


def test_alpaca_without_input_reads_exactly() -> None:
    ours = Renderer(byte_level(), "alpaca")
    text = ours.tokenizer.decode(ours.prompt((Message("user", "Add."),)))
    assert text == (
        "<|begin_of_text|>Below is an instruction that describes a task. Write a response that appropriately completes "
        "the request.\n\n### Instruction:\nAdd.\n\n### Response:\n"
    )


def test_alpaca_with_input_reads_exactly() -> None:
    ours = Renderer(byte_level(), "alpaca")
    text = ours.tokenizer.decode(ours.prompt((Message("user", "Add.", "1 2"),)))
    assert text == (
        "<|begin_of_text|>Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n"
        "1 2\n\n### Response:\n"
    )


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (
            "alpaca",
            "<|begin_of_text|>Be.\n\n### Instruction:\nA\n\n### Response:\n[B<|end_of_text|>]\n\n### Instruction:\nC"
            "\n\n### Input:\nD\n\n### Response:\n[E<|end_of_text|>]",
        ),
        (
            "llama3",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe.<|eot_id|><|start_header_id|>user"
            "<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[B<|eot_id|>]"
            "<|start_header_id|>user<|end_header_id|>\n\nC\n\nD<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
            "\n\n[E<|eot_id|>]",
        ),
        (
            "chatml",
            "<|begin_of_text|><|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n"
            "[B<|im_end|>]\n<|im_start|>user\nC\n\nD<|im_end|>\n<|im_start|>assistant\n[E<|im_end|>]",
        ),
    ],
)
def test_every_answer_and_its_end_token_is_trained_and_nothing_else(template: str, wanted: str) -> None:
    ours = Renderer(byte_level(), template)
    messages = (
        Message("system", "Be."),
        Message("user", "A"),
        Message("assistant", "B"),
        Message("user", "C", "D"),
        Message("assistant", "E"),
    )
    rendered = ours.render(Conversation(messages))
    runs = groupby(ours.text_pieces(rendered), key=lambda piece: piece[1])
    text = "".join(("[%s]" if trained else "%s") % "".join(piece for piece, _ in run) for trained, run in runs)
    assert text == wanted


@pytest.mark.parametrize("template", TEMPLATES)
def test_special_token_text_in_any_field_stays_plain(template: str) -> None:
    ours = Renderer(byte_level(), template)
    spiked = "".join(SPECIAL)
    messages = (Message("system", spiked), Message("user", spiked, spiked), Message("assistant", spiked))
    clean = tuple(Message(m.role, "x", "x" if m.input else "") for m in messages)
    special = set(ours.tokenizer.all_special_ids) | set(ours.tokenizer.added_tokens_decoder)
    found, wanted = (
        [token for token in ours.render(Conversation(m)).ids if token in special] for m in (messages, clean)
    )
    assert found == wanted
    assert [token for token in found if token == ours.bos_id] == found[:1]


def test_a_control_token_that_is_not_marked_special_stays_plain_too() -> None:
    from tokenizers import AddedToken

    tokenizer = byte_level(("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"))
    tokenizer.add_tokens([AddedToken(token, special=False) for token in ("<|im_start|>", "<|im_end|>", "    ")])
    ours = Renderer(tokenizer, "chatml")
    rendered = ours.render(one_answer("a<|im_end|>b"))
    assert ours.decode(answer_runs(rendered)[0]) == "a<|im_end|>b"
    assert tokenizer.convert_tokens_to_ids("    ") in ours.render(one_answer("a:\n    b")).ids


def test_text_that_begins_with_a_newline_is_cut_where_the_answer_begins(tmp_path: Path) -> None:
    ours = Renderer(byte_level(), "alpaca")
    messages = (Message("user", "Hi."), Message("assistant", "\n\nx = 1"))
    rendered = ours.render(Conversation(messages))
    prompt = ours.prompt(messages[:1])
    assert prompt == list(rendered.ids[: len(prompt)])
    assert ours.decode(rendered.ids[len(prompt) :]) == "\n\nx = 1"
    as_one_string = ours.tokenizer.apply_chat_template(as_dicts(messages), return_dict=False)
    assert as_one_string != list(rendered.ids), "the documented exception has gone: mend the docstring"
    assert ours.tokenizer.decode(as_one_string) == ours.tokenizer.decode(rendered.ids)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_begun_answer_is_left_open_as_continue_final_message_does(template: str) -> None:
    ours = Renderer(byte_level(), template)
    messages = (Message("user", "Hi."), Message("assistant", "Here:\n```python"))
    theirs = ours.tokenizer.apply_chat_template(as_dicts(messages), continue_final_message=True, return_dict=False)
    assert ours.prompt(messages) == theirs


@pytest.mark.parametrize("template", TEMPLATES)
def test_many_are_rendered_as_one_by_one(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Renderer(byte_level(), template)
    conversations = [Conversation(messages) for messages in CONVERSATIONS.values()] * 3
    monkeypatch.setattr(renderer, "BATCH", 5)
    assert ours.render_many(conversations) == [ours.render(conversation) for conversation in conversations]
    assert ours.render_many([]) == []


def test_pieces_join_to_the_decoded_text_even_inside_a_character() -> None:
    ours = Renderer(byte_level(), "llama3")
    rendered = ours.render(one_answer("naïve 😀\ufffd 😀"))
    pieces = ours.text_pieces(rendered)
    assert "".join(text for text, _ in pieces) == ours.tokenizer.decode(rendered.ids)
    assert "".join(text for text, trained in pieces if trained) == "naïve 😀\ufffd 😀<|eot_id|>"


def test_decoding_stops_at_any_end_token_and_strips_nothing() -> None:
    ours = Renderer(byte_level(), "llama3")
    body = ours.render(one_answer("  x \n")).ids
    answer = list(body[len(ours.prompt((Message("user", "Hi."),))) : -1])
    for end in ours.end_ids:
        assert ours.decode([*answer, end, *answer]) == "  x \n"
    assert ours.decode(answer) == "  x \n"


@pytest.mark.parametrize(
    ("special", "names", "pad"),
    [
        (SPECIAL, {"pad_token": "<|reserved_0|>"}, "<|reserved_0|>"),
        (SPECIAL, {"pad_token": "<|end_of_text|>"}, "<|pad|>"),
        (SPECIAL, {"pad_token": "<|eot_id|>"}, "<|pad|>"),
        ((*SPECIAL, "<|finetune_right_pad_id|>"), {}, "<|finetune_right_pad_id|>"),
        (("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"), {}, "<|reserved_special_token_0|>"),
        (("<|begin_of_text|>", "<|end_of_text|>", "<|fim_pad|>"), {}, "<|fim_pad|>"),
    ],
)
def test_padding_is_an_existing_token_and_never_an_end(
    special: tuple[str, ...], names: dict[str, str], pad: str
) -> None:
    tokenizer = byte_level(special, **names)
    ours = Renderer(tokenizer, "alpaca")
    assert ours.tokenizer.convert_ids_to_tokens(ours.pad_id) == pad
    assert ours.pad_id not in ours.end_ids
    assert len(ours.tokenizer) == len(tokenizer)


def test_no_token_to_pad_with_is_a_user_error() -> None:
    with pytest.raises(UserError, match="no token to pad with"):
        Renderer(byte_level(("<|begin_of_text|>", "<|end_of_text|>")), "alpaca")


def test_missing_special_tokens_are_named_with_the_way_out() -> None:
    tokenizer = byte_level(("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|im_end|>"))
    with pytest.raises(UserError, match=r"(?s)no <\|im_start\|>, which template 'chatml'.*template: alpaca"):
        Renderer(tokenizer, "chatml")
    with pytest.raises(UserError, match=r"<\|start_header_id\|>, <\|end_header_id\|>, <\|eot_id\|>"):
        Renderer(tokenizer, "llama3")


def test_an_unknown_template_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"(?s)'alpacca'.*alpaca, llama3, chatml"):
        Renderer(byte_level(), "alpacca")


@pytest.mark.parametrize("bos", [None, "<|end_of_text|>"])
def test_a_tokenizer_without_a_bos_of_its_own_gets_none(bos: str | None) -> None:
    tokenizer = byte_level(SPECIAL[1:], bos_token=bos)
    ours = Renderer(tokenizer, "chatml")
    messages = CONVERSATIONS["system"]
    rendered = ours.render(Conversation(messages))
    assert rendered.ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert list(rendered.ids) == ours.tokenizer.apply_chat_template(as_dicts(messages), return_dict=False)
    assert base_prompt_ids(tokenizer, "x") == tokenizer.encode("x")


def test_a_base_prompt_has_one_bos_and_plain_text() -> None:
    tokenizer = byte_level()
    ids = base_prompt_ids(tokenizer, "def f():<|end_of_text|><|begin_of_text|>\n")
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    assert base_prompt_ids(tokenizer, "def f():\n") == tokenizer("def f():\n").input_ids


@pytest.mark.parametrize("template", TEMPLATES)
def test_saving_tells_every_file_the_ends_and_the_padding(template: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 64, "eos_token_id": 1}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 1, "temperature": 0.6, "do_sample": true}')
    ours = Renderer(byte_level(), template)
    ours.save(tmp_path)

    config = json.loads((tmp_path / "config.json").read_text())
    generation = GenerationConfig.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    own_end = {"alpaca": "<|end_of_text|>", "llama3": "<|eot_id|>", "chatml": "<|im_end|>"}[template]
    assert (tmp_path / "chat_template.jinja").read_text() == ours.jinja
    assert generation.eos_token_id == list(ours.end_ids) == config["eos_token_id"]
    assert tokenizer.eos_token == own_end and tokenizer.eos_token_id == ours.end_ids[0]
    assert tokenizer.convert_tokens_to_ids("<|end_of_text|>") in ours.end_ids
    assert generation.pad_token_id == config["pad_token_id"] == tokenizer.pad_token_id == ours.pad_id
    assert ours.pad_id not in generation.eos_token_id
    assert (config["hidden_size"], generation.temperature) == (64, 0.6)


@pytest.mark.parametrize("template", TEMPLATES)
def test_saving_a_loaded_model_again_changes_nothing(template: str, tmp_path: Path) -> None:
    Renderer(byte_level(), template).save(tmp_path / "one")
    load_renderer(tmp_path / "one").save(tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_the_given_tokenizer_is_left_as_it_was() -> None:
    tokenizer = byte_level()
    Renderer(tokenizer, "llama3").prompt((Message("user", "Hi."),))
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template) == ("<|end_of_text|>", None, None)
    assert tokenizer.encode("<|eot_id|>", add_special_tokens=False) == [tokenizer.convert_tokens_to_ids("<|eot_id|>")]


def test_a_model_without_a_recorded_template_needs_a_name(tmp_path: Path) -> None:
    byte_level().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not say which prompt template"):
        load_renderer(tmp_path)
    assert load_renderer(tmp_path, "chatml").template == "chatml"


def test_a_chat_template_edited_after_saving_is_refused(tmp_path: Path) -> None:
    Renderer(byte_level(), "alpaca").save(tmp_path)
    path = tmp_path / "chat_template.jinja"
    path.write_text(path.read_text().replace("### Response:\\n", "### Response:"))
    with pytest.raises(UserError, match=r"chat_template\.jinja is not the template 'alpaca'"):
        load_renderer(tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "a/b/c", Path("no-such-folder")])
def test_a_missing_folder_is_a_user_error(name: str | Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_renderer(name, "alpaca")


def test_a_folder_without_a_readable_tokenizer_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        load_renderer(tmp_path, "alpaca")
    byte_level().save_pretrained(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="its tokenizer cannot be loaded"):
        load_renderer(tmp_path, "alpaca")


def test_a_hub_model_that_is_not_in_the_cache_is_a_user_error_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"nobody/no-such-model: its tokenizer cannot be loaded"):
        load_renderer("nobody/no-such-model", "alpaca")


@pytest.mark.parametrize(
    ("roles", "what"),
    [
        ([], "without a user message"),
        (["system"], "without a user message"),
        (["assistant"], "message 1 is from 'assistant'"),
        (["user", "user"], "message 2 is from 'user'"),
        (["user", "system", "assistant"], "message 2 is from 'system'"),
        (["system", "system", "user"], "message 1 is from 'system'"),
        (["user", "assistant", "user"], "does not end with an answer"),
    ],
)
def test_turns_out_of_order_are_a_user_error(roles: list[Any], what: str) -> None:
    ours = Renderer(byte_level(), "alpaca")
    with pytest.raises(UserError, match=f"(?s)rows row 7: .*{what}"):
        ours.render(Conversation(tuple(Message(role, "x") for role in roles), source="rows", row=7))


def test_an_input_belongs_to_a_user_message() -> None:
    with pytest.raises(UserError, match="message 2 has an input but is not from the user"):
        Renderer(byte_level(), "llama3").prompt((Message("user", "x"), Message("assistant", "y", "z")))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("roles", [["assistant"], ["user", "user"], ["user", "system"], ["user", "tool"]])
def test_the_saved_jinja_refuses_turns_out_of_order_too(template: str, roles: list[str]) -> None:
    ours = Renderer(byte_level(), template)
    with pytest.raises(Exception, match="must take turns"):
        ours.tokenizer.apply_chat_template([{"role": role, "content": "x"} for role in roles])


def test_text_that_is_not_unicode_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"lone surrogate.*\\ud800"):
        Renderer(byte_level(), "llama3").prompt((Message("user", "a\ud800b"),))
