"""MBPP+: 378 of the Mostly Basic Python Problems with about 108 inputs each, judged as EvalPlus does (v0.2.0).

Two scores: `base`, the three or so inputs of MBPP (Austin et al. 2021), and `plus`, those and EvalPlus's own
(arXiv 2305.01210). The prompt is a docstring with the task and one assertion, which names the function.
"""

from __future__ import annotations

import ast
from pathlib import Path

from codeup.benchmarks import _evalplus_files as files
from codeup.benchmarks import _humaneval_shape as shape
from codeup.types import BenchmarkData, Problem

NAME = "mbpp_plus"
BASE_STOPS = ('\n"""', "\nassert", "\nif __name__", "\ndef main(", "\nprint(", "\n```")
"""EvalPlus's for base models (evalplus/provider/utility.py). `\\ndef ` must not be one: the answer begins with it."""

base_prompt = shape.base_prompt


def load(path: Path | None = None) -> BenchmarkData:
    """Read MbppPlus.jsonl(.gz); without a path, take it from a cache or fetch the release."""
    return files.load(
        path, name=NAME, dataset="mbpp", release="MbppPlus", version="v0.2.0", md5="ee43ecabebf20deef4bb776a405ac5b1"
    )


def chat_instruction(problem: Problem) -> str:
    """The task in words, then its assertion in a block, worded as in SelfCodeAlign and the 2024 CodeUp study."""
    words, assertion = task_and_assertion(problem)
    return f"{words if words.endswith('.') else words + '.'}\n\n```python\n{assertion}\n```"


def task_and_assertion(problem: Problem) -> tuple[str, str]:
    """The sentence of the prompt and its assertion, which is its last line."""
    words, _, assertion = ast.literal_eval(problem.prompt.strip()).strip().rpartition("\n")
    return words.strip(), assertion.strip()


def program_from_completion(problem: Problem, completion: str) -> str:
    """The program of a base model: the docstring it was given and what it wrote, up to where it began a test."""
    return base_prompt(problem) + shape.cut(completion, BASE_STOPS) + "\n"
