"""DS-1000: data science problems in seven Python libraries; an answer is put into a given program.

Lai et al. 2022, arXiv 2211.11501; rows of xlangai/DS-1000 (ds1000.jsonl): `prompt`, `reference_code`, `code_context`,
`metadata`. The context makes inputs and their answers, and puts a solution where its program says [insert]:

    code_context + "code = <the answer>; test_execution(code)", and test_string(code) where the context has it

An answer is a piece of code, not a program. Each problem names the libraries that its context imports; one that is not
installed is an error, never a zero (evaluate/libraries.py). Not covered: the folders of the first release.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from codeup.benchmarks import _humaneval_shape as shape
from codeup.benchmarks import _stdin, _whole
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

NAME = "ds1000"
LIBRARIES = {
    "Pandas": "pandas", "Numpy": "numpy", "Tensorflow": "tensorflow", "Pytorch": "torch", "Scipy": "scipy",
    "Sklearn": "sklearn", "Matplotlib": "matplotlib",
}  # fmt: skip
"""What `metadata.library` is called, and the name it is imported by."""

COLUMNS = ("prompt", "reference_code", "code_context")
BASE_STOPS = ("</code>", "# SOLUTION END", "\nEND SOLUTION")
SECONDS = 120.0
"""What the original's runner gives one program, on the wall; here of processor time."""

_IMPORT = re.compile(r"(?m)^[ \t]*(?:import[ \t]+([^\n#;]+)|from[ \t]+([A-Za-z_][\w.]*)[ \t]+import\b)")
_MODULE = re.compile(r"[ \t]*([A-Za-z_]\w*)(?:\.\w+)*(?:[ \t]+as[ \t]+\w+)?[ \t]*")


def load(path: Path | None = None) -> BenchmarkData:
    """Read a JSONL(.gz) or Parquet file in the current shape."""
    path = _whole.needed(path, NAME, "the Hub has test.jsonl as xlangai/DS-1000, its repository data/ds1000.jsonl.gz")
    rows = _whole.rows(path, COLUMNS, name=NAME)
    problems = [_problem(row, f"{path}:{number}") for number, row in enumerate(rows, 1)]
    return _whole.data(path, NAME, problems, {})


def _problem(row: dict[str, Any], where: str) -> Problem:
    about = row.get("metadata")
    about = _stdin.parsed(about, where=where, what="metadata")
    if not isinstance(about, dict) or str(about.get("library")) not in LIBRARIES or "problem_id" not in about:
        mend = f"it needs a problem_id, and a library of {', '.join(LIBRARIES)}"
        raise UserError(f"metadata is {about!r}", where=where, mend=mend)
    context = row["code_context"]
    if "def test_execution(" not in context or "[insert]" not in context:
        raise UserError("code_context has no test_execution, or no [insert] for an answer", where=where)
    calls = "test_execution(code)\n" + ("test_string(code)\n" if "test_string(" in context else "")
    library = LIBRARIES[about["library"]]
    extra = {
        "whole": True, "inserted": "code", "text": row["prompt"], "part": about["library"], "seconds": SECONDS,
        "libraries": tuple(dict.fromkeys([library, *imported(context)])), "stops": list(BASE_STOPS),
    }  # fmt: skip
    task = f"DS-1000/{about['problem_id']}"
    return Problem(task, "", "", f"{context}\n{calls}", row["reference_code"], "python", extra)


def imported(context: str) -> list[str]:
    """The packages outside of Python's own library that a context imports, also in the program that it holds as text.

    >>> imported("import numpy as np, copy\\nfrom scipy.stats import norm\\n")
    ['numpy', 'scipy']
    """
    parts = [part for found in _IMPORT.finditer(context) for part in (found[1] or found[2]).split(",")]
    names = [found[1] for part in parts if (found := _MODULE.fullmatch(part))]
    return [name for name in dict.fromkeys(names) if name not in sys.stdlib_module_names]


def base_prompt(problem: Problem) -> str:
    """The prompt as it is: it ends where the code begins."""
    return str(problem.extra["text"])


def chat_instruction(problem: Problem) -> str:
    """The prompt, and what the answer has to be."""
    text = str(problem.extra["text"]).strip()
    return f"{text}\n\nAnswer with the missing code only, in one Markdown block, indented as its place asks."


def program_from_completion(problem: Problem, completion: str) -> str:
    """The piece of code in a completion, cut as the original's test_ds1000.py cuts it, in its order."""
    text = completion.split("</code>")[0].replace("```python", "")
    text = text.split("```")[0].split("\nEND SOLUTION")[0].replace("<code>", "")
    return shape.cut(text, BASE_STOPS)


def program_from_solution(problem: Problem, code: str) -> str:
    """A piece of code given as a solution: as it is."""
    return code
