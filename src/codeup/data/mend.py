"""Rules and filters between a source and everything that follows, as one function of a conversation.

    mend = mender({"sharegpt_html": False}, {"length": {"max_characters": 20000}})
    mend("sharegpt", conversation)   ->   the same conversation, a `Repaired` one, or a `Drop`

Rules mend (`data/rules/`), filters leave out (`data/filters/`); both are files that a recipe names. What comes back
depends on the one conversation alone, so rows can be mended in any order and on any number of machines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from codeup import plugins
from codeup.data import rows
from codeup.data.rows import Drop, Repaired
from codeup.types import Conversation, Message

Mend = Callable[[str, Conversation], Conversation | Drop]
SHOWN = ("filter: ", "rule: ")
"""How reasons of drops begin that are shown with their detail."""
EXCERPT = 80
"""Characters of an example on either side of what was changed."""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    module: ModuleType
    on: bool


def mender(switches: Mapping[str, bool] | None = None, filters: Mapping[str, Any] | None = None) -> Mend:
    """The rules that are on, then the filters. Raises UserError for a rule or filter that there is not."""
    for name in switches or {}:
        plugins.check("rules", name)
    rules = [_Rule(name, module, (switches or {}).get(name, module.ON)) for name, module in _rules()]
    switched_off = {repair for rule in rules if not rule.on for repair in rule.module.REPAIRS}
    kept = filter_functions(filters or {})
    applied = [rule.module for rule in rules if rule.on and rule.module.apply is not None]

    def mend(source: str, conversation: Conversation) -> Conversation | Drop:
        item = _as_read(conversation, switched_off)
        for rule in applied:
            if isinstance(item, Drop):
                return item
            if not rule.SOURCES or source in rule.SOURCES:
                item = together(item, rule.apply(item))
        for keep in kept:
            if isinstance(item, Drop):
                return item
            item = together(item, keep(item))
        return item

    return mend


def filter_functions(filters: Mapping[str, Any]) -> list[Callable[[Conversation], Conversation | Drop]]:
    """The filters of a recipe that do something; none where they are only to report."""
    if filters.get("report_only"):
        return []
    made = (plugins.load("filters", name).make(filters[name]) for name in plugins.names("filters") if name in filters)
    return [keep for keep in made if keep is not None]


def _rules() -> list[tuple[str, ModuleType]]:
    return [(name, plugins.load("rules", name)) for name in plugins.names("rules")]


def _as_read(item: Conversation, switched_off: set[str]) -> Conversation | Drop:
    """The row without what the source mended, where that rule is switched off."""
    if not isinstance(item, Repaired) or not switched_off.intersection(item.repairs) or item.before is None:
        return item
    return rows.shape_problem(item.before.messages) or item.before


def together(before: Conversation, after: Conversation | Drop) -> Conversation | Drop:
    """What a rule made of a conversation, with what was mended in it earlier."""
    if after is before or isinstance(after, Drop) or not isinstance(after, Repaired):
        return after
    problem = rows.shape_problem(after.messages)
    if problem is not None:
        return problem
    if not isinstance(before, Repaired):
        return after
    shown = before.before if after.before is not None else None
    return replace(after, repairs=(*before.repairs, *after.repairs), before=shown)


def repaired(before: Conversation, messages: tuple[Message, ...], *repairs: str, shown: bool = True) -> Repaired:
    """The conversation with other messages; `shown=False` keeps the old ones out of every report."""
    old = Conversation(before.messages, before.source, before.row, before.group) if shown else None
    return Repaired(messages, before.source, before.row, before.group, repairs, old)


# --- examples --------------------------------------------------------------------------------------------------------


def example(item: Repaired) -> dict[str, str]:
    """The place where the conversation differs, before and after, cut to what surrounds it."""
    after = _text(item)
    if item.before is None:
        return {"before": "(not shown)", "after": excerpt(after, 0)}
    before = _text(item.before)
    if before == after:
        return {"before": excerpt(before, 0), "after": f"in the group of: {excerpt(item.group, 0)}"}
    both = enumerate(zip(before, after, strict=False))
    at = next((at for at, (old, new) in both if old != new), min(len(before), len(after)))
    return {"before": excerpt(before, at), "after": excerpt(after, at)}


def _text(item: Conversation) -> str:
    turns = ((turn.role, turn.content, f"\ninput: {turn.input}" if turn.input else "") for turn in item.messages)
    return "\n".join(f"{role}: {content}{extra}" for role, content, extra in turns)


def excerpt(text: str, at: int) -> str:
    """The text around a place, with marks where it was cut; always valid Unicode."""
    begin, end = max(0, at - EXCERPT // 2), at + EXCERPT
    shown = text[begin:end].encode("utf-8", "replace").decode()
    return ("…" if begin else "") + shown + ("…" if end < len(text) else "")


@functools.cache
def described() -> list[dict[str, Any]]:
    """Every rule: name, what it does, whether it is on by default, and what it counts under."""
    about = dict(plugins.describe("rules"))
    return [
        {"name": name, "about": about[name], "on": module.ON, "counts": [*module.REPAIRS, *module.DROPS]}
        for name, module in _rules()
    ]
