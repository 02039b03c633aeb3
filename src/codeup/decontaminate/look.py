"""One pass over all rows: which n-grams, shapes and words they share with the items, and which functions they hold.

    spool -> shards of SHARD rows -> Shard, kept as a file -> Seen, and the ranking

A shard depends on its rows, the items and this code alone. Each is written to the disk when it is finished, under a
name that says all three, and with a hash: what is killed goes on behind the last one, and a damaged or strange file is
not used. Shards can be looked at in any order and on any machine.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeup import artifacts
from codeup.data import words
from codeup.data.code import completed
from codeup.data.code_languages import of_texts
from codeup.data.contamination.functions import Callable_, program_of, shapes
from codeup.data.contamination.items import Item
from codeup.data.contamination.ngrams import Grams, Overlap
from codeup.data.contamination.other_functions import LANGUAGES, Source, sources
from codeup.data.contamination.retrieval import Both, Counted, Ranking, shapes_of
from codeup.data.spool import Spool
from codeup.data.store import texts_in, texts_of
from codeup.errors import WorkFailed
from codeup.executors import Executor, crew_of
from codeup.types import Emit, Event, ignore_event

SHARD = 4096
"""Rows of a file."""
CHUNK = 128
"""Rows whose words are arrays at the same time: few enough for a processor's own memory."""
SHAPE_NODES, SHAPE_TOKENS = 25, 25
"""A function equal but for names is evidence from so many syntax nodes on, of another language words and signs."""
MOST_PROGRAMS = 20_000
"""Functions whose programs are held; those of more are made again for the rows that are run."""
CODE = (
    "data/words.py", "data/code.py", "data/code_languages.py", "data/code_parses.py", "data/fences.py", "data/store.py",
    "data/contamination", "decontaminate/look.py",
)  # fmt: skip

Functions = tuple[str, list[Callable_]]


@dataclass(slots=True)
class Shard:
    """What was found in some rows, which are numbered from 0: their functions as (program, what can be called)."""

    counted: list[Both] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    same_shape: list[tuple[int, int, int]] = field(default_factory=list)
    functions: dict[int, Functions] = field(default_factory=dict)
    families: dict[int, list[str]] = field(default_factory=dict)
    """Other languages than Python that the row holds functions of, if some item is in them."""


class Seen:
    """What the pass leaves: n-gram overlaps, equal shapes (row, item, nodes), and how many functions each row holds."""

    def __init__(self, spool: Spool) -> None:
        self.rows, self.overlaps, self.same_shape = 0, list[Overlap](), list[tuple[int, int, int]]()
        self.functions: dict[int, int] = {}
        self.families: dict[int, list[str]] = {}
        self.total = 0
        self._programs: dict[int, Functions] = {}
        self._spool = spool

    def add(self, shard: Shard, rows: int) -> None:
        """The next rows."""
        first = self.rows
        self.overlaps += [Overlap(first + each.row, *astuple(each)[1:]) for each in shard.overlaps]
        self.same_shape += [(first + row, item, nodes) for row, item, nodes in shard.same_shape]
        for row, functions in shard.functions.items():
            self.functions[first + row] = len(functions[1])
            self.total += len(functions[1])
            if self.total <= MOST_PROGRAMS:
                self._programs[first + row] = functions
        self.families |= {first + row: families for row, families in shard.families.items()}
        self.rows += rows

    def program(self, row: int) -> Functions:
        """The functions of a row."""
        if row in self._programs:
            return self._programs[row]
        (conversation,) = self._spool.read([row])
        return program_of(_pieces(texts_of(conversation), shaped=True))


class Looking:
    """The items, ready for rows to be compared with."""

    def __init__(self, items: Sequence[Item], ranking: Ranking, *, programs: bool) -> None:
        """Without `programs`, functions are not collected to be run."""
        self.items, self.ranking, self.programs, self.grams = items, ranking, programs, Grams(items)
        self.shaped = any(item.program for item in items)
        self.families = frozenset(LANGUAGES[item.language] for item in items if item.runnable_elsewhere)
        self.key = artifacts.fingerprint([[asdict(item) for item in items], programs, artifacts.code_version(CODE)])
        self._wanted: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            least = SHAPE_NODES if item.program else SHAPE_TOKENS
            own = shapes_of(item)
            for shape in own[-1:] if item.program else sorted(own, key=lambda each: -each.nodes)[:1]:
                if shape.nodes >= least:
                    self._wanted[shape.whole].append(index)

    def shard(self, rows: Iterable[list[str]]) -> Shard:
        """What is found in some rows, fewer than 65,536, each as the texts of its turns."""
        found, rest, begin = Shard(), iter(rows), 0
        while chunk := list(itertools.islice(rest, CHUNK)):
            self._chunk(chunk, begin, found)
            begin += len(chunk)
        return found

    def _chunk(self, texts: Sequence[list[str]], first: int, shard: Shard) -> None:
        joined = ["\n\n".join(each) for each in texts]
        pieces = [_pieces(each, shaped=self.shaped) for each in texts]
        shaped = (self.shaped and _may_hold_python(text) for text in joined)
        found = [shapes(each) if look else [] for each, look in zip(pieces, shaped, strict=True)]
        for number, read in enumerate(self._elsewhere(texts)):
            found[number] = [*found[number], *(shape for source in read for shape in source.shapes())]
            if families := sorted({source.family for source in read if source.functions()}):
                shard.families[first + number] = families
        prose = words.words(joined, words.PROSE)
        shard.overlaps += self.grams.overlaps(joined, first, prose)
        shard.counted.append(self.ranking.count(joined, found, prose))
        for number, (each, some) in enumerate(zip(pieces, found, strict=True), first):
            same = ((shape.nodes, self._wanted.get(shape.whole, ())) for shape in some)
            shard.same_shape += [(number, index, nodes) for nodes, items in same for index in items]
            may = self.programs and _may_hold_python("".join(each))
            program, callables = program_of(each) if may else ("", [])
            if callables:
                shard.functions[number] = program, callables

    def _elsewhere(self, texts: Sequence[list[str]]) -> list[list[Source]]:
        """The code of each row in the other languages that items are in."""
        if not self.families:
            return []
        blocks = iter(of_texts([text for some in texts for text in some]))
        own = [[block for _ in some for block in next(blocks)] for some in texts]
        return [sources(each, self.families) for each in own]


def look(
    spool: Spool, looking: Looking, folder: Path | None, emit: Emit = ignore_event, step: str = "",
    executor: Executor | None = None, crew_size: int | None = None,
) -> Seen:  # fmt: skip
    """All rows of the spool, by the executor's workers if there are any. Finished shards are kept in `folder`."""
    seen = Seen(spool)
    if folder is not None:
        folder.mkdir(exist_ok=True)
    begun: deque[tuple[int, Path | None]] = deque()  # what was given to workers: rows, and the file to be
    arguments = {"items": looking.items, "programs": looking.programs}
    with crew_of(executor, Looker(looking), "codeup.decontaminate.look:worker", arguments, count=crew_size) as crew:
        for made in crew.in_order(_pieces_of(spool, looking, folder, begun)):
            rows, path = begun.popleft()
            shard: Shard | None = made
            if path is not None and shard is None:
                shard = read_shard(path)
            elif path is not None and shard is not None:
                artifacts.write_bytes(path, shard_bytes(shard))
            if shard is None:
                raise WorkFailed(f"{path} was changed while it was in use")
            looking.ranking.take(shard.counted, functools.partial(_counted_in, path) if path is not None else None)
            seen.add(shard, rows)
            emit(Event("progress", step, seen.rows, len(spool), "rows read"))
    return seen


def _pieces_of(
    spool: Spool, looking: Looking, folder: Path | None, begun: deque[tuple[int, Path | None]]
) -> Iterator[list[bytes]]:  # fmt: skip
    """The lines of each shard; none of one that is on the disk already."""
    for begin in range(0, len(spool), SHARD):
        lines = list(spool.lines(range(begin, min(begin + SHARD, len(spool)))))
        key = hashlib.sha256(looking.key.encode())  # processors have an instruction for it
        for line in lines:
            key.update(line)
        path = folder / f"{begin:09}-{key.hexdigest()}" if folder is not None else None
        begun.append((len(lines), path))
        yield [] if path is not None and read_shard(path) is not None else lines


class Looker:
    """The worker: from the lines of some rows to what is found in them, None for no rows."""

    def __init__(self, looking: Looking) -> None:
        self.looking = looking
        self.about: dict[str, Any] = {}

    def work(self, lines: list[bytes]) -> Shard | None:
        return self.looking.shard(map(texts_in, lines)) if lines else None

    def close(self) -> None:
        """Nothing to close."""


def worker(*, items: Sequence[Item], programs: bool) -> Looker:
    """A worker on another machine."""
    return Looker(Looking(items, Ranking(items), programs=programs))


def _counted_in(path: Path) -> list[Both]:
    shard = read_shard(path)
    if shard is None:
        raise WorkFailed(f"{path} was changed while it was in use")
    return shard.counted


def _pieces(turns: list[str], *, shaped: bool) -> list[str]:
    """The turns, and functions that one turn begins and the next one ends."""
    if not shaped:
        return turns
    pairs = itertools.pairwise(turns)
    return [*turns, *(whole for a, b in pairs if "def " in a and (whole := completed(a, b)))]


def _may_hold_python(text: str) -> bool:
    return "def " in text or "lambda" in text


# --- shards as files -------------------------------------------------------------------------------------------------

_COUNTED = ("terms", "rows", "counts", "lengths")


def shard_bytes(shard: Shard) -> bytes:
    """A hash of 16 bytes and arrays: the chunks end to end with their sizes, the rest as JSON."""
    rest = {"overlaps": list(map(astuple, shard.overlaps)), "same_shape": shard.same_shape,
            "functions": [[row, program, list(map(astuple, each))] for row, (program, each) in shard.functions.items()],
            "families": list(shard.families.items()),
            }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {"rest": np.frombuffer(json.dumps(rest).encode(), np.uint8)}
    for side, kind in enumerate(("words", "shapes")):
        some = [pair[side] for pair in shard.counted]
        for name in _COUNTED:
            arrays[f"{kind}_{name}"] = np.concatenate([getattr(each, name) for each in some])
        arrays[f"{kind}_sizes"] = np.array([[len(each.terms), len(each.lengths)] for each in some])
    written = io.BytesIO()
    np.savez(written, allow_pickle=False, **arrays)
    return hashlib.blake2b(written.getbuffer(), digest_size=16).digest() + written.getvalue()


def read_shard(path: Path) -> Shard | None:
    """What `shard_bytes` made; None where there is no such file or it is damaged."""
    found = path.read_bytes() if path.exists() else b""
    if hashlib.blake2b(found[16:], digest_size=16).digest() != found[:16]:
        return None
    with np.load(io.BytesIO(found[16:])) as arrays:
        rest = json.loads(arrays["rest"].tobytes())
        sides = [_counted(arrays, kind) for kind in ("words", "shapes")]
    return Shard(
        list(zip(*sides, strict=True)),
        [Overlap(*each) for each in rest["overlaps"]],
        [(row, item, nodes) for row, item, nodes in rest["same_shape"]],
        {row: (program, [Callable_(*each) for each in some]) for row, program, some in rest["functions"]},
        dict(rest["families"]),
    )


def _counted(arrays: Any, kind: str) -> list[Counted]:
    terms, rows = np.cumsum(arrays[f"{kind}_sizes"], axis=0)[:-1].T
    parts = (np.split(arrays[f"{kind}_{name}"], rows if name == "lengths" else terms) for name in _COUNTED)
    return [Counted(*each) for each in zip(*parts, strict=True)]
