"""Every answer of a study inside the page: an index that is there at once, texts that are unpacked when looked at.

    answers  ->  index   (which problem, model, outcome, detail, where its text lies)      gzip + base64, one
                 blocks  (prompts, answers, programs; some 200 kB of text in each)         gzip + base64, many

A page of 10,000 answers stays under 5 MB: a prompt is stored once for all models, a program that is a part of its
answer as two numbers, and browsers unpack gzip themselves (DecompressionStream, in all of them since 2023). Where the
texts do not fit, those of passed answers are left out first, then the last ones of failed answers, and the page says
so; the run folder has them all. Filtering, searching, highlighting and comparing is the page's own: explorer.js.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

PAGE_BUDGET = 4_000_000
"""Bytes of base64 that the answers may take of a page."""
BLOCK_CHARACTERS = 200_000
"""Text unpacked at once when one of its answers is looked at."""
MOST_TEXT = 20_000
"""Characters of one prompt, answer or program; longer ones are cut, and say so."""
MOST_DETAIL = 300


def pack(
    answers: Iterable[Mapping[str, Any]], *, labels: Mapping[str, str], budget: int = PAGE_BUDGET
) -> dict[str, Any]:
    """`index` and `blocks` as base64 text, `count`, and `left_out`: how many answers are listed without their text.

    An answer is {"model", "benchmark", "form", "task_id", "index", "outcome", "detail", "prompt", "raw", "code",
    "language"}; `labels` are what benchmarks are called. Order is kept.
    """
    rows = [_shortened(answer) for answer in answers]
    kept = list(range(len(rows)))
    while True:
        packed = _packed(rows, set(kept), labels)
        size = len(packed["index"]) + sum(map(len, packed["blocks"]))
        if size <= budget or not kept:
            return {**packed, "count": len(rows), "left_out": len(rows) - len(kept)}
        kept = _fewer(kept, rows, share=budget / size)


def _fewer(kept: Sequence[int], rows: Sequence[Mapping[str, Any]], share: float) -> list[int]:
    """The most telling answers, about `share` of them: failures before passes, earlier before later."""
    order = sorted(kept, key=lambda number: (rows[number]["outcome"] == "PASSED", number))
    return sorted(order[: min(len(kept) - 1, int(len(kept) * share * 0.97))])


def _shortened(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Texts as valid Unicode (half a character as its escape), and not longer than a reader reads."""
    texts = {key: _valid(answer.get(key)) for key in ("prompt", "raw", "code", "detail", "task_id")}
    for key, text in texts.items():
        if len(text) > MOST_TEXT:
            texts[key] = f"{text[:MOST_TEXT]}\n… {len(text) - MOST_TEXT:,} more characters in the run folder"
    return {**answer, **texts, "detail": texts["detail"][:MOST_DETAIL]}


def _valid(text: Any) -> str:
    return str(text or "").encode("utf-8", "backslashreplace").decode()


def _packed(rows: Sequence[Mapping[str, Any]], kept: set[int], labels: Mapping[str, str]) -> dict[str, Any]:
    """Texts lie at [block, place in it]; a row without text has no place."""
    names, filled = _Names(labels), 0
    blocks: list[list[Any]] = [[]]
    prompts: dict[tuple[int, str], int] = {}
    prompt_places: list[list[int]] = []
    table = []
    for number, row in enumerate(rows):
        entry = [names.problem(row), names.model(row), names.outcome(row), int(row.get("index") or 0), row["detail"]]
        if number in kept:
            key = (entry[0], row["prompt"])
            if filled > BLOCK_CHARACTERS:
                blocks.append([])
                filled = 0
            if key not in prompts:
                prompts[key] = len(prompt_places)
                prompt_places.append([len(blocks) - 1, len(blocks[-1])])
                blocks[-1].append(row["prompt"])
                filled += len(row["prompt"])
            entry += [prompts[key], len(blocks) - 1, len(blocks[-1])]
            blocks[-1].append([row["raw"], _program(row["raw"], row["code"])])
            filled += len(row["raw"]) + len(row["code"])
        table.append(entry)
    index = {**names.to_dict(), "prompts": prompt_places, "rows": table}
    return {"index": _gzipped(index), "blocks": [_gzipped(block) for block in blocks if block]}


def _program(raw: str, code: str) -> Any:
    """The program as [from, to] of the answer where it is a part of it, else as text; "" for none.

    Counted in UTF-16 units, as JavaScript does.

    >>> _program("Here: x = 1", "x = 1"), _program("é😀x", "x"), _program("a", "b")
    ([6, 11], [3, 4], 'b')
    """
    at = raw.find(code) if code else -1
    if at < 0:
        return code
    before, inside = (len(text.encode("utf-16-le")) // 2 for text in (raw[:at], code))
    return [before, before + inside]


class _Names:
    """Numbers for what repeats: models, outcomes, problems."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.models: dict[tuple[str, str], int] = {}
        self.outcomes: dict[str, int] = {}
        self.problems: dict[tuple[str, str, str], int] = {}

    def model(self, row: Mapping[str, Any]) -> int:
        return self.models.setdefault((row["model"], row.get("form", "")), len(self.models))

    def outcome(self, row: Mapping[str, Any]) -> int:
        return self.outcomes.setdefault(row["outcome"], len(self.outcomes))

    def problem(self, row: Mapping[str, Any]) -> int:
        benchmark = self.labels.get(row["benchmark"], row["benchmark"])
        key = (benchmark, str(row["task_id"]), row.get("language") or "python")
        return self.problems.setdefault(key, len(self.problems))

    def to_dict(self) -> dict[str, Any]:
        return {
            "models": [list(key) for key in self.models],
            "outcomes": list(self.outcomes),
            "problems": [list(key) for key in self.problems],
        }


def _gzipped(value: Any) -> str:
    """Same value, same text: the gzip header holds no time."""
    return base64.b64encode(gzip.compress(orjson.dumps(value), 9, mtime=0)).decode()
