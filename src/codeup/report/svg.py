"""Charts for the page, as inline SVG that follows the reader's theme and width.

Colours are CSS classes, so that one drawing serves light, dark and print. Coordinates are percentages of a box without
a viewBox: bars and dots move with the width while text keeps its size; only paths live in a stretched inner viewBox
(0..1000 both ways, strokes do not scale). Every text passes through `escape`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from codeup.report import numbers

Point = tuple[float, float]
BOX = 1000.0
MAX_POINTS = 500
NARROW_LETTER = 0.025
"""Width of a letter as a share of a chart on a telephone."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line (or dots, or both) of one chart. `css` is the class that colours it; `hover` puts it in the read-out."""

    name: str
    css: str
    points: list[Point]
    dots: bool = False
    hover: bool = True


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps low..high to 0..1 and carries the tick values that lie inside."""

    low: float
    high: float
    ticks: list[float] = field(default_factory=list)

    def __call__(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def element(name: str, attributes: Mapping[str, object], *children: str) -> Markup:
    """`<name a="b">children</name>` with everything escaped that is not Markup already."""
    text = "".join(f' {key}="{escape(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{text}>{''.join(escape(child) for child in children)}</{name}>")


def percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round values (1, 2, 2.5 or 5 times a power of ten) between low and high, about `wanted` of them."""
    rough = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def scale(values: Sequence[float], *, wanted: int, pad: float = 0.06) -> Scale:
    """A scale that holds all values with a little air; equal values get a range of their own."""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    air = (high - low) * pad
    low, high = (0.0 if low >= 0 and low - air < 0 else low - air), high + air
    return Scale(low, high, ticks(low, high, wanted))


def thin(points: list[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points; each bucket keeps its lowest and highest, so that no spike is lost from the picture."""
    if len(points) <= most:
        return points
    buckets = most // 2
    kept: list[Point] = []
    for place in range(buckets):
        part = points[place * len(points) // buckets : (place + 1) * len(points) // buckets]
        ends = {part.index(min(part, key=lambda p: p[1])), part.index(max(part, key=lambda p: p[1]))}
        kept.extend(part[i] for i in sorted(ends))
    return kept


def smooth(points: list[Point]) -> list[Point]:
    """Exponential moving average over about a thirtieth of the points, corrected for its start (Adam's correction)."""
    keep = 1 - 1 / max(1.0, len(points) / 30)
    total, weight, out = 0.0, 0.0, []
    for x, y in points:
        total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
        out.append((x, total / weight))
    return out


def tick_label(value: float, every: Sequence[float]) -> str:
    """As many decimals as the ticks of this axis need to be exact."""
    if abs(value) >= 10_000:
        return numbers.compact(value)
    digits = next((d for d in range(9) if all(abs(round(t, d) - t) < 1e-9 for t in every)), 9)
    return numbers.fixed(value, digits)


def line_plot(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    height: int = 220,
    dividers: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines over a common x axis. `dividers` are vertical rules with a name written to their right."""
    drawn = [s for s in series if s.points]
    if not drawn:
        return Markup("")
    xs = [x for s in drawn for x, _ in s.points]
    x_scale = scale(xs, wanted=5, pad=0.0)
    y_scale = scale([y for s in drawn for _, y in s.points], wanted=6)
    parts = [*_grid(x_scale, y_scale, x_label), *_dividers(dividers, x_scale)]
    parts.append(_paths(drawn, x_scale, y_scale))
    for s in drawn:
        if s.dots:
            parts.extend(_dot(s, x, y, x_scale, y_scale) for x, y in thin(s.points, 60))
    attributes = {
        "class": "chart",
        "height": height,
        "role": "img",
        "aria-label": title,
        "data-x0": x_scale.low,
        "data-x1": x_scale.high,
        "data-y0": y_scale.low,
        "data-y1": y_scale.high,
        "data-x-label": x_label,
    }
    return element("div", {"class": "plot"}, element("svg", attributes, *parts))


def _grid(x_scale: Scale, y_scale: Scale, x_label: str) -> list[Markup]:
    parts = []
    for value in y_scale.ticks:
        y = percent(1 - y_scale(value))
        parts.append(element("line", {"class": "grid", "x1": 0, "x2": "100%", "y1": y, "y2": y}))
        label = tick_label(value, y_scale.ticks)
        parts.append(element("text", {"class": "tick", "x": 0, "dx": -8, "y": y, "dy": 4, "text-anchor": "end"}, label))
    parts.append(element("line", {"class": "axis", "x1": 0, "x2": "100%", "y1": "100%", "y2": "100%"}))
    for value in x_scale.ticks:
        x = percent(x_scale(value))
        label = tick_label(value, x_scale.ticks)
        parts.append(element("text", {"class": "tick", "x": x, "y": "100%", "dy": 17, "text-anchor": "middle"}, label))
    place = {"class": "tick name", "x": "100%", "y": "100%", "dy": 33, "text-anchor": "end"}
    parts.append(element("text", place, x_label))
    return parts


def _dividers(dividers: Sequence[tuple[float, str]], x_scale: Scale) -> list[Markup]:
    """Rules with their names; a name that would run into an earlier one on a narrow screen stands a line lower."""
    parts: list[Markup] = []
    ends: list[float] = []  # of each line, where its last name ends
    for value, name in dividers:
        share = x_scale(value)
        row = next((row for row, end in enumerate(ends) if end <= share), len(ends))
        ends[row : row + 1] = [share + NARROW_LETTER * (len(name) + 1)]
        x = percent(share)
        parts.append(element("line", {"class": "divider", "x1": x, "x2": x, "y1": -14, "y2": "100%"}))
        parts.append(element("text", {"class": "tick", "x": x, "dx": 5, "y": 15 * row - 4}, name))
    return parts


def _paths(series: Sequence[Series], x_scale: Scale, y_scale: Scale) -> Markup:
    paths = []
    for s in series:
        spots = [f"{BOX * x_scale(x):.2f} {BOX * (1 - y_scale(y)):.2f}" for x, y in thin(s.points)]
        attributes: dict[str, object] = {"class": f"line {s.css}", "d": "M" + "L".join(spots)}
        if s.hover:
            attributes["data-name"] = s.name
        paths.append(element("path", attributes))
    box = {"width": "100%", "height": "100%", "viewBox": f"0 0 {BOX:.0f} {BOX:.0f}", "preserveAspectRatio": "none"}
    return element("svg", box, *paths)


def strip(points: list[Point], *, name: str, show: Callable[[float], str], height: int = 26) -> Markup:
    """A narrow area from 0 to the largest value, which is written beside its name."""
    left, right = points[0][0], points[-1][0]
    top = max(y for _, y in points) or 1.0
    spots = [f"{BOX * (x - left) / (right - left):.1f} {BOX * (1 - max(0.0, y) / top):.1f}" for x, y in thin(points)]
    outline = f"M0 {BOX:.0f}L{'L'.join(spots)}L{BOX:.0f} {BOX:.0f}Z"
    box = {"width": "100%", "height": "100%", "viewBox": f"0 0 {BOX:.0f} {BOX:.0f}", "preserveAspectRatio": "none"}
    drawn = element("svg", box, element("path", {"class": "strip", "d": outline}))
    words = f"{name}, at most {show(top)}"
    chart = element("svg", {"class": "strips", "height": height, "role": "img", "aria-label": words}, drawn)
    return Markup('<div class="stripped"><small>{}</small>{}</div>').format(words, chart)


def _dot(s: Series, x: float, y: float, x_scale: Scale, y_scale: Scale) -> Markup:
    place = {"class": f"dot {s.css}", "cx": percent(x_scale(x)), "cy": percent(1 - y_scale(y)), "r": 3.5}
    return element("circle", place)


def interval_bar(
    value: float, low: float, high: float, css: str = "", *, height: int = 10, radius: float = 3.5
) -> Markup:
    """A dot on its interval on the scale 0..1, as wide as its cell."""
    middle = height / 2
    parts = [
        element("line", {"class": "track", "x1": 0, "x2": "100%", "y1": middle, "y2": middle}),
        element("line", {"class": "whisker", "x1": percent(low), "x2": percent(high), "y1": middle, "y2": middle}),
        element("circle", {"class": "point", "cx": percent(value), "cy": middle, "r": radius}),
    ]
    return element("svg", {"class": f"interval {css}", "height": height, "aria-hidden": "true"}, *parts)


def stacked_bar(parts: Sequence[tuple[str, str, float]], *, height: int = 16) -> Markup:
    """(css, title, amount) side by side, filling the width; a hair of space between the parts."""
    total = sum(amount for _, _, amount in parts)
    drawn, left = [], 0.0
    for css, title, amount in parts:
        if amount <= 0 or not total:
            continue
        box = {"class": css, "x": percent(left / total), "width": percent(amount / total), "height": height}
        drawn.append(element("rect", box, element("title", {}, title)))
        left += amount
    return element("svg", {"class": "stack", "height": height, "aria-hidden": "true"}, *drawn)


def span_bar(start: float, length: float, total: float, css: str = "", *, height: int = 12) -> Markup:
    """One bar of a timeline: from start, for length, on a scale 0..total; never thinner than a hair, unless it is 0."""
    whole = total or 1.0
    place = {
        "class": "span",
        "x": percent(start / whole),
        "width": percent(max(length / whole, 0.003)),
        "height": height,
    }
    track = element("rect", {"class": "back", "width": "100%", "height": height, "rx": 2})
    bar = element("rect", {**place, "rx": 2}) if length else ""
    return element("svg", {"class": f"spans {css}", "height": height, "aria-hidden": "true"}, track, bar)


def histogram(bins: Sequence[Sequence[float]], *, cutoff: float | None, title: str, height: int = 110) -> Markup:
    """Bars of [low, high, count] with equal widths in the picture; the bin that holds the cutoff gets the rule."""
    top = max((b[2] for b in bins), default=0)
    if not top:
        return Markup("")
    parts: list[Markup] = []
    width = 1 / len(bins)
    every = max(1, math.ceil(len(bins) / 6))
    for place, (low, high, amount) in enumerate(bins):
        share = amount / top
        box = {"class": "bar", "x": percent((place + 0.06) * width), "width": percent(width * 0.88)}
        box |= {"y": percent(1 - share), "height": percent(share)}
        tip = f"{numbers.count(low)} to {numbers.count(high)} tokens: {numbers.count(amount)} rows"
        parts.append(element("rect", box, element("title", {}, tip)))
        if place % every == 0:
            where = {"class": "tick", "x": percent(place * width), "y": "100%", "dy": 16, "text-anchor": "middle"}
            parts.append(element("text", where, numbers.compact(low)))
    parts.append(element("line", {"class": "axis", "x1": 0, "x2": "100%", "y1": "100%", "y2": "100%"}))
    parts.extend(_cutoff(bins, cutoff, width))
    return element("svg", {"class": "histogram", "height": height, "role": "img", "aria-label": title}, *parts)


def _cutoff(bins: Sequence[Sequence[float]], cutoff: float | None, width: float) -> list[Markup]:
    """A rule at the cutoff; nothing where it lies outside the bins."""
    if cutoff is None:
        return []
    for place, (low, high, _) in enumerate(bins):
        if low <= cutoff <= high and high > low:
            x = percent((place + (cutoff - low) / (high - low)) * width)
            name = f"cutoff {numbers.count(cutoff)}"
            return [
                element("line", {"class": "cutoff", "x1": x, "x2": x, "y1": -4, "y2": "100%"}),
                element("text", {"class": "tick", "x": x, "dx": -5, "y": 6, "text-anchor": "end"}, name),
            ]
    return []
