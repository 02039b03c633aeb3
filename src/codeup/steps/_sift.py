"""Second part of preparing: rows that repeat others, that hold benchmark problems, or whose code fails.

    conversations on disk -> which repeat (data/dedup.py), which leak (decontaminate/), of which the compilers complain
    (codecheck/) -> {row: (reason, detail)}

Every row that is taken out has its reason and, as detail, the row or the benchmark item that it is like. The step's
folder gets contamination.jsonl, residue.jsonl and contamination.json; results of running functions are kept in
run.jsonl there, so that an interrupted step does not run them again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeup.data.dedup import EXACT, NEAR
from codeup.steps._read import Rows, timed
from codeup.types import Context

if TYPE_CHECKING:
    from codeup.steps.prepare import Spec

CONTAMINATED = "contamination"
TRIED = ".tried"
"""What compilers said, block by block, while it is asked."""
SIFTED = (EXACT, NEAR, CONTAMINATED)
"""Reasons whose drops are written with their detail."""
REPEATED = ".repeated"
LOOKED = ".looked"
"""The folder of what was found in the rows' texts, shard by shard, while it is looked for."""
TakenOut = dict[int, tuple[str, str]]


def sift(rows: Rows, labels: list[str], spec: Spec, context: Context) -> tuple[TakenOut, dict[str, Any]]:
    """Rows of the spool to take out, and what was found, for the summary. `labels` are the names of the files."""
    repeated: TakenOut = {}
    summary: dict[str, Any] = {}
    if spec.dedup != "none" or spec.decontaminate:
        repeated, summary = _repeated(rows, spec, context)
    out: TakenOut = {}
    if spec.decontaminate and len(rows.spool):
        with timed(context, "decontaminate"):
            sources = [labels[place] for place in rows.labels.tolist()]
            found = _contaminated(rows, sources, spec, context, summary)
            out = {row: (CONTAMINATED, detail) for row, detail in found.items()}
    out |= repeated
    if spec.tools:
        with timed(context, "compile and run"):
            out |= _failing(rows, out, spec, context, summary)
    return out, summary


def _repeated(rows: Rows, spec: Spec, context: Context) -> tuple[TakenOut, dict[str, Any]]:
    """Rows that repeat others; written down, for a call that goes on after this one was killed."""
    from codeup import artifacts
    from codeup.data.dedup import find

    done, spool = context.folder / REPEATED, rows.spool
    if not done.exists():
        with timed(context, "dedup"):
            repeated = find(
                spool, spec.dedup, spec.near_threshold, signed=rows.signed, emit=context.emit, step=context.step
            )
            kept = spool.read(each.of for each in repeated.duplicates.values())
            out = [
                (row, each.reason, f"{stays.source} row {stays.row}, similarity {each.similarity:.3f}")
                for (row, each), stays in zip(repeated.duplicates.items(), kept, strict=True)
            ]
            told = {"method": spec.dedup, "threshold": spec.near_threshold, **repeated.to_dict(spool)}
            artifacts.write_json(done, {"out": out, "summary": {"dedup": told}})
    written = json.loads(done.read_text(encoding="utf-8"))
    return {row: (reason, detail) for row, reason, detail in written["out"]}, written["summary"]


def _failing(rows: Rows, out: TakenOut, spec: Spec, context: Context, summary: dict[str, Any]) -> TakenOut:
    """Rows whose code fails where it is compiled or run; those that are taken out already are not asked."""
    from codeup.codecheck.check import check

    checked = check(
        rows.spool, [row for row in range(len(rows.spool)) if row not in out],
        compiles=spec.filters["code_compiles"], runs=spec.filters["code_runs"], known=context.folder / TRIED,
        workers=spec.at["workers"] or len(os.sched_getaffinity(0)), emit=context.emit, step=context.step,
    )  # fmt: skip
    summary["code_check"] = {"tools": spec.tools, **checked.to_dict()}
    return {} if spec.filters["report_only"] else checked.out


def _contaminated(
    rows: Rows, sources: list[str], spec: Spec, context: Context, summary: dict[str, Any]
) -> dict[int, str]:  # fmt: skip
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
        rows.spool, items, context.folder / "run.jsonl", textbook=spec.textbook, workers=workers,
        allow_unsafe=spec.at["allow_unsafe"], shards=context.folder / LOOKED, emit=context.emit, step=context.step,
        executor=context.executor, crew_size=spec.at["workers"],
    )  # fmt: skip
    report.write_hits(context.folder / "contamination.jsonl", rows.spool, found, spec.contaminated)
    report.write_residue(context.folder / "residue.jsonl", rows.spool, found)
    account = report.summary(found, sources, spec.contaminated)
    artifacts.write_json(context.folder / "contamination.json", account)
    summary["contamination"] = account
    if spec.contaminated == "report":
        return {}
    return {row: f"{found.items[hit.item].name}: {hit.method}, {hit.evidence}" for row, hit in found.dropped.items()}
