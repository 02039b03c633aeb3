"""The page of `codeup compare --html`: one file, offline, of what evaluate/compare_all.py found.

    [{label, score_a, score_b, both, only_a, ..., changed: [{task_id, prompt, a, b}]}]  ->  page.html

Lines of an answer that the other answer does not have are marked (difflib, line by line). As in the report, every text
is escaped and the content security policy names the page's own style and script by hash. Judges nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from codeup import artifacts
from codeup.report import numbers, svg
from codeup.report.build import digest, environment, read

LONGEST = 20_000
"""Characters of one text on the page; more is cut, and the page says by how much."""


def write_comparison(found: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a comparison to `out` and return its path; a file there is replaced whole."""
    artifacts.make_folder(out.parent)
    artifacts.write_bytes(out, render(found).encode("utf-8", "backslashreplace"))
    return out


def render(found: Mapping[str, Any]) -> str:
    """The page as text."""
    style, script = read("style.css") + read("comparison.css"), read("comparison.js")
    policy = f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:"
    comparisons = [_comparison(each, number) for number, each in enumerate(found["comparisons"], 1)]
    return (
        environment()
        .get_template("comparison.html")
        .render(
            found=found,
            policy=f"{policy}; base-uri 'none'; form-action 'none'",
            style=Markup(style),
            script=Markup(script),
            n=numbers,
            comparisons=comparisons,
            changes=sum(len(each["changes"]) for each in comparisons),
        )
    )


def _comparison(found: Mapping[str, Any], number: int) -> dict[str, Any]:
    sides = [_side(found, name) for name in "ab"]
    change, low, high = -found["difference"], -found["high"], -found["low"]
    return {
        "found": found,
        "number": number,
        "sides": sides,
        "change": f"{numbers.signed(change, 3)} [{numbers.signed(low, 3)}, {numbers.signed(high, 3)}]",
        "direction": {"a": "worse", "b": "better", None: "unclear"}[found["better"]],
        "p": None if found["p_value"] is None else numbers.p_value(found["p_value"]),
        "changes": [_change(each) for each in found["changed"]],
    }


def _side(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    score = found[f"score_{name}"]
    value, low, high = score["value"], score["low"], score["high"]
    bar = svg.interval_bar(value, low, high, "is-final" if name == "b" else "")
    text = numbers.score(value, low, high, found["n"])
    return {"letter": name.upper(), "name": found[f"name_{name}"], "text": text, "bar": bar}


def _change(changed: Mapping[str, Any]) -> dict[str, Any]:
    a, b = (changed[name]["answer"] for name in "ab")
    lines = {name: _marked(one, other) for name, one, other in (("a", a, b), ("b", b, a))}
    sides = [{"letter": name.upper(), **changed[name], "lines": lines[name]} for name in "ab"]
    return {**changed, "prompt": _cut(changed["prompt"]), "sides": sides}


def _marked(text: str | None, other: str | None) -> list[tuple[str, bool]] | None:
    """The lines of an answer, each with whether the other answer lacks it there.

    >>> _marked("x = 1\\nreturn x", "x = 2\\nreturn x")
    [('x = 1\\n', True), ('return x', False)]
    """
    if text is None:
        return None
    mine, theirs = (_cut(each or "").splitlines(keepends=True) for each in (text, other))
    same: set[int] = set()
    for block in difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks():
        same.update(range(block.a, block.a + block.size))
    return [(line, other is not None and place not in same) for place, line in enumerate(mine)]


def _cut(text: Any) -> str:
    if text is None:
        return ""
    whole = str(text)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}\n… {len(whole) - LONGEST:,} more characters"
