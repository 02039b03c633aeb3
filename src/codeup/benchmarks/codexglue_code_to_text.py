"""CodeXGLUE code-to-text: a function's documentation in one sentence, six languages; texts are compared.

Lu et al. 2021, arXiv 2102.04664. Rows of CodeSearchNet's files as the benchmark filters them, or of
google/code_x_glue_ct_code_to_text: `code` or `code_tokens`, `docstring_tokens`, `language`. The score is the
benchmark's smoothed BLEU-4: of each sentence with its reference, then the mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeup.benchmarks import _compared, _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "codexglue_code_to_text"
METRICS = ("smoothed_bleu4",)
LANGUAGES = {name: name for name in ("ruby", "javascript", "go", "python", "java", "php")}
BASE_STOPS = ("\n",)


def load(path: Path | None = None) -> BenchmarkData:
    """Read one language's JSONL(.gz) or Parquet file; the language is in its rows."""
    where = "the Hub has it as google/code_x_glue_ct_code_to_text, one file per language"
    path, rows = _compared.rows(path, NAME, where)
    problems = [_problem(row, number, f"{path}:{number + 1}") for number, row in enumerate(rows)]
    languages = sorted({problem.language for problem in problems})
    if len(languages) > 1:
        raise UserError(f"holds {', '.join(languages)}", where=str(path), mend="give one language a file")
    return _compared.data(path, NAME, problems, f" in {languages[0]}")


def _problem(row: dict[str, Any], number: int, where: str) -> Problem:
    words, language = row.get("docstring_tokens"), row.get("language")
    if not isinstance(words, list) or not isinstance(language, str) or language not in LANGUAGES:
        what = f"its columns are {', '.join(row)}, its language is {language!r}"
        raise UserError(f"has no docstring_tokens, or no language of {', '.join(LANGUAGES)}; {what}", where=where)
    code = row["code"] if isinstance(row.get("code"), str) else " ".join(row.get("code_tokens") or [])
    reference = " ".join(" ".join(map(str, words)).split())
    return _compared.problem(f"{language}/{number}", code, reference, language, "words", where=where)


def base_prompt(problem: Problem) -> str:
    """The code, and the beginning of a line of documentation."""
    return f"{problem.extra['text'].rstrip()}\n\nDocumentation, one sentence: "


def chat_instruction(problem: Problem) -> str:
    """The code in a block, and what to write."""
    title = _whole.TITLES[problem.language]
    ask = f"Document this {title} function in one sentence, as its doc comment would begin."
    return f"{ask} Answer with the sentence alone.\n```{problem.language}\n{problem.extra['text'].strip()}\n```"


def program_from_completion(problem: Problem, completion: str) -> str:
    """The first line that is not empty."""
    return _whole.cut(completion.lstrip(), BASE_STOPS)
