"""First part of preparing: every row of every source, read once, into a file of conversations that wait (spool).

    rows -> Conversation -> .rows, with .labels (which file it came from) and what it is compared by (.keys, .bands)
         -> Drop         -> dropped.jsonl

Every SHARD rows the journal is saved; a step that was killed goes on behind the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codeup.errors import UserError
from codeup.steps import _elsewhere
from codeup.types import Context, Conversation, Event

if TYPE_CHECKING:
    from codeup.data.dedup import Signed
    from codeup.data.journal import Journal
    from codeup.data.load import Funnel
    from codeup.data.rows import Drop
    from codeup.data.spool import Spool
    from codeup.steps.prepare import Spec

SHARD = 16384
"""Rows between two saves of the journal."""
CHUNK = 1024
"""Rows that are worked on together."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read: the conversations, from which file (a place in the funnel) each is, and their signatures."""

    spool: Spool
    labels: NDArray[np.uint16]
    signed: Signed


@contextmanager
def timed(context: Context, part: str) -> Iterator[None]:
    """Tell the listener how long a part of the step took: seconds of the wall, and of all cores together."""
    wall, cpu = perf_counter(), process_time()
    yield
    took = {"wall_s": perf_counter() - wall, "cpu_s": process_time() - cpu}
    context.emit(Event("progress", context.step, done=1, total=1, unit=part, values={"part": part, **took}))


def read(spec: Spec, context: Context, journal: Journal) -> tuple[Rows, Funnel]:
    """Read what has not been read yet. The spool stays open."""
    from codeup.data.load import Funnel
    from codeup.data.spool import Spool

    if journal.state.get("stage", "read") == "read":
        with timed(context, "read"):
            _read(spec, context, journal)
    spool = Spool(context.folder / ".rows", size=journal.state["rows_bytes"])
    return Rows(spool, *_arrays(context.folder, spec)), Funnel.restored(journal.state["funnel"])


def nothing_left(what: str, dataset: str, funnel: Funnel, folder: Path) -> UserError:
    """The error of a dataset of which every row, or pair, was dropped: by which reasons, and where each one stands."""
    reasons = ", ".join(f"{reason} ({count})" for reason, count in funnel.to_dict()["dropped"].items())
    where = f"{folder / 'dropped.jsonl'} shows them"
    return UserError(f"no {what} of data {dataset!r} can be used: {reasons or 'there are none'}", mend=where)


def _read(spec: Spec, context: Context, journal: Journal) -> None:
    from codeup.data.dedup import sign
    from codeup.data.load import Funnel, load_mix
    from codeup.data.mend import mender
    from codeup.data.rows import Drop
    from codeup.data.spool import Spool

    funnel = Funnel(journal.state.get("funnel"))
    root = Path(spec.at["data_root"]) if spec.at["data_root"] else None
    mend = mender(spec.rules, spec.filters)
    names = ("dropped.jsonl", ".labels", ".keys", ".bands")
    dropped, labels, keys, bands = (journal.append(name) for name in names)
    with (
        Spool(context.folder / ".rows", size=journal.state.get("rows_bytes", 0)) as spool,
        _elsewhere.spread(spec, context, CHUNK) as spread,
    ):
        items = load_mix(
            _sources(spec, context), funnel=funnel, data_root=root, seed=spec.seed, mend=mend, spread=spread
        )

        def save(stage: str) -> None:
            spool.flush()
            journal.save({"stage": stage, "funnel": funnel.state(), "rows_bytes": spool.size})

        waiting: list[Conversation] = []
        signatures: list[tuple[bytes, bytes]] = []

        def work() -> None:
            places = {label: place for place, label in enumerate(funnel.counts)}
            labels.write(np.array([places[each.source] for each in waiting], np.uint16).tobytes())
            if spread is not None:
                for name, file in enumerate((keys, bands)):
                    file.write(b"".join(each[name] for each in signatures))
                signatures.clear()
            elif spec.dedup != "none":
                signed = sign(waiting, spec.dedup, spec.near_threshold)
                keys.write(signed.keys.tobytes())
                bands.write(signed.bands.tobytes())
            waiting.clear()

        since = 0
        for item in items:
            since += 1
            if isinstance(item, Drop):
                write_line(dropped, item)
            else:
                spool.append(item)
                waiting.append(item)
                if spread is not None:
                    signatures.append(spread.signature)
            if len(waiting) == CHUNK:
                work()
                context.emit(Event("progress", context.step, done=funnel.rows_in, unit="rows read"))
            if since >= SHARD and not waiting:
                save("read")
                since = 0
        work()
        save("sift")


def _arrays(folder: Path, spec: Spec) -> tuple[NDArray[np.uint16], Signed]:
    from codeup.data.dedup import Signed, band_count

    keys = np.fromfile(folder / ".keys", np.uint64).reshape(-1, 2)
    count = band_count(spec.dedup, spec.near_threshold)
    bands = np.fromfile(folder / ".bands", np.uint32).reshape(len(keys), count)
    return np.fromfile(folder / ".labels", np.uint16), Signed(keys, bands)


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


def write_line(stream: IO[bytes], drop: Drop) -> None:
    """A line of dropped.jsonl; the detail only where it names another row or a benchmark's problem."""
    import orjson

    from codeup.data.mend import SHOWN
    from codeup.steps._sift import SIFTED

    about = {"detail": drop.detail} if drop.reason in SIFTED or drop.reason.startswith(SHOWN) else {}
    stream.write(orjson.dumps({"source": drop.source, "row": drop.row, "reason": drop.reason, **about}) + b"\n")
