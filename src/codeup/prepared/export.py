"""Prepared conversations as files that other tools read: the Hub's `datasets`, TRL, LLaMA-Factory.

    codeup data export runs/nano --format parquet --out shared/
        shared/train.parquet  validation.parquet        one row per conversation
               README.md  manifest.json  recipe.yaml    card, provenance, and how to prepare it again
               dataset_info.json                        for LLaMA-Factory: dataset_dir: shared, dataset: NAME

    parquet, jsonl   {"messages": [{"role": "user", "content": "Add\\n\\n1, 2"}, {"role": "assistant", "content": "3"}],
                      "source": "alpaca:rows.json", "row": 7, "group": ""}         TRL's conversational format
    sharegpt         {"conversations": [{"from": "human", "value": ...}, ...], "system": "", "source": ..., "row": 7}

The second field of an Alpaca row follows the question after an empty line, as the templates llama3 and chatml write it;
the other formats have no place of their own for it. Rows are streamed; memory holds 16 bytes a row and one batch. The
folder appears whole, by rename. Token arrays are not exported: they belong to one tokenizer.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from codeup import artifacts
from codeup.data.store import read_conversations
from codeup.errors import UserError
from codeup.prepared import where
from codeup.prepared.where import Prepared, held_out
from codeup.provenance.card import card
from codeup.provenance.manifest import CARD, MANIFEST, REPLAY, output_files
from codeup.types import Conversation, Emit, Event, Message, ignore_event

FORMATS = ("parquet", "jsonl", "sharegpt")
BATCH = 1024
"""Rows written together, and rows of a Parquet row group."""
INFO = "dataset_info.json"
_SPEAKER = {"user": "human", "assistant": "gpt"}
_TAGS = {
    "messages": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    "conversations": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
}


def export(
    place: Path, out: Path, *, format: str, dataset: str = "", force: bool = False, emit: Emit = ignore_event
) -> dict[str, Any]:
    """Write the datasets of a run or folder: one into `out` itself, several into folders of it by name.

    Returns {"out", "format", "datasets": {name: {"files": {split: file}, "rows": {split: n}}}}. Raises UserError for an
    unknown format, for a folder that is in use (`force` replaces an earlier export), and for damaged rows.
    """
    if format not in FORMATS:
        raise UserError(f"--format is {format!r}", mend=f"use one of {', '.join(FORMATS)}")
    datasets = [where.load(folder) for folder in where.find(place, dataset)]
    for each in datasets:
        if each.is_export:
            raise UserError("is an export already", where=str(each.folder), mend="give the run that it was made from")
    _refuse(out, force)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    artifacts.make_folder(part)
    done: dict[str, Any] = {}
    info: dict[str, Any] = {}
    for each in datasets:
        below = "" if len(datasets) == 1 else f"{each.name}/"
        done[each.name] = _one(each, part / below, format, emit)
        info |= _info(each.name, done[each.name]["files"], format, below)
    if len(datasets) > 1:
        artifacts.write_json(part / INFO, info)
    _put(part, out)
    return {"out": str(out), "format": format, "datasets": done}


def _refuse(out: Path, force: bool) -> None:
    """UserError where `out` holds something that is not to be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not where.is_dataset(out) or (out / "steps").exists():
        raise UserError("is there already and is no export", where=str(out), mend="name another folder")
    if not force:
        raise UserError("holds an export already", where=str(out), mend="name another folder, or give --force")


def _put(part: Path, out: Path) -> None:
    """Give the finished folder its name; an earlier export is there until then."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(part, out)
    shutil.rmtree(old, ignore_errors=True)


def _one(prepared: Prepared, folder: Path, format: str, emit: Emit) -> dict[str, Any]:
    """One dataset's files; its manifest last."""
    artifacts.make_folder(folder)
    member, _ = held_out(prepared)
    counts = prepared.manifest["counts"]
    if (int((~member).sum()), int(member.sum())) != (counts["train_rows"], counts["validation_rows"]):
        raise UserError(
            "its rows are not those that were counted", where=str(prepared.folder), mend="codeup data verify"
        )
    rows = {"train": int((~member).sum()), "validation": int(member.sum())}
    splits = [split for split, count in rows.items() if count]
    files = {split: f"{split}.{'parquet' if format == 'parquet' else 'jsonl'}" for split in splits}
    with ExitStack() as stack:
        writers = {split: stack.enter_context(_writer(folder / name, format)) for split, name in files.items()}
        _write(prepared, member, writers, emit)
    shutil.copyfile(prepared.folder / REPLAY, folder / REPLAY)
    artifacts.write_json(folder / INFO, _info(prepared.name, files, format, ""))
    _describe(prepared, folder, format, files, rows)
    return {"files": files, "rows": {split: rows[split] for split in splits}}


def _write(prepared: Prepared, member: np.ndarray, writers: Mapping[str, Any], emit: Emit) -> None:
    lines = zip(member, read_conversations(prepared.folder / "conversations.jsonl"), strict=True)
    done = 0
    while batch := list(itertools.islice(lines, BATCH)):
        for split, writer in writers.items():
            chosen = [conversation for held, conversation in batch if (split == "validation") == bool(held)]
            if chosen:
                writer.write(chosen)
        done += len(batch)
        emit(Event("progress", prepared.name, done, len(member), "rows written"))


def _describe(prepared: Prepared, folder: Path, format: str, files: Mapping[str, str], rows: Mapping[str, int]) -> None:
    """Card and manifest: those of the prepared dataset, for the files that lie here."""
    manifest = {
        **{key: value for key, value in prepared.manifest.items() if key not in ("files", "working_files")},
        "kind": "export",
        "export": format,
        "prepared_manifest_sha256": artifacts.file_sha256(prepared.folder / MANIFEST),
    }
    text = card(manifest, prepared.funnel, files=files)
    artifacts.write_bytes(folder / CARD, text.encode("utf-8", "backslashreplace"))
    count = {name: rows[split] for split, name in files.items()}
    manifest["files"] = [
        {**each, **({"rows": count[each["path"]]} if each["path"] in count else {})} for each in output_files(folder)
    ]
    artifacts.write_json(folder / MANIFEST, manifest)


# --- rows ------------------------------------------------------------------------------------------------------------


def text_of(turn: Message) -> str:
    """The turn as one text: the second field of an Alpaca row after an empty line."""
    return "\n\n".join(part for part in (turn.content, turn.input) if part)


def as_messages(conversation: Conversation) -> dict[str, Any]:
    """A row of parquet and jsonl."""
    messages = [{"role": turn.role, "content": text_of(turn)} for turn in conversation.messages]
    return {"messages": messages, "source": conversation.source, "row": conversation.row, "group": conversation.group}


def as_sharegpt(conversation: Conversation) -> dict[str, Any]:
    """A row of sharegpt; the system turn in a field of its own."""
    turns = [turn for turn in conversation.messages if turn.role != "system"]
    system = next((turn.content for turn in conversation.messages if turn.role == "system"), "")
    return {
        "conversations": [{"from": _SPEAKER[turn.role], "value": text_of(turn)} for turn in turns],
        "system": system,
        "source": conversation.source,
        "row": conversation.row,
        "group": conversation.group,
    }


class _Lines:
    """JSON lines."""

    def __init__(self, path: Path, shape: Callable[[Conversation], dict[str, Any]]) -> None:
        self._file, self._shape = path.open("wb"), shape

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, conversations: Sequence[Conversation]) -> None:
        self._file.writelines(orjson.dumps(self._shape(each)) + b"\n" for each in conversations)


class _Parquet:
    """One row group per batch, zstd."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        turn = pa.struct([("role", pa.string()), ("content", pa.string())])
        self._schema = pa.schema(
            [("messages", pa.list_(turn)), ("source", pa.string()), ("row", pa.int64()), ("group", pa.string())]
        )
        self._table = pa.Table
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, conversations: Sequence[Conversation]) -> None:
        self._writer.write_table(self._table.from_pylist([as_messages(c) for c in conversations], self._schema))


def _writer(path: Path, format: str) -> _Lines | _Parquet:
    if format == "parquet":
        return _Parquet(path)
    return _Lines(path, as_messages if format == "jsonl" else as_sharegpt)


def _info(name: str, files: Mapping[str, str], format: str, below: str) -> dict[str, Any]:
    """Entries of LLaMA-Factory's dataset_info.json: NAME and, where rows were held out, NAME_validation."""
    column = "conversations" if format == "sharegpt" else "messages"
    columns = {"messages": column, **({"system": "system"} if format == "sharegpt" else {})}
    entry = {"formatting": "sharegpt", "columns": columns, "tags": {**_TAGS[column], "system_tag": "system"}}
    names = {"train": name, "validation": f"{name}_validation"}
    return {names[split]: {"file_name": below + file, **entry} for split, file in files.items()}
