"""Prepare preference pairs: read or build them, render both answers to token ids, account for every row.

    rows, or samples + verdicts -> Pair -> two Tokens -> train/, validation/ (document 2 i chosen, 2 i + 1 rejected),
                                                        pairs.jsonl, dropped.jsonl, funnel.json

Of both documents only the last answer is trained: earlier answers in the prompt are context.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from codeup import artifacts, models, plugins
from codeup.errors import UserError
from codeup.steps import _lengths, prepare
from codeup.steps._read import nothing_left, write_line
from codeup.types import Context, Event, Tokens

if TYPE_CHECKING:
    from codeup.chat import Renderer
    from codeup.data.load import Funnel
    from codeup.data.rows import Drop, Pair

CODE = (*prepare.CODE, "evaluate/pairs.py", "evaluate/prompts.py", "evaluate/samples.py", "steps/pairs.py")


class Spec(BaseModel):
    """A dataset of pairs, the benchmarks that the study is evaluated on, and where the files of both lie."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    pairs: list[dict[str, Any]]
    cutoff: int
    validation_rows: int
    template: str
    base: str
    seed: int
    evaluated: list[dict[str, Any]]
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write the token arrays and the account of every row. Raises UserError when no pair is left."""
    from codeup.chat import load_renderer
    from codeup.data.load import Funnel
    from codeup.data.split import choose_validation, group_key
    from codeup.train.tokens import open_tokens, write_tokens

    renderer = load_renderer(models.locate(spec.at["base"], spec.at["revision"]), spec.template)
    funnel, keys, folder = Funnel(), [], context.folder
    example: list[tuple[str, bool]] = []
    with (folder / "pairs.jsonl").open("wb") as kept_file, (folder / "dropped.jsonl").open("wb") as dropped_file:

        def documents() -> Iterator[Tokens]:
            for pair, chosen, rejected in _usable(spec, renderer, funnel, dropped_file, context):
                if not example:
                    example.extend(renderer.text_pieces(chosen))
                keys.append(group_key(pair))
                _write_pair(kept_file, pair)
                yield chosen
                yield rejected

        store = write_tokens(folder / "all", documents(), vocabulary=renderer.vocabulary)
    if not keys:
        raise nothing_left("pair", spec.dataset, funnel, folder)
    held_out = choose_validation(keys, rows=spec.validation_rows, seed=spec.seed)
    sides = {"train": [key not in held_out for key in keys], "validation": [key in held_out for key in keys]}
    for side, member in sides.items():
        chosen = np.flatnonzero(np.repeat(member, 2))
        write_tokens(folder / side, store.take(chosen), vocabulary=renderer.vocabulary)
    summary = {
        "name": spec.dataset,
        **funnel.to_dict(),
        "train_rows": sum(sides["train"]),
        "validation_rows": sum(sides["validation"]),
        "tokens": prepare.token_counts(open_tokens(folder / "train"), open_tokens(folder / "validation")),
        "length_histogram": _lengths.histogram(store.lengths, spec.cutoff),
        "cutoff": spec.cutoff,
        "template": spec.template,
        "example_tokens": example,
    }
    assert summary["rows_kept"] == summary["train_rows"] + summary["validation_rows"]
    del store
    shutil.rmtree(folder / "all")
    artifacts.write_json(folder / "funnel.json", summary)
    return summary


def _usable(
    spec: Spec, renderer: Renderer, funnel: Funnel, dropped: IO[bytes], context: Context
) -> Iterator[tuple[Pair, Tokens, Tokens]]:
    """Pairs with the tokens of both answers; whatever is dropped on the way is counted and written down."""
    from codeup.data.rows import TOO_LONG, Drop

    rows = 0
    for chunk in prepare.batched(_items(spec, funnel)):
        rows += len(chunk)
        pairs = [item for item in chunk if not isinstance(item, Drop)]
        for item in chunk:
            if isinstance(item, Drop):
                write_line(dropped, item)
        both = itertools.chain.from_iterable((pair, pair.rejected_conversation) for pair in pairs)
        rendered = [last_answer_only(tokens) for tokens in renderer.render_many(both)]
        for pair, chosen, rejected in zip(pairs, rendered[::2], rendered[1::2], strict=True):
            if max(len(chosen.ids), len(rejected.ids)) > spec.cutoff:
                funnel.drop(pair, TOO_LONG)
                write_line(dropped, Drop(TOO_LONG, source=pair.source, row=pair.row))
                continue
            yield pair, chosen, rejected
        context.emit(Event("progress", context.step, done=rows, unit="rows", values={"kept": funnel.rows_kept}))


def last_answer_only(tokens: Tokens) -> Tokens:
    """Only the answer that the conversation ends with is trained: F T T F F T T -> F F F F F T T."""
    marks = tokens.trained
    start = len(marks) - next((n for n, mark in enumerate(reversed(marks)) if not mark), len(marks))
    return Tokens(tokens.ids, tuple(place >= start for place in range(len(marks))))


def _items(spec: Spec, funnel: Funnel) -> Iterator[Pair | Drop]:
    """All entries of the dataset, one after another."""
    from codeup.data.load import SourceSpec, load_source, source_files
    from codeup.data.rows import Drop, Pair

    root = Path(spec.at["data_root"]) if spec.at["data_root"] else None
    for entry, place in zip(spec.pairs, spec.at["places"], strict=True):
        if place["verdicts"]:
            yield from _from_verdicts(spec, entry, place, funnel)
            continue
        source = SourceSpec(entry["source"], place["path"] or "", entry["rows"], entry["columns"], entry["revision"])
        files = source_files(source, root)
        for item in load_source(
            source.source, files, columns=source.columns, limit=source.rows, seed=spec.seed, funnel=funnel
        ):
            if not isinstance(item, Pair | Drop):
                raise UserError(
                    f"source {source.source!r} gives examples, not pairs", mend="use source: preferences under pairs:"
                )
            yield item


def _from_verdicts(spec: Spec, entry: dict[str, Any], place: dict[str, Any], funnel: Funnel) -> Iterator[Pair | Drop]:
    """Pairs of judged answers, unless the study is evaluated on the same problems."""
    from codeup.evaluate.pairs import find_judged, load_problems, verdict_pairs

    root = Path(spec.at["data_root"] or ".")
    for judged in find_judged(root / place["verdicts"]):
        benchmark = plugins.load("benchmarks", judged.benchmark.partition(":")[0])
        data = load_problems(judged, benchmark, root / place["problems"] if place["problems"] else None)
        if not entry["allow_evaluated"]:
            _refuse_evaluated(spec, judged.folder, data)
        label = funnel.add("verdicts", judged.verdicts)
        for item in verdict_pairs(
            judged, benchmark, data, per_problem=entry["per_problem"], seed=spec.seed, label=label
        ):
            funnel.enter(item)
            yield item


def _refuse_evaluated(spec: Spec, folder: Path, data: Any) -> None:
    """A model that learned from answers to a benchmark's problems cannot be measured on them."""
    from codeup.evaluate.pairs import shared_problems

    for asked, path in zip(spec.evaluated, spec.at["evaluated_paths"], strict=True):
        where = Path(spec.at["data_root"] or ".") / path if path else None
        shared = shared_problems(data.problems, plugins.load("benchmarks", asked["name"]).load(where).problems)
        if shared:
            raise UserError(
                f"{len(shared)} of {len(data.problems)} problems with verdicts are also problems of the benchmark "
                f"{asked['name']!r} that this study is evaluated on, first {shared[0]}: its scores would mean nothing",
                where=str(folder),
                mend="judge answers to other problems, or set allow_evaluated: true and do not use those scores",
            )


def _write_pair(stream: IO[bytes], pair: Pair) -> None:
    """A line that `source: preferences` reads."""
    import orjson

    turns = [
        {"role": turn.role, "content": "\n\n".join(part for part in (turn.content, turn.input) if part)}
        for turn in pair.messages[:-1]
    ]
    row = {"messages": turns, "chosen": pair.messages[-1].content, "rejected": pair.rejected}
    stream.write(orjson.dumps({**row, "source": pair.source, "row": pair.row}) + b"\n")
