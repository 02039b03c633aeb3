"""The table of a study as text: for a terminal, as Markdown, as CSV (one line per row and benchmark).

    model  stages  pass@1                n    sd seeds  vs code                 p      Holm   MDD    CPU-min  tokens
    base           0.000 [0.000, 0.023]  164            −0.205 [−0.281, −0.130] <0.001 <0.001 0.061
    code   code    0.205 [0.131, 0.307]  164  0.018                                                  3.1      0.56 M

MDD is the smallest true difference that a study of this size would find in 80 % of cases at 5 %, uncorrected. Cost is
training, all seeds: what the row would take alone, and behind the slash its share where rows share stages.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from codeup.report import numbers
from codeup.report.claims import MARKS

Table = Mapping[str, Any]


def written(study: Mapping[str, Any]) -> dict[str, str]:
    """Name of file -> text: table.txt, .md, .csv and .json; nothing where the study has no table."""
    if "table" not in study:
        return {}
    table, labels, claims = study["table"], study.get("labels", {}), study.get("claims", [])
    about = study.get("claims_summary", "")
    said = (
        "\n".join(["", about, *(f"  {MARKS[claim['verdict']]} {claim['text']}" for claim in claims)]) if claims else ""
    )
    whole = {"table": table, "claims": claims, "claims_summary": about}
    return {
        "table.txt": f"{terminal(table, labels)}\n{said}\n",
        "table.md": markdown(table, claims, labels, about),
        "table.csv": comma_separated(table),
        "table.json": json.dumps(whole, indent=1, allow_nan=False) + "\n",
    }


DIRECTIONS = {"supported": "better", "contradicted": "worse", "open": "unclear"}


def shown(study: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows: head and lines per benchmark, notes, and the claims; empty without a table."""
    if "table" not in study:
        return {"groups": [], "notes": [], "claims": [], "summary": ""}
    labels = study.get("labels", {})
    groups = []
    for name in study["table"]["benchmarks"]:
        head, *lines = details(study["table"], name)
        kept = [at for at in range(len(head)) if any(line[at] for line in lines)]
        picked = [[line[at] for at in kept] for line in (head, *lines)]
        groups.append({"benchmark": labels.get(name, name), "head": picked[0], "lines": picked[1:]})
    listed = [
        {"text": claim["text"], "mark": MARKS[claim["verdict"]], "direction": DIRECTIONS[claim["verdict"]]}
        for claim in study.get("claims", [])
    ]
    summary = study.get("claims_summary", "")
    return {"groups": groups, "notes": notes(study["table"]), "claims": listed, "summary": summary}


def details(table: Table, benchmark: str) -> list[list[str]]:
    """Head and lines of one benchmark."""
    rows = [row for row in table["rows"] if benchmark in row["cells"]]
    seeds, unit = table["seeds"], next((r["cost"]["unit"] for r in rows if r["cost"]["trainings"]), "")
    to = table["compare_to"]
    against = {"best": "vs best row", "before": "vs row above"}.get(to, f"vs {to}")
    if any(row["name"] == to for row in table["rows"]):
        against = f"vs {to}"
    head = ["model", "stages", table["metric"], "n"] + (["sd of seeds"] if seeds else [])
    lines = [[*head, against, "p", "Holm", "MDD", unit or "cost", "trained tokens"]]
    for row in rows:
        cell, cost = row["cells"][benchmark], row["cost"]
        line = [row["name"] + (f" ({cell['form']} form)" if not row["stages"] and cell["form"] else "")]
        line += [" → ".join(row["stages"]), with_interval(cell["value"], cell["low"], cell["high"])]
        line += [numbers.count(cell["n"]) + (f" × {cell['seeds']}" if cell["seeds"] > 1 else "")]
        line += [numbers.fixed(cell["seeds_sd"]) if cell["seeds_sd"] is not None else ""] if seeds else []
        lines.append([*line, *_test(cell), *_cost(cost)])
    return lines


def _test(cell: Mapping[str, Any]) -> list[str]:
    if cell["against"] is None:
        return ["", "", "", ""]
    found = numbers.signed(cell["difference"], 3)
    found += f" [{numbers.fixed(cell['difference_low'])}, {numbers.fixed(cell['difference_high'])}]"
    detectable = numbers.fixed(cell["detectable"]) if cell["detectable"] is not None else numbers.MISSING
    return [found, short_p(cell["p_value"]), short_p(cell["p_holm"]), detectable]


def _cost(cost: Mapping[str, Any]) -> list[str]:
    if not cost["trainings"]:
        return ["", ""]
    compute = f"{cost['compute_alone']:.1f} / {cost['compute_share']:.1f}"
    return [
        compute,
        f"{numbers.compact(cost['trained_tokens_alone'])} / {numbers.compact(cost['trained_tokens_share'])}",
    ]


def short_p(p: float) -> str:
    """`<0.001` or `0.032`; as numbers.p_value, without its letter."""
    return numbers.p_value(p).removeprefix("p ").removeprefix("= ").replace("< ", "<")


def with_interval(value: float, low: float, high: float) -> str:
    return f"{numbers.fixed(value)} [{numbers.fixed(low)}, {numbers.fixed(high)}]"


def overview(table: Table, labels: Mapping[str, str]) -> list[list[str]]:
    """The published layout: one line per row, one column per benchmark."""
    lines = [["model", "stages", *(labels.get(name, name) for name in table["benchmarks"])]]
    for row in table["rows"]:
        cells = [row["cells"].get(name) for name in table["benchmarks"]]
        shown = [with_interval(c["value"], c["low"], c["high"]) if c else numbers.MISSING for c in cells]
        lines.append([row["name"], " → ".join(row["stages"]) or numbers.MISSING, *shown])
    return lines


def terminal(table: Table, labels: Mapping[str, str]) -> str:
    """The table for a terminal: the overview where there are several benchmarks, and each with its tests."""
    many = len(table["benchmarks"]) > 1
    blocks = [_aligned(overview(table, labels))] if many else []
    for name in table["benchmarks"]:
        head = f"{labels.get(name, name)}\n" if many else ""
        blocks.append(head + _aligned(details(table, name)))
    return "\n\n".join(blocks)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    kept = [at for at in range(len(lines[0])) if any(line[at] for line in lines[1:])]
    widths = {at: max(len(line[at]) for line in lines) for at in kept}
    return "\n".join("  ".join(f"{line[at]:<{widths[at]}}" for at in kept).rstrip() for line in lines)


def markdown(table: Table, claims: Sequence[Mapping[str, Any]], labels: Mapping[str, str], about: str) -> str:
    """The overview, each benchmark with its tests, and the claims."""
    parts = [_piped(overview(table, labels)) + "\n"]
    for name in table["benchmarks"]:
        parts.append(f"### {labels.get(name, name)}\n\n{_piped(details(table, name))}\n")
    parts.append("\n".join(notes(table)) + "\n")
    if claims:
        listed = "\n".join(f"- {claim['text']}" for claim in claims)
        parts.append(f"### What the data support\n\n{about}\n\n{listed}\n")
    return "\n".join(parts)


def _piped(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rest))


def notes(table: Table) -> list[str]:
    """What the columns mean, for this table."""
    seeds = table["seeds"]
    luck = f"the problems and the {len(seeds)} training seeds" if seeds and len(seeds) > 1 else "the problems"
    lines = [
        f"Values are {table['metric']} with 95 % intervals over {luck}. p: paired on the same problems"
        f"{' and seeds' if seeds and len(seeds) > 1 else ''}; Holm: p corrected for the {table['tests']} tests of the "
        "table. MDD: the smallest true difference found in 80 % of such studies at 5 %, uncorrected.",
        "Cost: training over all seeds, as if the row stood alone / its share where rows share stages.",
    ]
    if table["compare_to"] == "best" and table["tests"]:
        lines.append("The best row was chosen by these scores, so the correction counts every pair of rows.")
    return lines


FIELDS = ("value", "low", "high", "n", "seeds", "seeds_sd", "seed_sd", "problem_error", "standard_error", "form")
TESTED = ("against", "difference", "difference_low", "difference_high", "p_value", "p_holm", "detectable", "test")


def comma_separated(table: Table) -> str:
    """One line per row and benchmark, every number in full; an empty field is a value that does not exist."""
    out = io.StringIO()
    costs = list(table["rows"][0]["cost"]) if table["rows"] else []
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "stages", "benchmark", "metric", *FIELDS, *TESTED, *costs])
    for row in table["rows"]:
        for name, cell in row["cells"].items():
            line = [row["name"], " ".join(row["stages"]), name, table["metric"]]
            writer.writerow([*line, *(cell.get(key) for key in (*FIELDS, *TESTED)), *(row["cost"][c] for c in costs)])
    return out.getvalue()
