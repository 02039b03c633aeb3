"""Findings as lines of files, tables and numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup.data.contamination.items import Item
from codeup.data.spool import Spool
from codeup.decontaminate.find import Action, Findings, Hit

RESIDUE_SHOWN = 10


def write_hits(path: Path, spool: Spool, findings: Findings, action: Action) -> None:
    """contamination.jsonl: every hit with its evidence and what was done."""
    gone = findings.dropped.keys() if action == "drop" else set[int]()
    _write(path, (_hit(hit, findings.items[hit.item], spool, hit.row in gone, action) for hit in findings.hits))


def _hit(hit: Hit, item: Item, spool: Spool, dropped: bool, action: Action) -> dict[str, Any]:
    (row,) = spool.read([hit.row])
    done = "dropped" if dropped else "reported" if action == "report" else "marked"
    found: dict[str, Any] = {
        "row": row.row, "source": row.source, "benchmark": item.benchmark, "task_id": item.task_id,
        "method": hit.method, "score": hit.score, "evidence": hit.evidence, "sufficient": hit.drop, "action": done,
    }  # fmt: skip
    if hit.why_not:
        found["why_not"] = hit.why_not
    return {**found, "text": (row.messages[0].content or row.messages[0].input)[:160]}


def write_residue(path: Path, spool: Spool, findings: Findings) -> None:
    """residue.jsonl: for each item the rows most like it that were not dropped, best first."""
    _write(path, _residue(spool, findings))


def _residue(spool: Spool, findings: Findings) -> Iterator[dict[str, Any]]:
    hits = {(hit.row, hit.item): hit.method for hit in findings.hits}
    for index, ranked in findings.residue.items():
        candidates = []
        for each, row in zip(ranked, spool.read(one.row for one in ranked), strict=True):
            scores = {"words": round(each.words, 3), "shapes": round(each.shapes, 3)}
            candidates.append({"row": row.row, "source": row.source, **scores, "hit": hits.get((each.row, index), "")})
        item = findings.items[index]
        yield {"benchmark": item.benchmark, "task_id": item.task_id, "candidates": candidates}


def _write(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    part.replace(path)


def summary(findings: Findings, sources: Sequence[str], action: Action) -> dict[str, Any]:
    """The numbers: rows by method, sources before and after, benchmarks, and what is most like an item of the rest."""
    dropped, marked = findings.dropped, findings.marked
    return {
        "rows_contaminated": len(dropped),
        "rows_suspected": len(marked),
        "methods": _methods(findings),
        "by_source": [_source(name, sources, dropped, marked, action) for name in dict.fromkeys(sources)],
        "by_benchmark": [_benchmark(name, findings) for name in dict.fromkeys(i.benchmark for i in findings.items)],
        "textbook_problems": len(findings.textbook),
        "run": {
            "which": findings.which_run,
            "functions": findings.run_functions,
            "problems": findings.run_problems,
            "sandbox": findings.isolated,
            **({"other_languages": list(findings.elsewhere)} if findings.elsewhere else {}),
        },
        "nearest_left": _nearest(findings),
    }


def _methods(findings: Findings) -> dict[str, dict[str, int]]:
    """Rows that each method hits, alone or with others: sufficiently, and in all."""
    every: Counter[str] = Counter(method for method, _ in {(hit.method, hit.row) for hit in findings.hits})
    enough = Counter(method for method, _ in {(hit.method, hit.row) for hit in findings.hits if hit.drop})
    return {method: {"sufficient": enough[method], "rows": count} for method, count in sorted(every.items())}


def _source(
    name: str, sources: Sequence[str], dropped: Mapping[int, Hit], marked: set[int], action: Action
) -> dict[str, Any]:  # fmt: skip
    own = {row for row, source in enumerate(sources) if source == name}
    bad, suspected = len(own & dropped.keys()), len(own & marked)
    gone = bad if action == "drop" else 0
    return {
        "source": name,
        "before": {"rows": len(own), "contaminated": bad, "suspected": suspected},
        "after": {"rows": len(own) - gone, "contaminated": bad - gone, "suspected": suspected},
    }


def _benchmark(name: str, findings: Findings) -> dict[str, Any]:
    items = {index for index, item in enumerate(findings.items) if item.benchmark == name}
    hits = [hit for hit in findings.hits if hit.item in items]
    enough = [hit for hit in hits if hit.drop]
    return {
        "benchmark": name,
        "items": len(items),
        "items_contaminated": len({hit.item for hit in enough}),
        "items_suspected": len({hit.item for hit in hits} - {hit.item for hit in enough}),
        "rows": len({hit.row for hit in enough}),
        "runnable": sum(findings.items[i].runnable or findings.items[i].runnable_elsewhere for i in items),
    }


def _nearest(findings: Findings) -> list[dict[str, Any]]:
    best = [(ranked[0].score, index) for index, ranked in findings.residue.items() if ranked]
    return [
        {"item": findings.items[index].name, "score": round(score, 3)}
        for score, index in sorted(best, key=lambda each: (-each[0], each[1]))[:RESIDUE_SHOWN]
    ]
