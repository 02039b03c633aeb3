"""Generation by llama.cpp: every token arrives, with the model's own log-probabilities; what cannot work is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from serve_for_tests import served
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from codeup.cli.app import app
from codeup.cli.serving import parse_adapters
from codeup.engines import _llama_live
from codeup.engines._interface import QueueFull, Request
from codeup.engines.hf import Engine as Hf
from codeup.errors import UserError
from codeup.export.gguf_model import write_model
from codeup.nano import base_folder
from codeup.serve import app as serving
from codeup.serve import running

pytest.importorskip("xllamacpp")
PROMPT = (0, 5, 300, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged model with random weights: it writes many tokens that end within a character."""
    path = tmp_path_factory.mktemp("random")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    model.save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base_folder() / name, path / name)
    write_model(path, path / "m.gguf", quant="f32")
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Any]:
    from codeup.engines.llamacpp import Engine

    loaded = Engine(folder / "m.gguf", context=160, slots=2)
    yield loaded
    loaded.close()


def test_a_json_answer_does_not_end_in_spaces(tmp_path: Path) -> None:
    """The packaged base would rather write spaces than this object: they must not fill the answer up to its limit."""
    pytest.importorskip("llguidance")
    from codeup.engines._constrained import JsonGrammars
    from codeup.engines._llama_server import LlamaServer

    write_model(base_folder(), tmp_path / "m.gguf", quant="f16")
    tokenizer = Hf(base_folder()).tokenizer
    listed = {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 3}
    schema = {"type": "object", "properties": {"a": {"enum": ["b", "日本"]}, "xs": listed}, "required": ["a", "xs"]}
    ends = frozenset([tokenizer.eos_token_id])
    grammar = JsonGrammars(tokenizer, len(tokenizer)).prepare({**schema, "additionalProperties": False}, ends)().grammar
    with LlamaServer(tmp_path / "m.gguf", threads=1) as server:
        prompt = server.tokenize("Write a Python function that returns the sum of a list of numbers.\n")
        asked = {"prompt": prompt, "n_predict": 120, "temperature": 0.0, "grammar": grammar, "cache_prompt": False}
        said = server.post("/completion", asked)["content"]
    value = json.loads(said)
    assert set(value) == {"a", "xs"} and said == json.dumps(value, ensure_ascii=False)


def pieces(live: Any, request: Request) -> list[Any]:
    live.submit([request])
    found = []
    while live.load() != (0, 0):
        found += [piece for _, piece in live.step()]
    return found


def test_tokens_within_a_character_arrive_too(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.server.complete(PROMPT, 48)
    asked: list[Any] = []
    again = _llama_live._again

    def counted(*given: Any) -> Any:
        asked.append(given)
        return again(*given)

    monkeypatch.setattr(_llama_live, "_again", counted)
    found = pieces(engine.live(), Request(PROMPT, 48, frozenset([1]), logprobs=2))
    tokens = [token for piece in found for token in piece.tokens]
    assert [token.id for token in tokens] == whole and asked  # some were kept back
    assert "".join(piece.text for piece in found) == engine.writer.text(whole)
    assert all(token.logprob is not None and len(token.top) == 2 for token in tokens)
    assert all(token.logprob == pytest.approx(token.top[0][1]) for token in tokens)  # greedy: the likeliest


def test_log_probabilities_are_the_models_own(engine: Any, folder: Path) -> None:
    request = Request(PROMPT, 6, frozenset([1]), temperature=2.0, top_p=0.9, seed=4, logprobs=1)
    tokens = [token for piece in pieces(engine.live(), request) for token in piece.tokens]
    again = [token for piece in pieces(engine.live(), request) for token in piece.tokens]
    assert [token.id for token in tokens] == [token.id for token in again]
    ids = [token.id for token in tokens]
    with torch.no_grad():
        said = Hf(folder).model(torch.tensor([[*PROMPT, *ids]])).logits[0].log_softmax(-1)
    for at, token in enumerate(tokens):
        assert token.logprob == pytest.approx(float(said[len(PROMPT) - 1 + at, token.id]), abs=0.05)


def test_an_end_of_llama_cpp_that_is_none_for_the_request_is_passed(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.server.complete(PROMPT, 12)
    streams = iter([whole[:4], whole[4:]])

    def stream(path: str, body: Any, on_open: Any) -> Any:
        part = next(streams)
        assert body["prompt"] == [*PROMPT, *whole[:4]][: len(body["prompt"])] and body["n_predict"] in (12, 8)
        yield from ({"tokens": [id], "tokens_predicted": at + 1} for at, id in enumerate(part))

    monkeypatch.setattr(engine.server, "stream", stream)
    found = _llama_live.exact_tokens(engine.server, Request(PROMPT, 12, frozenset([1])), [], lambda line: None)
    assert [token.id for token in found] == whole


def test_stop_strings_cancelling_and_a_full_queue(engine: Any) -> None:
    text = engine.writer.text(engine.server.complete(PROMPT, 30))
    stop = text[len(text) // 2 :][:4]
    done = engine.generate([PROMPT], max_new_tokens=30, end_ids=[1], stop_strings=[stop])[0]
    assert (done.text, done.finish) == (text[: text.find(stop)], "stop")
    live = engine.live(max_batch=1, max_queue=1)
    first, second = live.submit([Request(PROMPT, 150), Request(PROMPT, 5)])
    with pytest.raises(QueueFull):
        live.submit([Request(PROMPT, 5)])
    live.cancel(first)
    told = []
    while live.load() != (0, 0):
        told += live.step()
    ends = {id(ticket): piece.finish for ticket, piece in told if piece.finish}
    assert ends == {id(first): "cancelled", id(second): "length"} and len(first.writing.ids) < 150


def test_what_cannot_work_is_refused_with_the_mend(engine: Any, folder: Path, tmp_path: Path) -> None:
    from codeup.engines.llamacpp import Engine

    with pytest.raises(UserError, match="do not fit"):
        engine.generate([PROMPT], max_new_tokens=500, end_ids=[1])
    with pytest.raises(UserError, match="cannot be read"):
        Engine(tmp_path / "none.gguf")
    with pytest.raises(UserError, match="is not a GGUF file"):
        Engine(folder / "tokenizer.json")
    alone = Path(shutil.copy(folder / "m.gguf", tmp_path / "alone.gguf"))
    with pytest.raises(UserError, match=r"(?s)no tokenizer beside it \(alone\.tokenizer/\).*--tokenizer FOLDER"):
        Engine(alone)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "tokenizer_config.json", other)
    spoilt = json.loads((folder / "tokenizer.json").read_text())
    spoilt["model"]["merges"] = spoilt["model"]["merges"][:100]
    (other / "tokenizer.json").write_text(json.dumps(spoilt))
    with pytest.raises(UserError, match="not that of the GGUF file"):
        Engine(alone, tokenizer=other)
    with pytest.raises(UserError, match="adapters as GGUF files"):
        parse_adapters([f"a={tmp_path}"], files=True)


def test_a_file_of_an_architecture_that_llama_cpp_does_not_know_is_refused(folder: Path, tmp_path: Path) -> None:
    from codeup.engines.llamacpp import Engine

    known = (folder / "m.gguf").read_bytes()
    name, other = b"general.architecture", b"zzama"
    at = known.index(name) + len(name) + 4 + 8  # after the key: the kind of value, its length
    assert known[at : at + 5] == b"llama"
    (tmp_path / "m.gguf").write_bytes(known[:at] + other + known[at + 5 :])
    with pytest.raises(
        UserError, match=r"(?s)m\.gguf: llama\.cpp cannot load this.*an architecture.*codeup export gguf"
    ):
        Engine(tmp_path / "m.gguf", tokenizer=folder)


def test_a_missing_package_is_named_with_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codeup.engines._constrained import JsonGrammars
    from codeup.engines._llama_server import LlamaServer

    for package in ("xllamacpp", "llguidance", "llguidance.hf"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"(?s)xllamacpp is not installed.*\.\[cpu\]"):
        LlamaServer(folder / "m.gguf")
    with pytest.raises(UserError, match=r"(?s)need the package llguidance.*\.\[json\]"):
        JsonGrammars(None, 8)


def test_the_server_answers_from_a_gguf_file(folder: Path) -> None:
    limits = serving.Limits(max_batch=2)
    load = running.gguf_loader(folder / "m.gguf", folder, "m", {}, template=None, limits=limits)
    with served(folder, load=load, limits=limits) as server, server.client() as client:
        body = {"model": "m", "prompt": list(PROMPT), "max_tokens": 8, "temperature": 0, "logprobs": 1}
        reply = client.post("/v1/completions", json=body).json()
        assert reply["usage"]["completion_tokens"] == 8 and len(reply["choices"][0]["logprobs"]["tokens"]) == 8


def test_the_commands_take_a_gguf_file(folder: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "nano.gguf", tmp_path / "samples.jsonl"
    ask = ["generate", "--benchmark", "nano", "--form", "base", "--limit", "2", "--max-new-tokens", "8"]
    done = CliRunner().invoke(app, ["export", "gguf", "nano-base", "--quant", "bf16", "--out", str(file)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, [*ask, "--out", str(out), "--model", str(file), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["samples"] == 2 and "BF16" in said["engine"] and said["model"].startswith("sha256:")
    answer, expected = (
        CliRunner().invoke(app, ["chat", model, "--max-new-tokens", "6"], input="add two numbers\n")
        for model in (str(folder / "m.gguf"), str(folder))
    )
    assert answer.exit_code == 0 and answer.stdout == expected.stdout and answer.stdout.strip(), answer.output
    shutil.rmtree(tmp_path / "nano.tokenizer")
    done = CliRunner().invoke(app, ["chat", str(file)])
    assert done.exit_code == 2 and "--tokenizer FOLDER" in done.output
