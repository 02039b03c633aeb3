"""One model, many ways to run it, the same greedy tokens: batched, continuous, merged, with an adapter, as GGUF.

Every answer is compared with transformers (and PEFT, its adapter not merged) in float32, token by token after the same
tokens before; where its two best logits are nearly equal, either is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from codeup.chat import base_prompt_ids
from codeup.engines._interface import Request
from codeup.engines.hf import Engine
from codeup.export.gguf_lora import write_adapter
from codeup.export.gguf_model import write_model
from codeup.export.gguf_verify import TIE, _logits
from codeup.nano import base_folder
from codeup.train.merge import merge_adapter

pytest.importorskip("xllamacpp")
TEXTS = ("def add(a, b):\n", "class Stack:\n    def", "import", "# the sum of a list\ndef", "x = [1, 2")
NEW = 20
Answers = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packaged base in float32, a random adapter of it, the two merged, and the GGUF files of all."""
    root = tmp_path_factory.mktemp("same")
    paths = {
        name: root / name for name in ("base", "adapter", "merged", "f32.gguf", "bf16.gguf", "merged.gguf", "lora.gguf")
    }
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.float32)
    model.save_pretrained(paths["base"])
    AutoTokenizer.from_pretrained(base_folder()).save_pretrained(paths["base"])
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.15)
    adapted.save_pretrained(paths["adapter"])
    merge_adapter(model=paths["base"], adapter=paths["adapter"], out=paths["merged"], check_logits=False)
    write_model(paths["base"], paths["f32.gguf"], quant="f32")
    write_model(paths["base"], paths["bf16.gguf"], quant="bf16")
    write_model(paths["merged"], paths["merged.gguf"], quant="f32")
    write_adapter(paths["adapter"], paths["base"], paths["lora.gguf"])
    return paths


def prompts(engine: Any) -> list[list[int]]:
    return [base_prompt_ids(engine.tokenizer, text) for text in TEXTS]


def static(engine: Any, **more: Any) -> Answers:
    done = engine.generate(prompts(engine), max_new_tokens=NEW, end_ids=[1], **more)
    return [answer.ids for answer in done]


def live(engine: Any, name: str = "", **more: Any) -> Answers:
    scheduler = engine.live(max_batch=3, **more)
    tickets = scheduler.submit([Request(tuple(ids), NEW, frozenset([1]), adapter=name) for ids in prompts(engine)])
    while scheduler.load() != (0, 0):
        scheduler.step()
    return [tuple(ticket.writing.ids) for ticket in tickets]


def wrong(model: Any, asked: Sequence[Sequence[int]], answers: Answers) -> list[str]:
    """Tokens that are not the likeliest after those before, and not nearly so."""
    found = []
    for number, (prompt, answer) in enumerate(zip(asked, answers, strict=True)):
        for at, (said, token) in enumerate(zip(_logits(model, prompt, answer), answer, strict=True)):
            if float(said.max() - said[token]) > TIE * max(1.0, float(said.max().abs())):
                found.append(f"answer {number}, token {at}: {token} instead of {int(said.argmax())}")
    return found


def test_every_way_to_run_a_model_makes_the_same_tokens(made: dict[str, Path]) -> None:
    from codeup.engines.llamacpp import Engine as Gguf

    plain: dict[str, Answers] = {}
    tuned: dict[str, Answers] = {}
    engine = Engine(made["base"])
    asked = prompts(engine)
    plain["batched"], plain["continuous"] = static(engine), live(engine)
    tuned["continuous, adapter"] = live(engine, "a", adapters={"a": made["adapter"]})
    tuned["adapter merged in memory"] = static(Engine(made["base"], adapter=made["adapter"]))
    tuned["merged folder"] = static(Engine(made["merged"]))
    for kind in ("f32", "bf16"):
        file = Gguf(made[f"{kind}.gguf"], tokenizer=made["base"], loras={"a": made["lora.gguf"]}, context=256, slots=3)
        plain[f"gguf {kind}"] = live(file)
        tuned[f"gguf {kind}, adapter"] = live(file, "a")
        plain[f"gguf {kind}, adapter off again"] = static(file)
        file.close()
    merged = Gguf(made["merged.gguf"], tokenizer=made["base"], context=256, slots=3)
    tuned["gguf merged"] = static(merged)
    merged.close()

    model = AutoModelForCausalLM.from_pretrained(made["base"], dtype=torch.float32).eval()
    assert {way: wrong(model, asked, answers) for way, answers in plain.items()} == {way: [] for way in plain}
    adapted = PeftModel.from_pretrained(model, str(made["adapter"])).eval()
    assert {way: wrong(adapted, asked, answers) for way, answers in tuned.items()} == {way: [] for way in tuned}
    # negative controls: the adapter changes answers, and one changed token is seen
    assert wrong(adapted, asked, plain["batched"]) != []
    first = plain["batched"][0]
    assert len(wrong(adapted, asked[:1], [(first[0] + 1, *first[1:])])) >= 1
    assert min(len(ids) for ids in plain["batched"]) >= 3
