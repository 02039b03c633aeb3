"""A file of rows in, the rows that may be trained on out: `codeup data decontaminate`.

    OUT/kept.jsonl              the rows that stay, as they were (with --action mark, each with its hits)
    OUT/contamination.jsonl     one line per row, item and method: row number, evidence, what was done and why
    OUT/residue.jsonl           for each benchmark item the rows most like it that are still there
    OUT/summary.json            the account: rows, methods, sources before and after, benchmarks
    OUT/run.jsonl               results of running functions; with it an interrupted run continues

Row numbers are those of the input, from 0, counting every row.
"""

from __future__ import annotations

import difflib
import itertools
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.data.contamination.items import Item, read_items
from codeup.data.files import Row, read_rows, sha256_of
from codeup.data.spool import Spool
from codeup.decontaminate import report
from codeup.decontaminate.find import TEXTBOOK, Action, Findings, Run, find
from codeup.errors import UserError
from codeup.types import Conversation, Emit, Event, Message, ignore_event

COLUMNS: dict[str, tuple[str, ...]] = {
    "turns": ("messages", "conversations", "conversation"),
    "question": ("instruction", "prompt", "question", "problem", "query"),
    "input": ("input",),
    "answer": ("output", "response", "completion", "answer", "solution", "code", "text", "content"),
}
"""Columns that hold a row's text. Rows of one file may differ: each is read by the columns that it has itself."""
TURN_TEXT = ("content", "value", "text")
PEEK_ROWS = 64
ACTIONS = ("report", "mark", "drop")
RUNS = ("auto", "all", "retrieved", "none")


def decontaminate(
    input_: Path, against: Mapping[str, Path], out: Path, *, action: Action = "drop",
    columns: Mapping[str, str] | None = None, benchmark_columns: Mapping[str, str] | None = None, run: Run = "auto",
    textbook: int = TEXTBOOK, workers: int = 1, allow_unsafe: bool = False, emit: Emit = ignore_event,
    step: str = "decontaminate",
) -> dict[str, Any]:  # fmt: skip
    """Find, write and count. Raises UserError for input that cannot be read, WorkFailed when the sandbox breaks."""
    items = [item for name, path in against.items() for item in read_items(name, path, benchmark_columns)]
    mapping = _mapping(input_, columns or {})
    artifacts.make_folder(out)
    begun = time.monotonic()
    emit(Event("start", step))
    with Spool(out / ".rows.part") as spool:
        unreadable: Counter[str] = Counter()
        for row in read_rows(input_):
            if row.value is None:
                unreadable[row.error] += 1
            else:
                spool.append(_conversation(row, columns or {}, input_.name))
        findings = find(
            spool,
            items,
            out / "run.jsonl",
            run=run,
            textbook=textbook,
            workers=workers,
            allow_unsafe=allow_unsafe,
            shards=out / ".looked",
            emit=emit,
            step=step,
        )
        report.write_hits(out / "contamination.jsonl", spool, findings, action)
        report.write_residue(out / "residue.jsonl", spool, findings)
        sources = [conversation.source for conversation in spool]
        numbers = [conversation.row for conversation in spool]
        textless = [each.row for each in spool if not each.messages]
    kept = _write_kept(out / "kept.jsonl", input_, findings, numbers, action)
    rows_in = len(numbers) + unreadable.total()
    summary = {
        "input": str(input_),
        "input_sha256": sha256_of(input_),
        "against": {
            name: {"file": str(path), "sha256": sha256_of(path), "items": sum(item.benchmark == name for item in items)}
            for name, path in against.items()
        },
        "columns": mapping,
        "action": action,
        "textbook": textbook,
        "rows_in": rows_in,
        "rows_kept": kept,
        "rows_without_text": len(textless),
        "dropped": {**dict(unreadable), **({"contamination": len(findings.dropped)} if action == "drop" else {})},
        **report.summary(findings, sources, action),
    }
    assert rows_in == kept + sum(summary["dropped"].values()), "a row is unaccounted for"
    artifacts.write_json(out / "summary.json", summary)
    shutil.rmtree(out / ".looked")
    emit(Event("finish", step, values={"seconds": time.monotonic() - begun}))
    return summary


# --- rows ------------------------------------------------------------------------------------------------------------


def _mapping(path: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Our name for a column -> the file's, by what the first rows hold. Raises UserError where nothing holds text."""
    first = [row.value for row in itertools.islice(read_rows(path), PEEK_ROWS) if row.value is not None]
    if not first:
        raise UserError("no row is a JSON object", where=str(path), mend='write rows like {"prompt": …, "response": …}')
    there = list(dict.fromkeys(column for row in first for column in row))
    listed = ", ".join(map(repr, there))
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            raise UserError(f"there is no {ours!r} to map", where="--columns", mend=f"map one of {', '.join(COLUMNS)}")
        if theirs not in there:
            close = difflib.get_close_matches(theirs, there, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UserError(f"no column {theirs!r}{hint}; the columns are: {listed}", where=str(path))
    mapping = dict(columns)
    for ours, names in COLUMNS.items():
        known = next((name for name in names if name in there and name not in mapping.values()), None)
        if known and ours not in mapping:
            mapping[ours] = known
    if not mapping.keys() & {"turns", "question", "answer"}:
        texts = [name for name in there if any(isinstance(row.get(name), str) for row in first)]
        wanted = [name for names in COLUMNS.values() for name in names]
        close = [name for name in texts if difflib.get_close_matches(name.lower(), wanted, n=1)]
        guess = next(iter([*close, *texts]), "COLUMN")
        raise UserError(
            f"no column that usually holds a row's text; the columns are: {listed}", where=str(path),
            mend=f"say which ones do, e.g. --columns question={guess},answer=…",
        )  # fmt: skip
    return mapping


def _conversation(row: Row, columns: Mapping[str, str], name: str) -> Conversation:
    """The text of a row, whatever its shape; what is not text is left out. `source` is the row's own, or the file.

    `columns` are the mapped ones. Of the others every known one that holds another text is read.
    """
    assert row.value is not None
    value = row.value
    texts: dict[str, list[str]] = {}
    for ours, names in COLUMNS.items():
        asked = [columns[ours]] if ours in columns else [name for name in names if name not in columns.values()]
        cells = (value.get(column) for column in asked)
        read = [text for cell in cells for text in _turns(cell if isinstance(cell, list) else [cell])]
        texts[ours] = list(dict.fromkeys(read))
    messages = [Message("user", text) for text in texts["turns"]]
    if texts["question"] or texts["input"]:
        messages.append(Message("user", "\n".join(texts["question"]), "\n".join(texts["input"])))
    messages += [Message("assistant", text) for text in texts["answer"]]
    source = value.get("source")
    label = source if isinstance(source, str) and source else name
    clean = tuple(Message(each.role, _valid(each.content), _valid(each.input)) for each in messages)
    return Conversation(clean, _valid(label), row.number)


def _turns(turns: Sequence[Any]) -> Iterator[str]:
    """The texts of turns, which are objects or texts themselves; the content of a turn may come in parts."""
    for turn in turns:
        found = next((turn[key] for key in TURN_TEXT if key in turn), None) if isinstance(turn, dict) else turn
        if isinstance(found, str) and found:
            yield found
        elif isinstance(found, list):
            yield from _turns(found)


def _valid(text: str) -> str:
    """Half a surrogate pair cannot be written; the row itself keeps it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _write_kept(path: Path, input_: Path, findings: Findings, numbers: Sequence[int], action: Action) -> int:
    """The rows that stay; how many."""
    gone = {numbers[row] for row in findings.dropped} if action == "drop" else set()
    marks = _marks(findings, numbers) if action == "mark" else {}
    kept, part = 0, path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for row in read_rows(input_):
            if row.value is None or row.number in gone:
                continue
            value = {**row.value, "contamination": marks[row.number]} if row.number in marks else row.value
            file.write(_line(value))
            kept += 1
    part.replace(path)
    return kept


def _line(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_as_text)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, default=_as_text)  # half a surrogate pair: as JSON escapes it
    return text + "\n"


def _as_text(cell: Any) -> str:
    """A cell of a parquet file that JSON has no kind for: bytes, a date, a decimal."""
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else str(cell)


def _marks(findings: Findings, numbers: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for hit in findings.hits:
        item: Item = findings.items[hit.item]
        mark = {"item": item.name, "method": hit.method, "score": hit.score, "sufficient": hit.drop}
        found.setdefault(numbers[hit.row], []).append(mark)
    return found
