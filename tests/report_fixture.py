"""A made-up study for the report's tests: five models on four benchmarks, seven stages, with every section filled.

The scores have the shape of a published table; nothing here was measured.
"""

from __future__ import annotations

import math
import random
from typing import Any

STAGES: dict[str, list[str]] = {
    "base": [],
    "code": ["code"],
    "instruct-code": ["instruct", "code"],
    "math-code": ["math", "code"],
    "instruct-math-code": ["instruct", "math", "code"],
}
PASSED = {
    "humaneval": (164, [43, 63, 73, 52, 79]),
    "humaneval_plus": (164, [38, 59, 62, 48, 66]),
    "mbpp": (399, [1, 142, 153, 148, 165]),
    "mbpp_plus": (399, [1, 105, 116, 112, 122]),
}
LABELS = {"humaneval": "HumanEval", "humaneval_plus": "HumanEval+", "mbpp": "MBPP", "mbpp_plus": "MBPP+"}
PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWrite a Python function that completes this:\n\n"
    "def has_close_elements(numbers: List[float], threshold: float) -> bool:\n"
    '    """ Check if in given list of numbers, are any two numbers closer to each other than\n    given threshold.\n'
    "    >>> has_close_elements([1.0, 2.0, 3.0], 0.5)\n    False\n"
    '    """\n\n### Response:\n'
)


def wilson(passed: int, n: int) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927), so that the fixture looks like the real thing."""
    z, p = 1.96, passed / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def pieces(text: str) -> list[str]:
    """Text cut the way a byte-level tokenizer would: a space belongs to the word after it."""
    cut, word = ["<|begin_of_text|>"], ""
    for letter in text:
        if letter in " \n" or (word and not word[-1].isalnum() and word[-1] != " "):
            cut, word = [*cut, word] if word else cut, ""
        word += letter
    return [*cut, word]


def make_scores() -> list[dict[str, Any]]:
    scores = []
    for benchmark, (n, solved) in PASSED.items():
        for (model, stages), passed in zip(STAGES.items(), solved, strict=True):
            low, high = wilson(passed, n)
            wrong = n - passed
            form = "chat" if stages else "base"
            few = {"TIMEOUT": wrong // 19, "CRASHED": wrong // 9, "COMPILE": wrong // (7 if form == "base" else 23)}
            few |= {"EXITED": wrong // 61, "NO_CODE": 0 if form == "base" else wrong // 31, "MEMORY": wrong // 97}
            text = PROMPT if form == "chat" else PROMPT.split("completes this:\n\n")[1].split("\n\n###")[0] + "\n"
            tokens = pieces(text)
            scores.append(
                {
                    "model": model,
                    "benchmark": benchmark,
                    "form": form,
                    "metric": "pass@1",
                    "value": passed / n,
                    "low": low,
                    "high": high,
                    "n": n,
                    "passed": passed,
                    "samples": n,
                    "outcomes": {"PASSED": passed, "FAILED": wrong - sum(few.values()), **few},
                    "extractions": {"fenced": n - 7, "first function": 7} if form == "chat" else {"continuation": n},
                    "data_version": "v0.1.10" if "humaneval" in benchmark else "v0.2.0",
                    "data_sha256": (f"{len(benchmark):04d}" + "fe585eb4df8c88d844eeb463ea4d0302" * 2)[:64],
                    "sandbox": "namespaces + seccomp",
                    "engine": "hf 5.23.0, bfloat16",
                    "temperature": 0.0,
                    "prompt0": text,
                    "prompt0_tokens": tokens,
                    "prompt0_ids": [128000 - 17 * i for i in range(len(tokens))],
                }
            )
    return scores


def compare(a: str, b: str, benchmark: str, n: int, solved_a: int, solved_b: int) -> dict[str, Any]:
    """Counts for a - b with some problems that only the weaker model solves; an approximate p is enough here."""
    only_b = min(solved_b, max(2, n // 16)) if solved_b > 5 else 0
    both = solved_b - only_b
    only_a = solved_a - both
    discordant = only_a + only_b
    difference = (solved_a - solved_b) / n
    z = max(0.0, abs(only_a - only_b) - 1) / math.sqrt(discordant) if discordant else 0.0
    half = 1.96 * math.sqrt(max(discordant - (only_a - only_b) ** 2 / n, 0.5)) / n
    return {
        "a": a,
        "b": b,
        "benchmark": benchmark,
        "form_a": "chat",
        "form_b": "chat" if STAGES[b] else "base",
        "both": both,
        "only_a": only_a,
        "only_b": only_b,
        "neither": n - both - only_a - only_b,
        "p_value": math.erfc(z / math.sqrt(2)),
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
    }


def make_comparisons() -> list[dict[str, Any]]:
    names = list(STAGES)
    made = []
    for benchmark, (n, solved) in PASSED.items():
        for a, b in ((4, 0), (3, 0), (2, 0), (1, 0), (4, 1), (4, 2), (4, 3)):
            made.append(compare(names[a], names[b], benchmark, n, solved[a], solved[b]))
    return made


def make_stage(name: str, model: str, steps: int, start: float, end: float, tokens: int, seed: int) -> dict[str, Any]:
    noise = random.Random(seed)
    rows: list[dict[str, Any]] = []

    def curve(step: int) -> float:
        return end + (start - end) * math.exp(-6 * step / steps) - 0.06 * end * (step * 3 // steps) / 2

    for step in range(1, steps + 1, max(1, steps // 240)):
        loss = max(0.02, curve(step) * (1 + noise.gauss(0, 0.06)))
        rows.append(
            {"step": step, "epoch": 3 * step / steps, "loss": loss, "learning_rate": 1e-4, "tokens_per_s": 10200}
        )
    evaluated = [
        (round(steps * i / 12), curve(round(steps * i / 12)) * 1.03 + 0.012 * max(0, i - 8)) for i in range(1, 13)
    ]
    rows += [{"step": step, "epoch": 3 * step / steps, "eval_loss": loss} for step, loss in evaluated]
    best = min(evaluated, key=lambda pair: pair[1])
    summary = {
        "steps": steps,
        "epochs": 3.0,
        "tokens": tokens,
        "trained_tokens": int(tokens * 0.63),
        "train_loss": curve(steps),
        "eval_loss": evaluated[-1][1],
        "best_eval_loss": best[1],
        "best_eval_step": best[0],
        "trainable_parameters": 83_886_080,
        "total_parameters": 8_114_147_328,
        "tokens_per_s": 10214.6,
        "seconds": tokens / 10214.6,
        "peak_rss_mb": 24310,
        "packing_efficiency": 0.9871,
        "packed_logit_difference": 3.8e-6,
        "resumed_from": None,
        "dtype": "bfloat16",
        "threads": 8,
    }
    return {"name": name, "model": model, "summary": summary, "metrics": sorted(rows, key=lambda row: row["step"])}


def make_funnel(name: str, read: int, dropped: dict[str, int], source: str, path: str) -> dict[str, Any]:
    kept = read - sum(dropped.values())
    shape = [4, 19, 31, 24, 13, 8, 5, 3, 2, 1, 1, 1]
    example = [(p, False) for p in pieces(PROMPT)]
    example += [(p, True) for p in ("for", " i", ",", " a", " in", " enumerate", "(", "numbers", "):", "\n   ", " ...")]
    return {
        "name": name,
        "summary": {
            "name": name,
            "sources": [
                {
                    "source": source,
                    "path": path,
                    "sha256": "9f2c" * 16,
                    "rows_in": read,
                    "kept": kept,
                    "dropped": dropped,
                }
            ],
            "rows_in": read,
            "rows_kept": kept,
            "dropped": dropped,
            "train_rows": kept - 1000,
            "validation_rows": 1000,
            "tokens": {"train": (kept - 1000) * 431, "train_trained": (kept - 1000) * 271, "validation": 431_870},
            "length_histogram": [[i * 128, (i + 1) * 128, kept * s // sum(shape)] for i, s in enumerate(shape)],
            "cutoff": 1450,
            "example_tokens": [list(pair) for pair in example],
        },
    }


def make_failures() -> list[dict[str, Any]]:
    kinds = {
        "FAILED": ("check 3: has_close_elements([1.0, 2.8], 0.3) gave True, expected False", "    return True\n"),
        "TIMEOUT": ("no answer after 4.0 s in check 11", "    while True:\n        pass\n"),
        "CRASHED": ("IndexError: list index out of range", "    return numbers[len(numbers)]\n"),
        "COMPILE": ("SyntaxError: '(' was never closed (line 2)", "    return any((a - b\n"),
        "NO_CODE": ("", ""),
    }
    made = []
    for model in ("base", "code", "instruct-math-code"):
        for number, (outcome, (detail, body)) in enumerate(kinds.items()):
            for copy in range(2):
                code = f"def has_close_elements(numbers, threshold):\n{body}" if body else ""
                raw = f"Here is the function:\n\n```python\n{code}```\n" if code else "I cannot help with <that>."
                made.append(
                    {
                        "model": model,
                        "benchmark": "humaneval",
                        "form": "chat" if STAGES[model] else "base",
                        "task_id": f"HumanEval/{number * 17 + copy}",
                        "outcome": outcome,
                        "detail": detail,
                        "prompt": PROMPT,
                        "raw": raw,
                        "code": code,
                    }
                )
    return made


RECIPE = """\
name: example-study
seed: 42
model: meta-llama/Meta-Llama-3-8B
template: alpaca
stages:
  instruct: {source: wizardlm_evol_instruct_v2, epochs: 2}
  math: {source: metamathqa, epochs: 2}
  code: {source: evol_codealpaca_v1, epochs: 2}
lora: {r: 32, alpha: 64, dropout: 0.05, targets: all-linear}
training: {learning_rate: 1.0e-4, schedule: cosine, warmup_ratio: 0.1, tokens_per_batch: 65536}
evaluate: [humaneval, humaneval_plus, mbpp, mbpp_plus]
"""


def make_study() -> dict[str, Any]:
    """The whole example."""
    stages = [
        make_stage("instruct", "instruct", 6000, 1.05, 0.60, 216_000_000, 1),
        make_stage("math", "instruct-math", 5700, 0.48, 0.19, 248_000_000, 2),
        make_stage("code", "instruct-math-code", 4600, 1.22, 0.96, 180_000_000, 3),
    ]
    data = [
        make_funnel(
            "instruct",
            143_000,
            {"exact duplicate": 812, "near duplicate": 5921, "empty answer": 44, "too long": 190},
            "wizardlm_evol_instruct_v2",
            "data/WizardLM_evol_instruct_V2_143k.json",
        ),
        make_funnel(
            "math",
            395_000,
            {"exact duplicate": 3110, "near duplicate": 20877},
            "metamathqa",
            "data/MetaMathQA-395K.json",
        ),
        make_funnel(
            "code",
            111_272,
            {"near duplicate": 2204, "contaminated: HumanEval": 187, "contaminated: MBPP": 61, "too long": 33},
            "evol_codealpaca_v1",
            "data/evol_codealpaca_v1.jsonl",
        ),
    ]
    times = {
        "base": ("model", 61, True),
        "data-instruct": ("data", 402, False),
        "data-math": ("data", 611, False),
        "data-code": ("data", 305, False),
        "train-instruct": ("train", 21150, False),
        "merge-instruct": ("merge", 164, False),
        "train-math": ("train", 24280, False),
        "merge-math": ("merge", 161, False),
        "train-code": ("train", 17620, False),
        "merge-code": ("merge", 166, False),
        "evaluate": ("evaluate", 3140, False),
        "report": ("report", 4, False),
    }
    return {
        "name": "example-study",
        "created": "2026-02-03 14:05 UTC",
        "command": "codeup run recipes/example.yaml",
        "seed": 42,
        "seconds": sum(s for _, s, skipped in times.values() if not skipped),
        "recipe_yaml": RECIPE,
        "labels": LABELS,
        "versions": {
            "codeup": "0.1.0",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            "peft": "0.21.2",
            "tokenizers": "0.22.1",
            "numpy": "2.3.4",
        },
        "machine": {
            "cpu": "AMD EPYC 9354",
            "cores": 32,
            "memory_gb": 256.0,
            "gpu": "NVIDIA H100 80GB",
            "python": "3.12.8",
        },
        "models": [{"name": name, "stages": done} for name, done in STAGES.items()],
        "scores": make_scores(),
        "comparisons": make_comparisons(),
        "stages": stages,
        "merges": [
            {
                "name": s["name"],
                "summary": {
                    "tensors": 291,
                    "merged_tensors": 224,
                    "max_abs_change": 0.0173,
                    "relative_change": 0.0041,
                    "logit_difference": 0.0021,
                },
            }
            for s in stages
        ],
        "data": data,
        "failures": make_failures(),
        "steps": [{"name": n, "kind": k, "seconds": s, "skipped": skipped} for n, (k, s, skipped) in times.items()],
    }


def make_small_study() -> dict[str, Any]:
    """Two models on one benchmark of 150 problems: the shape of the packaged demonstration."""
    study = make_study()
    low_base, high_base = wilson(9, 150)
    low, high = wilson(101, 150)
    one = {**study["scores"][0], "benchmark": "nano", "n": 150, "samples": 150}
    base = {
        **one,
        "value": 0.06,
        "low": low_base,
        "high": high_base,
        "passed": 9,
        "outcomes": {"PASSED": 9, "FAILED": 141},
    }
    final = {
        **one,
        "model": "instruct-math-code",
        "form": "chat",
        "value": 101 / 150,
        "low": low,
        "high": high,
        "passed": 101,
        "outcomes": {"PASSED": 101, "FAILED": 40, "CRASHED": 9},
    }
    comparison = {
        "a": "instruct-math-code",
        "b": "base",
        "benchmark": "nano",
        "form_a": "chat",
        "form_b": "base",
        "both": 8,
        "only_a": 93,
        "only_b": 1,
        "neither": 48,
        "p_value": 1e-25,
        "difference": 92 / 150,
        "low": 0.53,
        "high": 0.69,
    }
    models = [{"name": "base", "stages": []}, {"name": "instruct-math-code", "stages": ["instruct", "math", "code"]}]
    return study | {"models": models, "scores": [base, final], "comparisons": [comparison], "labels": {}}
