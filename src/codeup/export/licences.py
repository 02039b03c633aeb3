"""Under which licence a tuned model may be given on, and what a Llama licence asks of its name.

    base                         claim                data              front matter
    nano-base                    apache-2.0           nano:code         license: apache-2.0
    meta-llama/Meta-Llama-3-8B   llama3               MIT               license: llama3, name begins with Llama-3
    meta-llama/Meta-Llama-3-8B   llama3               CC BY-NC 4.0      license: other, llama3-with-cc-by-nc-4.0

The most restrictive of base and data wins (data/licences.py), and a base's agreement goes with the weights whatever
the data say. Meta Llama 3 Community License, section 1.b.i: derivatives carry "Llama 3" at the beginning of their name,
show "Built with Meta Llama 3" and a notice; 3.1 and later ask for "Llama". Claims, not legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codeup import plugins
from codeup.data.licences import UNSTATED, Claim, Terms, account, level, roll_up
from codeup.errors import UserError
from codeup.export.facts import NANO, Facts

OWN = Terms((Claim("apache-2.0", "generated and trained by CodeUp itself, its package's licence", "2026-11"),))
LLAMA = re.compile(r"llama[-_ .]?(\d(?:\.\d)?)(?!\d)", re.IGNORECASE)
AGREEMENTS = {"2": "llama2", "3": "llama3", "3.1": "llama3.1", "3.2": "llama3.2", "3.3": "llama3.3", "4": "llama4"}
"""Llama generations and the Hub's identifiers of their agreements (huggingface.co/docs/hub/repositories-licenses)."""
NAMED = {"llama3": ("Llama 3", "Meta Llama 3"), "llama3.1": ("Llama", "Llama"), "llama3.2": ("Llama", "Llama"),
         "llama3.3": ("Llama", "Llama"), "llama4": ("Llama", "Llama")}  # fmt: skip
"""Agreement -> what a derivative's name begins with, and what it is built with. Llama 2 asks for no name."""
NOTICE = {
    "llama3": "Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright © Meta Platforms, Inc. "
    "All Rights Reserved.",
    **{
        f"llama{version}": f"Llama {version} is licensed under the Llama {version} Community License, Copyright © Meta "
        "Platforms, Inc. All Rights Reserved."
        for version in ("3.1", "3.2", "3.3", "4")
    },
}


@dataclass(frozen=True, slots=True)
class Licence:
    """What follows for the model. `front` are the Hub's keys; `parts` the account of base and each source by label."""

    licence: str
    reason: str
    front: Mapping[str, str]
    parts: Mapping[str, Mapping[str, Any]]
    agreement: str
    """The base's Llama agreement, or ""."""


def licence_of(facts: Facts, *, base_licence: str | None = None) -> Licence:
    """The licence of a model of a run; `base_licence` is the user's own word for the base, one more claim."""
    base = account(_base_terms(facts), base_licence)
    parts = {f"base model {facts.base}": base, **_data_parts(facts)}
    together = roll_up(parts)
    agreement = agreement_of(facts.base, base["licence"])
    front = _front(together["licence"], agreement)
    return Licence(together["licence"], together["reason"], front, parts, agreement)


def _front(licence: str, agreement: str) -> dict[str, str]:
    """`license`, or where the Hub has no identifier `other` with a name and a link."""
    if licence == UNSTATED:
        return {"license": "unknown"}
    if agreement and licence != agreement:
        return {"license": "other", "license_name": f"{agreement}-with-{_slug(licence)}", "license_link": "LICENCES.md"}
    if level(licence) == 7:
        return {"license": "other", "license_name": _slug(licence), "license_link": "LICENCES.md"}
    return {"license": licence}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60] or "other"


def agreement_of(base: str, licence: str) -> str:
    """The Llama agreement that a base is under, by its licence or its name; "" for another model.

    >>> agreement_of("meta-llama/Meta-Llama-3-8B", ""), agreement_of("x/Llama-3.1-8B", ""), agreement_of("x/y", "mit")
    ('llama3', 'llama3.1', '')
    """
    if licence in AGREEMENTS.values():
        return licence
    found = LLAMA.search(base.rsplit("/", 1)[-1])
    return AGREEMENTS.get(found[1], "") if found else ""


def check_name(name: str, agreement: str) -> None:
    """Raises UserError where a Llama agreement asks for another beginning of the model's name (without its owner)."""
    wanted = NAMED.get(agreement, ("", ""))[0]
    plain = re.sub(r"[-_. ]", "", name.rsplit("/", 1)[-1]).lower()
    if not plain.startswith(wanted.replace(" ", "").lower()):
        start = wanted.replace(" ", "-")
        raise UserError(
            f"the licence of its base ({agreement}) asks for a name that begins with {wanted!r}", where=name,
            mend=f"call it {start}-{name.rsplit('/', 1)[-1]}",
        )  # fmt: skip


def default_name(facts: Facts, agreement: str) -> str:
    """Run and model, with the beginning that a Llama agreement asks for.

    `nano`, `codeup` -> nano-codeup     `study`, `full@2` (seed 2) on Llama 3 -> Llama-3-study-full-seed2
    """
    name = "-".join(dict.fromkeys((facts.run, facts.model))).replace("@", "-seed")
    try:
        check_name(name, agreement)
    except UserError:
        return f"{NAMED[agreement][0].replace(' ', '-')}-{name}"
    return name


def _base_terms(facts: Facts) -> Terms:
    """What is claimed about the base: known families by name, otherwise the front matter of its README.md here."""
    if facts.base == NANO:
        return OWN
    claims = []
    if facts.base_place.startswith("meta-llama/") and (agreement := agreement_of(facts.base, "")):
        claims.append(Claim(agreement, "its card on the Hub", "2026-11"))
    readme = Path(facts.base_place).expanduser() / "README.md"
    if readme.is_file():
        stated = front_matter(readme.read_text(encoding="utf-8", errors="replace")).get("license")
        if isinstance(stated, str):
            claims.append(Claim(stated, "README.md in its folder"))
    return Terms(tuple(claims))


def front_matter(text: str) -> dict[str, Any]:
    """The YAML between the first two lines of `---`; {} where there is none that can be read."""
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        found = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _data_parts(facts: Facts) -> dict[str, Mapping[str, Any]]:
    """Each source of the stages' data: from its manifest, or from what the source's module claims."""
    parts: dict[str, Mapping[str, Any]] = {}
    for data in {stage.data["name"]: stage.data for stage in facts.stages}.values():
        if data["manifest"]:
            parts |= {f"data {each['label']}": each["licence"] for each in data["manifest"]["sources"]}
            continue
        for at, source in enumerate(data["sources"]):
            place = data["paths"][at] if at < len(data["paths"]) else source.get("path") or source.get("verdicts") or ""
            label = f"data {source.get('source', 'pairs')} {Path(place).name if place[:1] in '/~' else place}".strip()
            parts[label] = account(_terms(source.get("source", ""), place), source.get("licence"))
    return parts


def _terms(source: str, place: str) -> Terms:
    if place.startswith("nano:"):
        return OWN
    terms: Terms = getattr(plugins.load("sources", source), "TERMS", Terms()) if source else Terms()
    return terms


def document(licence: Licence) -> Sequence[str]:
    """LICENCES.md, line by line: what follows, and who claims what about each part."""
    lines = ["# Licences", "", f"**{licence.licence}**: {licence.reason}.", ""]
    if licence.agreement:
        lines += [f"The weights are a derivative of {licence.agreement}: its agreement and use policy apply too.", ""]
    lines += ["| part | licence | claims | answers made with |", "|---|---|---|---|"]
    for label, part in licence.parts.items():
        claims = "; ".join(f"{each['licence']} by {each['by']}" for each in part["claims"]) or "none"
        mark = " (claims disagree)" if part["conflict"] else ""
        cells = (label, part["licence"] + mark, claims, part["made_with"] or "–")
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    closing = "Of several claims, and of several parts, the most restrictive is taken. Claims are not legal advice."
    return [*lines, "", closing]


def cell(text: str) -> str:
    """Text that cannot break out of a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
