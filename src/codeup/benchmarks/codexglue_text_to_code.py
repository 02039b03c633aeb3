"""CodeXGLUE text-to-code (CONCODE): a Java method from a sentence and its class; texts are compared, nothing is run.

Lu et al. 2021, arXiv 2102.04664; Iyer et al. 2018, arXiv 1808.09588. Rows of dev.json, or of
google/code_x_glue_tc_text_to_code: `nl`, whose parts are divided by concode_field_sep and concode_elem_sep, and `code`,
whose tokens are divided by blanks. Scores: exact match, BLEU and CodeBLEU, as the benchmark's evaluator has them. An
answer should be written in the same way, token by token; code that is laid out otherwise scores low though it is right.
"""

from __future__ import annotations

from pathlib import Path

from codeup.benchmarks import _compared, _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "codexglue_text_to_code"
METRICS = ("exact_match", "bleu", "codebleu")
BASE_STOPS = ("\n",)


def load(path: Path | None = None) -> BenchmarkData:
    """Read a JSONL(.gz) or Parquet file with references."""
    where = "the Hub has it as google/code_x_glue_tc_text_to_code, the benchmark's repository as dev.json"
    path, rows = _compared.rows(path, NAME, where)
    problems = []
    for number, row in enumerate(rows):
        if not isinstance(row.get("nl"), str) or not isinstance(row.get("code"), str):
            raise UserError(
                f"has no text in nl and code; its columns are {', '.join(row)}", where=f"{path}:{number + 1}"
            )
        task = f"CONCODE/{row.get('id', number)}"
        problems.append(_compared.problem(task, row["nl"], row["code"], "java", "code", where=f"{path}:{number + 1}"))
    return _compared.data(path, NAME, problems)


def base_prompt(problem: Problem) -> str:
    """The row's own text, and a new line for the code."""
    return f"{problem.extra['text']}\n"


def chat_instruction(problem: Problem) -> str:
    """The sentence, the class's fields and methods as lists, and how the answer is written."""
    sentence, *fields = str(problem.extra["text"]).split("concode_field_sep")
    parts = [part.strip() for field in fields for part in field.split("concode_elem_sep") if part.strip()]
    have = "\n\nIts class has:\n" + "\n".join(f"- {part}" for part in parts) if parts else ""
    ask = "Write one Java method:"
    how = "Answer with the method on one line in a Markdown block, a blank between any two tokens."
    return f"{ask} {sentence.strip()}{have}\n\n{how}"


def program_from_completion(problem: Problem, completion: str) -> str:
    """The first line that is not empty."""
    return _whole.cut(completion.lstrip(), BASE_STOPS)
