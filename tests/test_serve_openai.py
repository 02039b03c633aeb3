"""The server against OpenAI's own client: every field it honours, in both forms of reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from serve_for_tests import Running, served, tiny_model

from codeup.chat import load_renderer
from codeup.engines.hf import Engine
from codeup.types import Message

ASK: list[Any] = [{"role": "user", "content": "write add"}]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), context=512)


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    path = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(LlamaForCausalLM.from_pretrained(folder), config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def server(folder: Path, adapter: Path) -> Iterator[Running]:
    with served(folder, adapters={"tuned": adapter}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def alone(folder: Path) -> Engine:
    return Engine(folder)


def direct(folder: Path, engine: Engine, messages: list[Any], **settings: Any) -> Any:
    """What the engine answers without any server."""
    renderer = load_renderer(folder, "alpaca")
    prompt = renderer.prompt([Message(message["role"], message["content"]) for message in messages])
    return engine.generate([prompt], end_ids=renderer.end_ids, **settings)[0]


def test_the_models_are_the_base_and_its_adapters(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tuned"]
    assert client.models.retrieve("tuned").id == "tuned"
    with pytest.raises(openai.NotFoundError, match=r"no model 'x/\.\./y'"):
        client.models.retrieve("x/../y")


def test_a_greedy_answer_is_the_engines_own(client: openai.OpenAI, folder: Path, alone: Engine) -> None:
    wanted = direct(folder, alone, ASK, max_new_tokens=40)
    answer = client.chat.completions.create(model="tiny", messages=ASK, temperature=0, max_tokens=40)
    assert answer.choices[0].message.content == wanted.text
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == wanted.finish
    assert answer.object == "chat.completion"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(wanted.ids)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + len(wanted.ids)


def test_an_adapter_is_chosen_by_its_name(client: openai.OpenAI, folder: Path, adapter: Path, alone: Engine) -> None:
    answers = {
        model: client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=20)
        for model in ("tiny", "tuned")
    }
    tuned = Engine(folder, adapter=adapter)
    assert answers["tuned"].choices[0].message.content == direct(folder, tuned, ASK, max_new_tokens=20).text
    assert answers["tiny"].choices[0].message.content == direct(folder, alone, ASK, max_new_tokens=20).text
    assert answers["tuned"].choices[0].message.content != answers["tiny"].choices[0].message.content
    assert answers["tuned"].model == "tuned"


def test_a_stream_says_what_the_whole_reply_says(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {
        "model": "tiny",
        "messages": ASK,
        "temperature": 0.8,
        "seed": 11,
        "max_tokens": 60,
        "n": 3,
    }
    whole = client.chat.completions.create(**settings)
    texts, ends, usage = ["", "", ""], ["", "", ""], None
    for chunk in client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk"
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
        usage = chunk.usage or usage
        assert bool(chunk.choices) != bool(chunk.usage), "the usage comes last, in a chunk without choices"
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage
    assert len(set(texts)) == 3, "choices draw from random streams of their own"


def test_a_stream_is_events_that_end_with_done(server: Running) -> None:
    body = {"model": "tiny", "messages": ASK, "max_tokens": 3, "temperature": 0, "stream": True}
    with server.client() as client:
        reply = client.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    first = json.loads(events[0].removeprefix("data: "))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert "usage" not in first


def test_a_seed_repeats_an_answer_and_no_seed_does_not(client: openai.OpenAI) -> None:
    def sample(**more: Any) -> str | None:
        return (
            client.chat.completions.create(model="tiny", messages=ASK, max_tokens=16, **more).choices[0].message.content
        )

    assert sample(seed=4) == sample(seed=4)
    assert sample(seed=4) != sample(seed=5)
    assert sample() != sample()


def test_a_stop_string_cuts_text_stream_and_logprobs(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "tiny", "messages": ASK, "temperature": 0, "max_tokens": 40}
    text = client.chat.completions.create(**settings).choices[0].message.content or ""
    stop = text[len(text) // 2 :][:2]
    assert len(stop) == 2
    cut = client.chat.completions.create(**settings, stop=[stop, "never"], logprobs=True).choices[0]
    assert cut.message.content == text[: text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.logprobs is not None and cut.logprobs.content is not None
    assert "".join(token.token for token in cut.logprobs.content).startswith(cut.message.content or "")
    assert stop not in "".join(token.token for token in cut.logprobs.content[:-1])
    chunks = client.chat.completions.create(**settings, stop=stop, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == cut.message.content


def test_logprobs_come_with_bytes_and_alternatives(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(
        model="tiny", messages=ASK, temperature=0, max_tokens=5, logprobs=True, top_logprobs=4
    ).choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert len(choice.logprobs.content) == 5
    for token in choice.logprobs.content:
        assert len(token.top_logprobs) == 4
        assert token.logprob == token.top_logprobs[0].logprob, "greedy takes the likeliest"
        assert sorted((other.logprob for other in token.top_logprobs), reverse=True) == [
            other.logprob for other in token.top_logprobs
        ]
        if token.bytes is not None:
            assert bytes(token.bytes).decode() == token.token


def test_completions_take_text_ids_and_lists_of_them(client: openai.OpenAI, alone: Engine) -> None:
    ids = [alone.bos_id or 0, *alone.tokenizer.encode("def f", add_special_tokens=False)]
    end = [alone.tokenizer.eos_token_id]
    wanted = alone.generate([ids], max_new_tokens=12, end_ids=end)[0].text
    for prompt in ("def f", ids, ["def f"], [ids]):
        reply = client.completions.create(model="tiny", prompt=prompt, max_tokens=12, temperature=0)
        assert [choice.text for choice in reply.choices] == [wanted], prompt
    two = client.completions.create(model="tiny", prompt=["def f", "x"], n=2, max_tokens=12, temperature=0, logprobs=2)
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in two.choices[:2]] == [wanted, wanted]
    logprobs = two.choices[0].logprobs
    assert logprobs is not None and logprobs.tokens and logprobs.text_offset and logprobs.top_logprobs
    assert "".join(logprobs.tokens) == wanted
    assert logprobs.text_offset[:2] == [0, len(logprobs.tokens[0])]
    assert all(len(top) <= 2 for top in logprobs.top_logprobs)


def test_the_end_of_a_prompt_may_be_the_answers_beginning(client: openai.OpenAI, folder: Path, alone: Engine) -> None:
    messages = [*ASK, {"role": "assistant", "content": "def add("}]
    wanted = direct(folder, alone, messages, max_new_tokens=10)
    answer = client.chat.completions.create(model="tiny", messages=messages, temperature=0, max_tokens=10)
    assert answer.choices[0].message.content == wanted.text


def test_text_parts_are_their_text_and_developer_is_system(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "write "}, {"type": "text", "text": "add"}]
    plain = client.chat.completions.create(model="tiny", messages=ASK, temperature=0, max_tokens=8)
    split: Any = [{"role": "user", "content": parts}]
    assert (
        client.chat.completions.create(model="tiny", messages=split, temperature=0, max_tokens=8).choices
        == plain.choices
    )
    first: list[Any] = [{"role": role, "content": "be brief"} for role in ("system", "developer")]
    both = [
        client.chat.completions.create(model="tiny", messages=[one, *ASK], temperature=0, max_tokens=8).choices
        for one in first
    ]
    assert both[0] == both[1] != plain.choices


def test_without_a_limit_an_answer_may_fill_the_context(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="x", max_tokens=500, temperature=0, stop=None)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 500
    with pytest.raises(
        openai.BadRequestError, match=r"the prompt has 2 tokens and 511 new ones .* 513 in a context of 512"
    ):
        client.completions.create(model="tiny", prompt="x", max_tokens=511)
    with pytest.raises(openai.BadRequestError, match=r"in a context of 512") as refused:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "long " * 600}])
    assert refused.value.body["code"] == "context_length_exceeded"  # type: ignore[index]


def test_fields_that_ask_for_nothing_are_accepted_and_others_are_named(client: openai.OpenAI) -> None:
    client.chat.completions.create(
        model="tiny", messages=ASK, max_tokens=2, frequency_penalty=0, presence_penalty=0, logit_bias={}, store=False,
        user="somebody", tool_choice="none",
    )  # fmt: skip
    for field, value in {"frequency_penalty": 0.5, "tools": [{"type": "function"}], "top_k": 4, "store": True}.items():
        with pytest.raises(openai.BadRequestError, match=f"does not support the field '{field}'") as refused:
            client.chat.completions.create(model="tiny", messages=ASK, extra_body={field: value})
        assert refused.value.param == field


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"enum": ["ab", "cd"]}, "n": {"type": "integer", "minimum": 3, "maximum": 9},
                   "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}},
    "required": ["name", "n", "tags"], "additionalProperties": False,
}  # fmt: skip


def test_an_answer_goes_back_as_it_came_and_a_speakers_name_is_refused_with_what_to_do(client: openai.OpenAI) -> None:
    """Clients send messages back with all fields of the protocol, most of them null or empty."""
    said: Any = {"role": "assistant", "content": "Yes.", "refusal": None, "audio": None, "tool_calls": []}
    asked: Any = [{"role": "user", "content": "f?"}, said, {"role": "user", "content": "g?"}]
    assert client.chat.completions.create(model="tiny", messages=asked, max_tokens=1).usage is not None
    for field, value, mend in (
        ("name", "ann", "write the name into the content"),
        ("tool_calls", [{}], "call no tools"),
    ):
        wrong: Any = [{**said, field: value}]
        with pytest.raises(openai.BadRequestError, match=mend) as refused:
            client.chat.completions.create(model="tiny", messages=wrong, max_tokens=1)
        assert refused.value.param == f"messages[0].{field}" and refused.value.code == "unsupported_field"


def test_json_answers_follow_their_schema_and_plain_ones_do_not(client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    settings: dict[str, Any] = {"model": "tiny", "messages": ASK, "max_tokens": 200, "seed": 1, "n": 6}
    for _ in range(2):
        answers = client.chat.completions.create(**settings, response_format=form)
        for choice in answers.choices:
            assert choice.finish_reason == "stop"
            value = json.loads(choice.message.content or "")
            assert set(value) == {"name", "n", "tags"}
            assert value["name"] in ("ab", "cd") and type(value["n"]) is int and 3 <= value["n"] <= 9
            assert len(value["tags"]) <= 2 and all(type(tag) is bool for tag in value["tags"])
    assert len({choice.message.content for choice in answers.choices}) > 1
    for choice in client.chat.completions.create(**settings).choices:
        with pytest.raises(ValueError, match=r"Expecting|Extra|Invalid|Unterminated"):
            json.loads(choice.message.content or "")
    streamed = client.chat.completions.create(**settings, response_format=form, stream=True)
    texts = [""] * 6
    for chunk in streamed:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in answers.choices]


def test_any_json_object_is_an_object_unless_it_was_cut_off(client: openai.OpenAI) -> None:
    answers = client.chat.completions.create(
        model="tiny",
        messages=ASK,
        max_tokens=120,
        seed=2,
        n=8,
        temperature=1.5,
        response_format={"type": "json_object"},
    )
    ended = [choice for choice in answers.choices if choice.finish_reason == "stop"]
    assert ended
    for choice in ended:
        assert isinstance(json.loads(choice.message.content or ""), dict)
    for choice in answers.choices:
        assert (choice.message.content or "").lstrip().startswith("{")


@pytest.mark.parametrize(
    "form",
    [{"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 7}},
     {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}, {"type": "text", "x": 1},
     {"type": "json_object", "schema": {}}, {"type": "json_schema", "json_schema": {"schema": {}, "x": 1}}, {},
     {"type": "json_schema", "json_schema": {"schema": {"$ref": "http://10.0.0.1/schema"}}}],
    ids=str,
)  # fmt: skip
def test_a_format_that_cannot_be_kept_is_refused(client: openai.OpenAI, form: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=ASK, max_tokens=2, response_format=form)
    assert refused.value.param == "response_format"


def test_infilling_needs_tokens_for_it(client: openai.OpenAI, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(openai.BadRequestError, match="has no tokens for infilling") as refused:
        client.completions.create(model="tiny", prompt="def f(", suffix=")", max_tokens=2)
    assert refused.value.param == "suffix"
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    marks = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    engine = Engine(folder)
    engine.tokenizer.add_special_tokens({"additional_special_tokens": marks})
    engine.tokenizer.save_pretrained(tmp_path)
    engine.model.resize_token_embeddings(len(engine.tokenizer), mean_resizing=False)
    torch.manual_seed(3)
    torch.nn.init.normal_(engine.model.get_input_embeddings().weight[-3:], std=0.3)
    engine.model.save_pretrained(tmp_path)
    filling = Engine(tmp_path)
    before, after, middle = filling.tokenizer.convert_tokens_to_ids(marks)
    text = [filling.tokenizer.encode(part, add_special_tokens=False) for part in ("def f(", "): <|fim_middle|>")]
    plain = filling.tokenizer.encode("): <|fim_middle|>", add_special_tokens=False, split_special_tokens=True)
    assert plain != text[1], "a mark that is typed is text"
    ids = [filling.bos_id or 0, before, *text[0], after, *plain, middle]
    wanted = filling.generate([ids], max_new_tokens=9, end_ids=[filling.tokenizer.eos_token_id])[0].text
    with served(tmp_path, name="fills") as running:
        other = openai.OpenAI(base_url=f"{running.base}/v1", api_key="none", max_retries=0)
        reply = other.completions.create(
            model="fills", prompt="def f(", suffix="): <|fim_middle|>", max_tokens=9, temperature=0
        )
        assert reply.choices[0].text == wanted
        assert reply.usage is not None and reply.usage.prompt_tokens == len(ids)
