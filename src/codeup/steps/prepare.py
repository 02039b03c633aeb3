"""Prepare one training set: read its sources, take out what repeats or leaks, render to token ids, mix, split.

    rows -> Conversation (_read.py) -> which stay (_sift.py) -> Tokens (_tokenise.py) -> how much of each (_mix.py)
         -> train/, validation/, conversations.jsonl, dropped.jsonl, funnel.json, manifest.json, README.md, recipe.yaml

A row is read and tokenised once. Memory does not grow with the number of rows beyond about 60 bytes for each; near
duplicates take 256 more at most, contamination a few hundred. The work is journalled: killed at any moment, the step
goes on behind the last SHARD rows and leaves the same bytes.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from codeup import artifacts, models
from codeup.steps._read import CHUNK, nothing_left, read, timed
from codeup.steps._sift import LOOKED, REPEATED, TRIED, TakenOut
from codeup.types import Context, Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codeup.data.journal import Journal
    from codeup.data.load import Funnel
    from codeup.train.tokens import TokenStore

CODE = (
    "data", "chat", "train/tokens.py", "decontaminate", "benchmarks/_evalplus.py", "codecheck", "steps/prepare.py",
    "steps/_read.py", "steps/_elsewhere.py", "steps/_sift.py", "steps/_tokenise.py", "steps/_mix.py",
    "steps/_lengths.py", "provenance",
)  # fmt: skip
BESIDE = (
    ".rows", ".labels", ".keys", ".bands", REPEATED, TRIED, ".sifted", ".kept", ".groups", ".content", ".lengths",
    ".mixed",
)  # fmt: skip
"""Files that a finished step has no more use for."""
JOURNAL = "prepare"
OBJECTS = 100_000
"""New objects after which the garbage collector looks for cycles among them."""


class Spec(BaseModel):
    """A dataset of the recipe, the tokenizer it is rendered for, and where its files lie."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    sources: list[dict[str, Any]]
    cutoff: int
    overlong: str
    rules: dict[str, bool]
    filters: dict[str, Any]
    tools: dict[str, str]
    dedup: Literal["none", "exact", "near"]
    near_threshold: float
    decontaminate: list[dict[str, Any]]
    contaminated: Literal["drop", "report"]
    textbook: int
    expect_rows: int | None
    validation_rows: int
    template: str
    base: str
    seed: int
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write the token arrays and the account of every row. Raises UserError when nothing is left to train on."""
    from codeup.data.expected import warnings
    from codeup.data.journal import Journal
    from codeup.provenance import manifest

    folder = context.folder
    for begun in folder.glob(".*.tmp"):  # by a process that was killed while it wrote
        begun.unlink()
    with Journal(context.folder, JOURNAL) as journal, _collecting_again():
        if not journal.done:
            _work(spec, context, journal)
        _tidy(folder)
        summary: dict[str, Any] = journal.state["summary"]
        expected = [each.get("expect_rows") for each in spec.sources]
        summary["warnings"] = warnings(
            summary, folder / "dropped.jsonl", expected=expected, expected_in_all=spec.expect_rows
        )
        for text in summary["warnings"]:
            context.emit(Event("note", context.step, text=text))
        artifacts.write_json(folder / "funnel.json", summary)
        manifest.write(folder, settings=spec.model_dump(), summary=summary, code=artifacts.code_version(CODE))
        journal.remove()
    return {**summary, "manifest_sha256": artifacts.file_sha256(folder / manifest.MANIFEST)}


def _work(spec: Spec, context: Context, journal: Journal) -> None:
    """All that is left to do, part by part."""
    from codeup.chat import load_renderer
    from codeup.steps._tokenise import tokenise

    renderer = load_renderer(models.locate(spec.at["base"], spec.at["revision"]), spec.template)
    gc.freeze()  # until _collecting_again ends
    rows, funnel = read(spec, context, journal)
    with rows.spool:
        if journal.state["stage"] == "sift":
            _sifted(spec, context, journal, rows, funnel)
        if journal.state["stage"] == "tokenise":
            tokenise(rows, _taken_out(context.folder), renderer, spec, funnel, context, journal)
    if journal.state["stage"] == "tokenise":
        raise nothing_left("row", spec.dataset, funnel, context.folder)
    if journal.state["stage"] == "split":
        with timed(context, "mix and split"):
            _split(spec, context, journal, funnel, rows.labels)
    if journal.state["mixed"] and (context.folder / ".mixed").exists():
        os.replace(context.folder / ".mixed", context.folder / "conversations.jsonl")
    journal.save(journal.state, done=True)


@contextmanager
def _collecting_again() -> Iterator[None]:
    """What `gc.freeze` takes out of the garbage collector's sight inside comes back at the end.

    Libraries leave some 400,000 objects, and a step that makes millions of small ones has the collector look through
    them time and again: a twelfth of the step's time. It also looks less often: rows are let go without it, and most
    of those it finds after every 700 objects are still in use, which took another twenty-fifth.
    """
    often = gc.get_threshold()
    gc.set_threshold(OBJECTS, *often[1:])
    try:
        yield
    finally:
        gc.set_threshold(*often)
        gc.unfreeze()


def _sifted(spec: Spec, context: Context, journal: Journal, rows: Any, funnel: Funnel) -> None:
    from codeup.steps._sift import sift

    out, summary = sift(rows, list(funnel.counts), spec, context)
    lines = (json.dumps([row, *out[row]]) + "\n" for row in sorted(out))
    artifacts.write_bytes(context.folder / ".sifted", "".join(lines).encode())
    journal.save({**journal.state, "stage": "tokenise", "sifted": summary})


def _taken_out(folder: Path) -> TakenOut:
    with (folder / ".sifted").open(encoding="utf-8") as lines:
        return {row: (reason, detail) for row, reason, detail in map(json.loads, lines)}


def _split(spec: Spec, context: Context, journal: Journal, funnel: Funnel, labels: NDArray[np.uint16]) -> None:
    """Mix, hold out, write both sides and the summary."""
    import numpy as np

    from codeup.data.content import account
    from codeup.data.split import choose_validation
    from codeup.steps import _lengths, _mix
    from codeup.train.tokens import TokenWriter, open_tokens, write_tokens

    folder, state = context.folder, journal.state
    if not (folder / "all" / "offsets.npy").exists():
        TokenWriter(folder / "all", vocabulary=state["vocabulary"], begin=tuple(state["tokens"])).finish()
    store = open_tokens(folder / "all")
    numbers, row_of = np.unique(np.fromfile(folder / ".kept", np.int64), return_inverse=True)
    entries = np.array([count.entry for count in funnel.counts.values()])[labels[numbers]]
    parts = _mix.shares(np.bincount(entries, minlength=len(spec.sources)).tolist(), spec.sources)
    rows_taken, row_times = _mix.choose(entries, parts, spec.seed)
    taken, times = rows_taken[row_of], row_times[row_of]
    if not taken.all():
        _leave_out(folder, journal, funnel, ~taken, row_of)
    keys = _groups(folder)
    held_out = choose_validation(
        (key for key, use in zip(keys, taken, strict=True) if use), rows=spec.validation_rows, seed=spec.seed
    )
    held = np.fromiter((key in held_out for key in keys), dtype=bool, count=len(store))
    train, validation = np.flatnonzero(taken & ~held), np.flatnonzero(taken & held)
    vocabulary = state["vocabulary"]
    trained = write_tokens(folder / "train", store.take(_mix.repeated(train, times)), vocabulary=vocabulary)
    evaluated = write_tokens(folder / "validation", store.take(validation), vocabulary=vocabulary)
    every = np.fromfile(folder / ".lengths", np.int32)
    summary = {
        "name": spec.dataset,
        **funnel.to_dict(),
        "train_rows": len(train),
        "validation_rows": len(validation),
        "tokens": token_counts(trained, evaluated),
        "length_histogram": _lengths.histogram(store.lengths[taken], spec.cutoff),
        "lengths": _lengths.quantiles(every),
        "truncation": _lengths.truncation(every, spec.cutoff),
        "cutoff": spec.cutoff,
        "template": spec.template,
        "example_tokens": state["example"],
        **state["sifted"],
    }
    summary["repair_examples"] |= summary.get("code_check", {}).get("examples", {})
    if _mixes(spec):
        named = zip(spec.sources, parts, strict=True)
        summary["mix"] = [{"source": each["source"], **asdict(part)} for each, part in named]
    with (folder / ".content").open("rb") as lines:
        summary["content"] = account(itertools.compress(lines, taken.tolist()))
    assert sum(each["rows"] for each in summary["content"].values()) == len(train) + len(validation)
    assert summary["rows_kept"] + summary["rows_added"] == summary["train_rows"] + summary["validation_rows"]
    journal.save({**state, "stage": "publish", "mixed": not bool(taken.all()), "summary": summary})


def _mixes(spec: Spec) -> bool:
    return any(each.get("weight") or each.get("cap") or each.get("epochs", 1) != 1 for each in spec.sources)


def _leave_out(
    folder: Path, journal: Journal, funnel: Funnel, unused: NDArray[np.bool_], row_of: NDArray[np.int64]
) -> None:
    """Count and write down rows that the mix has no use for, and copy the others to .mixed."""
    from codeup.data.rows import Drop
    from codeup.data.store import from_json
    from codeup.steps._mix import MIX
    from codeup.steps._read import write_line

    dropped, last = journal.append("dropped.jsonl"), -1
    with (folder / "conversations.jsonl").open("rb") as lines, (folder / ".mixed").open("wb") as mixed:
        for line, leave, row in zip(lines, unused.tolist(), row_of.tolist(), strict=True):
            if not leave:
                mixed.write(line)
                continue
            conversation = from_json(line)
            if row == last:  # another part of the same row
                funnel.split(conversation, 0)
            else:
                funnel.drop(conversation, MIX)
                write_line(dropped, Drop(MIX, source=conversation.source, row=conversation.row))
            last = row
        mixed.flush()
        os.fsync(mixed.fileno())


def _groups(folder: Path) -> list[bytes]:
    """The group of each row: 16 bytes."""
    from codeup.data.split import KEY_BYTES

    found = (folder / ".groups").read_bytes()
    return [found[begin : begin + KEY_BYTES] for begin in range(0, len(found), KEY_BYTES)]


def _tidy(folder: Path) -> None:
    for name in BESIDE:
        (folder / name).unlink(missing_ok=True)
    for name in ("all", LOOKED):
        shutil.rmtree(folder / name, ignore_errors=True)


def batched(items: Iterable[Any], size: int = CHUNK) -> Iterator[tuple[Any, ...]]:
    """As itertools.batched, which Python 3.11 does not have."""
    iterator = iter(items)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


def token_counts(train: TokenStore, validation: TokenStore) -> dict[str, int]:
    """Tokens of both sides, and how many of the first are learned from."""
    return {"train": len(train.ids), "train_trained": train.trained_tokens, "validation": len(validation.ids)}
