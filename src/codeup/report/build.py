"""Write the report: `report.html` (one file, no request leaves it), `report.json` (the study) and `charts/*.png`.

The page holds its style and script inline; its content security policy names them by hash and allows nothing else, so
that even text that slipped past the escaping could neither run nor load. Does not judge the study: the numbers come in
finished, and only the comparisons are checked against their own counts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from codeup import artifacts
from codeup.report import explorer, languages, numbers, png, sections, table_files, view

HERE = Path(__file__).parent


def build_report(study: Mapping[str, Any], out: Path, answers: Iterable[Mapping[str, Any]] = ()) -> Path:
    """Write out/charts/*.png, out/report.json and, last, out/report.html; returns the path of the page.

    `answers` (explorer.pack) are shown on the page and are not in report.json. Each file is replaced whole. Raises
    KeyError where a score lacks value, low, high or n, and ValueError where a comparison contradicts its own counts.
    """
    page = render(study, answers)
    (out / "charts").mkdir(parents=True, exist_ok=True)
    for name, data in png.charts(study).items():
        artifacts.write_bytes(out / "charts" / name, data)
    text = json.dumps(finite(study), indent=1, allow_nan=False)
    artifacts.write_bytes(out / "report.json", text.encode("ascii"))
    artifacts.write_bytes(out / "report.html", page.encode("utf-8", "backslashreplace"))
    return out / "report.html"


def render(study: Mapping[str, Any], answers: Iterable[Mapping[str, Any]] = ()) -> str:
    """The page as text."""
    called, found = view.names(study), view.findings(study)
    packed = explorer.pack(answers, labels=called.labels)
    parts = ("style.css", "explorer.css"), ("page.js", "explorer.js")
    style, script = ("".join(read(name) for name in (names if packed["count"] else names[:1])) for names in parts)
    policy = f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:"
    context = {
        "study": study,
        "policy": f"{policy}; base-uri 'none'; form-action 'none'",
        "style": Markup(style),
        "script": Markup(script),
        "n": numbers,
        "called": called,
        "hero": view.hero(study, called, found),
        "keys": view.key_numbers(study, called),
        "table": view.study_table(study, called, found),
        "tested": table_files.shown(study),
        "seeds": (study.get("table") or {}).get("seeds"),
        "languages": languages.matrices(study, called),
        "comparisons": view.comparison_groups(called, found),
        "forest": view.forest(study, called),
        "outcomes": view.outcomes(study, called),
        "provenance": view.provenance(study, called),
        "prompts": view.prompts(study, called),
        "stages": sections.stages(study, called),
        "stage_table": sections.stage_table(study),
        "all_stages": sections.all_stages(study, called),
        "merges": sections.merges(study),
        "funnels": sections.funnels(study),
        "timeline": sections.timeline(study),
        "failures": sections.failures(study, called),
        "answers": packed,
        "facts": sections.facts(study),
    }
    return environment().get_template("page.html").render(context)


def environment() -> jinja2.Environment:
    """Autoescape everywhere; a name the template spells wrong is an error, not an empty string."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """The source expression that allows exactly this inline text (W3C Content Security Policy, hash sources)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def finite(value: Any) -> Any:
    """The same value with NaN and infinity as text, which JSON cannot hold as numbers."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
