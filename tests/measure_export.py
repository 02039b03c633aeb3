"""Does a model exported for the Hub say the same when others load it? The figures of docs/publishing.md.

    codeup run recipes/nano.yaml && codeup export hub runs/nano --out hub
    python tests/measure_export.py runs/nano hub

Greedy answers to the first 40 prompts of the packaged benchmark, up to 64 tokens each: by CodeUp's engine on the run's
own model, by plain transformers on the exported folder, and by PEFT with the exported adapter over the base.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from codeup import models, plugins
from codeup.chat import load_renderer
from codeup.engines.hf import Engine
from codeup.types import Message

PROMPTS, TOKENS = 40, 64


def answers(model: Any, prompts: list[list[int]], ends: list[int]) -> list[list[int]]:
    """Greedy continuations by `model.generate`, one by one."""
    found = []
    for ids in prompts:
        with torch.no_grad():
            out = model.generate(torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False, eos_token_id=ends)
        found.append(out[0, len(ids) :].tolist())
    return found


def main(run: str, exported: str) -> None:
    benchmark = plugins.load("benchmarks", "nano")
    asked = [benchmark.chat_instruction(problem) for problem in benchmark.load(None).problems[:PROMPTS]]
    folder = models.locate(run)
    renderer = load_renderer(folder)
    prompts = [renderer.prompt([Message("user", text)]) for text in asked]
    ends = list(renderer.end_ids)
    ours = [list(each.ids) for each in Engine(folder).generate(prompts, max_new_tokens=TOKENS, end_ids=ends)]

    tokenizer = AutoTokenizer.from_pretrained(exported)
    template = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)["input_ids"]
        for text in asked
    ]
    print(
        f"prompts with the same token ids: {sum(a == b for a, b in zip(prompts, template, strict=True))} of {PROMPTS}"
    )
    plain = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(models.locate("nano-base"), dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, str(Path(exported) / "adapter"))
    for name, model in (("transformers", plain), ("PEFT over the base", adapted)):
        same = sum(a == b for a, b in zip(ours, answers(model, prompts, ends), strict=True))
        print(f"{name}: the same tokens in {same} of {PROMPTS} answers")


if __name__ == "__main__":
    main(*sys.argv[1:3])
