"""The charts of the page as PNG files, drawn by matplotlib without a display and without its global state."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from codeup.report import numbers, svg
from codeup.report.sections import all_stages_series, curve, main_line, stage_labels
from codeup.report.sentences import named
from codeup.report.view import OUTCOMES, Names, names

INK, MUTED, LINE = "#1b1d21", "#686c74", "#e3e1da"
TRAIN, EVAL = "#2459c4", "#cf5b0b"
MODEL = {"is-final": "#2459c4", "is-base": "#868b94", "is-other": "#4d5057"}
OUTCOME = {
    "PASSED": "#2459c4",
    "FAILED": "#e59a52",
    "TIMEOUT": "#d9c04a",
    "MEMORY": "#8a6d3b",
    "CRASHED": "#c0392f",
    "EXITED": "#d487a5",
    "COMPILE": "#8b6fc0",
    "NO_CODE": "#a9adb4",
}
DPI = 160


def charts(study: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> PNG bytes, only for the parts the study has."""
    drawn: dict[str, bytes] = {}
    called = names(study)
    for stage, label in zip(study.get("stages", []), stage_labels(study), strict=True):
        if curve(stage.get("metrics", []), "loss") or curve(stage.get("metrics", []), "eval_loss"):
            drawn[_free(f"loss-{slug(label)}", drawn)] = stage_loss(stage, label)
    if len(drawn) > 1:
        drawn[_free("loss-all-stages", drawn)] = all_loss(study)
    if study.get("scores"):
        drawn["scores.png"] = scores(study["scores"], called)
    if any(s.get("outcomes") for s in study.get("scores", [])):
        drawn["outcomes.png"] = outcomes(study["scores"], called)
    if study.get("steps"):
        drawn["time.png"] = time_per_step(study["steps"])
    return drawn


def slug(name: str) -> str:
    """A name that is safe as part of a file name.

    >>> slug("../a b")
    'a-b'
    """
    return re.sub(r"[^A-Za-z0-9_+]+", "-", name).strip("-")[:60] or "unnamed"


def _free(stem: str, taken: Mapping[str, bytes]) -> str:
    name, number = f"{stem}.png", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.png"
    return name


def stage_loss(stage: Mapping[str, Any], label: str) -> bytes:
    """Train loss (thin: every logged step; thick: moving average) and eval loss of one stage."""
    figure, axes = canvas(7.0, 3.6)
    train, evaluated = curve(stage["metrics"], "loss"), curve(stage["metrics"], "eval_loss")
    smoothed = len(train) >= 30
    if train:
        axes.plot(*_xy(train), color=TRAIN, lw=0.7 if smoothed else 1.6, alpha=0.35 if smoothed else 1, label="_")
        axes.plot(*_xy(svg.smooth(train) if smoothed else train), color=TRAIN, lw=1.6, label="train")
    if evaluated:
        axes.plot(*_xy(evaluated), color=EVAL, lw=1.4, marker="o", ms=3.5, label="eval")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    title(axes, f"Loss, stage {label}")
    axes.legend(frameon=False, labelcolor=INK)
    return encode(figure)


def all_loss(study: Mapping[str, Any]) -> bytes:
    series, dividers, unit = all_stages_series({**study, "stages": main_line(study, names(study))})
    figure, axes = canvas(9.0, 3.6)
    for s in series:
        if s.points:
            marker = "o" if s.dots else None
            axes.plot(*_xy(s.points), color=EVAL if s.dots else TRAIN, lw=1.4, marker=marker, ms=3)
    for x, name in dividers:
        axes.axvline(x, color=LINE, lw=1, zorder=0)
        axes.annotate(literal(name), (x, 1), (4, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      color=MUTED, fontsize=8)  # fmt: skip
    axes.xaxis.set_major_formatter(lambda x, _: numbers.compact(x))
    axes.set_xlabel(f"{unit}, all stages in the order trained")
    axes.set_ylabel("loss")
    axes.plot([], [], color=TRAIN, label="train")
    axes.plot([], [], color=EVAL, marker="o", ms=3, label="eval")
    axes.legend(frameon=False, labelcolor=INK)
    return encode(figure)


def scores(given: Sequence[Mapping[str, Any]], called: Names) -> bytes:
    """Every score as a dot on its interval, grouped by benchmark, with the numbers beside it."""
    groups = list(dict.fromkeys((s["benchmark"], s["metric"]) for s in given))
    rows = len(given) + 1.4 * len(groups)
    figure, axes = canvas(8.4, 0.7 + 0.3 * rows)
    y, places, labels = 0.0, [], []
    for group in groups:
        axes.text(-0.01, y, literal(f"{called.benchmark(group[0])} {group[1]}"), ha="right", va="center", weight="bold",
                  color=INK, fontsize=9, transform=axes.get_yaxis_transform())  # fmt: skip
        for s in (s for s in given if (s["benchmark"], s["metric"]) == group):
            y -= 1
            colour = MODEL[called.css(s["model"])]
            axes.plot([s["low"], s["high"]], [y, y], color=colour, lw=1.8, solid_capstyle="round", clip_on=False)
            axes.plot([s["value"]], [y], "o", color=colour, ms=5.5, clip_on=False, zorder=3)
            text = numbers.score(s["value"], s["low"], s["high"], s["n"])
            axes.text(1.02, y, text, va="center", color=INK, fontsize=8, transform=axes.get_yaxis_transform())
            places.append(y)
            labels.append(literal(named(s["model"], s.get("form", ""), called.forms)))
        y -= 1.4
    axes.set_yticks(places, labels)
    axes.set_xlim(0, 1)
    axes.set_ylim(y + 0.6, 0.7)
    axes.grid(axis="y", visible=False)
    return encode(figure)


def outcomes(given: Sequence[Mapping[str, Any]], called: Names) -> bytes:
    """How the programs of each score ended, as shares of all of them."""
    rows = [s for s in given if s.get("outcomes")]
    figure, axes = canvas(8.4, 1.0 + 0.3 * len(rows))
    labels = [
        f"{called.benchmark(s['benchmark'])} · {named(s['model'], s.get('form', ''), called.forms)}" for s in rows
    ]
    left = [0.0] * len(rows)
    for kind in OUTCOMES:
        share = [s["outcomes"].get(kind, 0) / max(1, sum(s["outcomes"].values())) for s in rows]
        if any(share):
            axes.barh(range(len(rows)), share, left=left, color=OUTCOME[kind], height=0.7, label=kind)
        left = [a + b for a, b in zip(left, share, strict=True)]
    axes.set_yticks(range(len(rows)), [literal(label) for label in labels])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8, labelcolor=INK)
    return encode(figure)


def time_per_step(steps: Sequence[Mapping[str, Any]]) -> bytes:
    """Seconds of each step of this run; reused steps are named and take none."""
    figure, axes = canvas(8.4, 0.9 + 0.28 * len(steps))
    spent = [0.0 if s.get("skipped") else float(s["seconds"]) for s in steps]
    axes.barh(range(len(steps)), spent, color=TRAIN, height=0.6)
    for place, step in enumerate(steps):
        text = "reused" if step.get("skipped") else numbers.duration(step["seconds"])
        axes.annotate(
            text, (spent[place], place), (4, 0), textcoords="offset points", va="center", color=MUTED, fontsize=8
        )
    axes.set_yticks(range(len(steps)), [literal(s["name"]) for s in steps])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("seconds")
    axes.grid(axis="y", visible=False)
    return encode(figure)


# ------------------------------------------------------------------------------------------------------------ drawing


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that many inches, in the report's quiet style."""
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=9)
    axes.grid(color=LINE, lw=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    return figure, axes


def title(axes: Axes, text: str) -> None:
    axes.set_title(literal(text), loc="left", color=INK, fontsize=11, weight="bold")


def literal(text: str) -> str:
    """Text that matplotlib will not read as a formula."""
    return text.replace("$", r"\$")


def encode(figure: Figure) -> bytes:
    """PNG bytes; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _xy(points: Sequence[svg.Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
