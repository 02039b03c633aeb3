"""Everything that the inspect page and the terminal show of one dataset, as one plain value.

    look = look_at(folder)      a prepared dataset, an export
    look = look_at_files(...)   rows that nobody has prepared yet (look_files.py)

    {"title": "code", "kind": "prepared", "funnel": {...}, "lengths": {...}, "languages": [[name, rows], ...],
     "duplicates": {...}, "contamination": {...}, "dropped": [{"reason", "rows", "examples"}], "mended": [...],
     "licence": {...}, "examples": [...], "files": [...], "notes": [...]}

Every part may be empty. Counts are of all rows; texts are a few, drawn from a seed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeup import models
from codeup.data.code_languages import of_answers
from codeup.data.store import read_conversations
from codeup.prepared.shown import Few, example, with_text
from codeup.prepared.where import Prepared, held_out
from codeup.types import Conversation, Emit, Event, Tokens, ignore_event

EXAMPLES = 40
BARS = 40
HITS = 60
PER_REASON = 3


class Seen:
    """Counts over a stream of conversations: turns, and rows by the languages of their code."""

    def __init__(self) -> None:
        self.rows = 0
        self.turns: Counter[int] = Counter()
        self.languages: Counter[str] = Counter()

    def add(self, conversation: Conversation) -> None:
        """Count one more."""
        self.rows += 1
        self.turns[sum(turn.role == "assistant" for turn in conversation.messages)] += 1
        found = {language or "not told" for language in of_answers(conversation)}
        self.languages.update(found or {"no code"})

    def to_dict(self) -> dict[str, Any]:
        """Most frequent first."""
        return {
            "languages": [[name, count] for name, count in self.languages.most_common()],
            "turns": [[number, count] for number, count in sorted(self.turns.items())],
        }


def bins(lengths: NDArray[np.integer], cutoff: int | None) -> dict[str, Any]:
    """Bars of equal width and the quartiles. Without a cutoff the bars end at the 99th percentile, the last open."""
    if not len(lengths):
        return {}
    top = cutoff or max(int(np.quantile(lengths, 0.99)), 1)
    edges = np.unique(np.linspace(0, top, BARS + 1).astype(int))
    counts, _ = np.histogram(np.minimum(lengths, top), bins=edges)
    low, middle, high = (int(np.quantile(lengths, share)) for share in (0.25, 0.5, 0.75))
    return {
        "bins": [[int(a), int(b), int(n)] for a, b, n in zip(edges, edges[1:], counts, strict=False)],
        "cutoff": cutoff,
        "over": int((lengths > top).sum()),
        "quartiles": [low, middle, high],
        "longest": int(lengths.max()),
    }


# --- a prepared dataset ----------------------------------------------------------------------------------------------


def look_at(
    prepared: Prepared, *, seed: int = 0, examples: int = EXAMPLES, emit: Emit = ignore_event
) -> dict[str, Any]:
    """What there is to see of a prepared dataset (not of an export, see look_files.py)."""
    funnel, manifest = prepared.funnel, prepared.manifest
    member, _ = held_out(prepared)
    chosen = draw(len(member), examples, seed)
    seen, shown = Seen(), []
    notes: list[str] = []
    renderer = _renderer(prepared, notes)
    places = np.where(member, np.cumsum(member), np.cumsum(~member)) - 1
    for line, conversation in enumerate(read_conversations(prepared.folder / "conversations.jsonl")):
        seen.add(conversation)
        if line in chosen:
            side = "validation" if member[line] else "train"
            tokens = _stored(prepared.folder / side, int(places[line]))
            shown.append(example(conversation, tokens, renderer, side))
        if line % 4096 == 0:
            emit(Event("progress", prepared.name, line, len(member), "rows"))
    return {
        "title": prepared.name,
        "kind": "prepared",
        "about": f"seed {manifest['seed']}, template {manifest['template']} of {manifest['base']['name']}",
        "unit": "tokens",
        "funnel": accounts(funnel),
        "lengths": _lengths(prepared, funnel),
        **seen.to_dict(),
        "duplicates": funnel.get("dedup") or {},
        "contamination": _contamination(prepared, funnel),
        "dropped": _dropped(prepared, funnel, seed),
        "mended": mended(funnel),
        "licence": {**manifest["licence"], "sources": manifest["sources"]},
        "examples": shuffled(shown, seed),
        "files": manifest["files"],
        "made_by": manifest["made_by"],
        "replay": manifest["replay"],
        "notes": notes,
    }


def draw(rows: int, wanted: int, seed: int) -> set[int]:
    return set(np.random.default_rng(seed).permutation(rows)[:wanted].tolist())


def shuffled(shown: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """So that the first examples are not all of the first source."""
    return [shown[place] for place in np.random.default_rng(seed).permutation(len(shown))]


def _renderer(prepared: Prepared, notes: list[str]) -> Any:
    from codeup.chat import load_renderer

    at = prepared.marker.get("spec", {}).get("at", {})
    base = at.get("base") or prepared.manifest["base"]["name"]
    if not models.is_local(base):
        notes.append(f"Tokens are not shown: the tokenizer of {base} is not on this machine.")
        return None
    return load_renderer(models.locate(base, at.get("revision")), prepared.manifest["template"])


def _stored(side: Path, place: int) -> Tokens:
    """One document as it lies in the arrays: what is trained on, not what would be rendered today."""
    from codeup.train.tokens import open_tokens

    ids, trained = open_tokens(side)[place]
    return Tokens(tuple(ids.tolist()), tuple(bool(mark) for mark in trained.tolist()))


def accounts(funnel: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sources": [
            {
                "label": f"{each['source']}: {Path(each['path']).name}",
                "rows_in": each["rows_in"],
                "kept": each["kept"],
                "dropped": each["dropped"],
            }
            for each in funnel["sources"]
        ],
        "rows_in": funnel["rows_in"],
        "rows_kept": funnel["rows_kept"],
        "rows_added": funnel.get("rows_added", 0),
        "dropped": funnel["dropped"],
        "train": funnel.get("train_rows"),
        "validation": funnel.get("validation_rows"),
        "tokens": funnel.get("tokens") or {},
    }


def _lengths(prepared: Prepared, funnel: Mapping[str, Any]) -> dict[str, Any]:
    from codeup.train.tokens import open_tokens

    both = [open_tokens(prepared.folder / side).lengths for side in ("train", "validation")]
    return {**bins(np.concatenate(both), funnel.get("cutoff")), "truncation": funnel.get("truncation") or []}


def _contamination(prepared: Prepared, funnel: Mapping[str, Any]) -> dict[str, Any]:
    """The account and the first hits with their evidence, those that were enough first."""
    account = funnel.get("contamination")
    if not account:
        return {}
    path = prepared.folder / "contamination.jsonl"
    hits = list(json_lines(path)) if path.is_file() else []
    hits.sort(key=lambda hit: not hit["sufficient"])
    return {**account, "hits": hits[:HITS], "hits_in_all": len(hits)}


def _dropped(prepared: Prepared, funnel: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """For each reason its rows and some of them, read again from their files where those still lie there."""
    few = Few(PER_REASON, seed)
    for row in json_lines(prepared.folder / "dropped.jsonl"):
        few.add(row["reason"], row)
    return reasons(few, funnel["sources"])


def reasons(few: Few, sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows by the reason they were dropped for, most frequent first, with the text of some."""
    with_text([row for rows in few.kept.values() for row in rows], sources)
    by_count = sorted(few.counts.items(), key=lambda each: -each[1])
    return [{"reason": reason, "rows": count, "examples": few.kept[reason]} for reason, count in by_count]


def mended(funnel: Mapping[str, Any]) -> list[dict[str, Any]]:
    examples = funnel.get("repair_examples") or {}
    return [{"rule": rule, "rows": count, "examples": examples.get(rule, [])[:PER_REASON]}
            for rule, count in funnel.get("repaired", {}).items()]  # fmt: skip


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
