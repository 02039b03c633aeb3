"""Prepare one training set: read its sources, render to token ids, drop what cannot be used (counted), hold some out.

    rows -> Conversation -> (sifted) -> Tokens -> train/, validation/, conversations.jsonl, dropped.jsonl, funnel.json,
                                                        manifest.json, README.md, recipe.yaml

A row is read and tokenised once. Memory does not grow with the number of rows beyond 20 bytes for each; near duplicates
and contamination (_sift.py) take a few hundred more.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from codeup import artifacts, models
from codeup.errors import UserError
from codeup.types import Context, Conversation, Event, Tokens

if TYPE_CHECKING:
    from codeup.chat import Renderer
    from codeup.data.load import Funnel
    from codeup.data.rows import Drop
    from codeup.train.tokens import TokenStore

CODE = ("data", "chat", "train/tokens.py", "steps/prepare.py", "steps/_sift.py", "decontaminate", "provenance")
CHUNK = 1024
"""Conversations tokenised in one call."""
BARS = 24
"""Bars of the length histogram."""


class Spec(BaseModel):
    """A dataset of the recipe, the tokenizer it is rendered for, and where its files lie."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    sources: list[dict[str, Any]]
    cutoff: int
    overlong: str
    rules: dict[str, bool]
    filters: dict[str, Any]
    dedup: Literal["none", "exact", "near"]
    near_threshold: float
    decontaminate: list[dict[str, Any]]
    contaminated: Literal["drop", "report"]
    textbook: int
    validation_rows: int
    template: str
    base: str
    seed: int
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write the token arrays and the account of every row. Raises UserError when nothing is left to train on."""
    from codeup.chat import load_renderer
    from codeup.data.content import account
    from codeup.data.load import Funnel, load_mix
    from codeup.data.mend import mender
    from codeup.data.split import choose_validation, group_key
    from codeup.provenance import manifest
    from codeup.steps._sift import sift
    from codeup.train.tokens import open_tokens, write_tokens

    renderer = load_renderer(models.locate(spec.at["base"], spec.at["revision"]), spec.template)
    funnel, keys, folder = Funnel(), [], context.folder
    root = Path(spec.at["data_root"]) if spec.at["data_root"] else None
    mend = mender(spec.rules, spec.filters)
    items = load_mix(_sources(spec, context), funnel=funnel, data_root=root, seed=spec.seed, mend=mend)
    sifted: dict[str, Any] = {}
    items = sift(items, spec, funnel, context, sifted)
    example: list[tuple[str, bool]] = []
    with (
        (folder / "conversations.jsonl").open("wb") as kept_file,
        (folder / "dropped.jsonl").open("wb") as dropped_file,
    ):

        def documents() -> Iterator[Tokens]:
            for conversation, tokens in _usable(items, renderer, funnel, spec, dropped_file, context):
                if not example:
                    example.extend(renderer.text_pieces(tokens))
                keys.append(group_key(conversation))
                _write_line(kept_file, conversation)
                yield tokens

        store = write_tokens(folder / "all", documents())
    if not keys:
        raise UserError(f"no row of data {spec.dataset!r} can be used: {funnel.to_dict()['dropped']}")
    held_out = choose_validation(keys, rows=spec.validation_rows, seed=spec.seed)
    sides = {"train": [key not in held_out for key in keys], "validation": [key in held_out for key in keys]}
    for side, member in sides.items():
        write_tokens(folder / side, _select(store, member))
    summary = {
        "name": spec.dataset,
        **funnel.to_dict(),
        "train_rows": sum(sides["train"]),
        "validation_rows": sum(sides["validation"]),
        "tokens": _token_counts(open_tokens(folder / "train"), open_tokens(folder / "validation")),
        "length_histogram": _histogram(store, spec.cutoff),
        "cutoff": spec.cutoff,
        "template": spec.template,
        "example_tokens": example,
        **sifted,
    }
    assert summary["rows_kept"] + summary["rows_added"] == summary["train_rows"] + summary["validation_rows"]
    del store
    shutil.rmtree(folder / "all")
    summary["content"] = account(folder / "conversations.jsonl", spec.filters)
    artifacts.write_json(folder / "funnel.json", summary)
    manifest.write(folder, settings=spec.model_dump(), summary=summary, code=artifacts.code_version(CODE))
    return {**summary, "manifest_sha256": artifacts.file_sha256(folder / manifest.MANIFEST)}


def _sources(spec: Spec, context: Context) -> list[Any]:
    from codeup.data.load import SourceSpec

    nano = context.only("nano_data")
    files = {"instruct": "instruct.json", "math": "math.json", "code": "code.jsonl"}
    sources = []
    for source, place in zip(spec.sources, spec.at["paths"], strict=True):
        if nano is not None and place.startswith("nano:"):
            place = str(Path(nano.folder).resolve() / files[place.removeprefix("nano:")])
        sources.append(
            SourceSpec(source["source"], place, source["rows"], source["columns"], source["revision"]),
        )
    return sources


def _usable(
    items: Iterator[Conversation | Drop],
    renderer: Renderer,
    funnel: Funnel,
    spec: Spec,
    dropped: IO[bytes],
    context: Context,
) -> Iterator[tuple[Conversation, Tokens]]:
    """Conversations with their tokens; whatever is dropped on the way is counted and written down."""
    from codeup.data.fit import shorten
    from codeup.data.rows import NOTHING_TO_LEARN, TOO_LONG, Drop

    def fits(conversation: Conversation) -> bool:
        return len(renderer.render(conversation).ids) <= spec.cutoff

    rows = 0
    for chunk in _batched(items, CHUNK):
        rows += len(chunk)
        conversations = [item for item in chunk if not isinstance(item, Drop)]
        for item in chunk:
            if isinstance(item, Drop):
                _write_line(dropped, item)
        for conversation, tokens in zip(conversations, renderer.render_many(conversations), strict=True):
            parts = [(conversation, tokens)]
            if len(tokens.ids) > spec.cutoff:
                fitted = shorten(conversation, fits, spec.overlong)
                if not fitted.parts:
                    funnel.drop(conversation, TOO_LONG)
                    _write_line(dropped, Drop(TOO_LONG, source=conversation.source, row=conversation.row))
                    continue
                for repair in fitted.repairs:
                    funnel.repair(conversation, repair)
                parts = [(part, renderer.render(part)) for part in fitted.parts]
            learned = [(part, tokens) for part, tokens in parts if any(tokens.trained)]
            if not learned:
                funnel.drop(conversation, NOTHING_TO_LEARN)
                _write_line(dropped, Drop(NOTHING_TO_LEARN, source=conversation.source, row=conversation.row))
                continue
            funnel.split(conversation, len(learned))
            yield from learned
        context.emit(Event("progress", context.step, done=rows, unit="rows", values={"kept": funnel.rows_kept}))


def _batched(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """As itertools.batched, which Python 3.11 does not have."""
    iterator = iter(items)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


def _write_line(stream: IO[bytes], item: Conversation | Drop) -> None:
    import orjson

    from codeup.data.mend import SHOWN
    from codeup.data.store import to_json
    from codeup.steps._sift import SIFTED

    if isinstance(item, Conversation):
        stream.write(to_json(item) + b"\n")
    else:
        about = {"detail": item.detail} if item.reason in SIFTED or item.reason.startswith(SHOWN) else {}
        stream.write(orjson.dumps({"source": item.source, "row": item.row, "reason": item.reason, **about}) + b"\n")


def _select(store: TokenStore, member: list[bool]) -> Iterator[Tokens]:
    for index, wanted in enumerate(member):
        if wanted:
            ids, trained = store[index]
            yield Tokens(tuple(ids.tolist()), tuple(bool(mark) for mark in trained.tolist()))


def _token_counts(train: TokenStore, validation: TokenStore) -> dict[str, int]:
    return {
        "train": len(train.ids),
        "train_trained": int(train.trained.sum()),
        "validation": len(validation.ids),
    }


def _histogram(store: TokenStore, cutoff: int) -> list[tuple[int, int, int]]:
    """[low, high, count] of document lengths in tokens, from 0 to the cutoff."""
    import numpy as np

    edges = np.unique(np.linspace(0, cutoff, BARS + 1).astype(int))
    counts, _ = np.histogram(np.diff(store.offsets), bins=edges)
    return [(int(low), int(high), int(count)) for low, high, count in zip(edges, edges[1:], counts, strict=False)]
