"""What each verdict is about: every answer with its prompt and the program taken from it, beside the verdicts.

    {"task_id": "HumanEval/0", "index": 0, "raw": "...", "code": "...", "prompt": "..."}      gzip, in verdicts' order

The prompt stands with the first answer of a task only. Same answers, same bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts
from codeup.evaluate.generate import prompt_text
from codeup.evaluate.samples import Answer, read_lines
from codeup.types import Problem

FILE = "answers.jsonl.gz"


def write(
    path: Path, answers: Sequence[Answer], problems: Mapping[str, Problem], benchmark: ModuleType, style: str
) -> None:
    """Replace the file."""
    asked: set[str] = set()
    lines = []
    for answer in answers:
        task = answer.program.task_id
        row = {"task_id": task, "index": answer.program.index, "raw": answer.sample.raw, "code": answer.program.code}
        if task not in asked:
            asked.add(task)
            row["prompt"] = prompt_text(benchmark, problems[task], answer.sample.form, style)
        lines.append(json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace"))
    artifacts.write_bytes(path, gzip.compress(b"\n".join([*lines, b""]), 6, mtime=0))


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Answers of a judged folder, each with its verdict: outcome, detail, raw, code, prompt, task_id, index."""
    prompts: dict[str, str] = {}
    verdicts = read_lines(folder / "verdicts.jsonl")
    with gzip.open(folder / FILE, "rt", encoding="utf-8") as stream:
        for line, verdict in zip(stream, verdicts, strict=True):
            row = json.loads(line)
            assert (row["task_id"], row["index"]) == (verdict["task_id"], verdict["index"])
            prompts.setdefault(row["task_id"], row.get("prompt", ""))
            yield {**verdict, **row, "prompt": prompts[row["task_id"]]}
