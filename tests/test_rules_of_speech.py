"""Self-identity, refusals, error messages and merged rows go by the sentence; talk about models and products stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeup.data.mend import mender
from codeup.data.rows import Drop, Repaired
from codeup.data.rules import error_answers, identity, merged_rows, refusals
from codeup.types import Conversation, Message

CODE = "```python\nname = 'I am an AI language model.'\n```"


def talk(*turns: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[at % 2], text) for at, text in enumerate(turns)), "s", 0)  # type: ignore[arg-type]


def turns(item: Conversation | Drop) -> list[str]:
    assert isinstance(item, Conversation), item
    return [turn.content for turn in item.messages]


# --- identity --------------------------------------------------------------------------------------------------------

REST = "Use a list comprehension, which is shorter and faster than a loop."
OF_SELF = [
    "As an AI language model, I have no taste.",
    "I'm just a language model and cannot taste.",
    "I am ChatGPT.",
    "I was created by researchers at OpenAI.",
    "My name is Vicuna, and I'm a language model developed by LMSYS.",
    "I am {{name}}, an AI assistant developed by {{author}}.",
    "Researchers from Large Model Systems Organization (LMSYS) created me.",
    "I am sorry, but as an AI, I do not eat.",
]


@pytest.mark.parametrize("sentence", OF_SELF)
def test_a_sentence_about_being_a_model_is_cut_and_the_rest_stays(sentence: str) -> None:
    assert identity.without(f"{sentence} {REST}") == REST
    assert identity.without(f"{REST} {sentence}\n\n{CODE}") == f"{REST} {CODE}"
    assert identity.without(sentence) is None
    mended = identity.apply(talk("q", f"{sentence} {REST}"))
    assert turns(mended) == ["q", REST] and isinstance(mended, Repaired) and mended.repairs == (identity.CUT,)


NOT_OF_SELF = [
    "I use the openai package: `openai.ChatCompletion.create`.",
    "ChatGPT is a language model by OpenAI. GPT-4 was trained by OpenAI.",
    "As an AI developer, you should test your models.",
    "I am an AI researcher, she said. As an AI engineer, I would use PyTorch.",
    'The robot said: "I am an AI language model." Then it left.',
    "> I am a language model\n\nThat line is a quotation.",
    "Call me when the chatbot is an AI.",
    "A virtual assistant such as Alexa answers questions.",
    f"Here it is:\n{CODE}",
    "message = 'Hello, I am an AI assistant.'\nconst f = x => { console.log(message); }",
    "i am an ai language model in lower case, perhaps a variable",
]


@pytest.mark.parametrize("text", NOT_OF_SELF)
def test_talk_about_models_products_and_characters_stays_to_the_byte(text: str) -> None:
    assert identity.without(text) == text
    item = talk("Who are you? I am ChatGPT.", text)
    assert identity.apply(item) is item, "what the user says is never touched"


def test_an_answer_that_is_nothing_else_ends_the_conversation_there() -> None:
    kept = identity.apply(talk("a", "b", "Who are you?", "I am ChatGPT.", "c", "d"))
    assert turns(kept) == ["a", "b"] and isinstance(kept, Repaired) and kept.repairs == (identity.ENDED,)
    assert identity.apply(talk("Who?", "I am ChatGPT.", "c", "d")) == Drop(identity.DROPPED, "I am ChatGPT.")


# --- refusals --------------------------------------------------------------------------------------------------------

REFUSED = [
    "I'm sorry, but I cannot help with that.",
    "I am sorry, I am unable to access external websites. Please paste the text here.",
    "As an AI language model, I cannot provide medical advice.",
    "I can't assist with that request.",
    "Sorry, I won't do that. It is not safe.",
    "I apologize, but I'm not able to view images.",
]
ANSWERED = [
    "I'm sorry to hear that. Restart the server and look at its log.",
    "I can't run it, but here is the code: x = 1",
    f"I'm sorry, I cannot run it.\n{CODE}",
    "I am sorry, but I can't open the link. However, you can try `curl`.",
    "Unfortunately, I cannot determine the angle from two sides: a third value is needed.",
    "I cannot help but laugh. 1. Laugh\n2. Smile",
    "You cannot create a tuple of one element without a comma.",
    "I'm sorry, but I cannot do it in one line. " + "So it takes several steps, as follows. " * 12,
]


@pytest.mark.parametrize("text", REFUSED)
def test_an_answer_that_only_refuses_ends_the_conversation_there(text: str) -> None:
    assert refusals.apply(talk("q", text)) == Drop(refusals.DROPPED, text)
    assert turns(refusals.apply(talk("a", "b", "q", text, "c", "d"))) == ["a", "b"]


@pytest.mark.parametrize("text", ANSWERED)
def test_an_answer_that_is_sorry_and_answers_stays(text: str) -> None:
    item = talk("q", text)
    assert refusals.apply(item) is item


# --- error messages, merged rows -------------------------------------------------------------------------------------


def test_a_pages_error_message_is_no_answer_and_talk_about_one_is() -> None:
    message = "Too many requests in 1 hour. Try again later."
    assert turns(error_answers.apply(talk("a", "b", "q", f"!{message}"))) == ["a", "b"]
    assert error_answers.apply(talk("q", message)) == Drop(error_answers.DROPPED, message)
    item = talk("q", f"The page said: {message} Wait an hour.")
    assert error_answers.apply(item) is item


def test_a_following_row_is_cut_off_an_answer_and_a_list_on_purpose_stays() -> None:
    merged = talk("Define a list.", "A list is mutable.\n\n18. Instruction: Name a fruit.\n18. Output: Apple")
    mended = merged_rows.apply(merged)
    assert turns(mended) == ["Define a list.", "A list is mutable."]
    assert isinstance(mended, Repaired) and mended.repairs == (merged_rows.CUT,)
    for item in (
        talk("Write three tasks.", "\n1. Instruction: a\n2. Instruction: b"),
        talk("Go on with this list of instructions.", "x\n2. Instruction: b"),
        talk("q", "2. Instruction: b"),
        talk("q", "See 18. Instruction: is a heading."),
    ):
        assert merged_rows.apply(item) is item


def test_what_is_off_by_default_is_off_and_each_source_has_its_rules(tmp_path: Path) -> None:
    about, refused = talk("q", "I am ChatGPT."), talk("q", REFUSED[0])
    assert mender()("alpaca", about) is about and mender()("alpaca", refused) is refused
    assert mender({"identity": True})("alpaca", about) == Drop("rule: identity", "I am ChatGPT.")
    assert mender({"refusals": True})("alpaca", refused) == Drop("rule: refusals", REFUSED[0])
    error = talk("q", "network error")
    assert mender()("alpaca", error) is error
    assert mender()("sharegpt", error) == Drop("rule: error_answers", "network error")


@pytest.mark.real_data
def test_on_real_files_code_is_never_taken_for_speech(public_data: Path) -> None:
    for name in ("code_alpaca_2k.json", "new_codealpaca.json"):
        for row in json.loads((public_data / "train" / name).read_text()):
            if row["output"].strip():
                item = talk(row["instruction"], row["output"])
                assert identity.apply(item) is item and refusals.apply(item) is item, row
                assert merged_rows.apply(item) is item, row
    identities = json.loads((public_data / "train" / "sharegpt_dummy_conversation.json").read_text())
    left = 0
    for row in identities:
        made = identity.apply(talk(*(turn["value"] for turn in row["conversations"])))
        assert isinstance(made, Drop | Repaired)
        left += isinstance(made, Repaired)
    assert (len(identities), left) == (500, 167), "a greeting before or after the identity is all that stays"
