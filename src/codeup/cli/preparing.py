"""`codeup data …`: training data prepared, and cleaned outside of any run."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from codeup.cli.funnels import lines as funnel_lines
from codeup.cli.progress import display
from codeup.errors import UserError


def prepare(path: str, settings: list[str], *, datasets: Sequence[str], examples: bool, json: bool) -> None:
    """Run the data steps of a recipe and print their accounts."""
    from codeup import executors, study
    from codeup import recipe as recipes
    from codeup import run as engine

    recipe = recipes.load(path, settings)
    steps, folder = study.compile_recipe(recipe), study.run_folder(recipe)
    names = {step.name.removeprefix("data-"): step.name for step in steps if step.kind in ("prepare", "pairs")}
    for wanted in datasets:
        if wanted not in names:
            known = ", ".join(names) or "it has none"
            what = "no stage of a variant uses it" if wanted in recipe.data else "the recipe has no such data"
            raise UserError(f"--dataset {wanted}: {what}", where=path, mend=f"one of: {known}")
    if not names:
        raise UserError("the recipe has no data", where=path, mend="add data: {NAME: {sources: [...]}}")
    accounts = []
    with executors.opened(recipe.executor) as executor:
        for name in datasets or names:
            with display() as emit:
                artifact = engine.run(steps, folder, emit=emit, only=names[name], executor=executor)[names[name]]
            accounts.append({**artifact.summary, "folder": artifact.folder, "seconds": artifact.seconds})
            if not json:
                print("\n".join(funnel_lines(accounts[-1], examples=examples)), end="\n\n")
    if json:
        print(jsonlib.dumps({"datasets": accounts}))


def decontaminate(
    input_: Path,
    against: Sequence[str],
    out: Path,
    *,
    action: str,
    columns: str,
    benchmark_columns: str,
    run: str,
    textbook: int,
    workers: int | None,
    allow_unsafe: bool,
    json: bool,
) -> None:
    """Find benchmark problems in a file of rows, write what stays, print the tables."""
    from codeup.decontaminate import files

    if action not in files.ACTIONS:
        raise UserError(f"--action is {action!r}", mend=f"use {', '.join(files.ACTIONS)}")
    if run not in files.RUNS:
        raise UserError(f"--run is {run!r}", mend=f"use {', '.join(files.RUNS)}")
    if workers is not None and workers < 1:
        raise UserError(f"--workers is {workers}", mend="use 1 or more")
    if textbook < 0:
        raise UserError(f"--textbook is {textbook}", mend="use 4, or 0 for no exemption")
    with display() as emit:
        summary = files.decontaminate(
            input_,
            named_files(against),
            out,
            action=cast(Any, action),
            columns=_columns(columns, "--columns"),
            benchmark_columns=_columns(benchmark_columns, "--benchmark-columns"),
            run=cast(Any, run),
            textbook=textbook,
            workers=workers or len(os.sched_getaffinity(0)),
            allow_unsafe=allow_unsafe,
            emit=emit,
        )
    if json:
        print(jsonlib.dumps({**summary, "out": str(out)}))
        return
    print("\n".join(lines(summary)))
    print(f"kept rows, evidence, residue: {out}")


def named_files(pairs: Sequence[str]) -> dict[str, Path]:
    """NAME=FILE, each name once."""
    found: dict[str, Path] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not name or not file:
            raise UserError(f"{pair!r} is not NAME=FILE", where="--against", mend="e.g. humaneval=HumanEval.jsonl.gz")
        if name in found:
            raise UserError(f"{name!r} is given twice", where="--against", mend="give each file a name of its own")
        found[name] = Path(file)
    return found


def _columns(text: str, option: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    wrong = [name for name, equals, column in pairs if not (name and equals and column)]
    if wrong:
        raise UserError(f"{text!r} is not NAME=COLUMN,…", where=option, mend="e.g. question=prompt,answer=completion")
    return {name.strip(): column.strip() for name, _, column in pairs}


def lines(summary: dict[str, Any]) -> list[str]:
    """The account as text."""
    done = {"drop": "dropped", "mark": "marked", "report": "reported"}[summary["action"]]
    found = [
        f"{summary['rows_in']:,} rows: {summary['rows_contaminated']:,} hold a benchmark problem ({done}), "
        f"{summary['rows_suspected']:,} more have weaker evidence (kept); {summary['rows_kept']:,} written",
        "",
        f"{'source':<34}{'rows':>9}{'contaminated':>14}{'suspected':>11}{'rows after':>12}{'contaminated':>14}",
    ]
    for each in summary["by_source"]:
        before, after = each["before"], each["after"]
        found.append(
            f"{each['source'][:33]:<34}{before['rows']:>9,}{before['contaminated']:>14,}{before['suspected']:>11,}"
            f"{after['rows']:>12,}{after['contaminated']:>14,}"
        )
    unread = {reason: count for reason, count in summary["dropped"].items() if reason != "contamination"}
    if unread:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in unread.items())
        found += ["", f"{sum(unread.values()):,} rows were left out: {reasons}"]
    if summary["rows_without_text"]:
        found += ["", f"{summary['rows_without_text']:,} rows hold no text in a known column, and were kept unread"]
    found += ["", f"{'benchmark':<20}{'items':>8}{'run':>7}{'found':>8}{'suspected':>11}{'rows':>7}"]
    for each in summary["by_benchmark"]:
        found.append(
            f"{each['benchmark'][:19]:<20}{each['items']:>8,}{each['runnable']:>7,}{each['items_contaminated']:>8,}"
            f"{each['items_suspected']:>11,}{each['rows']:>7,}"
        )
    found += ["", f"{'method':<20}{'rows':>8}{'sufficient':>12}"]
    found += [f"{name:<20}{each['rows']:>8,}{each['sufficient']:>12,}" for name, each in summary["methods"].items()]
    ran = summary["run"]
    found.append(
        f"run: {ran['functions']:,} functions on {ran['problems']:,} problems ({ran['which']}); sandbox: "
        f"{ran['sandbox'] or 'none'}; {summary['textbook_problems']} problems are textbook here"
    )
    for each in ran.get("other_languages", ()):
        tried = f"{each['programs']:,} programs of {each['rows']:,} rows on {each['items_run']:,} of {each['items']:,}"
        missing = f"; judged by likeness only: {each['likeness_only']}" if each["likeness_only"] else ""
        found.append(f"run, {each['language']}: {tried} problems{missing}")
    return found
