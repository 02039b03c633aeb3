"""Is the GGUF file the same model? Its tensors, token ids of a corpus and greedy answers, here and in llama.cpp.

    tensors    each, read back, is no further from the model's than its kind may round (gguf_tensors.py)
    corpus     every text as text, and with the names of control tokens read as those tokens: ids must be equal
    greedy     prompts as ids -> 32 tokens each by transformers in float32 and by llama.cpp: equal for f32, bf16 and
               f16; for quantised files the share of equal tokens is reported

A near tie (logits closer than a thousandth; than a fiftieth where bf16 or f16 rounds the weights) may be decided
differently by another order of additions; each token is therefore compared after the same ones before it.
Not covered: long contexts, sampling, speed (`codeup bench generate`).
"""

from __future__ import annotations

import itertools
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from codeup.engines._llama_server import LlamaServer
from codeup.export.gguf_tensors import Held, held

TOKENS = 32
TIE, ROUNDED_TIE = 1e-3, 2e-2
"""Difference of the two best logits, of the largest one, below which either is a right answer; the second where bf16 or
f16 does not hold the weights exactly (random models of float32 weights: up to 0.003)."""
NOT_NORMALISED = "this tokenizer composes characters (Unicode NFC) and llama.cpp does not: give it composed text"
SMALL = 100_000_000
EXACT = ("f32", "bf16", "f16")
CORPUS = (
    "def greet(name: str) -> str:\n    \"\"\"Say hello.\"\"\"\n    return f'Hello, {name}!'\n",
    "for (let i = 0; i < 10; i++) {\n\tconsole.log(`${i} squared is ${i ** 2}`);\n}\n",
    "public static void main(String[] args) {\n        System.out.println(\"x = \" + 3.14e-10);\n}\n",
    "#include <vector>\r\nint main() {\r\n  std::vector<int> v{1, 22, 333, 4444, 55555};\r\n}\r\n",
    "fn main() {\n    let v: Vec<u64> = (0..1_000_000).filter(|x| x % 7 == 0).collect();\n}\n",
    "func add(a, b int) (int, error) {\n\tif a < 0 { return 0, errors.New(\"neg\") }\n\treturn a + b, nil\n}\n",
    "<?php echo \"<p>\" . htmlspecialchars($x['key'] ?? '') . \"</p>\"; ?>\n",
    "SELECT id, COUNT(*) FROM t WHERE name LIKE '%o''brien%' GROUP BY 1 HAVING COUNT(*) >= 2;\n",
    "if [[ -z \"$1\" ]]; then echo \"usage: $0 FILE\" >&2; exit 2; fi\n",
    "It's, I'll, WE'VE, don't; can't\u2019ve \u2014 naïve café, Straße, İstanbul",
    "数を数える関数を書いてください。 Напишите функцию. اكتب دالة. एक फ़ंक्शन लिखें",
    "emoji 😀👩‍💻🇩🇪 and e\u0301 combining, zero\u200bwidth, no\u00a0break, tab\tand\x0cformfeed",
    "    indented\n\n\n\n        deeper\n  \n\t\t mixed \t \n trailing   ",
    "1 12 123 1234 12345 3.14159 0x1F 1e-9 1,000,000 2024-02-29T12:34:56Z",
    "### Instruction:\nWrite code.\n\n### Response:\n```python\nx = 1\n```\n",
    "<|begin_of_text|>text that <|eot_id|> names <|end_of_text|> control </s> tokens <|im_end|>",
    "\n", " ", "  ", "\r\n\r\n", "a", "_", "{{ idx }} {% raw %}", "\\n\\t\\\\ \"quoted\" 'single' `tick`",
)  # fmt: skip
PROMPTS = (
    "Write a Python function that returns the sum of a list of numbers.",
    "def fibonacci(n):\n",
    "Reverse the words of a sentence.",
    "What is 17 + 25?",
    "class Stack:\n    def __init__(self):\n",
    "Convert a list of strings to upper case and sort it.",
)


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared and what differed. `differences` are sentences; none of them means the files agree."""

    texts: int
    answers: int
    tokens_equal: int
    tokens_compared: int
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        share = self.tokens_equal / self.tokens_compared if self.tokens_compared else None
        return {
            "texts": self.texts, "answers": self.answers, "equal_token_share": share, "differences": self.differences,
            "notes": self.notes,
        }  # fmt: skip


def verify(
    folder: Path, file: Path, *, quant: str, prompt: Callable[[str], Sequence[int]],
    lora: Path | None = None, adapter: Path | None = None,
) -> Check:  # fmt: skip
    """Compare a model folder with the GGUF file made of it. `prompt` makes the ids that a question is asked with.

    With `lora`, the GGUF file made of the PEFT folder `adapter`, the model is compared with it switched off and on.
    """
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    kept = list(held(folder, file, quant))
    tie = ROUNDED_TIE if any(tensor.error for tensor in kept) else TIE
    threads = 1 if file.stat().st_size < SMALL else 0  # threads of a small model spend their time waiting
    with LlamaServer(file, loras=[lora] if lora else [], threads=threads, exact_cache=quant in EXACT) as server:
        differences = [_sentence(tensor) for tensor in kept if tensor.wrong] + _different_ids(tokenizer, server)
        asked = [tuple(prompt(text)) for text in PROMPTS]
        found = [_answers(model, server, asked, [0.0] if lora else [], tie)]
        if lora is not None and adapter is not None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
                adapted = PeftModel.from_pretrained(model, str(adapter)).eval()
            found.append(_answers(adapted, server, asked, [1.0], tie))
    equal, compared = sum(part[0] for part in found), sum(part[1] for part in found)
    if quant in EXACT:
        differences += [line for part in found for line in part[2]]
    notes = [NOT_NORMALISED] if normalises(tokenizer) else []
    return Check(len(CORPUS), len(PROMPTS) * len(found), equal, compared, differences, notes)


def _sentence(tensor: Held) -> str:
    return (
        f"{tensor.name} ({tensor.kind}) is {tensor.error:.2g} of its size off, and {tensor.bound:.2g} can be rounding"
    )


def normalises(tokenizer: Any) -> bool:
    """Whether the tokenizer composes characters (e and an accent to é) before it splits text, as Qwen's does."""
    return tokenizer.backend_tokenizer.normalizer is not None


def _different_ids(tokenizer: Any, server: LlamaServer) -> list[str]:
    found = []
    for text in CORPUS:
        text = unicodedata.normalize("NFC", text) if normalises(tokenizer) else text
        for special in (False, True):
            here = tokenizer(text, add_special_tokens=False, split_special_tokens=not special).input_ids
            there = server.tokenize(text, special=special)
            if here != there:
                pairs = enumerate(itertools.zip_longest(here, there))
                at = next(place for place, (a, b) in pairs if a != b)
                found.append(
                    f"{text[:40]!r}: token {at} is {here[at : at + 3]} here and {there[at : at + 3]} in llama.cpp"
                )
    return found


def _answers(
    model: Any, server: LlamaServer, asked: Sequence[Sequence[int]], scales: Sequence[float],
    tie: float,
) -> tuple[int, int, list[str]]:  # fmt: skip
    """Equal tokens, compared tokens, and a sentence for the first real difference of each answer.

    Each token of llama.cpp's answer, its end too, is compared with what the model here says after the same tokens.
    """
    equal = compared = 0
    lines = []
    for number, prompt in enumerate(asked):
        theirs = server.complete(prompt, TOKENS, lora_scales=scales)
        wrong = ""
        for at, (said, token) in enumerate(zip(_logits(model, prompt, theirs), theirs, strict=True)):
            best, lead = int(said.argmax()), float(said.max() - said[token])
            compared += 1
            equal += best == token
            if lead > tie * max(1.0, float(said.max().abs())):
                wrong = wrong or f"prompt {number}, token {at}: {best} here and {token} in llama.cpp, {lead:.4f} behind"
        lines += [wrong] if wrong else []
    return equal, compared, lines


@torch.no_grad()
def _logits(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """(len(answer), V): what the model says before each token of an answer."""
    logits = model(torch.tensor([[*prompt, *answer]], device=model.device)).logits[0].float()
    said: torch.Tensor = logits[len(prompt) - 1 : -1]
    return said
