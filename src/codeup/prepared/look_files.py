"""The same look at rows that were not prepared: files of any shape that a source reads, and exports.

The source is guessed from the columns unless it is named; rows are read as `codeup run` would read them, compared with
each other (near duplicates; only equal ones beyond NEAR_ROWS) and rendered with a tokenizer to measure them. Nothing is
dropped for being long or repeated: the page says what would be.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codeup import models, plugins
from codeup.data import dedup
from codeup.data.files import read_rows
from codeup.data.licences import account, roll_up
from codeup.data.load import Funnel, load_source
from codeup.data.rows import Drop
from codeup.data.spool import Spool
from codeup.data.suggest import readings
from codeup.errors import UserError
from codeup.prepared.look import EXAMPLES, PER_REASON, Seen, accounts, bins, draw, mended, reasons, shuffled
from codeup.prepared.shown import Few, example
from codeup.types import Conversation, Emit, Event, ignore_event

NOT_READ = {
    "text": "one text says nothing about what is asked and what is answered: make it a question and an answer",
    "segments": "make it a question and an answer, or turns: the template is this tool's to write",
    "input_ids": "these are tokens already, made with another template: take the file that they were made from",
}
"""Columns of shapes that no source can read, and why."""
PEEK = 64
NEAR_ROWS = 200_000
CHUNK = 1024


def guess_source(path: Path) -> tuple[str, dict[str, str]]:
    """The first source, with the columns it needs mapped, that makes a conversation of one of the file's first rows."""
    first = [row.value for row in itertools.islice(read_rows(path), PEEK) if row.value is not None]
    columns = sorted({column for row in first for column in row})
    why = ""
    for name, mapping in readings(columns):
        for row in first:
            made = plugins.load("sources", name).convert(row, columns=mapping)
            if isinstance(made, Conversation):
                return name, mapping
            why = why or f"as {name} they would be dropped: {made.reason}"
    why = why or next((reason for column, reason in NOT_READ.items() if column in columns), "")
    names = ", ".join(plugins.names("sources"))
    raise UserError(
        f"no source reads these columns: {', '.join(columns) or 'none'}" + (f" ({why})" if why else ""),
        where=str(path),
        mend=f"name a source with --source ({names}), or map columns in a recipe",
    )


def look_at_files(
    paths: Sequence[Path],
    *,
    title: str,
    source: str = "",
    model: str = "nano-base",
    template: str = "alpaca",
    cutoff: int | None = None,
    seed: int = 0,
    examples: int = EXAMPLES,
    manifest: dict[str, Any] | None = None,
    emit: Emit = ignore_event,
) -> dict[str, Any]:
    """What there is to see of the rows of these files. Raises UserError for rows that no source can read.

    `manifest` is that of an export, for its licence and files.
    """
    from codeup.chat import load_renderer

    name, columns = (source, {}) if source else guess_source(paths[0])
    plugins.check("sources", name)
    renderer = load_renderer(models.locate(model), template)
    funnel, seen, lengths, drops = Funnel(), Seen(), [], Few(PER_REASON, seed)
    with tempfile.TemporaryDirectory(prefix="codeup-inspect-") as scratch, Spool(Path(scratch) / "rows") as spool:
        for item in load_source(name, paths, columns=columns, funnel=funnel):
            if isinstance(item, Drop):
                drops.add(item.reason, {"source": item.source, "row": item.row, "detail": item.detail})
            else:
                seen.add(item)
                spool.append(item)
        for chunk in _chunks(spool):
            lengths += [len(tokens.ids) for tokens in renderer.render_many(chunk)]
            emit(Event("progress", title, len(lengths), len(spool), "rows measured"))
        method: dedup.Method = "near" if len(spool) <= NEAR_ROWS else "exact"
        repeated = dedup.find(spool, method, emit=emit, step=title).to_dict(spool)
        chosen = sorted(draw(len(spool), examples, seed))
        shown = [example(each, renderer.render(each), renderer) for each in spool.read(chosen)]
    counts = funnel.to_dict()
    terms = account(plugins.load("sources", name).TERMS, None)
    licence = {**roll_up({name: terms}), "sources": [{"label": name, "licence": terms}]}
    return {
        "title": title,
        "kind": "files",
        "about": f"read as {name}{_mapped(columns)}; tokens of {model}, template {template}",
        "unit": "tokens",
        "funnel": accounts(counts),
        "lengths": bins(np.array(lengths), cutoff),
        **seen.to_dict(),
        "duplicates": {"method": method, "threshold": 0.8, "kept": True, **repeated},
        "contamination": {},
        "dropped": reasons(drops, counts["sources"]),
        "mended": mended(counts),
        "licence": {**manifest["licence"], "sources": manifest["sources"]} if manifest else licence,
        "examples": shuffled(shown, seed),
        "files": manifest["files"] if manifest else [_file(each) for each in counts["sources"]],
        "made_by": manifest["made_by"] if manifest else {},
        "replay": manifest["replay"] if manifest else "",
        "notes": [],
    }


def _mapped(columns: dict[str, str]) -> str:
    """As a recipe says it."""
    return f" with columns: {{{', '.join(f'{name}: {to}' for name, to in columns.items())}}}" if columns else ""


def _chunks(spool: Spool) -> Iterator[list[Conversation]]:
    stream = iter(spool)
    while chunk := list(itertools.islice(stream, CHUNK)):
        yield chunk


def _file(count: dict[str, Any]) -> dict[str, Any]:
    path = Path(count["path"])
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": count["sha256"]}
