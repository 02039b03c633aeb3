"""HumanEval+: HumanEval's 164 problems with about 750 inputs each, judged as EvalPlus does (Liu et al. 2023).

Two scores: `base`, the inputs of HumanEval, and `plus`, those and EvalPlus's own (arXiv 2305.01210). An answer is right
where it equals what the canonical solution returns.
"""

from __future__ import annotations

from pathlib import Path

from codeup.benchmarks import _evalplus_files as files
from codeup.benchmarks import _humaneval_shape as shape
from codeup.benchmarks import humaneval
from codeup.types import BenchmarkData

NAME = "humaneval_plus"
BASE_STOPS = shape.STOPS

base_prompt = shape.base_prompt
chat_instruction = humaneval.chat_instruction
program_from_completion = shape.program_from_completion


def load(path: Path | None = None) -> BenchmarkData:
    """Read HumanEvalPlus.jsonl(.gz); without a path, take it from a cache or fetch the release."""
    return files.load(
        path, name=NAME, dataset="humaneval", release="HumanEvalPlus", version="v0.1.10",
        md5="fe585eb4df8c88d844eeb463ea4d0302",
    )  # fmt: skip
