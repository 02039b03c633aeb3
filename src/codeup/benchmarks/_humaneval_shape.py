"""Files in HumanEval's shape: reading them with every mistake named, and the two ways to ask for a function."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.types import BenchmarkData, Problem

COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")

# EvalPlus's stops for a base model on HumanEval (evalplus/provider/utility.py), and the end of a Markdown block.
STOPS = (
    "\nif __name__", "\ndef main(", "\nprint(", "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\n```",
)  # fmt: skip


def read(path: Path, *, name: str, version: Mapping[str, str], more: Sequence[str] = ()) -> BenchmarkData:
    """Read a JSONL (or .gz, or Parquet) file. `more` are further columns, kept in `Problem.extra`.

    `version` names known contents by their digest, whatever the file's format. Raises UserError.
    """
    rows = _checked(path, list(rows_of(path)), (*COLUMNS, *more))
    problems = tuple(
        Problem(
            task_id=row["task_id"],
            prompt=row["prompt"],
            entry_point=row["entry_point"],
            tests=row["test"],
            canonical_solution=row["canonical_solution"],
            extra={column: row[column] for column in more},
        )
        for row in rows
    )
    content = digest(rows)
    known = version.get(content, f"not a known version (content {content[:12]})")
    return BenchmarkData(name, known, hashlib.sha256(path.read_bytes()).hexdigest(), problems)


def digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Identity of the problems themselves: the same for the JSONL and the Parquet file."""
    plain = [[row[column] for column in COLUMNS] for row in rows]
    return hashlib.sha256(
        json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    ).hexdigest()


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of problems; raises UserError with the line that is wrong."""
    artifacts.check_ordinary(path)
    if not path.is_file():
        raise UserError("no such benchmark file", where=str(path), mend="name the file, e.g. HumanEval.jsonl.gz")
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), mend="fetch the file again") from None
    if (listed := _listed(text)) is not None:
        yield from listed
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"is not JSON: {error}", where=f"{path}:{number}", mend="fetch the file again") from None
        if not isinstance(row, dict):
            raise UserError("is not a JSON object", where=f"{path}:{number}")
        yield row


def _listed(text: str) -> list[dict[str, Any]] | None:
    """The rows of one JSON list, as MultiPL-E's repository has its files; None where the text is no list of objects."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if found and all(isinstance(row, dict) for row in found) else None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        yield from pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"cannot be read: {error}", where=str(path), mend="fetch the file again") from None


def _checked(path: Path, rows: list[dict[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    if not rows:
        raise UserError("holds no problems", where=str(path))
    if "plus_input" in rows[0]:
        mend = "name the benchmark humaneval+ or mbpp+; or give the original HumanEval.jsonl.gz"
        raise UserError("is EvalPlus's file, with inputs of its own", where=str(path), mend=mend)
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        wrong = [column for column in columns if not isinstance(row.get(column), str)]
        if wrong:
            raise UserError(
                f"problem {number} has no text in {', '.join(wrong)}; its columns are {', '.join(row)}",
                where=str(path),
                mend=f"name the benchmark this file belongs to; this one needs {', '.join(columns)}",
            )
        if not row["entry_point"].isidentifier():
            raise UserError(
                f"the entry point of {row['task_id']} is {row['entry_point']!r}, not the name of a function",
                where=str(path),
                mend="fetch the file again",
            )
        if row["task_id"] in seen:
            raise UserError(f"task {row['task_id']} occurs twice", where=str(path))
        seen.add(row["task_id"])
        if "def check(" not in row["test"]:
            raise UserError(f"the tests of {row['task_id']} define no check(candidate)", where=str(path))
    return rows


def base_prompt(problem: Problem) -> str:
    """The text a base model continues: the prompt without outer blank lines, ending in one newline.

    The newline belongs to the prompt, so that the answer begins with its indentation: stripped of it, some tokenizers
    have to produce "\\n    " where they learned '\"\"\"\\n', and the score halves (bigcode-evaluation-harness#159). The
    same text as EvalPlus's.
    """
    return problem.prompt.strip() + "\n"


def cut(completion: str, stops: Sequence[str] = STOPS) -> str:
    """A completion up to the first stop in it."""
    places = [place for stop in stops if (place := completion.find(stop)) >= 0]
    return completion[: min(places)] if places else completion


def program_from_completion(problem: Problem, completion: str) -> str:
    """The program of a base model: its prompt and what it wrote, up to where it began something else."""
    return base_prompt(problem) + cut(completion) + "\n"
