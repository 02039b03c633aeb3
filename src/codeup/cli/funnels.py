"""The account of a prepared dataset as text: rows in, what went and why, what was mended, what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MOST_LANGUAGES, MOST_REASONS = 8, 4


def lines(summary: Mapping[str, Any], *, examples: bool = False) -> Iterator[str]:
    """The lines of one dataset's account."""
    yield f"{summary['name']}: {summary['rows_in']:,} rows in, {summary['rows_kept']:,} kept, {summary['folder']}"
    yield f"  {'':<50}{'rows':>10}{'of all':>9}"
    for count in summary["sources"]:
        name = f"{count['source']}: {Path(count['path']).name}"
        yield _row(name, count["rows_in"], summary)
        yield from (_row(f"  {reason}", -n, summary) for reason, n in count["dropped"].items())
        yield _row("  kept", count["kept"], summary)
        yield from (f"    {n:,} mended: {reason}" for reason, n in count["repaired"].items())
    if summary.get("rows_added"):
        yield _row("conversations more, by splitting", summary["rows_added"], summary)
    for side in ("train", "validation"):
        yield _row(side, summary[f"{side}_rows"], summary)
    tokens = summary.get("tokens") or {}
    if "train" in tokens:
        learned = f", {tokens['train_trained']:,} learned" if "train_trained" in tokens else ""
        yield f"  {tokens['train']:,} tokens to train on{learned}; longest row allowed {summary['cutoff']:,}"
    yield from _content(summary.get("content") or {})
    yield from _code_check(summary.get("code_check") or {})
    yield from (f"  warning: {text}" for text in summary.get("warnings") or [])
    if examples:
        yield from _examples(summary.get("repair_examples") or {})


def _row(name: str, rows: int, summary: Mapping[str, Any]) -> str:
    share = f"{abs(rows) / summary['rows_in']:.1%}" if summary["rows_in"] else ""
    return f"  {name[:49]:<50}{rows:>10,}{share:>9}"


def _content(content: Mapping[str, Any]) -> Iterator[str]:
    for source, found in content.items():
        for what, counts in found.items():
            if what != "rows" and counts:
                shown = [f"{name} {n:,}" for name, n in list(counts.items())[:MOST_LANGUAGES]]
                more = f", {len(counts) - MOST_LANGUAGES} more" if len(counts) > MOST_LANGUAGES else ""
                yield f"  {what.replace('_', ' ')} of {source}: {', '.join(shown)}{more}"


def _code_check(told: Mapping[str, Any]) -> Iterator[str]:
    """What compilers said, and what running showed: for each language, and the most frequent complaints."""
    for mode in ("compiles", "runs"):
        for language, found in told.get(mode, {}).items():
            unclear, fails = sum(found["not told"].values()), sum(found["fails"].values())
            why = ", ".join(f"{each} {n:,}" for each, n in list(found["fails"].items())[:MOST_REASONS])
            counts = f"{found['blocks']:,} blocks, {found['ok']:,} ok, {unclear:,} not told, {fails:,} fail"
            yield f"  code {mode}, {language}: {counts}{f' ({why})' if why else ''}"


def _examples(found: Mapping[str, Any]) -> Iterator[str]:
    for reason, cases in found.items():
        yield f"  {reason}:"
        for case in cases:
            yield f"    {case['source']} row {case['row']}: {case['before']!r}"
            if case["after"]:
                yield f"      -> {case['after']!r}"
