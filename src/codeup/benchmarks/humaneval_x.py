"""HumanEval-X: HumanEval's 164 problems by hand in C++, Java, JavaScript, Go, Rust and Python (Zheng et al. 2023).

arXiv 2303.17568; one file per language (humaneval_cpp.jsonl.gz, ...), whose ids begin with the language. A program is
put together as in CodeGeeX's codegeex/benchmark/evaluate_humaneval_x.py: prompt, answer, tests. How it runs and what
proves that its tests ran is our own (docs/languages.md); `--compat humaneval-x` keeps the original's rule for a pass.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from codeup.benchmarks import _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "humaneval_x"
LANGUAGES = {
    "CPP": "cpp", "Java": "java", "JavaScript": "javascript", "Go": "go", "Rust": "rust", "Python": "python",
}  # fmt: skip
"""What ids begin with, and the language's name here."""

VERSIONS: dict[str, str] = {}
BASE_STOPS = ("\n}\n", "\n}", "\nfunc ", "\nfn ", "\nint main", "\npublic static void main")
COMPAT = {"cpp": "exit-code", "java": "exit-code", "go": "exit-code", "rust": "exit-code", "javascript": "silence"}
"""The original's rule for a pass: the last step's exit code, for JavaScript no output at all."""

_NAMES = {
    "cpp": r"(\w+)\s*\([^()]*\)\s*\{?\s*$",
    "java": r"(\w+)\s*\([^()]*\)[^()]*\{\s*$",
    "go": r"func\s+(\w+)\s*\(",
    "javascript": r"(?:const|let|var|function)\s+(\w+)\s*(?:=|\()",
    "rust": r"fn\s+(\w+)",
    "python": r"def\s+(\w+)\s*\(",
}
"""How each language says which function is asked for; the last match counts."""

base_prompt = _whole.base_prompt
chat_instruction = _whole.chat_instruction


def load(path: Path | None = None) -> BenchmarkData:
    """Read one language's JSONL(.gz) file; the language is what the ids begin with."""
    where = "CodeGeeX's repository has the files, and the Hub as THUDM/humaneval-x"
    path = _whole.needed(path, NAME, where)
    rows = _whole.rows(path, ("task_id", "prompt", "declaration", "canonical_solution", "test"), name=NAME)
    return _whole.data(path, NAME, [_problem(path, row) for row in rows], VERSIONS)


def _problem(path: Path, row: dict[str, Any]) -> Problem:
    prefix = row["task_id"].partition("/")[0]
    language = LANGUAGES.get(prefix)
    if language is None:
        raise UserError(
            f"the id {row['task_id']!r} begins with no language of HumanEval-X",
            where=str(path), mend=f"ids begin with one of {', '.join(LANGUAGES)}",
        )  # fmt: skip
    prompt = row["declaration"] + row["prompt"] if language == "rust" else row["prompt"]
    found = re.findall(_NAMES[language], row["declaration"].rstrip() if language != "go" else row["declaration"], re.M)
    if not found:
        raise UserError(f"the declaration of {row['task_id']} names no function", where=str(path))
    extra: dict[str, Any] = {"whole": True, "setup": row.get("test_setup", "")}
    tests = row["test"]
    if language == "python":
        tests = re.sub(r"(?m)^check\(\w+\)\s*\Z", "", tests.rstrip() + "\n")
        extra = {}
    else:
        extra["compat"] = {"humaneval-x": COMPAT[language]}
    return Problem(row["task_id"], prompt, found[-1], tests, row["canonical_solution"], language, extra)


def program_from_completion(problem: Problem, completion: str) -> str:
    """The program of a base model: the prompt and what it wrote, up to the end of the function."""
    if problem.language == "python":
        from codeup.benchmarks import _humaneval_shape

        return _humaneval_shape.program_from_completion(problem, completion)
    return problem.prompt + to_end_of_function(completion, problem.language)


def to_end_of_function(completion: str, language: str) -> str:
    """A completion cut where its function, or for Java its class, ends: by a brace at the margin.

    >>> to_end_of_function("  return 1;\\n}\\n\\nint main() {}\\n", "cpp")
    '  return 1;\\n}\\n'
    """
    end = re.search(r"(?m)^\}.*$", completion)
    if language == "javascript" and end is None:
        return completion
    if language == "java" and end is None:  # a method, then the class; models rarely close the class
        method = re.search(r"(?m)^    \}[ \t]*$", completion)
        return completion[: method.end()] + "\n}\n" if method else completion + "\n}\n"
    return completion[: end.end()] + "\n" if end else completion
