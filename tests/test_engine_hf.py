"""The transformers engine against transformers' own generate, and what must not change a result."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers_for_tests import byte_level
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.generation.logits_process import TopPLogitsWarper

from codeup.engines import _batch, _slots
from codeup.engines._choose import sample as draw
from codeup.engines._interface import Completion, Request, Token
from codeup.engines._worklist import check_prompts, shares
from codeup.engines.hf import Engine
from codeup.errors import UserError, WorkFailed

NO_END = 9999  # an id the model cannot produce


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 60 thousand parameters whose weights are large enough that its output varies."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = byte_level()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    # a generation_config that would change everything, if it were heard
    model.generation_config.update(do_sample=True, temperature=5.0, top_k=3, repetition_penalty=9.0, eos_token_id=[7])
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder)


@pytest.fixture(scope="module")
def prompts(engine: Engine) -> list[list[int]]:
    """Eleven prompts of 2 to 60 tokens, in no order."""
    chance = random.Random(1)
    return [[engine.bos_id or 0, *(chance.randrange(400) for _ in range(chance.randrange(1, 60)))] for _ in range(11)]


def reference(engine: Engine, prompt: list[int], new: int, end_ids: list[int]) -> list[int]:
    """Greedy by model.generate, one prompt alone, without padding."""
    out = engine.model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=new,
        do_sample=False,
        repetition_penalty=1.0,
        temperature=None,
        top_k=None,
        top_p=None,
        eos_token_id=end_ids,
        pad_token_id=0,
    )
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens


def common_token(engine: Engine, prompts: list[list[int]]) -> int:
    """A token that greedy answers hold often, which makes it an end token that ends them at different places."""
    answers = engine.generate(prompts, max_new_tokens=24, end_ids=[])
    return Counter(token for answer in answers for token in set(answer.ids[3:])).most_common(1)[0][0]


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_greedy_equals_transformers_generate_token_by_token(
    engine: Engine, prompts: list[list[int]], batch_size: int
) -> None:
    end = common_token(engine, prompts)
    answers = engine.generate(prompts, max_new_tokens=24, end_ids=[end], batch_size=batch_size)
    wanted = [reference(engine, prompt, 24, [end]) for prompt in prompts]
    assert [list(answer.ids) for answer in answers] == wanted
    assert len({len(answer.ids) for answer in answers}) > 2, (
        "rows should end at different steps for this test to say much"
    )
    for answer in answers:
        assert answer.finish == ("stop" if answer.ids[-1] == end else "length")
        assert answer.text == engine.tokenizer.decode([token for token in answer.ids if token != end])


def test_padding_does_not_move_absolute_positions(prompts: list[list[int]], tmp_path: Path) -> None:
    """Llama's rotary positions are relative and would hide a wrong position; GPT-2's are not."""
    tokenizer = byte_level()
    torch.manual_seed(2)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96, "initializer_range": 0.5}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = Engine(tmp_path)
    answers = engine.generate(prompts, max_new_tokens=12, end_ids=[])
    assert [list(answer.ids) for answer in answers] == [reference(engine, prompt, 12, [NO_END]) for prompt in prompts]


def test_answers_longer_than_the_spare_room_of_the_cache_are_exact(
    engine: Engine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_slots.SlotLayer, "SPARE", 5)
    answers = engine.generate(prompts[:3], max_new_tokens=40, end_ids=[])
    assert [list(answer.ids) for answer in answers] == [reference(engine, p, 40, [NO_END]) for p in prompts[:3]]


def test_any_end_token_ends_an_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = engine.tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    scripted(engine, monkeypatch, {5: ["a", "<|eot_id|>", "b", "<|end_of_text|>"]})
    assert engine.generate([[engine.bos_id or 0, 5]], max_new_tokens=9, end_ids=ends)[0].text == "a"
    assert engine.generate([[engine.bos_id or 0, 5]], max_new_tokens=9, end_ids=ends[:1])[0].text == "a<|eot_id|>b"


def scripted(engine: Engine, monkeypatch: pytest.MonkeyPatch, texts: dict[int, list[str]]) -> None:
    """Make the model say these texts, a list of pieces per first prompt token; a piece is tokenised on its own."""
    scripts = {
        first: [token for piece in pieces for token in engine.tokenizer.encode(piece, add_special_tokens=False)]
        for first, pieces in texts.items()
    }

    def choose(rows: list[_batch.Row], logits: torch.Tensor) -> list[Token]:
        assert logits.shape[0] == len(rows)
        return [Token(scripts[row.request.prompt[-1]][len(row.writing.ids)]) for row in rows]

    monkeypatch.setattr(_batch, "_choose", choose)


@pytest.mark.parametrize(
    ("pieces", "stops", "text"),
    [
        (["return x", "\n", "def", " main"], ["\ndef "], "return x"),
        (["a", "\n", "if", " ", "__", "na", "me", "__ ==", "tail"], ["\nif __name__"], "a"),
        (["x\n\n", "``", "`", "\n", "more"], ["\n```\n"], "x\n"),
        (["one two", " three"], ["three", "two"], "one "),
        (["x", "a", "b", "c"], ["b", "ab"], "x"),
        (["😀", "stop", " on"], ["😀stop"], ""),
        (["ab", "c"], ["", "bc"], "a"),
    ],
)
def test_a_stop_string_is_found_across_tokens_and_cut(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, pieces: list[str], stops: list[str], text: str
) -> None:
    scripted(engine, monkeypatch, {5: [*pieces, " never said" * 9]})
    answer = engine.generate([[engine.bos_id or 0, 5]], max_new_tokens=60, end_ids=[], stop_strings=stops)[0]
    assert (answer.text, answer.finish) == (text, "stop")
    whole = engine.tokenizer.decode(answer.ids)
    assert any(stop and stop in whole for stop in stops)
    assert not any(stop and stop in engine.tokenizer.decode(answer.ids[:-1]) for stop in stops), (
        "went on after the stop"
    )


def test_an_answer_that_only_begins_a_stop_string_is_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(engine, monkeypatch, {5: ["  x", "\n", "def", "<|eot_id|>"]})
    end = engine.tokenizer.convert_tokens_to_ids("<|eot_id|>")
    answer = engine.generate([[engine.bos_id or 0, 5]], max_new_tokens=20, end_ids=[end], stop_strings=["\ndef "])[0]
    assert (answer.text, answer.finish) == ("  x\ndef", "stop")


def test_the_end_token_is_in_the_ids_and_not_in_the_text(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    end = engine.tokenizer.convert_tokens_to_ids("<|eot_id|>")
    scripted(engine, monkeypatch, {5: ["  a<|im_start|>", "<|eot_id|>", "b"]})
    answer = engine.generate([[engine.bos_id or 0, 5]], max_new_tokens=30, end_ids=[end])[0]
    assert answer.ids[-1] == end
    assert (answer.text, answer.finish) == ("  a<|im_start|>", "stop")


def test_sampling_depends_on_the_seed_and_not_on_the_batch(engine: Engine, prompts: list[list[int]]) -> None:
    def sample(seed: int, batch_size: int) -> list[Completion]:
        return engine.generate(
            prompts,
            max_new_tokens=16,
            end_ids=range(40),
            temperature=0.9,
            top_p=0.95,
            seed=seed,
            batch_size=batch_size,
        )

    once = sample(7, 4)
    assert len({len(answer.ids) for answer in once}) > 2, "rows must leave the batch at different steps"
    assert sample(7, 4) == once
    assert sample(7, 1) == once
    assert sample(7, 32) == once
    assert sample(8, 4) != once


def test_equal_prompts_draw_differently(engine: Engine, prompts: list[list[int]]) -> None:
    answers = engine.generate([prompts[0]] * 6, max_new_tokens=16, end_ids=[], temperature=1.0)
    assert len(set(answers)) > 1


def test_who_resumes_with_the_first_keys_gets_the_same_samples(engine: Engine, prompts: list[list[int]]) -> None:
    whole = engine.generate(prompts, max_new_tokens=16, end_ids=[], temperature=1.0)
    rest = engine.generate(prompts[6:], max_new_tokens=16, end_ids=[], temperature=1.0, keys=range(6, len(prompts)))
    assert rest == whole[6:]


def test_sampled_frequencies_are_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).log_softmax(-1)
    draws = (torch.arange(20_000)[:, None] + 0.5) / 20_000
    for top_p in (1.0, 0.999999):
        chosen = draw(logits.expand(20_000, 4), draws, 0.7, top_p)
        found = torch.bincount(chosen, minlength=4) / 20_000
        assert torch.allclose(found, (logits / 0.7).softmax(-1), atol=2e-4)


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.6, 0.9, 1.0])
def test_the_nucleus_is_that_of_transformers(top_p: float) -> None:
    torch.manual_seed(3)
    logits = torch.randn(1, 12) * 2
    warped = TopPLogitsWarper(top_p)(torch.zeros(1, 1, dtype=torch.long), logits.clone())
    draws = torch.linspace(0, 1, 4001)[:, None]  # 1.0 itself cannot be drawn, and must not fall off the end either
    chosen = draw(logits.expand(4001, 12), draws, 1.0, top_p)
    assert set(chosen.tolist()) == set(torch.nonzero(torch.isfinite(warped[0])).flatten().tolist())


def test_on_done_is_told_each_result_once(engine: Engine, prompts: list[list[int]]) -> None:
    told: list[tuple[int, Completion]] = []
    end = common_token(engine, prompts)
    answers = engine.generate(
        prompts, max_new_tokens=24, end_ids=[end], batch_size=4, on_done=lambda *what: told.append(what)
    )
    assert sorted(told, key=lambda what: what[0]) == list(enumerate(answers))


def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, tokens of each) of every call of the model from now on."""
    calls: list[tuple[int, int]] = []
    forward = _batch._forward

    def look(model: Any, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append((ids.shape[0], ids.shape[1]))
        return forward(model, ids, *rest)

    monkeypatch.setattr(_batch, "_forward", look)
    return calls


def test_who_waits_joins_when_a_quarter_of_the_batch_is_free(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of 2, 3, 4 … tokens, longest prompts first: by hand, with eight rows of 16 prompts."""
    monkeypatch.setattr(_batch, "_choose", lambda rows, logits: [
        Token(1 if len(row.writing.ids) == row.request.key else 0) for row in rows
    ])  # fmt: skip
    calls = seen(monkeypatch)
    bos = engine.bos_id or 0
    prompts = [[bos] + [5] * (40 - number) for number in range(16)]
    engine.generate(prompts, max_new_tokens=99, end_ids=[1], batch_size=8, keys=range(1, 17))
    # 8 begin. Key k answers 0 k times and then 1, so that it ends at its (k + 1)th token: 1, then 2 has ended.
    assert calls[:3] == [(8, 41), (8, 1), (7, 1)]
    assert calls[3] == (2, 33)  # two of eight are free: numbers 8 and 9, with 33 and 32 tokens
    assert sum(rows for rows, _ in calls) == sum(range(2, 18))  # a row for every token, none for one that ended


def test_requests_are_shared_out_longest_first_in_like_sizes() -> None:
    requests = [Request((0,) * length, 1) for length in (5, 30, 10, 11, 9, 90, 7)]
    assert [[len(each.prompt) for each in share] for share in shares(requests, 1)] == [[90, 30], [11, 10], [9, 7], [5]]
    assert [len(share) for share in shares(requests * 100, 1)] == [11] * 60 + [10] * 4  # 64 are enough
    assert shares([], 8) == []


def test_a_batch_that_does_not_fit_in_memory_is_halved(
    engine: Engine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, memory = engine.generate(prompts, max_new_tokens=8, end_ids=[]), [0]
    forward = _batch._forward

    def small_memory(model: Any, ids: torch.Tensor, lengths: list[int], width: int, cache: Any) -> torch.Tensor:
        if len(lengths) * width > memory[0]:
            raise torch.OutOfMemoryError("not enough")
        return forward(model, ids, lengths, width, cache)

    monkeypatch.setattr(_batch, "_forward", small_memory)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    longest = max(map(len, prompts))
    for room in (longest + 8, 3 * longest + 1, 3 * longest + 20):  # at the first step, and amidst the answers
        memory[:] = [room]
        assert engine.generate(prompts, max_new_tokens=8, end_ids=[]) == wanted
    memory[:] = [longest]
    with pytest.raises(WorkFailed, match=rf"out of memory for one prompt of {longest} tokens: not enough"):
        engine.generate(prompts, max_new_tokens=8, end_ids=[])


def test_prompts_that_do_not_fit_the_context_are_counted(engine: Engine) -> None:
    bos = engine.bos_id or 0
    fits, long, longer = [bos] + [1] * 399, [bos] + [1] * 400, [bos] + [1] * 449
    with pytest.raises(
        UserError, match=r"(?s)2 of 3 prompts.*longest has 450 tokens.*562 in a context of 512.*max_new_tokens to 62"
    ):
        engine.generate([long, fits, longer], max_new_tokens=112, end_ids=[])
    assert engine.generate([fits], max_new_tokens=1, end_ids=[])[0].finish == "length"


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_settings_out_of_range_are_a_user_error(engine: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="cannot generate with"):
        engine.generate([[engine.bos_id or 0]], **{"max_new_tokens": 1, "end_ids": [], **wrong})


def test_no_prompts_give_no_answers_and_an_empty_prompt_is_named(engine: Engine) -> None:
    assert engine.generate([], max_new_tokens=4, end_ids=[]) == []
    with pytest.raises(UserError, match="1 of 2 prompts are empty, the first is number 1"):
        engine.generate([[engine.bos_id or 0], []], max_new_tokens=4, end_ids=[])


@pytest.mark.parametrize("prompt", [[1, 2], [9, 9, 2], [2, 9], [9, 2, 9]])
def test_a_prompt_without_exactly_one_bos_at_its_start_is_our_bug(prompt: list[int]) -> None:
    with pytest.raises(AssertionError, match="prompt 1 has"):
        check_prompts([[9, 1], prompt], 1, None, 9)


def test_generating_checks_the_bos(engine: Engine) -> None:
    with pytest.raises(AssertionError, match="2 BOS"):
        engine.generate([[engine.bos_id or 0, engine.bos_id or 0]], max_new_tokens=1, end_ids=[])
    check_prompts([[1, 2], [9, 9]], 1, None, None)


def test_a_missing_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        Engine(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no config\.json"):
        Engine(tmp_path)


def copied(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights_are_a_user_error(folder: Path, tmp_path: Path, part: float) -> None:
    weights = copied(folder, tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * part)])
    with pytest.raises(UserError, match=r"cannot be loaded|missing"):
        Engine(tmp_path)


def test_a_weight_that_is_missing_is_not_made_up(folder: Path, tmp_path: Path) -> None:
    weights = copied(folder, tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights are missing, for example model\.layers\.1\.mlp\.up_proj\.weight"):
        Engine(tmp_path)


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Engine(folder)
    assert capfd.readouterr() == ("", "")


def test_an_adapter_changes_the_answers_as_peft_does(
    folder: Path, engine: Engine, prompts: list[list[int]], tmp_path: Path
) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    model = LlamaForCausalLM.from_pretrained(folder)
    torch.manual_seed(5)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path)
    adapted = Engine(folder, adapter=tmp_path)
    unmerged = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(folder), tmp_path)
    ids = torch.tensor([prompts[0]])
    with torch.no_grad():
        assert torch.allclose(adapted.model(ids).logits, unmerged(ids).logits, atol=1e-4)
    assert adapted.generate(prompts, max_new_tokens=8, end_ids=[]) != engine.generate(
        prompts, max_new_tokens=8, end_ids=[]
    )
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        Engine(folder, adapter=folder)


@pytest.mark.parametrize(("name", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_cpu_default_is_float32_whatever_the_file_says(folder: Path, name: str, dtype: torch.dtype) -> None:
    engine = Engine(folder, dtype=name, device="cpu")
    assert engine.model.dtype == dtype
    assert str(dtype).removeprefix("torch.") in engine.description


def test_an_unknown_dtype_or_device_names_the_known_ones(folder: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)'fp8'.*float32, bfloat16, float16"):
        Engine(folder, dtype="fp8")
    with pytest.raises(UserError, match="'gpu'"):
        Engine(folder, device="gpu")
