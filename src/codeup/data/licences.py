"""Licence claims of training data, and the one licence that follows from several: the most restrictive.

    code_alpaca    CC BY-NC 4.0   its repository's DATA_LICENSE     level 4, non-commercial
                   CC BY 4.0      its card on the Hub               level 1, permissive
    gsm8k          MIT            its card on the Hub               level 1
    together       CC BY-NC 4.0, because code_alpaca claims it; and code_alpaca's own claims disagree

A set whose licence nobody stated has no permission at all, so it outranks every licence. Claims are what somebody
wrote, with the place and the month it was read; whether they had the right to, and whether two licences may be
combined, is not decided here, nor is this legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

UNSTATED = "not stated"
LEVELS = {
    0: "public domain",
    1: "permissive",
    2: "share-alike",
    3: "use-restricted agreement",
    4: "non-commercial",
    5: "non-commercial, share-alike",
    6: "no derivatives",
    7: "other terms",
    8: "no licence stated",
}
_LEVEL = {
    "cc0-1.0": 0, "pddl": 0, "unlicense": 0, "public-domain": 0,
    "mit": 1, "apache-2.0": 1, "bsd-2-clause": 1, "bsd-3-clause": 1, "isc": 1, "cc-by-3.0": 1, "cc-by-4.0": 1,
    "odc-by": 1,
    "cc-by-sa-3.0": 2, "cc-by-sa-4.0": 2, "odbl": 2, "gpl-2.0": 2, "gpl-3.0": 2, "agpl-3.0": 2, "lgpl-3.0": 2,
    "mpl-2.0": 2,
    "c-uda": 3, "llama2": 3, "llama3": 3, "llama3.1": 3, "llama3.2": 3, "llama3.3": 3, "llama4": 3,
    "openrail": 3, "bigcode-openrail-m": 3, "gemma": 3,
    "cc-by-nc-3.0": 4, "cc-by-nc-4.0": 4,
    "cc-by-nc-sa-3.0": 5, "cc-by-nc-sa-4.0": 5,
    "cc-by-nd-4.0": 6, "cc-by-nc-nd-4.0": 6,
}  # fmt: skip
"""Identifiers as the Hub's `license:` field spells them (huggingface.co/docs/hub/repositories-licenses)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says that a set has this licence: an identifier of the Hub or free words, where, and when read."""

    licence: str
    by: str
    read: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is claimed about a set, latest claim last, and the models that wrote its answers."""

    claims: tuple[Claim, ...] = ()
    made_with: str = ""


FILE_OF_YOURS = Terms()
"""For a source that is a shape, not a dataset: only its user can say (`licence:` in the recipe)."""


def normal(licence: str) -> str:
    """The Hub's spelling of an identifier where there is one, otherwise the words as they are.

    >>> normal("CC BY-NC 4.0"), normal("Apache 2.0"), normal("ask us")
    ('cc-by-nc-4.0', 'apache-2.0', 'ask us')
    """
    spelt = re.sub(r"[\s_-]+", "-", licence.strip().lower())
    return spelt if spelt in _LEVEL else licence.strip()


def level(licence: str) -> int:
    """How restrictive, as a key of LEVELS."""
    if licence == UNSTATED:
        return 8
    return _LEVEL.get(normal(licence), 7)


def decide(claims: Iterable[Claim]) -> tuple[str, str]:
    """The licence that several claims about one set leave, and why."""
    found = [Claim(normal(each.licence), each.by, each.read) for each in claims]
    if not found:
        return UNSTATED, "nobody states a licence: say licence: in the recipe if you know it"
    strictest = max(found, key=lambda each: level(each.licence))
    others = {each.licence: each for each in found if each.licence != strictest.licence}
    if not others:
        return strictest.licence, f"by {', '.join(each.by for each in found)}"
    against = ", ".join(f"{each.licence} ({each.by})" for each in others.values())
    return strictest.licence, f"claims disagree: {strictest.licence} ({strictest.by}) against {against}; stricter wins"


def account(terms: Terms, stated: str | None) -> dict[str, Any]:
    """One source's claims and what follows, as plain values; `stated` is the recipe's own word, one more claim."""
    claims = [*terms.claims, *([Claim(stated, "the recipe")] if stated else [])]
    licence, reason = decide(claims)
    return {
        "claims": [{**asdict(each), "licence": normal(each.licence)} for each in claims],
        "licence": licence,
        "level": LEVELS[level(licence)],
        "reason": reason,
        "conflict": len({normal(each.licence) for each in claims}) > 1,
        "made_with": terms.made_with,
    }


def roll_up(accounts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The licence of a mix, from `account` of each of its sources by name."""
    strictest = max(accounts, key=lambda name: level(accounts[name]["licence"]))
    licence = accounts[strictest]["licence"]
    alone = all(each["licence"] == licence for each in accounts.values())
    named = [name for name, each in accounts.items() if each["licence"] == licence]
    reason = "all sources" if alone else f"the most restrictive: {', '.join(named)}"
    return {
        "licence": licence,
        "level": LEVELS[level(licence)],
        "reason": f"{reason} ({accounts[strictest]['reason']})",
        "unstated": [name for name, each in accounts.items() if each["licence"] == UNSTATED],
        "conflicts": [name for name, each in accounts.items() if each["conflict"]],
        "made_with": {name: each["made_with"] for name, each in accounts.items() if each["made_with"]},
    }
