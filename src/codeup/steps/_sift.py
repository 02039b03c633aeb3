"""Between reading and tokenising: rows that repeat others, and rows that hold benchmark problems.

    conversations -> spool on disk -> which repeat (data/dedup.py), which leak (decontaminate/) -> the others

Every row that is taken out is a drop with its reason and, as detail, the row or the benchmark item that it is like. The
step's folder gets contamination.jsonl, residue.jsonl and contamination.json; results of running functions are kept in
run.jsonl there, so that an interrupted step does not run them again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeup.data.dedup import EXACT, NEAR
from codeup.data.rows import Drop
from codeup.types import Context, Conversation

if TYPE_CHECKING:
    from codeup.data.load import Funnel
    from codeup.data.spool import Spool
    from codeup.steps.prepare import Spec

CONTAMINATED = "contamination"
SIFTED = (EXACT, NEAR, CONTAMINATED)
"""Reasons whose drops are written with their detail."""


def sift(
    items: Iterable[Conversation | Drop], spec: Spec, funnel: Funnel, context: Context, summary: dict[str, Any]
) -> Iterator[Conversation | Drop]:
    """The items, conversations that are taken out replaced by drops; what was found goes into `summary`."""
    if spec.dedup == "none" and not spec.decontaminate:
        yield from items
        return
    from codeup.data.dedup import find
    from codeup.data.spool import Spool

    with Spool(context.folder / ".rows.part") as spool:
        for item in items:
            if isinstance(item, Drop):
                yield item
            else:
                spool.append(item)
        repeated = find(spool, spec.dedup, spec.near_threshold, emit=context.emit, step=context.step)
        summary["dedup"] = {"method": spec.dedup, "threshold": spec.near_threshold, **repeated.to_dict(spool)}
        contaminated = _contaminated(spool, spec, context, summary) if spec.decontaminate and len(spool) else {}
        for number, conversation in enumerate(spool):
            reason, detail = "", ""
            if number in repeated.duplicates:
                found = repeated.duplicates[number]
                (kept,) = spool.read([found.of])
                reason, detail = found.reason, f"{kept.source} row {kept.row}, similarity {found.similarity:.3f}"
            elif number in contaminated:
                reason, detail = CONTAMINATED, contaminated[number]
            if reason:
                funnel.drop(conversation, reason)
                yield Drop(reason, detail, conversation.source, conversation.row)
            else:
                yield conversation


def _contaminated(spool: Spool, spec: Spec, context: Context, summary: dict[str, Any]) -> dict[int, str]:
    """Rows to drop, each with the item it holds; the account of all hits is written."""
    from codeup import artifacts
    from codeup.data.contamination.items import read_items
    from codeup.decontaminate import report
    from codeup.decontaminate.find import find

    files = [Path(path) for path in spec.at["against"]]
    asked = zip(spec.decontaminate, files, strict=True)
    items = [item for each, path in asked for item in read_items(each["name"], path, each["columns"])]
    workers = spec.at["workers"] or len(os.sched_getaffinity(0))
    found = find(
        spool, items, context.folder / "run.jsonl", textbook=spec.textbook, workers=workers,
        allow_unsafe=spec.at["allow_unsafe"], emit=context.emit, step=context.step,
    )  # fmt: skip
    report.write_hits(context.folder / "contamination.jsonl", spool, found, spec.contaminated)
    report.write_residue(context.folder / "residue.jsonl", spool, found)
    account = report.summary(found, [conversation.source for conversation in spool], spec.contaminated)
    artifacts.write_json(context.folder / "contamination.json", account)
    summary["contamination"] = account
    if spec.contaminated == "report":
        return {}
    return {row: f"{found.items[hit.item].name}: {hit.method}, {hit.evidence}" for row, hit in found.dropped.items()}
