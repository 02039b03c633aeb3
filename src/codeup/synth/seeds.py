"""What synthesis starts from: tasks of a file of rows, or snippets of files of code.

    rows.jsonl {"instruction": "Double x.", "output": "def f…"}   ->  Seed("Double x.", "def f…", path, sha256, row 0)
    repo/util.py, lines 41-49                                     ->  Seed(snippet, "", path, sha256, lines 41 to 49)

A seed knows the file, the file's sha256, the place in it, and the licence: what the row or an SPDX line in the file
says, else what the user says, else "unknown". Snippets are 1 to 15 lines in a row, as in OSS-Instruct, and are drawn
with a seed.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup.data.files import is_data_file, read_rows, sha256_of
from codeup.data.rows import BAD_UNICODE, EMPTY_QUESTION
from codeup.errors import UserError

QUESTION = ("instruction", "prompt", "question", "problem", "query", "task", "text")
ANSWER = ("output", "response", "completion", "answer", "solution", "code")
TURNS = ("messages", "conversations", "conversation")
CODE_ENDINGS = (
    ".py",
    ".js",
    ".ts",
    ".java",
    ".go",
    ".rs",
    ".c",
    ".h",
    ".cc",
    ".cpp",
    ".hpp",
    ".rb",
    ".sh",
    ".php",
    ".kt",
)
MOST_LINES = 15
LEAST_CHARACTERS = 20
"""Characters besides white space that a snippet has at least."""
LARGEST_FILE = 1 << 20
MOST_DRAWS = 100
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+() -]+)")
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seed:
    """One task or snippet, and where it is from. `span` is a row, or the first and last line (from 1)."""

    text: str
    answer: str
    path: str
    sha256: str
    span: tuple[int, ...]
    licence: str

    def to_dict(self) -> dict[str, Any]:
        """Provenance for a row."""
        return {"path": self.path, "sha256": self.sha256, "span": list(self.span), "licence": self.licence}


@dataclass(slots=True)
class Seeds:
    """All seeds of some files, and those that could not be used, by reason."""

    seeds: list[Seed]
    dropped: Counter[str] = field(default_factory=Counter)
    files: dict[str, str] = field(default_factory=dict)


def read_tasks(path: Path, licence: str) -> Seeds:
    """The tasks of a file of rows. Raises UserError for files without any."""
    if not is_data_file(path) and not path.is_dir():
        raise UserError(
            "seeds are rows: .json, .jsonl or .parquet", where=str(path), mend="for files of code use oss-instruct"
        )
    found = Seeds([])
    digest = sha256_of(path) if path.is_file() else ""
    columns: set[str] = set()
    for row in read_rows(path):
        if row.value is None:
            found.dropped[row.error] += 1
            continue
        columns |= row.value.keys()
        question, answer = _texts(row.value)
        if not question.strip():
            found.dropped[EMPTY_QUESTION] += 1
        elif not (_valid(question) and _valid(answer)):
            found.dropped[BAD_UNICODE] += 1
        else:
            own = row.value.get("licence", row.value.get("license"))
            named = own if isinstance(own, str) and own else licence or UNKNOWN
            found.seeds.append(Seed(question, answer, str(path), digest, (row.number,), named))
    found.files[str(path)] = digest
    if not found.seeds:
        raise UserError(
            f"no row holds a task; the columns are: {', '.join(map(repr, sorted(columns))) or 'none'}", where=str(path),
            mend=f"name the column of the task one of {', '.join(QUESTION[:4])}",
        )  # fmt: skip
    return found


def _texts(row: dict[str, Any]) -> tuple[str, str]:
    """The task and its answer, whatever the shape."""
    turns = next((row[name] for name in TURNS if isinstance(row.get(name), list)), None)
    if turns is not None:
        texts = [turn.get("content", turn.get("value")) for turn in turns if isinstance(turn, dict)
                 and turn.get("role", turn.get("from")) != "system"]  # fmt: skip
        spoken = [text if isinstance(text, str) else "" for text in texts] + ["", ""]
        return spoken[0], spoken[1]
    question = next((row[name] for name in QUESTION if isinstance(row.get(name), str) and row[name]), "")
    answer = next((row[name] for name in ANSWER if isinstance(row.get(name), str) and row[name]), "")
    extra = row.get("input")
    return (f"{question}\n{extra}" if isinstance(extra, str) and extra.strip() else question), answer


def _valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Code:
    """A file of code, read."""

    path: str
    sha256: str
    licence: str
    lines: tuple[str, ...]


def read_code(path: Path, licence: str) -> tuple[list[Code], Counter[str]]:
    """The files of code at a path (a file, or a folder with all below it), and those that are not used, by reason."""
    if not path.exists():
        raise UserError("there is no such file or folder", where=str(path), mend="check --seeds")
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if _is_code(each, path))
    found, dropped = [], Counter[str]()
    for file in files:
        raw = file.read_bytes() if file.stat().st_size <= LARGEST_FILE else b""
        text = raw.decode("utf-8", "replace")
        if not raw:
            dropped["file is empty or larger than 1 MB"] += 1
        elif "\ufffd" in text or "\0" in text:
            dropped["file is not UTF-8 text"] += 1
        elif not _usable(text):
            dropped["file holds too little"] += 1
        else:
            spdx = _SPDX.search(text[:4000])
            named = spdx[1].strip() if spdx else licence or UNKNOWN
            found.append(Code(str(file), sha256_of(file), named, tuple(text.splitlines())))
    if not found:
        raise UserError(
            f"no file of code to use ({len(files)} found)",
            where=str(path),
            mend=f"known endings: {' '.join(CODE_ENDINGS)}",
        )
    return found, dropped


def _is_code(path: Path, root: Path) -> bool:
    inside = path.relative_to(root).parts
    return path.suffix in CODE_ENDINGS and path.is_file() and not any(part.startswith(".") for part in inside)


def _usable(text: str) -> bool:
    return len("".join(text.split())) >= LEAST_CHARACTERS


def snippets(files: Sequence[Code], seed: int) -> Iterator[Seed]:
    """Endless draws: a file, a first line, and how many lines; what holds too little is drawn again, if that helps."""
    for number in itertools.count():
        draw = random.Random(f"{seed} snippet {number}")
        for _ in range(MOST_DRAWS):
            file = draw.choice(files)
            first = draw.randrange(len(file.lines))
            last = min(first + draw.randint(1, MOST_LINES), len(file.lines))
            text = "\n".join(file.lines[first:last])
            if _usable(text):
                break
        yield Seed(text, "", file.path, file.sha256, (first + 1, last), file.licence)
