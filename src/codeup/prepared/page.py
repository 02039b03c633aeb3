"""The inspect page: what was looked at as one HTML file that asks the network for nothing.

    looks (look.py) -> sections -> page.html (jinja2, autoescape) -> OUT

It has the style of the run report (report/style.css) and its own on top. Style and script are inline and allowed by
hash; rows are hostile text, and every one of them passes through escaping.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from codeup import artifacts
from codeup.prepared.flow import flow
from codeup.report import build, numbers, svg
from codeup.report.view import visible_controls

HERE = Path(__file__).parent
BUDGET = 2_500_000
"""Characters of all examples together; with the rest the page stays below 5 MB."""
MOST_LANGUAGES = 12


def write(looks: Sequence[Mapping[str, Any]], out: Path, *, title: str) -> None:
    """Write the page of one or more datasets; the file is replaced whole."""
    artifacts.write_bytes(out, render(looks, title=title).encode("utf-8", "backslashreplace"))


def render(looks: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """The page as text."""
    style = build.read("style.css") + (HERE / "page.css").read_text(encoding="utf-8")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src '{build.digest(style)}'; script-src '{build.digest(script)}'; img-src data:"
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=visible(title),
        policy=f"{policy}; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
        n=numbers,
        datasets=[_dataset(visible(look), BUDGET // len(looks)) for look in looks],
    )


def _dataset(look: Mapping[str, Any], budget: int) -> dict[str, Any]:
    funnel = look["funnel"]
    conversations = funnel["rows_kept"] + funnel["rows_added"]
    examples = _examples(look["examples"], budget)
    return {
        "look": look,
        "head": _keys(look),
        "flow": flow(funnel),
        "stack": svg.stacked_bar(_stack(funnel), height=14),
        "histogram": svg.histogram(
            look["lengths"].get("bins", []), cutoff=look["lengths"].get("cutoff"), title="Conversations by length",
            height=150,
        ),
        "languages": _bars(look["languages"][:MOST_LANGUAGES], conversations),
        "turns": _bars([[f"{n} answer{'s' * (n != 1)}", rows] for n, rows in look["turns"][:8]], conversations),
        "pairs": [_pair(each) for each in look["duplicates"].get("examples", [])],
        "hits": look["contamination"].get("hits", []),
        "dropped": look["dropped"],
        "mended": [
            {**each, "examples": [_changed(row) for row in each["examples"]]} for each in look["mended"]
        ],
        "examples": examples,
        "examples_left_out": len(look["examples"]) - len(examples),
        "choices": list(dict.fromkeys(each["source"] for each in examples)),
    }  # fmt: skip


def _keys(look: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, note) of the head."""
    funnel, lengths = look["funnel"], look["lengths"]
    read, kept = funnel["rows_in"], funnel["rows_kept"]
    keys = [("rows read", numbers.count(read), f"{len(funnel['sources'])} files")]
    keys.append(("kept", numbers.count(kept), numbers.percent(kept, read)))
    if funnel["train"] is not None:
        keys.append(("to train on", numbers.count(funnel["train"]), f"{numbers.count(funnel['validation'])} held out"))
    tokens = funnel["tokens"]
    if tokens:
        learned = numbers.percent(tokens.get("train_trained"), tokens.get("train"))
        keys.append(("tokens", numbers.compact(tokens.get("train")), f"{learned} learned from"))
    if lengths:
        keys.append(("median length", numbers.count(lengths["quartiles"][1]), f"longest {lengths['longest']:,}"))
    repeated = sum(look["duplicates"].get("duplicates", {}).values())
    keys.append(("repeated rows", numbers.count(repeated), look["duplicates"].get("method", "not looked for")))
    found = look["contamination"]
    keys.append(
        ("contaminated", numbers.count(found["rows_contaminated"]), f"{found['rows_suspected']:,} suspected")
        if found
        else ("contaminated", "–", "not looked for")
    )
    return keys


def _stack(funnel: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """The funnel in one bar, for narrow screens."""
    parts = [("fill-kept", f"kept: {numbers.count(funnel['rows_kept'])}", funnel["rows_kept"])]
    return parts + [("fill-dropped", f"{why}: {numbers.count(rows)}", rows) for why, rows in funnel["dropped"].items()]


def _bars(rows: Sequence[Sequence[Any]], total: int) -> list[dict[str, Any]]:
    top = max((count for _, count in rows), default=0)
    return [
        {"name": name, "count": numbers.count(count), "share": numbers.percent(count, total),
         "bar": svg.span_bar(0, count, top, height=10)}
        for name, count in rows
    ]  # fmt: skip


# --- texts -----------------------------------------------------------------------------------------------------------


def visible(value: Any) -> Any:
    """The same value with control characters of every text as their pictures."""
    if isinstance(value, str):
        return visible_controls(value)
    if isinstance(value, Mapping):
        return {visible(key): visible(each) for key, each in value.items()}
    return [visible(each) for each in value] if isinstance(value, list | tuple) else value


def _pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    """Both texts of a repeated row, with the words that differ marked."""
    dropped, kept = marked(pair["dropped"]["text"], pair["kept"]["text"])
    question = pair["dropped"]["text"].removeprefix("user ").split("\nassistant ")[0]
    begin = " ".join(question.split())[:200]
    return {
        **pair,
        "begin": begin,
        "dropped": {**pair["dropped"], "text": dropped},
        "kept": {**pair["kept"], "text": kept},
    }


def _changed(row: Mapping[str, Any]) -> dict[str, Any]:
    before, after = marked(str(row.get("before", "")), str(row.get("after", "")))
    return {**row, "before": before, "after": after}


def marked(left: str, right: str) -> tuple[Markup, Markup]:
    """Both texts as markup; words that only one of them has stand in <mark>."""
    a, b = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (left, right))
    out: tuple[list[Markup], list[Markup]] = ([], [])
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for side, words in zip(out, (a[a0:a1], b[b0:b1]), strict=True):
            text = escape("".join(words))
            if text:
                side.append(text if kind == "equal" else Markup("<mark>{}</mark>").format(text))
    return Markup("").join(out[0]), Markup("").join(out[1])


def _examples(examples: Sequence[Mapping[str, Any]], budget: int) -> list[dict[str, Any]]:
    """Examples with their tokens as markup, as many as the budget of characters allows."""
    shown: list[dict[str, Any]] = []
    for each in examples:
        tokens = token_markup(each["pieces"]) if "pieces" in each else None
        size = len(tokens) if tokens is not None else sum(len(text) for _, text in each["turns"])
        if size > budget:
            continue
        budget -= size
        shown.append({**each, "markup": tokens})
    return shown


def token_markup(pieces: Sequence[tuple[str, bool, bool]]) -> Markup:
    """One element per token: <i>, class l where it is learned from, s where it is special, n where it ends a line."""
    parts = []
    for text, learned, special in pieces:
        kind = " ".join(name for name, on in (("l", learned), ("s", special), ("n", "\n" in text)) if on)
        shown = escape(text) or Markup("∅")
        parts.append(Markup(f'<i class="{kind}">{shown}</i>' if kind else f"<i>{shown}</i>"))
    return Markup("").join(parts)
