"""HumanEval: 164 hand-written Python problems with tests (Chen et al. 2021, arXiv 2107.03374).

The original file, not EvalPlus's: its few tests per problem let some wrong programs pass. Scores are of those tests as
they are, run one call at a time (see sandbox/), not of `prompt + completion + test` in one process.
"""

from __future__ import annotations

from pathlib import Path

from codeup.benchmarks import _humaneval_shape as shape
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "humaneval"
HUB_ID, HUB_FILE = "openai/openai_humaneval", "openai_humaneval/test-00000-of-00001.parquet"
VERSIONS = {"3f8ac727ac411d6de550541c2647390fd99ec5da00b03816153bb302e45153ec": "openai/human-eval, 164 problems, 2021"}
BASE_STOPS = shape.STOPS

base_prompt = shape.base_prompt
program_from_completion = shape.program_from_completion


def load(path: Path | None = None) -> BenchmarkData:
    """Read HumanEval.jsonl(.gz) or the Hub's Parquet file; without a path, fetch it from the Hub once."""
    return shape.read(path or _fetch(), name=NAME, version=VERSIONS)


def chat_instruction(problem: Problem) -> str:
    """The request to a chat model, worded as in SelfCodeAlign and the 2024 CodeUp study."""
    return f"Write a Python function to solve the following task:\n```python\n{problem.prompt.strip()}\n```"


def _fetch() -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(HUB_ID, HUB_FILE, repo_type="dataset"))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"HumanEval is not in the Hub cache and could not be fetched ({type(error).__name__})",
            where=f"Hub dataset {HUB_ID}",
            mend="go online, or name a local HumanEval.jsonl.gz: `path:` of the benchmark in a recipe, or --data FILE",
        ) from None
