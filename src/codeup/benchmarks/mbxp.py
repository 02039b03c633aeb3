"""MBXP: MBPP's problems translated to other languages, one file each (Athiwaratkun et al. 2022, mxeval's files).

arXiv 2210.14868. The row's own `language` says which; ids begin MBTSP/, MBPHP/, MBJP/ and so on. A program is prompt,
answer and tests, as in mxeval/execution.py; Python's tests are called one by one, as HumanEval's. The same shape holds
multilingual HumanEval of the same authors. Many canonical solutions were written by a model and are wrong, or missing:
calibration lists them (docs/languages.md).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from codeup.benchmarks import _solutions, _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "mbxp"
LANGUAGES = {
    "python": "python", "javascript": "javascript", "typescript": "typescript", "java": "java", "cpp": "cpp",
    "go": "go", "php": "php", "ruby": "ruby", "perl": "perl", "csharp": "csharp", "kotlin": "kotlin",
}  # fmt: skip
"""What a row's language is called, and the language's name here."""

VERSIONS = {
    "a34d6ad87f44465e6e467aa84aef0dc774b8184c503769ce36c0fc673cebde77": "mxeval/mbxp, PHP, release 1.2, 966 rows",
    "ebde5482a6df36f001a97dd4019c95ee773bbb084d14da114105c189fa72847e": "mxeval/mbxp, Python, release 1, 974 rows",
    "69664af6399c0c798a14759908e7018cfaed300f4c73781aa08de7f1e874a69e": "mxeval/mbxp, TypeScript, release 1.2",
}
BASE_STOPS = ("\n}\n", "\nfunction ", "\nconst ", "\nimport ", "\ndef ", "\nclass ", "\n```")

base_prompt = _whole.base_prompt
chat_instruction = _whole.chat_instruction


def load(path: Path | None = None) -> BenchmarkData:
    """Read one language's JSONL(.gz) file; the language is in its rows."""
    where = "mxeval's repository has the files under data/mbxp, and the Hub as mxeval/mbxp"
    path = _whole.needed(path, NAME, where)
    rows = _whole.rows(path, ("task_id", "prompt", "entry_point", "test", "language"), name=NAME)
    return _whole.data(path, NAME, [_problem(path, row) for row in rows], VERSIONS)


def _problem(path: Path, row: dict[str, Any]) -> Problem:
    language = LANGUAGES.get(row["language"])
    if language is None:
        known = ", ".join(sorted(LANGUAGES))
        raise UserError(
            f"{row['task_id']} is in {row['language']!r}, which is not covered", where=str(path), mend=known
        )
    canonical = row.get("canonical_solution") or ""
    extra: dict[str, Any] = {"whole": True, "joined": True}
    if language == "cpp":
        extra["standard"] = "c++17"
    if language == "go":
        extra["setup"] = _solutions.go_imports(row["prompt"], row["test"])
    if language == "typescript":
        extra["target"] = "ES5"  # as mxeval calls tsc: constants may be assigned to, sets are not iterated
    tests = row["test"]
    if language == "python":
        # the tests call nothing but the answer, and some canonical solutions do not even parse
        extra = {"reference": ""} if plain(tests) else {"whole": True}
        tests += "" if plain(tests) else f"\ncheck({row['entry_point']})\n"
    return Problem(row["task_id"], row["prompt"], row["entry_point"], tests, canonical, language, extra)


def program_from_completion(problem: Problem, completion: str) -> str:
    """The program of a base model: the prompt and what it wrote, up to the end of the function."""
    if problem.language == "python":
        from codeup.benchmarks import _humaneval_shape

        return problem.prompt + _humaneval_shape.cut(completion) + "\n"
    end = re.search(r"(?m)^\}.*$", completion)
    return problem.prompt + (completion[: end.end()] if end else completion) + "\n"


program_from_solution = _solutions.joined


def plain(tests: str) -> bool:
    """Whether Python's tests call the answer with plain values only, which can be sent to another process.

    >>> plain("def check(candidate):\\n    assert candidate([1, 'a']) == 2"), plain("assert candidate([1], str) == 0")
    (True, False)
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(tests)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "candidate":
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            names |= {each.id for value in given for each in ast.walk(value) if isinstance(each, ast.Name)}
    return not names
