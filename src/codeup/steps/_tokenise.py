"""Third part of preparing: the rows that stay, rendered to token ids, once.

    conversations -> all/ (token arrays), conversations.jsonl, .kept (which rows), .groups (what must stay together),
                     .content (what is in each), .lengths (tokens of every row, also of those that are too long),
                     dropped.jsonl

A chunk of rows is one call of the tokenizer over all their segments; from there on there are arrays, no objects per
token. Chunks are tokenised here or by workers on other machines; the account and every file are written here, in order.
Every SHARD rows the journal is saved; a step that was killed goes on behind the last one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from codeup import artifacts
from codeup.errors import UserError
from codeup.steps import _read
from codeup.steps._read import Rows, timed, write_line
from codeup.types import Context, Conversation, Event

if TYPE_CHECKING:
    from codeup.chat import Renderer
    from codeup.chat.rendered import Rendered
    from codeup.data.journal import Journal
    from codeup.data.load import Funnel
    from codeup.steps._sift import TakenOut
    from codeup.steps.prepare import Spec


TEXTS = (".json", ".jinja", ".model", ".txt")
"""How the files of a tokenizer and its template end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of rows as they wait: the number of the first, their lines, and which of them were taken out."""

    first: int
    lines: list[bytes]
    out: TakenOut


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a row, for the account: dropped for a reason, repaired by something, or divided into parts."""

    kind: Literal["drop", "repair", "split"]
    row: Conversation
    what: str = ""
    detail: str = ""
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What can be used, mostly one document a row: its place in the spool, line, group (16 bytes each), what is in it
    (a line each) and tokens.

    `lengths` are those of all rows, also of those that are too long.
    """

    numbers: list[int]
    lines: list[bytes]
    groups: bytes
    content: bytes
    tokens: Rendered
    lengths: NDArray[np.int64]
    changes: list[Change]


def tokenise(
    rows: Rows, out: TakenOut, renderer: Renderer, spec: Spec, funnel: Funnel, context: Context, journal: Journal
) -> None:  # fmt: skip
    """Write the token arrays of every row that can be used; count and write down the others."""
    from codeup.train.tokens import TokenWriter

    folder, state = context.folder, journal.state
    names = ("dropped.jsonl", "conversations.jsonl", ".kept", ".groups", ".content", ".lengths")
    dropped, kept, numbers, groups, content, lengths = (journal.append(name) for name in names)
    begin = state.get("next", 0)
    example: list[Any] = state.get("example", [])
    store = TokenWriter(folder / "all", vocabulary=renderer.vocabulary, begin=tuple(state.get("tokens", (0, 0, 0))))

    def save(stage: str, at: int) -> None:
        store.flush()
        more = {"funnel": funnel.state(), "next": at, "tokens": store.sizes, "example": example,
                "vocabulary": renderer.vocabulary}  # fmt: skip
        journal.save({**state, **more, "stage": stage})

    with timed(context, "tokenise"):
        total, saved = len(rows.spool), begin
        chunks = _chunks(rows, range(begin, total), out, renderer, spec, context)
        for first, chunk in zip(range(begin, total, _read.CHUNK), chunks, strict=True):
            last = min(first + _read.CHUNK, total)
            _account(chunk.changes, funnel, dropped)
            if not example and len(chunk.tokens):
                example.extend(renderer.text_pieces(chunk.tokens.document(0)))
            store.add(chunk.tokens)
            kept.write(b"".join(chunk.lines))
            numbers.write(np.array(chunk.numbers, np.int64).tobytes())
            groups.write(chunk.groups)
            content.write(chunk.content)
            lengths.write(chunk.lengths.astype(np.int32).tobytes())
            values = {"kept": funnel.rows_kept}
            context.emit(Event("progress", context.step, done=last, total=total, unit="rows", values=values))
            if last - saved >= _read.SHARD:
                save("tokenise", last)
                saved = last
        if store.documents:
            save("split", total)
            store.finish()
        store.close()


def _chunks(
    rows: Rows, wanted: range, out: TakenOut, renderer: Renderer, spec: Spec, context: Context
) -> Iterator[Chunk]:  # fmt: skip
    """The rows of the spool in chunks of CHUNK, each tokenised here or by one of the executor's workers, in order."""
    from codeup import models
    from codeup.executors import crew_of

    how: dict[str, Any] = {"cutoff": spec.cutoff, "overlong": spec.overlong, "filters": spec.filters}
    folder = Path(models.locate(spec.at["base"], spec.at["revision"])).resolve()
    arguments = {"folder": str(folder), "content": _tokenizer_of(folder), "template": spec.template, **how}
    pieces = (
        Piece(part[0], list(rows.spool.lines(part)), {number: out[number] for number in part if number in out})
        for part in (wanted[at : at + _read.CHUNK] for at in range(0, len(wanted), _read.CHUNK))
    )
    make, count = "codeup.steps._tokenise:worker", spec.at["workers"]
    with crew_of(context.executor, Tokeniser(renderer, **how), make, arguments, count=count) as crew:
        yield from crew.in_order(pieces)


def worker(
    *, folder: str, content: str, template: str, cutoff: int, overlong: str, filters: dict[str, Any]
) -> Tokeniser:  # fmt: skip
    """A worker on another machine. Raises UserError where the base's tokenizer is missing or another."""
    from codeup.chat import load_renderer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core each
    mend = "put the base model where every node sees it, under the same path"
    if not Path(folder).is_dir():
        raise UserError("does not see the folder of the base model, whose tokenizer is used", where=folder, mend=mend)
    if _tokenizer_of(Path(folder)) != content:
        raise UserError("holds another tokenizer than on the driver's machine", where=folder, mend=mend)
    return Tokeniser(load_renderer(Path(folder), template), cutoff, overlong, filters)


def _tokenizer_of(folder: Path) -> str:
    """One hash over the files of a model folder that are no weights."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in TEXTS)
    return artifacts.fingerprint([[path.name, artifacts.file_sha256(path)] for path in files])


def _account(changes: list[Change], funnel: Funnel, dropped: IO[bytes]) -> None:
    """Count what became of the rows, and write down those that were dropped."""
    from codeup.data.rows import Drop

    for change in changes:
        if change.kind == "drop":
            funnel.drop(change.row, change.what)
            write_line(dropped, Drop(change.what, change.detail, change.row.source, change.row.row))
        elif change.kind == "repair":
            funnel.repair(change.row, change.what)
        else:
            funnel.split(change.row, change.parts)


class Tokeniser:
    """The worker: from lines to tokens, what is in each row, and what became of it."""

    def __init__(self, renderer: Renderer, cutoff: int, overlong: str, filters: dict[str, Any]) -> None:
        from codeup.data.content import Contents

        self.renderer, self.cutoff, self.overlong, self.contents = renderer, cutoff, overlong, Contents(filters)
        self.about: dict[str, Any] = {}

    def close(self) -> None:
        """Nothing to close."""

    def _fits(self, conversation: Conversation) -> bool:
        return len(self.renderer.render(conversation).ids) <= self.cutoff

    def work(self, piece: Piece) -> Chunk:
        """The rows of a piece that are kept, with their tokens."""
        from codeup.chat.rendered import join
        from codeup.data.fit import shorten
        from codeup.data.rows import NOTHING_TO_LEARN, TOO_LONG
        from codeup.data.split import group_keys
        from codeup.data.store import from_json, to_json

        changes: list[Change] = []

        def change(kind: Literal["drop", "repair", "split"], of: Conversation, what: str = "", **more: Any) -> None:
            changes.append(Change(kind, Conversation((), of.source, of.row), what, **more))

        numbers, lines, conversations = [], [], []
        for number, line in enumerate(piece.lines, piece.first):
            conversation = from_json(line)
            if number in piece.out:
                reason, detail = piece.out[number]
                change("drop", conversation, reason, detail=detail)
                continue
            numbers.append(number)
            lines.append(line)
            conversations.append(conversation)
        tokens = self.renderer.render_batch(conversations)
        lengths, learned = tokens.lengths, tokens.trained > 0
        if (lengths <= self.cutoff).all() and learned.all():
            about = (b"".join(group_keys(conversations)), b"".join(self.contents.lines(conversations)))
            return Chunk(numbers, lines, *about, tokens, lengths, changes)
        batches, chosen, of = [tokens], [], []
        for place, conversation in enumerate(conversations):
            parts: tuple[Conversation, ...] = (conversation,)
            first = place
            if lengths[place] > self.cutoff:
                fitted = shorten(conversation, self._fits, self.overlong)
                if not fitted.parts:
                    change("drop", conversation, TOO_LONG)
                    continue
                for repair in fitted.repairs:
                    change("repair", conversation, repair)
                parts, first = fitted.parts, sum(map(len, batches))
                batches.append(self.renderer.render_batch(parts))
                learned = np.concatenate([learned, batches[-1].trained > 0])
            use = [(part, first + at) for at, part in enumerate(parts) if learned[first + at]]
            if not use:
                change("drop", conversation, NOTHING_TO_LEARN)
                continue
            if len(use) > 1:
                change("split", conversation, parts=len(use))
            chosen += use
            of += [place] * len(use)
        used = [part for part, _ in chosen]
        return Chunk(
            [numbers[place] for place in of],
            [lines[at] if at < len(lines) else to_json(part) + b"\n" for part, at in chosen],
            b"".join(group_keys(used)),
            b"".join(self.contents.lines(used)),
            join(batches).take(np.array([at for _, at in chosen], np.int64)),
            lengths,
            changes,
        )
