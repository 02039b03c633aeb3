"""nano: the packaged benchmark of small Python tasks, made with the packaged base model; offline, in seconds.

HumanEval's shape plus an `instruction` in words. It shows the method on a model of a few million parameters; its scores
say nothing about other models.
"""

from __future__ import annotations

from pathlib import Path

from codeup.benchmarks import _humaneval_shape as shape
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "nano"
PACKAGED = Path(__file__).parent.parent / "nano" / "benchmark.jsonl.gz"
BASE_STOPS = shape.STOPS

base_prompt = shape.base_prompt
program_from_completion = shape.program_from_completion


def load(path: Path | None = None) -> BenchmarkData:
    """The packaged problems, or a file of the same shape."""
    if path is None and not PACKAGED.is_file():
        raise UserError(
            "this installation lacks its packaged benchmark", where=str(PACKAGED), mend="install codeup again"
        )
    data = shape.read(path or PACKAGED, name=NAME, version={}, more=("instruction",))
    return BenchmarkData(data.name, f"nano, {len(data.problems)} problems", data.sha256, data.problems)


def chat_instruction(problem: Problem) -> str:
    """The row's own instruction."""
    return str(problem.extra["instruction"])
