"""The funnel as a picture: a ribbon from each file to what was kept and to each reason rows were dropped for.

    alpaca: rows.json   ████▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇████   kept 1,159
    sharegpt: chat.json ██▇▇▇▇▇▇▇▇                ▇▇▇██   too long 326

Heights are proportional to rows, but no ribbon is thinner than a hair and no label is closer to the next than a line.
Drawn as report/svg.py draws: colours are classes, ribbons stretch with the width, texts do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from codeup.data.rows import BEYOND_LIMIT
from codeup.report import numbers
from codeup.report.svg import element

TALL = 300.0
"""Pixels that all rows are high together."""
SLOT, GAP = 34.0, 8.0
"""Least distance of two labels, and air between two nodes, in pixels."""
LEFT, RIGHT = 28, 74
"""Where the ribbons begin and end, in per cent of the width."""
MOST_LABEL = 34
ASIDE = (BEYOND_LIMIT, "mix")
"""Reasons that say nothing about a row: the recipe asked for fewer. Drawn grey."""
MOST_NODES = 14


@dataclass(slots=True)
class Node:
    """A file or an outcome: its rows, where it stands, and how much of it has been joined to ribbons."""

    name: str
    rows: int
    css: str
    top: float = 0.0
    height: float = 0.0
    used: float = 0.0


def flow(funnel: dict) -> Markup:
    """The picture of an account of rows; nothing where there are no rows."""
    total = funnel["rows_in"]
    if not total:
        return Markup("")
    sources, joined = _sources(funnel["sources"])
    reasons = [name for name, _ in _largest(funnel["dropped"])]
    left = [Node(name, sum(parts.values()), "file") for name, parts in joined.items()]
    kept = Node("kept", funnel["rows_kept"], "kept")
    rest = total - kept.rows - sum(funnel["dropped"][name] for name in reasons)
    right = [kept, *(Node(name, funnel["dropped"][name], "aside" if name in ASIDE else "lost") for name in reasons)]
    if rest:
        right.append(Node("other reasons", rest, "lost"))
    right = [node for node in right if node.rows]
    height = max(_place(left, total), _place(right, total))
    for side in (left, right):
        _centre(side, height)
    ribbons = [part for node in left for part in _ribbons(node, joined[node.name], right, total)]
    bars = [*_bars(left, LEFT - 0.9), *_bars(right, RIGHT)]
    box = {
        "x": f"{LEFT}%", "width": f"{RIGHT - LEFT}%", "height": f"{height:.1f}", "viewBox": f"0 0 1000 {height:.1f}",
        "preserveAspectRatio": "none",
    }  # fmt: skip
    labels = [*_labels(left, LEFT - 1.8, "end", total), *_labels(right, RIGHT + 1.8, "start", total)]
    told = f"{total} rows read, {kept.rows} kept, {total - kept.rows} dropped"
    outer = {"class": "flow-picture", "height": f"{height:.0f}", "role": "img", "aria-label": told}
    return element("svg", outer, element("svg", box, *ribbons), *bars, *labels) if sources else Markup("")


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: -each[1])[:MOST_NODES]


def _sources(sources: Sequence[dict]) -> tuple[int, dict[str, dict[str, int]]]:
    """Rows of each file by outcome, the smallest files of many as one."""
    by_size = sorted(sources, key=lambda each: -each["rows_in"])
    named = {id(each): each["label"] for each in by_size[:MOST_NODES]}
    joined: dict[str, dict[str, int]] = {}
    for place, each in enumerate(sources):
        name = named.get(id(each), "other files")
        name = name if name not in joined or name == "other files" else f"{name} ({place + 1})"
        parts = joined.setdefault(name, {})
        for outcome, rows in {"kept": each["kept"], **each["dropped"]}.items():
            parts[outcome] = parts.get(outcome, 0) + rows
    return len(sources), {name: parts for name, parts in joined.items() if sum(parts.values())}


def _place(nodes: Sequence[Node], total: int) -> float:
    """Give each node its top and height, one below the other; returns how high all are."""
    at = 0.0
    for node in nodes:
        node.height = max(TALL * node.rows / total, 2.0)
        node.top = at + max(0.0, SLOT - node.height) / 2
        at += max(node.height, SLOT) + GAP
    return at - GAP


def _centre(nodes: Sequence[Node], height: float) -> None:
    last = nodes[-1]
    end = last.top + last.height + max(0.0, SLOT - last.height) / 2
    for node in nodes:
        node.top += (height - end) / 2


def _ribbons(node: Node, parts: dict[str, int], right: Sequence[Node], total: int) -> list[Markup]:
    """From one file to its outcomes, in the order in which they stand on the right."""
    names = {each.name for each in right}
    flows = {each.name: parts.get(each.name, 0) for each in right}
    if "other reasons" in flows:
        flows["other reasons"] = sum(rows for name, rows in parts.items() if name not in names)
    drawn = []
    for target in right:
        rows = flows[target.name]
        if not rows:
            continue
        thick = max(TALL * rows / total, 0.8)
        y0, y1 = node.top + node.used, target.top + target.used
        node.used += TALL * rows / total
        target.used += TALL * rows / total
        path = (
            f"M0 {y0:.1f}C450 {y0:.1f} 550 {y1:.1f} 1000 {y1:.1f}V{y1 + thick:.1f}"
            f"C550 {y1 + thick:.1f} 450 {y0 + thick:.1f} 0 {y0 + thick:.1f}Z"
        )
        told = f"{node.name} → {target.name}: {numbers.count(rows)} rows"
        drawn.append(element("path", {"class": f"ribbon {target.css}", "d": path}, element("title", {}, told)))
    return drawn


def _bars(nodes: Sequence[Node], x: float) -> list[Markup]:
    return [
        element("rect", {"class": f"node {each.css}", "x": f"{x}%", "width": "0.9%", "y": f"{each.top:.1f}",
                         "height": f"{each.height:.1f}"})
        for each in nodes
    ]  # fmt: skip


def _labels(nodes: Sequence[Node], x: float, anchor: str, total: int) -> list[Markup]:
    """Two lines beside each node: its name, and its rows with their share."""
    found = []
    for each in nodes:
        middle = each.top + each.height / 2
        name = each.name if len(each.name) <= MOST_LABEL else f"{each.name[: MOST_LABEL - 1]}…"
        place = {"x": f"{x}%", "text-anchor": anchor}
        told = f"{numbers.count(each.rows)} · {numbers.percent(each.rows, total)}"
        found.append(
            element("text", {**place, "y": f"{middle - 3:.1f}", "class": f"label {each.css}"}, name,
                    element("title", {}, each.name))
        )  # fmt: skip
        found.append(element("text", {**place, "y": f"{middle + 13:.1f}", "class": "tick"}, told))
    return found
