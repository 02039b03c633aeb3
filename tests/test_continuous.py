"""Requests that join and leave a running batch get the tokens they would have got alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from serve_for_tests import tiny_model
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from codeup.engines import _slots
from codeup.engines._continuous import Batch, Scheduler
from codeup.engines._interface import Piece, QueueFull, Request
from codeup.engines.hf import Engine

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """In float64: in float32 two of a random model's tokens may be as near to each other as a batch's rounding."""
    made = Engine(tiny_model(tmp_path_factory.mktemp("model")))
    made.model.double()
    made.dtype = torch.float64
    return made


def prompts(engine: Engine, count: int, seed: int = 1) -> list[tuple[int, ...]]:
    chance = random.Random(seed)
    return [
        (engine.bos_id or 0, *(chance.randrange(400) for _ in range(chance.randrange(1, 60)))) for _ in range(count)
    ]


def finish(scheduler: Scheduler, told: dict[int, list[Piece]] | None = None) -> dict[int, list[Piece]]:
    """Step until nothing is left; the pieces of each ticket by its id."""
    told = {} if told is None else told
    while scheduler.load() != (0, 0):
        for row, piece in scheduler.step():
            told.setdefault(id(row), []).append(piece)
    return told


def alone(engine: Engine, request: Request) -> tuple[tuple[int, ...], str, str]:
    answer = engine.generate(
        [request.prompt], max_new_tokens=request.max_new_tokens, end_ids=sorted(request.end_ids),
        stop_strings=request.stop_strings, temperature=request.temperature, top_p=request.top_p, seed=request.seed,
        keys=[request.key],
    )[0]  # fmt: skip
    return answer.ids, answer.text, answer.finish


KINDS: list[dict[str, Any]] = [
    {}, {"temperature": 0.9}, {"temperature": 1.3, "top_p": 0.8}, {"stop_strings": ("e", "qu")},
]  # fmt: skip


def mixed(engine: Engine, count: int) -> list[Request]:
    """Greedy, sampled and nucleus-sampled requests of many lengths, with end ids and stop strings."""
    found = []
    for number, prompt in enumerate(prompts(engine, count)):
        settings = KINDS[number % 4]
        ends = frozenset(range(40)) if number % 3 else frozenset()
        found.append(Request(prompt, 5 + 7 * (number % 6), ends, seed=number // 2, key=number, **settings))
    return found


@pytest.mark.parametrize(("max_batch", "spare"), [(1, 128), (3, 4), (8, 128), (64, 2)])
def test_mixed_requests_answer_as_they_would_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, max_batch: int, spare: int
) -> None:
    monkeypatch.setattr(_slots.SlotLayer, "SPARE", spare)
    requests = mixed(engine, 24)
    scheduler = engine.live(max_batch=max_batch, max_queue=24)
    tickets = scheduler.submit(requests)
    told = finish(scheduler)
    wanted = [alone(engine, request) for request in requests]
    assert len({finish for _, _, finish in wanted}) == 2, "both ways to end must be among them"
    assert len({len(ids) for ids, _, _ in wanted}) > 5, "rows must leave at different steps"
    for ticket, (ids, text, finish_) in zip(tickets, wanted, strict=True):
        pieces = told[id(ticket)]
        assert tuple(ticket.writing.ids) == ids
        assert "".join(piece.text for piece in pieces) == text
        assert [piece.finish for piece in pieces if piece.finish] == [finish_] == [pieces[-1].finish]
        assert pieces[-1].produced == len(ids)


def test_who_comes_late_joins_between_two_steps_and_moves_nobody(engine: Engine) -> None:
    first, *late = [Request(prompt, 30, key=n) for n, prompt in enumerate(prompts(engine, 4, seed=3))]
    scheduler = engine.live(max_batch=4)
    tickets = [*scheduler.submit([first])]
    told: dict[int, list[Piece]] = {}
    for request in late:
        for _ in range(3):
            for row, piece in scheduler.step():
                told.setdefault(id(row), []).append(piece)
        tickets += scheduler.submit([request])
    assert scheduler.load() == (3, 1)
    finish(scheduler, told)
    for ticket, request in zip(tickets, [first, *late], strict=True):
        assert tuple(ticket.writing.ids) == alone(engine, request)[0]


def test_a_cancelled_request_leaves_and_the_others_go_on(engine: Engine) -> None:
    requests = [Request(prompt, 25, key=n) for n, prompt in enumerate(prompts(engine, 5, seed=4))]
    scheduler = engine.live(max_batch=3)
    tickets = scheduler.submit(requests)
    scheduler.step()
    assert scheduler.load() == (3, 2)
    scheduler.cancel(tickets[0])
    scheduler.cancel(tickets[4])
    told = finish(scheduler)
    for place, (ticket, request) in enumerate(zip(tickets, requests, strict=True)):
        if place in (0, 4):
            assert told[id(ticket)][-1].finish == "cancelled"
            assert len(ticket.writing.ids) < 25
        else:
            assert tuple(ticket.writing.ids) == alone(engine, request)[0]
    assert len(tickets[4].writing.ids) == 0
    scheduler.cancel(tickets[1])
    assert scheduler.step() == [], "cancelling what has ended says nothing"


def test_the_queue_takes_all_of_a_request_or_nothing(engine: Engine) -> None:
    scheduler = engine.live(max_batch=2, max_queue=3)
    one = Request(prompts(engine, 1)[0], 3)
    assert len(scheduler.submit([one] * 4)) == 4
    with pytest.raises(QueueFull, match="4 requests are waiting"):
        scheduler.submit([one] * 2)
    assert len(scheduler.submit([one])) == 1
    finish(scheduler)
    assert len(scheduler.submit([one] * 5)) == 5


def test_what_fails_fails_its_own_requests_only(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = engine.live()
    one = Request(prompts(engine, 1)[0], 6)
    original = scheduler._models.use
    monkeypatch.setattr(scheduler._models, "use", lambda adapter: (_ for _ in ()).throw(RuntimeError("broken")))
    ticket = scheduler.submit([one])[0]
    assert finish(scheduler)[id(ticket)][-1].error == "RuntimeError: broken"
    monkeypatch.setattr(scheduler._models, "use", original)
    ticket = scheduler.submit([one])[0]
    assert finish(scheduler)[id(ticket)][-1].finish == "length"


def test_logprobs_are_those_of_the_model(engine: Engine) -> None:
    prompt = prompts(engine, 1, seed=9)[0]
    scheduler = engine.live()
    ticket = scheduler.submit([Request(prompt, 6, logprobs=3, temperature=1.5, seed=3)])[0]
    tokens = [token for piece in finish(scheduler)[id(ticket)] for token in piece.tokens]
    ids = [token.id for token in tokens]
    with torch.no_grad():
        scores = engine.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    for token, row in zip(tokens, scores, strict=True):
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
        best = row.topk(3)
        assert [id for id, _ in token.top] == best.indices.tolist()
        assert [score for _, score in token.top] == pytest.approx(best.values.tolist(), abs=1e-4)


def other_engine(path: Path, model: Any) -> Engine:
    from tokenizers_for_tests import byte_level

    model.save_pretrained(path)
    byte_level().save_pretrained(path)
    return Engine(path)


def test_absolute_positions_and_sliding_windows_are_right_too(engine: Engine, tmp_path: Path) -> None:
    """GPT-2's positions are absolute; with sliding windows, new rows wait for an empty batch."""
    torch.manual_seed(2)
    size = len(engine.tokenizer)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=96, initializer_range=0.5)
    )
    mistral = MistralForCausalLM(MistralConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=16, initializer_range=0.3, max_position_embeddings=128,
    ))  # fmt: skip
    for name, model, joinable in (("gpt2", gpt2, True), ("mistral", mistral, False)):
        other = other_engine(tmp_path / name, model)
        assert _slots.SlotCache.fits(other.model.config) is joinable
        requests = [Request(prompt, 6 + 5 * (n % 4), key=n) for n, prompt in enumerate(prompts(other, 9))]
        scheduler = other.live(max_batch=3, max_queue=9)
        tickets = scheduler.submit(requests)
        finish(scheduler)
        for ticket, request in zip(tickets, requests, strict=True):
            assert tuple(ticket.writing.ids) == alone(other, request)[0], name


def test_each_adapter_answers_as_it_does_alone_and_the_base_as_without_any(tmp_path: Path, engine: Engine) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    folder = tiny_model(tmp_path / "base")
    adapters = {}
    for seed, name in enumerate(("a", "b")):
        torch.manual_seed(seed)
        tuned = get_peft_model(
            LlamaForCausalLM.from_pretrained(folder),
            LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
        )
        tuned.save_pretrained(tmp_path / name)
        adapters[name] = tmp_path / name
    some = prompts(engine, 12, seed=5)
    scheduler = Engine(folder).live(adapters=adapters, max_batch=8)
    tickets = scheduler.submit(
        [Request(prompt, 12, adapter=["", "a", "b"][n % 3], key=n) for n, prompt in enumerate(some)]
    )
    finish(scheduler)
    single = {"": Engine(folder), **{name: Engine(folder, adapter=path) for name, path in adapters.items()}}
    wanted = [
        single[["", "a", "b"][n % 3]].generate([prompt], max_new_tokens=12, end_ids=[])[0].ids
        for n, prompt in enumerate(some)
    ]
    assert [tuple(ticket.writing.ids) for ticket in tickets] == wanted
    assert wanted != [single[""].generate([prompt], max_new_tokens=12, end_ids=[])[0].ids for prompt in some]


def test_memory_is_let_go_of_and_the_window_stays_as_narrow_as_the_longest(engine: Engine) -> None:
    """200 short requests beside a long one: the room is bounded by rows times the longest, not by all that was said."""
    scheduler = engine.live(max_batch=4, max_queue=300)
    scheduler.submit([Request(prompts(engine, 1)[0][:5], 400)])
    scheduler.submit([Request(prompt[:9], 4, key=n) for n, prompt in enumerate(prompts(engine, 200))])
    widest = 0
    while scheduler.load() != (0, 0):
        scheduler.step()
        for batch in scheduler._batches.values():
            for layer in batch._cache.layers:
                widest = max(widest, layer.rooms[0].shape[2] if layer.rooms else 0)
                longest = max((row.length for row in batch.rows), default=0)
                assert layer.width <= max(longest, 1)
    assert widest <= 405 + 405 // 4 + 128
    assert all(not batch.rows for batch in scheduler._batches.values())


def test_where_many_wait_they_join_in_groups_and_few_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows of eight must be free before the waiting crowd joins; three that fit join at the next step."""
    joined: list[int] = []
    original = Batch.join

    def join(self: Batch, model: Any, rows: Any) -> Any:
        joined.append(len(rows))
        return original(self, model, rows)

    monkeypatch.setattr(Batch, "join", join)
    some = prompts(engine, 40, seed=8)
    scheduler = engine.live(max_batch=16, max_queue=40)
    scheduler.submit([Request(prompt, 3 + n % 7, key=n, stream=False) for n, prompt in enumerate(some)])
    finish(scheduler)
    assert sum(joined) == 40
    assert joined[0] == 16
    assert all(count >= 4 for count in joined[:-1])
    joined.clear()
    scheduler.submit([Request(some[0], 20)])
    scheduler.step()
    scheduler.submit([Request(prompt, 3) for prompt in some[:3]])
    scheduler.step()
    assert joined == [1, 3]


def test_an_answer_that_is_not_streamed_comes_whole(engine: Engine) -> None:
    request = Request(prompts(engine, 1, seed=6)[0], 12, stream=False)
    scheduler = engine.live()
    ticket = scheduler.submit([request])[0]
    pieces = finish(scheduler)[id(ticket)]
    assert [piece.text for piece in pieces[:-1]] == [""] * 11
    assert pieces[-1].text == alone(engine, request)[1]
    assert [token.id for token in pieces[-1].tokens] == list(alone(engine, request)[0])
