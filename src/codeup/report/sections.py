"""The parts of the page about the work itself: training, data, time, failures, recipe and versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup, escape

from codeup.report import numbers, svg
from codeup.report.view import OUTCOMES, Names, Study, token_marks, visible_controls

MOST_PER_KIND = 4  # examples per (model, form, benchmark, outcome)
MOST_TEXT = 6_000  # characters of one prompt, answer or program
MOST_PAGE = 2_500_000  # escaped characters of all examples together: keeps the page under 5 MB
MOST_TOKENS = 2_000  # tokens of one data example

SUMMARY = (
    ("steps", "steps"),
    ("epochs", "epochs"),
    ("tokens", "tokens"),
    ("trained_tokens", "learned tokens"),
    ("train_loss", "train loss"),
    ("eval_loss", "eval loss, last"),
    ("best_eval_loss", "eval loss, best"),
    ("best_eval_step", "at step"),
    ("selected_step", "published step"),
    ("selected_because", "chosen as"),
    ("selected_on", "pass@1 of the choice"),
    ("trainable_parameters", "trainable parameters"),
    ("total_parameters", "all parameters"),
    ("packing_efficiency", "packing efficiency"),
    ("packed_logit_difference", "packed vs. alone, logits"),
    ("tokens_per_s", "tokens/s"),
    ("seconds", "time"),
    ("training_seconds", "of it in training steps"),
    ("evaluation_seconds", "of it evaluating"),
    ("evaluation_share", "evaluating, per training time"),
    ("peak_rss_mb", "peak memory, MB"),
    ("peak_gpu_mb", "peak GPU memory, MB"),
    ("planned_memory_mb", "memory by the plan, MB"),
    ("untrained_documents", "rows not trained on"),
    ("resumed_from", "resumed from step"),
    ("device", "device"),
    ("dtype", "dtype"),
    ("threads", "threads"),
)
STRIPS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("learning_rate", "learning rate", lambda value: f"{value:.1e}"),
    ("tokens_per_s", "tokens/s", numbers.compact),
)
"""Narrow charts under a stage's losses: what of a metrics row, its name, and how its largest value is written."""
LOSS: Callable[[Any], str] = partial(numbers.fixed, digits=4)
FORMATS: dict[str, Callable[[Any], str]] = {
    "train_loss": LOSS,
    "eval_loss": LOSS,
    "best_eval_loss": LOSS,
    "packing_efficiency": lambda share: numbers.percent(share, 1),
    "seconds": numbers.duration,
    "training_seconds": numbers.duration,
    "evaluation_seconds": numbers.duration,
    "evaluation_share": lambda share: numbers.percent(share, 1),
}


# ----------------------------------------------------------------------------------------------------------- training


def curve(rows: Sequence[Mapping[str, Any]], key: str) -> list[svg.Point]:
    """(step, value) of the rows that have a finite value; a loss that became NaN is counted by `lost`, not drawn."""
    known = [row for row in rows if numbers.known(row.get("step")) and numbers.known(row.get(key))]
    return [(float(row["step"]), float(row[key])) for row in known]


def lost(rows: Sequence[Mapping[str, Any]]) -> int:
    """Rows whose loss is there and is not a finite number."""
    return sum(1 for r in rows for key in ("loss", "eval_loss") if key in r and not numbers.known(r[key]))


def stage_labels(study: Study) -> list[str]:
    """A name for each stage: its own, or its model's where two variants have a stage of the same name."""
    given = study.get("stages", [])
    often = Counter(stage["name"] for stage in given)
    return [s["name"] if often[s["name"]] == 1 else s.get("model") or s["name"] for s in given]


MOST_STAGES = 6  # trainings shown at once; of more, those of the final model, the others folded away


def main_line(study: Study, called: Names) -> list[Mapping[str, Any]]:
    """The trainings that lead to the final model, where a study has many; else all of them."""
    given = list(study.get("stages", []))
    chain, _, seed = [*called.stages.get(called.final, [])], *called.final.partition("@")[1:]
    wanted = {"-".join(chain[: n + 1]) + (f"@{seed}" if seed else "") for n in range(len(chain))}
    found = [stage for stage in given if stage.get("model") in wanted]
    return found if len(given) > MOST_STAGES and found else given


def stages(study: Study, called: Names) -> list[dict[str, Any]]:
    """One chart per stage: every logged train loss (thin), its moving average, and the eval losses as dots."""
    shown, main = [], main_line(study, called)
    for stage in study.get("stages", []):
        rows, summary = stage.get("metrics", []), stage.get("summary", {})
        train, evaluated = curve(rows, "loss"), curve(rows, "eval_loss")
        smoothed = svg.smooth(train) if len(train) >= 30 else []
        series = [
            svg.Series("train", "train raw" if smoothed else "train", train, hover=not smoothed),
            svg.Series("train", "train", smoothed),
            svg.Series("eval", "eval", evaluated, dots=True),
        ]
        drawn = svg.line_plot(series, title=f"Loss of stage {stage['name']}", x_label="step")
        best = min(evaluated, key=lambda p: p[1], default=None)
        shown.append({
            "name": stage["name"],
            "model": stage.get("model", ""),
            "main": stage in main,
            "chart": drawn,
            "strips": [
                svg.strip(curve(rows, key), name=name, show=show)
                for key, name, show in STRIPS
                if len(curve(rows, key)) > 1
            ],
            "train": numbers.fixed(smoothed[-1][1] if smoothed else train[-1][1]) if train else "",
            "eval": numbers.fixed(evaluated[-1][1]) if evaluated else "",
            "best": f"best {numbers.fixed(best[1])} at step {numbers.count(best[0])}" if best else "",
            "lost": lost(rows),
            "summary": summary,
        })  # fmt: skip
    return shown


def stage_table(study: Study) -> list[tuple[str, list[str]]]:
    """(name, value per stage) for every summary field that any stage has a value for."""
    summaries = [s.get("summary", {}) for s in study.get("stages", [])]
    rows = []
    for key, name in SUMMARY:
        if any(s.get(key) is not None for s in summaries):
            show = FORMATS.get(key, numbers.plain)
            rows.append((name, [show(s.get(key)) for s in summaries]))
    return rows


def all_stages(study: Study, called: Names) -> Markup:
    """Every stage on one axis, in the order trained; x is the tokens seen so far (steps where not logged)."""
    series, dividers, unit = all_stages_series({**study, "stages": main_line(study, called)})
    if len(dividers) < 2:
        return Markup("")
    return svg.line_plot(series, title="Loss of all stages", x_label=unit, height=240, dividers=dividers)


def all_stages_series(study: Study) -> tuple[list[svg.Series], list[tuple[float, str]], str]:
    """The curves of `all_stages`, where each stage starts, and what x counts."""
    labelled = zip(study.get("stages", []), stage_labels(study), strict=True)
    given = [(stage, label) for stage, label in labelled if curve(stage.get("metrics", []), "loss")]
    by_tokens = all(s.get("summary", {}).get("tokens") and s["summary"].get("steps") for s, _ in given)
    series: list[svg.Series] = []
    dividers: list[tuple[float, str]] = []
    start = 0.0
    for stage, label in given:
        rows, summary = stage["metrics"], stage.get("summary", {})
        steps = max(x for x, _ in curve(rows, "loss") + curve(rows, "eval_loss"))
        size = summary["tokens"] / summary["steps"] if by_tokens else 1.0
        train = [(start + x * size, y) for x, y in curve(rows, "loss")]
        evaluated = [(start + x * size, y) for x, y in curve(rows, "eval_loss")]
        dividers.append((start, label))
        series.append(svg.Series(f"{label} train", "train", svg.smooth(train) if len(train) >= 30 else train))
        series.append(svg.Series(f"{label} eval", "eval", evaluated, dots=True))
        start += steps * size
    return series, dividers, "tokens" if by_tokens else "steps"


# --------------------------------------------------------------------------------------------------------------- data


def funnels(study: Study) -> list[dict[str, Any]]:
    """Rows in, dropped by reason, kept, split, tokens; and whether the books balance."""
    return [_funnel(d.get("name") or d["summary"].get("name", ""), d["summary"]) for d in study.get("data", [])]


def _funnel(name: str, f: Mapping[str, Any]) -> dict[str, Any]:
    read, kept, dropped = f.get("rows_in", 0), f.get("rows_kept", 0), f.get("dropped") or {}
    tokens = f.get("tokens") or {}
    missing = read - kept - sum(dropped.values())
    split = (f.get("train_rows") or 0) + (f.get("validation_rows") or 0)
    reasons = sorted(dropped.items(), key=lambda item: -item[1])
    bins = f.get("length_histogram") or []
    parts = [("fill-kept", f"kept: {numbers.count(kept)}", kept)]
    parts += [("fill-dropped", f"{reason}: {numbers.count(n)}", n) for reason, n in reasons]
    pieces = (f.get("example_tokens") or [])[:MOST_TOKENS]
    return {
        "name": name,
        "read": read,
        "kept": kept,
        "share": numbers.percent(kept, read),
        "reasons": [(reason, numbers.count(n), numbers.percent(n, read)) for reason, n in reasons],
        "dropped": sum(dropped.values()),
        "repaired": [(reason, numbers.count(n)) for reason, n in (f.get("repaired") or {}).items()],
        "missing": missing,
        "unsplit": kept - split if f.get("train_rows") is not None else 0,
        "bar": svg.stacked_bar(parts, height=10),
        "train": f.get("train_rows"),
        "validation": f.get("validation_rows"),
        "tokens": tokens,
        "learned": numbers.percent(tokens.get("train_trained"), tokens.get("train")),
        "sources": [_source(s) for s in f.get("sources", [])],
        "histogram": svg.histogram(bins, cutoff=f.get("cutoff"), title=f"Lengths of the rows of {name} in tokens"),
        "example": token_marks([p[0] for p in pieces], (), [bool(p[1]) for p in pieces]),
        "example_cut": len(f.get("example_tokens") or []) - len(pieces),
        "cutoffs": [_cutoff(each) for each in f.get("truncation") or []],
        "lengths": [(name, numbers.plain(value)) for name, value in (f.get("lengths") or {}).items()],
        "mix": f.get("mix") or [],
    }


def _cutoff(each: Mapping[str, Any]) -> dict[str, Any]:
    """What a cutoff would cost: rows that are longer, the tokens in them, and those beyond it."""
    amounts = {key: numbers.count(each[key]) for key in ("cutoff", "rows", "tokens_in_them", "tokens_beyond")}
    return {**amounts, "chosen": each.get("chosen", False)}


def _source(s: Mapping[str, Any]) -> dict[str, Any]:
    dropped = s.get("dropped") or {}
    missing = s.get("rows_in", 0) - s.get("kept", 0) - sum(dropped.values())
    reasons = ", ".join(f"{reason} {numbers.count(n)}" for reason, n in dropped.items())
    return {**s, "reasons": reasons or numbers.MISSING, "missing": missing, "sha256": s.get("sha256") or ""}


# --------------------------------------------------------------------------------------------------------------- time


def timeline(study: Study) -> list[dict[str, Any]]:
    """The steps one after the other; a reused step took no time in this run and shows what it took when it ran."""
    steps = study.get("steps", [])
    total = sum(s["seconds"] for s in steps if not s.get("skipped"))
    rows, start = [], 0.0
    for s in steps:
        spent = 0.0 if s.get("skipped") else s["seconds"]
        rows.append({
            "name": s["name"],
            "kind": s.get("kind", ""),
            "bar": svg.span_bar(start, spent, total, "reused" if s.get("skipped") else ""),
            "time": "reused" if s.get("skipped") else numbers.duration(s["seconds"]),
            "note": numbers.duration(s["seconds"]) if s.get("skipped") else numbers.percent(spent, total),
        })  # fmt: skip
        start += spent
    return rows


# ----------------------------------------------------------------------------------------------------------- failures


def failures(study: Study, called: Names) -> dict[str, Any]:
    """Examples that fit the page, the choices of its filters, and how many failures each outcome has in all."""
    counted: Counter[str] = Counter()
    for s in study.get("scores", []):
        counted.update({k: n for k, n in (s.get("outcomes") or {}).items() if k != "PASSED" and n})
    shown, per_kind, budget = [], Counter[tuple[str, ...]](), MOST_PAGE
    given = study.get("failures", [])
    for f in given:
        kind = tuple(str(f.get(key, "")) for key in ("model", "form", "benchmark", "outcome"))
        example = _example(f, called)
        size = sum(len(escape(example[key])) for key in ("prompt", "raw", "code", "detail"))
        if per_kind[kind] >= MOST_PER_KIND or size > budget:
            continue
        per_kind[kind] += 1
        budget -= size
        shown.append(example)
    choices = {key: list(dict.fromkeys(e[key] for e in shown)) for key in ("model", "benchmark", "outcome")}
    choices["outcome"].sort(key=lambda k: OUTCOMES.index(k) if k in OUTCOMES else len(OUTCOMES))
    kinds = [(k, counted[k]) for k in (*OUTCOMES, *sorted(set(counted) - set(OUTCOMES))) if counted[k]]
    return {
        "examples": shown,
        "choices": choices,
        "kinds": kinds,
        "total": counted.total(),
        "left_out": len(given) - len(shown),
    }


def _example(f: Mapping[str, Any], called: Names) -> dict[str, str]:
    texts = {key: cut(visible_controls(str(f.get(key) or ""))) for key in ("prompt", "raw", "code")}
    return {
        "model": f["model"],
        "form": f.get("form", ""),
        "benchmark": called.benchmark(f["benchmark"]),
        "task_id": str(f["task_id"]),
        "outcome": str(f["outcome"]),
        "detail": cut(visible_controls(str(f.get("detail") or "")), 600),
        **texts,
    }


def cut(text: str, most: int = MOST_TEXT) -> str:
    """The text, or its beginning and how much is not shown; report.json holds all of it."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n… {numbers.count(len(text) - most)} more characters in report.json"


# --------------------------------------------------------------------------------------------------------- provenance


def facts(study: Study) -> list[tuple[str, str]]:
    """Machine, seed and command as (name, value)."""
    rows = [("command", study.get("command")), ("created", study.get("created")), ("seed", study.get("seed"))]
    rows += [(key.replace("_", " "), value) for key, value in (study.get("machine") or {}).items()]
    # A seed is a name, not a quantity: no thousands separators.
    return [(name, str(value) if name == "seed" else numbers.plain(value)) for name, value in rows if value is not None]


def merges(study: Study) -> list[dict[str, Any]]:
    shown = []
    for m in study.get("merges", []):
        facts_of = [(key.replace("_", " "), numbers.plain(value)) for key, value in m.get("summary", {}).items()]
        shown.append({"name": m["name"], "facts": facts_of})
    return shown
