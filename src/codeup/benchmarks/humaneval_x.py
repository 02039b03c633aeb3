"""HumanEval-X: HumanEval's 164 problems by hand in C++, Java, JavaScript, Go, Rust and Python (Zheng et al. 2023).

arXiv 2303.17568; one file per language (humaneval_cpp.jsonl.gz, ...), whose ids begin with the language. A program is
put together as in CodeGeeX's codegeex/benchmark/evaluate_humaneval_x.py: prompt, answer, tests. How it runs and what
proves that its tests ran is our own (docs/languages.md); `--compat humaneval-x` keeps the original's rule for a pass.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from codeup.benchmarks import _solutions, _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "humaneval_x"
LANGUAGES = {
    "CPP": "cpp", "Java": "java", "JavaScript": "javascript", "Go": "go", "Rust": "rust", "Python": "python",
}  # fmt: skip
"""What ids begin with, and the language's name here."""

VERSIONS = {
    "16d465ff906084a9120c1809960dbf48613e50ef205e45f8dfe9aa16410f0875": "THUDM/humaneval-x, C++, 164 problems, 2022",
    "d444f0b4540b7feaf203079cf41d40645f0db960a7c3c3e718fd170ef50ae370": "THUDM/humaneval-x, Go, 164 problems, 2022",
    "b16e08ef62cbb46099d84ac66cceb2aa359769313aa2099ef5abe349d4320338": "THUDM/humaneval-x, Java, 164 problems, 2022",
    "0f460254adc197a826c970d56ffa2d6ab2fd1fcb4dbc747767c3dba5501163f1": "THUDM/humaneval-x, JavaScript, 164 problems",
    "9863fa3681dce5bd36306f5db4cae54975d99c840bb1f5a187bca85ac6ba26db": "THUDM/humaneval-x, Python, 164 problems",
    "c44f6eb4f16ad4bf19d864bedab72792021c641cc63a7d453a588c15d6737e10": "THUDM/humaneval-x, Rust, 164 problems, 2022",
}
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
    extra: dict[str, Any] = {"whole": True, "joined": True, "setup": row.get("test_setup", "")}
    tests = row["test"]
    if language == "python":
        tests = re.sub(r"(?m)^check\(\w+\)\s*\Z", "", tests.rstrip() + "\n")
        extra = {"reference": prompt + row["canonical_solution"]}
    else:
        extra["compat"] = {"humaneval-x": COMPAT[language]}
        extra |= {"crates": ("rand", "regex", "md5")} if language == "rust" else {}
    return Problem(row["task_id"], prompt, found[-1], tests, row["canonical_solution"], language, extra)


def program_from_completion(problem: Problem, completion: str) -> str:
    """The program of a base model: the prompt and what it wrote, up to the end of the function."""
    if problem.language == "python":
        from codeup.benchmarks import _humaneval_shape

        return _humaneval_shape.program_from_completion(problem, completion)
    return problem.prompt + to_end_of_function(completion, problem.language)


program_from_solution = _solutions.joined


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
