"""HumanEval single-line infilling: each line of a solution is left out once and has to be filled in.

How gaps are made and judged, and where they come from: _infilling.py. `codeup generate --form base` asks with the
tokenizer's tokens for infilling.
"""

from __future__ import annotations

from pathlib import Path

from codeup.benchmarks import _infilling
from codeup.types import BenchmarkData

NAME = "humaneval_infilling"
BASE_STOPS = ()

base_prompt = _infilling.base_prompt
chat_instruction = _infilling.chat_instruction
program_from_completion = _infilling.program_from_completion


def load(path: Path | None = None) -> BenchmarkData:
    """Gaps made of a HumanEval-shaped file (default: HumanEval), or a published file of gaps."""
    return _infilling.load(path, name=NAME, what="single-line infilling", gaps=_infilling.lines)
