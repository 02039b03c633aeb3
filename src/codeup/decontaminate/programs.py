"""Functions of rows in other languages than Python, put under the name that a benchmark item asks for, and run.

    item   JavaScript/0, hasCloseElements(numbers, threshold), with its own tests
    row    function anyNear(xs, gap) { ... }   ->   function hasCloseElements(xs, gap) { ... }   and the item's tests

The item's tests run in the language's own room (`languages/`): sandbox, warm compilers, and a pass needs the proof that
the last check was reached. Of each item the rows most like it are tried, with functions that take as many arguments and
values of the same kinds, MOST_OF_ALL of them. JavaScript, TypeScript and PHP are quick enough for more: all functions
are looked at with all tests in one process (screen.py), or in large files those of the RETRIEVED rows, and only what
passes there is run by itself. Only definitions are kept of a row's code (data/contamination/other_functions.py);
renamed.py makes the program.

Each program with its tests is run once, whichever rows hold it; what came of it is written down at once, so that an
interrupted run continues. A language whose tools are missing is named, and its rows are judged by likeness only.
Not tried: other orders of arguments, printed results, other types than the tests use where a compiler minds.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeup import artifacts, plugins
from codeup.data.code_languages import of_texts
from codeup.data.contamination.items import Item
from codeup.data.contamination.other_functions import LANGUAGES, Found, Source, sources
from codeup.data.contamination.retrieval import Ranking
from codeup.data.spool import Spool
from codeup.data.store import texts_of
from codeup.decontaminate.look import Seen
from codeup.decontaminate.renamed import under_name
from codeup.decontaminate.screen import ROOMS, TYPED, UNSEEN, Look, asked, screen
from codeup.decontaminate.screen import able as able_to_look
from codeup.decontaminate.suites import FEW
from codeup.decontaminate.trials import read_known
from codeup.errors import UserError
from codeup.languages._tools import Toolchain
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, ProgramJob
from codeup.types import Emit, Event, Outcome

VERSION = 1
RETRIEVED = 50
LOOKED_AT = 400
"""Rows in an item's order among which functions are looked for that may answer it."""
MOST_OF_A_ROW, MOST_OF_ALL, MOST_PROGRAMS = 4, 20, 10_000
"""Functions of one row and of all rows that are tried on one item; of a language with many items fewer of all rows."""
MOST_SCREENED = 20_000
"""Rows with JavaScript, or PHP, that are all looked at; of more only those retrieved."""
CPU_S, MEMORY_MB = 3.0, 1024
LIMITS = Limits(cpu_s=10.0, wall_s=60.0, memory_mb=1024, scratch_mb=256, files=256, threads=512)
"""The sandbox's own; compilers have those of languages/_tools.py."""
BATCH = 64
FEW_CALLS, MANY_CALLS = 3, 5
"""Calls in an item's tests that prove something: of one that returns more than yes or no, and of any."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A function on one item: the room that runs it, the program with it under the item's name, the name it had, and
    what the first look saw, where there was one."""

    item: int
    room: str
    program: str
    name: str
    look: Look = field(default=UNSEEN, compare=False)


@dataclass(slots=True)
class Passed:
    """Row -> item -> its function that passes; and what was done for each language."""

    rows: dict[int, dict[int, Tried]] = field(default_factory=lambda: defaultdict(dict))
    account: list[dict[str, Any]] = field(default_factory=list)


def try_all(
    spool: Spool, items: Sequence[Item], seen: Seen, ranking: Ranking, known: Path, *, run: bool, workers: int,
    emit: Emit, step: str,
) -> Passed:  # fmt: skip
    """Try what the rows hold on the items of their language. Raises WorkFailed where the sandbox breaks."""
    passed = Passed()
    for language in dict.fromkeys(LANGUAGES[item.language] for item in items if item.language):
        own = [index for index, item in enumerate(items) if item.language and LANGUAGES[item.language] == language]
        holders = sorted(row for row, families in seen.families.items() if language in families)
        able = [index for index in own if items[index].runnable_elsewhere]
        among = np.zeros(seen.rows, dtype=bool)
        among[holders] = True
        rows = _Rows(spool, language)
        why = "" if run else "running is switched off"
        why = why or ("" if able else "no function to call was found in its items (is its grammar installed?)")
        count, missing = 0, dict[str, str]()
        try:
            tried, rooms, missing = (
                _candidates(items, able, ranking, among, rows, emit, step) if holders and not why else ({}, {}, {})
            )
            count = len(tried)
            for each in _passing(list(tried), items, rooms, known, workers, emit, step) if tried else ():
                for row in tried[each]:
                    before = passed.rows[row].get(each.item)
                    if before is None or (each.look.agrees and not before.look.agrees):
                        passed.rows[row][each.item] = each
        except UserError as error:  # a sandbox that is not strong runs no compilers
            why, count = str(error), 0
        lacking = [f"{name}: {error}" for name, error in missing.items()]
        passed.account.append({
            "language": language, "items": len(own), "items_run": len(able), "rows": len(holders),
            "programs": count, "likeness_only": "; ".join([*([why] if why else []), *lacking]),
        })  # fmt: skip
    return passed


def _rooms(names: Iterable[str]) -> tuple[dict[str, Toolchain], dict[str, str]]:
    """The tools that are here, and what is missing."""
    found: dict[str, Toolchain] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = plugins.load("languages", name).toolchain()
        except UserError as error:
            missing[name] = str(error)
    return found, missing


# --- what is tried ---------------------------------------------------------------------------------------------------


def _candidates(
    items: Sequence[Item], able: Sequence[int], ranking: Ranking, among: NDArray[np.bool_], rows: _Rows, emit: Emit,
    step: str,
) -> tuple[dict[Tried, list[int]], dict[str, Toolchain], dict[str, str]]:  # fmt: skip
    """The programs to run with the rows that hold them, the tools that run them, and the tools that are missing."""
    needed = ROOMS.get(rows.family, ())
    rooms, missing = _rooms(needed)
    if needed and needed[0] not in rooms:
        return {}, rooms, missing
    found: dict[Tried, list[int]] = defaultdict(list)
    seen = set[int]()
    if able_to_look(rooms):
        asked_of = _asked_of(items, able, ranking, among)
        passing, seen = screen(items, asked_of, rows.of, rooms, emit, step)
        for one in passing:
            each = _put_under_name(one.source, one.function, items[one.item], one.item, one.look)
            found[each].append(one.row)
    found |= _ranked(items, [index for index in able if index not in seen], ranking, among, rows)
    more, lacking = _rooms({each.room: None for each in found if each.room not in rooms})
    rooms, missing = {**rooms, **more}, {**missing, **lacking}
    if not rows.typed and not any(items[index].language == TYPED for index in able):
        missing.pop(TYPED, None)  # nothing asked for it
    return {each: some for each, some in found.items() if each.room in rooms}, rooms, missing


class _Rows:
    """The code of the rows in one language, read when it is asked for."""

    def __init__(self, spool: Spool, family: str) -> None:
        self._spool, self.family = spool, family
        self.typed = False
        """Whether one that was read is TypeScript."""
        self.of = functools.lru_cache(maxsize=2048)(self._of)

    def _of(self, row: int) -> list[Source]:
        (conversation,) = self._spool.read([row])
        found = sources([block for some in of_texts(texts_of(conversation)) for block in some], {self.family})
        self.typed = self.typed or any(each.language == TYPED for each in found)
        return found


def _ranked(
    items: Sequence[Item], able: Sequence[int], ranking: Ranking, among: NDArray[np.bool_], rows: _Rows
) -> dict[Tried, list[int]]:  # fmt: skip
    """Programs of the rows most like each item."""
    found: dict[Tried, list[int]] = defaultdict(list)
    most = min(MOST_OF_ALL, MOST_PROGRAMS // max(len(able), 1))
    for index in able:
        own: set[Tried] = set()
        for each in ranking.best(index, LOOKED_AT, among):
            for tried in _of_row(rows.of(each.row), items[index], index):
                own.add(tried)
                if each.row not in found[tried]:
                    found[tried].append(each.row)
            if len(own) >= most:
                break
    return found


def _of_row(some: Sequence[Source], item: Item, index: int) -> Iterator[Tried]:
    """The programs of a row for one item."""
    wanted = asked(item)
    fitting = [(source, each) for source in some for each in source.functions() if each.may_answer(wanted)]
    for source, function in fitting[:MOST_OF_A_ROW]:
        yield _put_under_name(source, function, item, index)


def _put_under_name(source: Source, function: Found, item: Item, index: int, look: Look = UNSEEN) -> Tried:
    room = TYPED if TYPED in (source.language, item.language) else LANGUAGES[source.language]
    return Tried(index, room, under_name(source, function, asked(item)), function.name, look)


def _asked_of(
    items: Sequence[Item], able: Sequence[int], ranking: Ranking, among: NDArray[np.bool_]
) -> dict[int, Sequence[int]]:  # fmt: skip
    """Which items rows are looked at with first: all, or of many rows those retrieved for an item."""
    holders = np.flatnonzero(among).tolist()
    if len(holders) <= MOST_SCREENED:
        return dict.fromkeys(holders, able)
    found: dict[int, list[int]] = defaultdict(list)
    for index in able:
        for each in ranking.best(index, RETRIEVED, among):
            found[each.row].append(index)
    return dict(sorted(found.items()))


def telling(item: Item, look: Look = UNSEEN) -> bool:
    """Whether a pass proves something by itself: its inputs are many, or expect more than yes and no.

    Of an item whose solution said what varied inputs give, these count; else the calls in its tests.
    """
    suite = look.suite
    if suite.inputs:
        return suite.strength > 1 and suite.given + len(suite.inputs) >= (FEW if suite.strength > 2 else 2 * FEW)
    calls = len(re.findall(rf"\b{re.escape(item.entry_point)}\s*\(", item.tests))
    words = len(re.findall(r"(?i)\b(?:true|false)\b", item.tests))
    asserts_alone = not re.search(r"[=!]=|[Ee]qual|eq!|deep", item.tests)
    return calls >= (MANY_CALLS if words >= calls or asserts_alone else FEW_CALLS)


# --- running ---------------------------------------------------------------------------------------------------------


def _passing(
    tried: Sequence[Tried], items: Sequence[Item], rooms: Mapping[str, Any], known: Path, workers: int, emit: Emit,
    step: str,
) -> Iterator[Tried]:  # fmt: skip
    """Those whose program passes the item's tests. What is known from before is not run again."""
    keys = {each: _key(each, items[each.item], rooms[each.room].version) for each in tried}
    before = read_known(known)
    missing = [each for each in tried if keys[each] not in before]
    if missing:
        tools = [rooms[name] for name in dict.fromkeys(each.room for each in missing)]
        show = dict.fromkeys(path for each in tools for path in each.show)
        proc = {name: text for each in tools for name, text in each.proc.items()}
        with Pool(workers, LIMITS, show=tuple(show), proc=proc, import_names=()) as pool, known.open("a") as file:
            for begin in range(0, len(missing), BATCH):
                batch = missing[begin : begin + BATCH]
                jobs = [_job(number, each, items[each.item], rooms) for number, each in enumerate(batch)]
                for verdict in pool.judge(jobs, retry=False):
                    key = keys[batch[verdict.index]]
                    before[key] = [1] if verdict.outcome is Outcome.PASSED else []
                    file.write(json.dumps({"key": key, "solved": before[key]}) + "\n")
                file.flush()
                done = len(tried) - len(missing) + begin + len(batch)
                emit(Event("progress", step, done, len(tried), "programs of other languages run"))
    yield from (each for each in tried if before[keys[each]])


def _job(number: int, tried: Tried, item: Item, rooms: Mapping[str, Any]) -> ProgramJob:
    extra = {"setup": item.setup, "standard": "c++17", "crates": ("rand", "regex", "md5")}
    wrapped = plugins.load("languages", tried.room).wrap(
        tried.program, item.tests, tools=rooms[tried.room], cpu_s=CPU_S, memory_mb=MEMORY_MB, extra=extra
    )
    return ProgramJob(item.task_id, number, wrapped.files, wrapped.steps, wrapped.compat, wrapped.warm)


def _key(tried: Tried, item: Item, version: str) -> str:
    return artifacts.fingerprint([VERSION, version, tried.program, item.setup, item.tests])[:32]
