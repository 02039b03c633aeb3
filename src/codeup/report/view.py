"""From the study to what the page shows: the main result, the study table, the comparisons, the prompts.

Everything here is plain values and raw text; escaping happens in the template. A part of the study that is absent
becomes an empty list, and its section is left out. Scores must carry value, low, high and n: a KeyError otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from codeup.report import numbers, svg
from codeup.report.sentences import Finding, conclusion, finding, named, sentence

Study = Mapping[str, Any]
OUTCOMES = ("PASSED", "FAILED", "TIMEOUT", "MEMORY", "CRASHED", "EXITED", "COMPILE", "NO_CODE")
MARKS = {"better": "▲", "worse": "▼", "unclear": "≈"}
ARROW = " → "


@dataclass(frozen=True, slots=True)
class Names:
    """How things are called on this page: benchmark titles, each model's stages and prompt forms."""

    labels: Mapping[str, str]
    stages: Mapping[str, list[str]]
    forms: Mapping[str, set[str]]
    base: str
    final: str

    def benchmark(self, name: str) -> str:
        return self.labels.get(name, name)

    def path(self, model: str) -> str:
        return ARROW.join(self.stages.get(model, [])) or numbers.MISSING

    def css(self, model: str) -> str:
        return "is-final" if model == self.final else "is-base" if model == self.base else "is-other"


def names(study: Study) -> Names:
    """The base is the first model without stages; the final model has the most stages, the later of equals."""
    models = study.get("models", [])
    stages = {m["name"]: list(m.get("stages", [])) for m in models}
    forms: dict[str, set[str]] = defaultdict(set)
    for score in study.get("scores", []):
        forms[score["model"]].add(score.get("form", ""))
    base = next((name for name, done in stages.items() if not done), "")
    trained = [name for name, done in stages.items() if done]
    final = max(reversed(trained), key=lambda name: len(stages[name]), default="")
    return Names(study.get("labels", {}), stages, forms, base, final)


def findings(study: Study) -> list[Finding]:
    order = [m["name"] for m in study.get("models", [])]
    return [finding(c, order) for c in study.get("comparisons", [])]


def score_text(score: Mapping[str, Any]) -> str:
    return numbers.score(score["value"], score["low"], score["high"], score["n"])


# ---------------------------------------------------------------------------------------------------- the main result


def hero(study: Study, called: Names, found: Sequence[Finding]) -> dict[str, str]:
    """The headline and the sentence under it. Only a test may say that something rose or fell."""
    scores = study.get("scores", [])
    if not scores:
        stages = len(study.get("stages", []))
        done = f"{stages} stage{'' if stages == 1 else 's'} trained" if stages else "No stage was trained"
        return {"title": f"{done}; nothing was evaluated", "sentence": ""}
    benchmark = scores[0]["benchmark"]
    title = called.benchmark(benchmark)
    if (study.get("table") or {}).get("seeds"):
        return _hero_of_table(study, title, benchmark)
    main = _main_finding(called, [f for f in found if f.benchmark == benchmark])
    if main is None:
        best = next((s for s in scores if s["model"] == called.final), scores[0])
        text = f"{best['model']} on {called.benchmark(best['benchmark'])}: {score_text(best)}"
        return {
            "title": f"{called.benchmark(best['benchmark'])} {best['metric']} {numbers.fixed(best['value'])}",
            "sentence": text,
        }
    before, after = (_value(scores, benchmark, m, f) for m, f in _sides(main))
    metric = scores[0]["metric"]
    verb = {"better": "rises", "worse": "falls", "unclear": "shows no difference:"}[main.direction]
    between = f"{numbers.fixed(before)} to {numbers.fixed(after)}"
    if main.direction == "unclear":
        between = f"{numbers.fixed(before)} and {numbers.fixed(after)}"
    joint = " " if main.direction == "unclear" else " from "
    return {"title": f"{title} {metric} {verb}{joint}{between}", "sentence": sentence(main, called.forms, on=title)}


def _final_row(study: Study) -> Mapping[str, Any]:
    """The table's row of most stages, the later of equals."""
    row: Mapping[str, Any] = max(reversed(study["table"]["rows"]), key=lambda row: len(row["stages"]))
    return row


def _hero_of_table(study: Study, title: str, benchmark: str) -> dict[str, str]:
    """With several seeds the headline is the row of most stages against the base, as the table's claims have it."""
    rows = {row["name"]: row for row in study["table"]["rows"]}
    final = _final_row(study)["name"]
    base = next((name for name, row in rows.items() if not row["stages"]), "")
    claim = next(c for c in study["claims"] if (c["a"], c["b"], c["benchmark"]) == (final, base, benchmark))
    before, after = (rows[name]["cells"][benchmark]["value"] for name in (base, final))
    verb = {"supported": "rises from", "contradicted": "falls from", "open": "shows no difference:"}[claim["verdict"]]
    joint = "and" if claim["verdict"] == "open" else "to"
    text = f"{title} pass@1 {verb} {numbers.fixed(before)} {joint} {numbers.fixed(after)}"
    return {"title": text, "sentence": claim["text"]}


def _sides(found: Finding) -> list[tuple[str, str]]:
    return [(found.second, found.second_form), (found.first, found.first_form)]


def _main_finding(called: Names, found: Sequence[Finding]) -> Finding | None:
    """Final model against base; where the base was asked in two forms, against the one that leaves the smaller gain."""
    pairs = [f for f in found if f.first == called.final and f.second == called.base]
    return min(pairs, key=lambda f: f.difference, default=None)


def _value(scores: Sequence[Mapping[str, Any]], benchmark: str, model: str, form: str) -> float | None:
    for s in scores:
        if s["benchmark"] == benchmark and s["model"] == model and form in ("", s.get("form", "")):
            return float(s["value"])
    return None


def key_numbers(study: Study, called: Names) -> list[dict[str, str]]:
    """The row of figures under the headline: each with its name and what it is made of."""
    shown = []
    scores, stages, data = study.get("scores", []), study.get("stages", []), study.get("data", [])
    final = next((s for s in scores if s["model"] == called.final), scores[0] if scores else None)
    if final and (study.get("table") or {}).get("seeds"):  # a single seed is not the study's result
        cell = _final_row(study)["cells"][final["benchmark"]]
        final = {
            **final,
            **{key: cell[key] for key in ("value", "low", "high", "n")},
            "metric": study["table"]["metric"],
        }
    if final:
        note = f"{numbers.interval(final['low'], final['high'])}, n={numbers.count(final['n'])}"
        shown.append(
            _key(f"{called.benchmark(final['benchmark'])} {final['metric']}", numbers.fixed(final["value"]), note)
        )
    if data:
        kept, read = (sum(d["summary"].get(k, 0) for d in data) for k in ("rows_kept", "rows_in"))
        shown.append(_key("rows kept", numbers.compact(kept), f"of {numbers.compact(read)} read"))
    if stages:
        total = sum(s["summary"].get("tokens", 0) for s in stages)
        learned = sum(s["summary"].get("trained_tokens", 0) for s in stages)
        note = f"{numbers.percent(learned, total)} learned from"
        shown.append(_key("tokens trained on", numbers.compact(total), note))
        size = max((s["summary"].get("trainable_parameters", 0) for s in stages), default=0)
        whole = max((s["summary"].get("total_parameters", 0) for s in stages), default=0)
        if size:
            shown.append(_key("LoRA parameters", numbers.compact(size), f"{numbers.percent(size, whole)} of the model"))
    if numbers.known(study.get("seconds")):
        steps = study.get("steps", [])
        reused = sum(bool(s.get("skipped")) for s in steps)
        note = f"{len(steps)} steps" + (f", {reused} reused" if reused else "")
        shown.append(_key("time", numbers.duration(study["seconds"]), note if steps else ""))
    return shown


def _key(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


# ---------------------------------------------------------------------------------------------------- the study table


def study_table(study: Study, called: Names, found: Sequence[Finding]) -> dict[str, Any]:
    """Rows are models (one per prompt form), columns are benchmarks, as in the published table.

    One language of several has its column in a matrix of its own (languages.py).
    """
    scores = study.get("scores", [])
    columns = list(dict.fromkeys((s["benchmark"], s["metric"]) for s in scores))
    columns = [column for column in columns if ":" not in column[0]]  # one of several languages: languages.py
    cells = {(s["model"], s.get("form", ""), s["benchmark"], s["metric"]): s for s in scores}
    order = [m["name"] for m in study.get("models", [])]
    rows = []
    for model, form in sorted(
        dict.fromkeys(key[:2] for key in cells), key=lambda k: order.index(k[0]) if k[0] in order else 99
    ):
        scored = [cells.get((model, form, *column)) for column in columns]
        shown = [_cell(s, called, found) if s else None for s in scored]
        rows.append(
            {"model": model, "form": form, "path": called.path(model), "css": called.css(model), "cells": shown}
        )
    heads = [{"benchmark": called.benchmark(b), "metric": m} for b, m in columns]
    marks = {cell["mark"] for row in rows for cell in row["cells"] if cell}
    many = any(len(forms) > 1 for forms in called.forms.values())
    return {"columns": heads, "rows": rows, "marked": bool(marks - {""}), "forms": many or len(_all_forms(called)) > 1}


def _all_forms(called: Names) -> set[str]:
    return set().union(*called.forms.values()) if called.forms else set()


def _cell(score: Mapping[str, Any], called: Names, found: Sequence[Finding]) -> dict[str, Any]:
    direction = _against_base(score, called, found)
    return {
        "value": numbers.fixed(score["value"]),
        "interval": f"{numbers.interval(score['low'], score['high'])}, n={numbers.count(score['n'])}",
        "bar": svg.interval_bar(score["value"], score["low"], score["high"], called.css(score["model"])),
        "mark": MARKS.get(direction, ""),
        "direction": direction,
    }


def _against_base(score: Mapping[str, Any], called: Names, found: Sequence[Finding]) -> str:
    """What the test against the base says of this score; the least certain one where there are several."""
    here = [
        f
        for f in found
        if f.benchmark == score["benchmark"] and f.second == called.base
        and f.first == score["model"] != called.base and f.first_form in ("", score.get("form", ""))
    ]  # fmt: skip
    return max(here, key=lambda f: f.p).direction if here else ""


def forest(study: Study, called: Names) -> list[dict[str, Any]]:
    """Scores with their intervals on one scale 0..1, grouped by benchmark."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for s in study.get("scores", []):
        bar = svg.interval_bar(s["value"], s["low"], s["high"], called.css(s["model"]), height=22, radius=5)
        row = {"model": named(s["model"], s.get("form", ""), called.forms), "text": score_text(s), "bar": bar}
        groups.setdefault((s["benchmark"], s["metric"]), []).append(row | {"css": called.css(s["model"])})
    return [{"benchmark": called.benchmark(b), "metric": m, "rows": rows} for (b, m), rows in groups.items()]


def whole(benchmark: str) -> str:
    """The benchmark that a suite belongs to: humaneval_plus/base is judged, asked and failed as humaneval_plus."""
    return benchmark.partition("/")[0]


def outcomes(study: Study, called: Names) -> dict[str, Any]:
    """How the programs ended: one stacked bar per score, with the counts beside it."""
    rows = []
    judged = {
        (s["model"], s.get("form"), whole(s["benchmark"])): s for s in study.get("scores", []) if s.get("outcomes")
    }
    for s in judged.values():
        counts = s["outcomes"]
        parts = [
            (f"fill-{kind}", f"{kind}: {numbers.count(counts[kind])}", counts[kind])
            for kind in OUTCOMES
            if kind in counts
        ]
        rows.append({
            "model": named(s["model"], s.get("form", ""), called.forms),
            "css": called.css(s["model"]),
            "benchmark": called.benchmark(whole(s["benchmark"])),
            "bar": svg.stacked_bar(parts),
            "counts": counts,
            "total": sum(counts.values()),
        })  # fmt: skip
    return {"kinds": [k for k in OUTCOMES if any(r["counts"].get(k) for r in rows)], "rows": rows}


def comparison_groups(called: Names, found: Sequence[Finding]) -> dict[str, Any]:
    """The sentences, grouped by benchmark, and the sentence above them; the final model and the base come first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for f in sorted(found, key=lambda f: (f.first != called.final, f.second != called.base)):
        line = {"text": sentence(f, called.forms), "direction": f.direction, "mark": MARKS[f.direction]}
        counts = f"only {f.first} solved {f.only_first}, only {f.second} solved {f.only_second}"
        groups.setdefault(called.benchmark(f.benchmark), []).append(line | {"counts": counts})
    return {"summary": conclusion(found), "groups": groups}


# ----------------------------------------------------------------------------------- where each score comes from


def provenance(study: Study, called: Names) -> list[dict[str, Any]]:
    """Every score with what is needed to trust it, grouped by the exact dataset it was measured on."""
    groups: dict[tuple[str, str, str, str], list[dict[str, str]]] = {}
    for s in study.get("scores", []):
        key = (s["benchmark"], s["metric"], numbers.plain(s.get("data_version")), s.get("data_sha256") or "")
        groups.setdefault(key, []).append({
            "model": s["model"],
            "css": called.css(s["model"]),
            "form": _asked(s),
            "score": score_text(s),
            "passed": f"{numbers.count(s.get('passed'))} of {numbers.count(s.get('samples'))}",
            "engine": numbers.plain(s.get("engine")),
            "sandbox": numbers.plain(s.get("sandbox")),
            "temperature": numbers.plain(s.get("temperature")),
            "extraction": _extraction(s),
        })  # fmt: skip
    return [
        {"benchmark": called.benchmark(b), "metric": metric, "version": version, "sha256": digest, "rows": rows}
        for (b, metric, version, digest), rows in groups.items()
    ]


def _asked(score: Mapping[str, Any]) -> str:
    """The prompt form, and the style where it is not our own."""
    style = score.get("prompt_style", "default")
    return (score.get("form", "") or numbers.MISSING) + (f", {style}" if style not in ("default", "unknown") else "")


def _extraction(score: Mapping[str, Any]) -> str:
    """How often each rule found the code (no-code, broken and other-name too), and what other rules would change."""
    rules = ", ".join(f"{rule} {numbers.count(n)}" for rule, n in (score.get("extractions") or {}).items())
    mode = score.get("extraction_mode", "codeup")
    others = (score.get("other_extractions") or {}).items()
    would = "; ".join(f"{numbers.count(n)} failed samples would pass under {other}" for other, n in others)
    return "; ".join(part for part in (rules if mode == "codeup" else f"{mode}: {rules}", would) if part)


def prompts(study: Study, called: Names) -> list[dict[str, Any]]:
    """The exact prompt of problem 0, once per distinct prompt, with the models that were asked with it.

    The final model's prompts come first.
    """
    kept: dict[tuple[str, str, tuple[int, ...]], dict[str, Any]] = {}
    for s in study.get("scores", []):
        text = s.get("prompt0")
        if not text:
            continue
        ids = tuple(s.get("prompt0_ids") or ())
        pieces = s.get("prompt0_tokens") or []
        entry = kept.setdefault((whole(s["benchmark"]), text, ids), {
            "benchmark": called.benchmark(whole(s["benchmark"])),
            "text": visible_controls(text),
            "models": [],
            "final": False,
            "tokens": token_marks(pieces, ids),
            "ids": len(ids),
        })  # fmt: skip
        who = named(s["model"], s.get("form", ""), called.forms)
        if who not in entry["models"]:
            entry["models"].append(who)
        entry["final"] = entry["final"] or s["model"] == called.final
    return sorted(kept.values(), key=lambda entry: not entry["final"])


CONTROLS = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}


def visible_controls(text: str) -> str:
    """Control characters (but tab and newline) as their Unicode pictures, so that an escape sequence can be seen."""
    return text.translate(CONTROLS)


def token_marks(pieces: Sequence[str], ids: Sequence[int], trained: Sequence[bool] = ()) -> Markup:
    """Tokens as boxes that can be told apart: a space is ·, a newline ↵, a tab ⇥; the id is the tooltip."""
    marks = []
    for place, piece in enumerate(pieces):
        shown = visible_controls(piece).replace(" ", "·").replace("\t", "⇥").replace("\n", "↵\n")
        attributes: dict[str, object] = {"title": ids[place]} if place < len(ids) else {}
        if place < len(trained) and trained[place]:
            attributes["class"] = "learned"
        marks.append(svg.element("i", attributes, shown or "∅"))
    return Markup("<wbr>").join(marks)
