"""What benchmarks of many languages share: rows checked, problems made, the program of an answer.

Their tests are text of the problem's own language and run in one process with the program, so `Problem.tests` is that
text and `extra["whole"]` is true; the file of the language in languages/ puts both together (evaluate/whole.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup.benchmarks import _humaneval_shape as shape
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

TITLES = {
    "cpp": "C++", "csharp": "C#", "javascript": "JavaScript", "typescript": "TypeScript", "java": "Java", "go": "Go",
    "rust": "Rust", "php": "PHP", "ruby": "Ruby", "perl": "Perl", "bash": "Bash", "kotlin": "Kotlin",
    "python": "Python",
}  # fmt: skip


def rows(path: Path, columns: Sequence[str], *, name: str) -> list[dict[str, Any]]:
    """The rows of a data file, each with text in `columns` and a task of its own. Raises UserError naming the row."""
    found = list(shape.rows_of(path))
    if not found:
        raise UserError("holds no problems", where=str(path))
    for number, row in enumerate(found, 1):
        wrong = [column for column in columns if not isinstance(row.get(column), str)]
        if wrong:
            raise UserError(
                f"problem {number} has no text in {', '.join(wrong)}; its columns are {', '.join(row)}",
                where=str(path),
                mend=f"name the benchmark this file belongs to; {name} needs {', '.join(columns)}",
            )
    return found


def data(path: Path, name: str, problems: Sequence[Problem], versions: Mapping[str, str]) -> BenchmarkData:
    """The problems with what identifies their file. Raises UserError for a task that occurs twice."""
    seen: set[str] = set()
    for problem in problems:
        if problem.task_id in seen:
            raise UserError(f"task {problem.task_id} occurs twice", where=str(path))
        seen.add(problem.task_id)
    content = digest(problems)
    known = versions.get(content, f"not a known version (content {content[:12]})")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return BenchmarkData(name, known, sha256, tuple(problems))


def digest(problems: Sequence[Problem]) -> str:
    """Identity of the problems themselves, whatever the file's compression."""
    text = repr([(each.task_id, each.prompt, each.canonical_solution, each.tests) for each in problems])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def needed(path: Path | None, name: str, where: str) -> Path:
    """The data file, which has to be named: these benchmarks are one file per language."""
    if path is None:
        raise UserError(
            f"{name} is one file per language, and none is named",
            mend=f"give it with --data FILE (`path:` of the benchmark in a recipe); {where}",
        )
    return path


def chat_instruction(problem: Problem) -> str:
    """The request to a chat model: the prompt in a block of its language."""
    ask = f"Complete the following {TITLES[problem.language]} code. Answer with the whole program:"
    return f"{ask}\n```{problem.language}\n{problem.prompt.strip()}\n```"


def base_prompt(problem: Problem) -> str:
    """The prompt as it is: its end is part of the benchmark (a signature and a line break)."""
    return problem.prompt


def cut(completion: str, stops: Sequence[str]) -> str:
    """A completion up to the first stop in it."""
    return shape.cut(completion, stops)
