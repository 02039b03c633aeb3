"""Third part of preparing: the rows that stay, rendered to token ids, once.

    conversations -> all/ (token arrays), conversations.jsonl, .kept (which rows), .groups (what must stay together),
                     .lengths (tokens of every row, also of those that are too long), dropped.jsonl

A chunk of rows is one call of the tokenizer over all their segments; from there on there are arrays, no objects per
token. Every SHARD rows the journal is saved; a step that was killed goes on behind the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class Chunk:
    """What can be used, mostly one document a row: its place in the spool, line, conversation and tokens.

    `lengths` are those of all rows, also of those that are too long.
    """

    numbers: list[int]
    lines: list[bytes]
    conversations: list[Conversation]
    tokens: Rendered
    lengths: NDArray[np.int64]


def tokenise(
    rows: Rows, out: TakenOut, renderer: Renderer, spec: Spec, funnel: Funnel, context: Context, journal: Journal
) -> None:  # fmt: skip
    """Write the token arrays of every row that can be used; count and write down the others."""
    from codeup.data.split import group_key
    from codeup.train.tokens import TokenWriter

    folder, state = context.folder, journal.state
    dropped, kept, numbers, groups, lengths = (
        journal.append(name) for name in ("dropped.jsonl", "conversations.jsonl", ".kept", ".groups", ".lengths")
    )
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
        for first in range(begin, total, _read.CHUNK):
            last = min(first + _read.CHUNK, total)
            chunk = _usable(rows, range(first, last), out, renderer, spec, funnel, dropped)
            if not example and len(chunk.tokens):
                example.extend(renderer.text_pieces(chunk.tokens.document(0)))
            store.add(chunk.tokens)
            kept.write(b"".join(chunk.lines))
            numbers.write(np.array(chunk.numbers, np.int64).tobytes())
            groups.write(b"".join(map(group_key, chunk.conversations)))
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


def _usable(
    rows: Rows, wanted: range, out: TakenOut, renderer: Renderer, spec: Spec, funnel: Funnel, dropped: IO[bytes]
) -> Chunk:  # fmt: skip
    """The rows of a chunk that are kept, with their tokens."""
    from codeup.chat.rendered import join
    from codeup.data.fit import shorten
    from codeup.data.rows import NOTHING_TO_LEARN, TOO_LONG, Drop
    from codeup.data.store import from_json, to_json

    def fits(conversation: Conversation) -> bool:
        return len(renderer.render(conversation).ids) <= spec.cutoff

    def drop(conversation: Conversation, reason: str, detail: str = "") -> None:
        funnel.drop(conversation, reason)
        write_line(dropped, Drop(reason, detail, conversation.source, conversation.row))

    numbers, lines, conversations = [], [], []
    for number, line in zip(wanted, rows.spool.lines(wanted), strict=True):
        conversation = from_json(line)
        if number in out:
            drop(conversation, *out[number])
            continue
        numbers.append(number)
        lines.append(line)
        conversations.append(conversation)
    tokens = renderer.render_batch(conversations)
    lengths, learned = tokens.lengths, tokens.trained > 0
    if (lengths <= spec.cutoff).all() and learned.all():
        return Chunk(numbers, lines, conversations, tokens, lengths)
    batches, chosen, of = [tokens], [], []
    for place, conversation in enumerate(conversations):
        parts: tuple[Conversation, ...] = (conversation,)
        first = place
        if lengths[place] > spec.cutoff:
            fitted = shorten(conversation, fits, spec.overlong)
            if not fitted.parts:
                drop(conversation, TOO_LONG)
                continue
            for repair in fitted.repairs:
                funnel.repair(conversation, repair)
            parts, first = fitted.parts, sum(map(len, batches))
            batches.append(renderer.render_batch(parts))
            learned = np.concatenate([learned, batches[-1].trained > 0])
        use = [(part, first + at) for at, part in enumerate(parts) if learned[first + at]]
        if not use:
            drop(conversation, NOTHING_TO_LEARN)
            continue
        funnel.split(conversation, len(use))
        chosen += use
        of += [place] * len(use)
    return Chunk(
        [numbers[place] for place in of],
        [lines[at] if at < len(lines) else to_json(part) + b"\n" for part, at in chosen],
        [part for part, _ in chosen],
        join(batches).take(np.array([at for _, at in chosen], np.int64)),
        lengths,
    )
