"""nano_dev: more small Python tasks like nano's, none of them in it, to choose a training step by (select_by: pass@1).

Made by the same generator (nano/benchmark.py): no program equals one of nano's, no instruction is close to one of its,
and both hold out the same things from training. A step chosen here is measured on nano afterwards.
"""

from __future__ import annotations

from pathlib import Path

from codeup.benchmarks import _humaneval_shape as shape
from codeup.benchmarks import nano
from codeup.errors import UserError
from codeup.types import BenchmarkData

NAME = "nano_dev"
PACKAGED = Path(__file__).parent.parent / "nano" / "development.jsonl.gz"
BASE_STOPS = nano.BASE_STOPS

base_prompt = nano.base_prompt
program_from_completion = nano.program_from_completion
chat_instruction = nano.chat_instruction


def load(path: Path | None = None) -> BenchmarkData:
    """The packaged problems, or a file of the same shape."""
    if path is None and not PACKAGED.is_file():
        raise UserError("this installation lacks these problems", where=str(PACKAGED), mend="install codeup again")
    data = shape.read(path or PACKAGED, name=NAME, version={}, more=("instruction",))
    return BenchmarkData(data.name, f"nano_dev, {len(data.problems)} problems", data.sha256, data.problems)
