"""Prepare made rows with CodeUp as one process, and measure what no preparation can be faster than."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codeup.types import Context, Conversation, Event

ENCODED = 2000
"""Kept rows, evenly drawn, whose segments are given to the bare tokenizer."""

CORE_S = {
    "read": 107,
    "dedup": 35,
    "decontaminate": 104,
    "tokenise": 228,
    "mix and split": 4,
}
"""What each part took for a million rows, by which it is told how far the work is."""


def prepare(order: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each part, rows kept, and the most memory."""
    from codeup import plugins

    parts: list[dict[str, Any]] = []
    expected = [name for name in CORE_S if name != "decontaminate" or order["recipe"]["data"]["bench"][name]]

    def hear(event: Event) -> None:
        if event.kind == "progress" and "part" in event.values:
            parts.append(dict(event.values))
            print(json.dumps(parts[-1]), flush=True)
        elif event.kind == "progress" and (total := event.total or order["rows"] * (not parts)):
            done = share(expected, [part["part"] for part in parts], event.done / total)
            print(f"{1000 * done:.0f}/1000 ", flush=True)

    started, cpu = time.perf_counter(), time.process_time()
    module, folder = plugins.load("steps", "prepare"), Path(order["out"])
    folder.mkdir()
    summary = module.run(module.Spec.model_validate(spec(order)), Context(folder, "data-bench", {}, hear))
    whole = {"part": "all", "wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
    kept = {key: summary[key] for key in ("rows_in", "rows_kept", "dropped", "tokens")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"parts": [*parts, whole], "peak_rss_mb": peak, "folder": str(folder), **kept}


def share(expected: Sequence[str], finished: Sequence[str], done: float) -> float:
    """How much of the work is finished with some parts and a share of the next one.

    >>> round(share(list(CORE_S), ["read", "dedup"], 0.5), 2)
    0.42
    """
    sizes = [CORE_S[name] for name in expected]
    begun = len(finished)
    return (sum(sizes[:begun]) + done * sum(sizes[begun : begun + 1])) / sum(sizes)


def spec(order: dict[str, Any]) -> dict[str, Any]:
    """The settings of the step that the recipe's dataset is prepared by."""
    from codeup import artifacts
    from codeup import recipe as recipes

    recipe = recipes.parse(json.dumps(order["recipe"]))
    data = recipe.data["bench"]
    sources = [
        {**each.model_dump(exclude={"path"}), "data": [[Path(path).name, artifacts.file_sha256(Path(path))]]}
        for each, path in zip(data.sources, order["files"], strict=True)
    ]
    against = [
        {**each.model_dump(exclude={"path"}), "data": artifacts.file_sha256(Path(each.path))}
        for each in data.decontaminate
    ]
    at = {
        "data_root": None, "paths": order["files"], "against": [each.path for each in data.decontaminate],
        "workers": None, "allow_unsafe": False, "base": order["model"], "revision": None,
    }  # fmt: skip
    plain = data.model_dump(exclude={"sources", "pairs", "decontaminate"})
    return {
        "dataset": "bench", "sources": sources, **plain, "decontaminate": against, "base": "bench",
        "template": recipe.model.template, "seed": recipe.seed, "tools": {}, "at": at,
    }  # fmt: skip


def floors(order: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Parsing all lines; passing over all bytes once; the tokenizer alone over the segments of some rows."""
    import numpy as np
    import orjson

    def parse() -> int:
        rows = 0
        for path in order["files"]:
            with Path(path).open("rb") as lines:
                rows += sum(1 for line in lines if orjson.loads(line) is not None)
        return rows

    def copy() -> int:
        buffer, target = np.ones(1 << 26, np.uint8), np.empty(1 << 26, np.uint8)
        for _ in range(4):
            np.copyto(target, buffer)
        return 4 << 26

    return [_timed("json", parse), _timed("memory", copy), *encode(order, folder)]


def encode(order: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The same rows through the bare tokenizer's encode_batch and through ours, best of three each, by turns.

    `amount` is the number of rows.
    """
    from codeup.chat import load_renderer

    renderer = load_renderer(Path(order["model"]), order["recipe"]["model"]["template"])
    rows = drawn(folder / "conversations.jsonl", ENCODED)
    segments = [segment.text for row in rows for segment in renderer._segments(row) if not segment.fixed]
    rust = renderer._plain._rust

    raw: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    for _ in range(3):
        raw.append(_timed("encode_batch", lambda: sum(len(each.ids) for each in _batches(rust, segments))))
        ours.append(_timed("rendered", lambda: len(renderer.render_batch(rows).ids)))
    return [{**min(some, key=lambda one: one["cpu_s"]), "amount": len(rows)} for some in (raw, ours)]


def drawn(path: Path, most: int) -> list[Conversation]:
    """Conversations of a file at even distances, so that they are of all its sources: `most` of them, or all."""
    from codeup.data.store import from_json

    with path.open("rb") as lines:
        count = sum(1 for _ in lines)
        lines.seek(0)
        wanted = {number * count // min(count, most) for number in range(min(count, most))}
        return [from_json(line) for number, line in enumerate(lines) if number in wanted]


def _batches(rust: Any, segments: list[str]) -> Any:
    for begin in range(0, len(segments), 4096):
        yield from rust.encode_batch_fast(segments[begin : begin + 4096], add_special_tokens=False)


def _timed(part: str, work: Callable[[], int]) -> dict[str, Any]:
    started, cpu = time.perf_counter(), time.process_time()
    amount = work()
    return {"part": part, "wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "amount": amount}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    given = json.loads(place.read_text(encoding="utf-8"))
    found = prepare(given)
    found["floors"] = floors(given, Path(found["folder"]))
    place.with_name("result.json").write_text(json.dumps(found), encoding="utf-8")
