"""MultiPL-E: HumanEval and MBPP translated by program to 18 languages, one file each (Cassano et al. 2022).

arXiv 2208.08227; rows of nuprl/MultiPL-E with `name`, `language`, `prompt`, `tests` and `stop_tokens`. A program is
prompt, completion cut at its stops, tests; where the tests begin with the brace that ends the function, the brace is
put behind the completion. A whole solution, as chat models give it, is taken without the prompt: put behind the
prompt it would define everything twice and score nothing. There are no canonical solutions, so nothing is calibrated.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from codeup.benchmarks import _solutions, _stdin, _whole, mbxp
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "multipl_e"
LANGUAGES = {
    "cpp": "cpp", "java": "java", "js": "javascript", "ts": "typescript", "go": "go", "go_test.go": "go", "rs": "rust",
    "php": "php", "rb": "ruby", "pl": "perl", "sh": "bash", "cs": "csharp", "kt": "kotlin", "py": "python",
}  # fmt: skip
"""What MultiPL-E calls a language, and its name here."""

VERSIONS: dict[str, str] = {}
BASE_STOPS = ("\n}", "\nend", "\n```")

chat_instruction = _whole.chat_instruction
base_prompt = _whole.base_prompt


def load(path: Path | None = None) -> BenchmarkData:
    """Read one language's JSONL(.gz) or Parquet file; the language is in its rows."""
    path = _whole.needed(path, NAME, "the Hub has the files as nuprl/MultiPL-E, e.g. humaneval-rs")
    rows = _whole.rows(path, ("name", "language", "prompt", "tests"), name=NAME)
    return _whole.data(path, NAME, [_problem(path, row) for row in rows], VERSIONS)


def _problem(path: Path, row: dict[str, Any]) -> Problem:
    language = LANGUAGES.get(row["language"])
    if language is None:
        known = ", ".join(LANGUAGES)
        raise UserError(
            f"{row['name']} is in {row['language']!r}, which is not covered", where=str(path), mend=f"one of: {known}"
        )
    where = f"{path}: {row['name']}"
    stops = _stdin.parsed(row.get("stop_tokens", []), where=where, what="stop_tokens")
    stops = [str(stop) for stop in _stdin.listed(stops, where=where, what="stop_tokens")]
    closing, tests = "", row["tests"]
    if tests.lstrip().startswith("}"):
        before, _, tests = tests.partition("}")
        closing = f"\n{before}}}\n"
    extra: dict[str, Any] = {"whole": True, "stops": stops, "closing": closing}
    if language == "cpp":
        extra["standard"] = "c++17"
    if language == "go":
        extra["setup"] = _solutions.go_imports(row["prompt"], tests)
    if language == "python" and mbxp.plain(tests):  # called one by one from another process, as HumanEval's
        extra, tests = {"reference": "", "stops": stops, "closing": ""}, re.sub(r"(?ms)^def test_check\(.*", "", tests)
    return Problem(row["name"], row["prompt"], _entry_point(row), tests, "", language, extra)


def _entry_point(row: dict[str, Any]) -> str:
    """The function asked for: what the tests call `candidate`, or the last name before a "(" in the prompt's end."""
    found = re.findall(r"candidate\s*=\s*(?:method\(:|\\&)?(\w+)", row["tests"])
    found = found or re.findall(r"(?m)^def test_check\(\):\s+check\((\w+)\)", row["tests"])
    found = found or re.findall(r"(\w+)\s*\([^()]*\)[^()]*$", row["prompt"].rstrip())
    return str(found[0]) if found else str(row["name"]).split("_", 2)[-1]


def program_from_completion(problem: Problem, completion: str) -> str:
    """The prompt and a completion up to its first stop, with the brace that the tests would have closed it with."""
    text = _solutions.plain(completion)
    return problem.prompt + _whole.cut(text, problem.extra["stops"]) + problem.extra["closing"]


program_from_solution = _solutions.joined
