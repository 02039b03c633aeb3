"""Scores by language: one matrix of models by languages for each benchmark that has several, from the study's scores.

    scores  humaneval_x:cpp, humaneval_x:rust of base and full    ->    HumanEval-X     C++           Rust
                                                                        base           0.31 [...]     -
                                                                        full           0.40 [...]     0.22 [...]

A language that a model was not asked in stays empty. A mean over languages is not shown: their problems are the same
ones translated. Where every program was in Python the section is one sentence that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeup import plugins
from codeup.report import numbers, svg
from codeup.report.view import Names, Study, named

ONLY_PYTHON = "Every program of this study was asked for in Python; its scores say nothing of other languages."


def matrices(study: Study, called: Names) -> dict[str, Any]:
    """{"groups": one matrix each, "note": what stands instead of one}; both empty where languages are not known."""
    scores = [s for s in study.get("scores", []) if s["metric"] == "pass@1" and s.get("languages")]
    if not scores:
        return {"groups": [], "note": ""}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for score in scores:
        if len(score["languages"]) == 1 and "suite" not in score:
            groups.setdefault(several(score["benchmark"]), []).append(score)
    plain = [name for name, found in groups.items() if {s["languages"][0] for s in found} == {"python"}]
    note = f"Asked for in Python only: {', '.join(map(called.benchmark, plain))}." if plain else ""
    shown = [_matrix(name, found, called) for name, found in groups.items() if name not in plain]
    return {"groups": shown, "note": note if shown else ONLY_PYTHON}


def several(benchmark: str) -> str:
    """The benchmark that one of its languages belongs to: humaneval_x:cpp is of humaneval_x."""
    return benchmark.partition(":")[0]


def title(language: str) -> str:
    """What a language is called: C++ for cpp."""
    return str(plugins.load("languages", language).TITLE)


def _matrix(name: str, scores: list[Mapping[str, Any]], called: Names) -> dict[str, Any]:
    columns = list(dict.fromkeys(score["languages"][0] for score in scores))
    cells = {(s["model"], s.get("form", ""), s["languages"][0]): s for s in scores}
    rows = []
    for model, form in dict.fromkeys(key[:2] for key in cells):
        found = [cells.get((model, form, column)) for column in columns]
        who = {"name": named(model, form, called.forms), "path": called.path(model), "css": called.css(model)}
        rows.append({**who, "cells": [_cell(score, called) if score else None for score in found]})
    return {"benchmark": called.benchmark(name), "languages": [title(column) for column in columns], "rows": rows}


def _cell(score: Mapping[str, Any], called: Names) -> dict[str, Any]:
    excluded = len(score.get("excluded") or {})
    note = f"{numbers.interval(score['low'], score['high'])}, n={numbers.count(score['n'])}"
    return {
        "value": numbers.fixed(score["value"]),
        "note": note + (f", {numbers.count(excluded)} excluded" if excluded else ""),
        "bar": svg.interval_bar(score["value"], score["low"], score["high"], called.css(score["model"])),
    }
