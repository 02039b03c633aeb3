"""`codeup compare A B`: the paired comparison as text, as JSON and as a page."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

CELL = 30
"""Lines of an answer that the terminal shows; the page has them all."""


def compare(
    a: str,
    b: str,
    *,
    suite: str,
    data: Path | None,
    show: int,
    html: Path | None,
    fail_if: Sequence[str],
    json: bool,
) -> bool:
    """Print what A and B have in common and what changed. True where a threshold of `fail_if` is missed."""
    from codeup.evaluate.compare_all import compare_all, parse_threshold

    thresholds = [parse_threshold(text) for text in fail_if]
    found = compare_all(a, b, suite=suite, problems=data, fail_if=thresholds)
    if html is not None:
        from codeup.report.comparison import write_comparison

        write_comparison(found, html)
    warnings = [*found["warnings"]]
    if len(found["comparisons"]) > 1:
        warnings += [f"{each['label']}: {text}" for each in found["comparisons"] for text in each["warnings"]]
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if json:
        print(jsonlib.dumps({**found, "html": None if html is None else str(html)}))
        return bool(found["failed"])
    several = len(found["comparisons"]) > 1
    if several:
        _table(found)
    else:
        print("\n".join(lines(found)))
    for each in found["comparisons"]:
        _changes(each, show, several=several)
    if html is not None:
        print(f"page: {html}")
    for label in found["failed"]:
        print(f"missed: {label} is {', '.join(found['fail_if'])}")
    return bool(found["failed"])


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """One comparison as text."""
    for name in ("a", "b"):
        score = found[f"score_{name}"]
        yield f"{name.upper()}: {score.get('model') or found[name]}  {_score_text(score)}"
    yield f"{found['n']} problems on both sides" + (f", {found['suite']} suite" if found["suite"] else "")
    if "both" in found:
        table = f"both pass {found['both']}, only A {found['only_a']}, only B {found['only_b']}"
        yield f"{table}, neither {found['neither']}; McNemar p = {found['p_value']:.3g}"
    else:
        sign = "" if found["p_value"] is None else f"; sign test p = {found['p_value']:.3g}"
        yield f"A passes more often on {found['higher_a']}, B on {found['higher_b']}, equal on {found['equal']}{sign}"
    interval = f"95 % [{found['low']:+.3f}, {found['high']:+.3f}]"
    yield f"A - B = {found['difference']:+.3f}  {interval}  n={found['n']} problems"
    sizes = {key: "none" if (d := found["detectable"][key]) is None else f"{d:.3f}" for key in ("paired", "unpaired")}
    yield (
        f"smallest difference found with power 0.8: {sizes['paired']} paired; "
        f"{sizes['unpaired']} against a score of other problems"
    )
    yield found["sentence"]


def _score_text(score: Mapping[str, Any]) -> str:
    low, high = score["low"], score["high"]
    return f"{score['metric']} {score['value']:.3f}  95 % [{low:.3f}, {high:.3f}]  n={score['n']} problems"


def _table(found: Mapping[str, Any]) -> None:
    """All comparisons, a line each."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=f"A: {found['a']}   B: {found['b']}", title_justify="left")
    table.add_column("comparison", overflow="fold")
    for name in ("A", "B", "A - B, 95 %", "both", "only A", "only B", "neither", "p", "n", "better"):
        table.add_column(name, justify="right")
    for each in found["comparisons"]:
        counts = [str(each.get(key, "")) for key in ("both", "only_a", "only_b", "neither")]
        p = "" if each["p_value"] is None else f"{each['p_value']:.2g}"
        table.add_row(
            each["label"],
            f"{each['score_a']['value']:.3f}",
            f"{each['score_b']['value']:.3f}",
            f"{each['difference']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]",
            *counts,
            p,
            str(each["n"]),
            (each["better"] or "–").upper(),
        )
    Console(highlight=False, markup=False).print(table)


def _changes(found: Mapping[str, Any], show: int, *, several: bool) -> None:
    """The first `show` problems that changed, prompt above, answers side by side."""
    changed = found["changed"]
    if not changed or not show:
        return
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    lost = sum(each["change"] == "lost" for each in changed)
    title = f"{found['label']}: " if several else ""
    print(f"\n{title}{len(changed)} problems changed, {lost} lost and {len(changed) - lost} gained by B")
    for sentence in found["missing"]:
        print(f"  {sentence}")
    for each in changed[:show]:
        print(f"\n{each['change']}  {each['task_id']}")
        if each["prompt"]:
            console.print(Text(each["prompt"].strip(), style="dim"))
        table = Table(box=None, pad_edge=False, expand=True)
        for name in "ab":
            side = each[name]
            passed = f"  {side['passed']}/{side['samples']} pass" if side["samples"] > 1 else ""
            table.add_column(f"{name.upper()}  {side['outcome']}{passed}", ratio=1, overflow="fold")
        table.add_row(*(Group(*_cell(each[name])) for name in "ab"))
        console.print(table)
    if len(changed) > show:
        print(f"\n{len(changed) - show} more: --show N, or all of them with --html FILE")


def _cell(side: Mapping[str, Any]) -> Iterator[Any]:
    from rich.text import Text

    if side["detail"]:
        yield Text(side["detail"], style="italic")
    if side["answer"] is None:
        yield Text("(answer not found)")
        return
    text = side["answer"].strip().splitlines()
    yield Text("\n".join(text[:CELL]))
    if len(text) > CELL:
        yield Text(f"… {len(text) - CELL} more lines")
