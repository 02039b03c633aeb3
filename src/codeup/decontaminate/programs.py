"""Functions of rows in other languages than Python, put under the name that a benchmark item asks for, and run.

    item   JavaScript/0, hasCloseElements(numbers, threshold), with its own tests
    row    function anyNear(xs, gap) { ... }   ->   function hasCloseElements(xs, gap) { ... }   and the item's tests

The item's tests run in the language's own room (`languages/`): sandbox, warm compilers, and a pass needs the proof that
the last check was reached. Of each item the rows most like it are tried, with functions that take as many arguments and
values of the same kinds, MOST_OF_ALL of them. JavaScript is quick enough for more: in one process all functions are
looked at with all tests (screen.js), or in large files those of the RETRIEVED rows, and only what passes there is run
by itself. Only definitions are kept of a row's code (data/contamination/other_functions.py); renamed.py makes the
program.

Each program with its tests is run once, whichever rows hold it; what came of it is written down at once, so that an
interrupted run continues. A language whose tools are missing is named, and its rows are judged by likeness only.
Not tried: other orders of arguments, printed results, other types than the tests use where a compiler minds.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
from codeup.decontaminate.renamed import definitions, expression, under_name
from codeup.decontaminate.trials import read_known
from codeup.errors import UserError
from codeup.languages._tools import run_step
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, ProgramJob, RunJob
from codeup.types import Emit, Event, Outcome

VERSION = 1
RETRIEVED = 50
LOOKED_AT = 400
"""Rows in an item's order among which functions are looked for that may answer it."""
MOST_OF_A_ROW, MOST_OF_ALL, MOST_PROGRAMS = 4, 20, 10_000
"""Functions of one row and of all rows that are tried on one item; of a language with many items fewer of all rows."""
MOST_SCREENED = 20_000
"""Rows with JavaScript that are all looked at; of more only those retrieved."""
SCREENED = 200
"""Functions of one process that looks at JavaScript's, and what it may take."""
SCREEN_CPU_S = 120.0
CPU_S, MEMORY_MB = 3.0, 1024
LIMITS = Limits(cpu_s=10.0, wall_s=60.0, memory_mb=1024, scratch_mb=256, files=256, threads=512)
"""The sandbox's own; compilers have those of languages/_tools.py."""
BATCH = 64
FEW_CALLS, MANY_CALLS = 3, 5
"""Calls in an item's tests that prove something: of one that returns more than yes or no, and of any."""
_TYPESCRIPT = "typescript"


@dataclass(frozen=True, slots=True)
class Tried:
    """A function on one item: the room that runs it, the program with it under the item's name, the name it had."""

    item: int
    room: str
    program: str
    name: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A JavaScript function of a row, and the numbers of the tests that it is looked at with."""

    row: int
    source: Source
    function: Found
    tests: list[int]


@dataclass(slots=True)
class Passed:
    """Row -> item -> the name of its function that passes; and what was done for each language."""

    rows: dict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
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
        tried = _tried(items, able, ranking, among, rows) if run and holders else {}
        wanted = dict.fromkeys([*(["javascript"] if language == "javascript" else []), *(t.room for t in tried)])
        rooms, missing = _rooms(wanted if run and holders else {})
        why = "" if run else "running is switched off"
        why = why or ("" if able else "no function to call was found in its items (is its grammar installed?)")
        count = 0
        try:
            if "javascript" in rooms and able:
                tried |= _screen(items, able, ranking, among, rows, rooms["javascript"], emit, step)
            ready = [each for each in tried if each.room in rooms]
            count = len(ready)
            for each in _passing(ready, items, rooms, known, workers, emit, step) if ready else ():
                for row in tried[each]:
                    passed.rows[row].setdefault(each.item, each.name)
        except UserError as error:  # a sandbox that is not strong runs no compilers
            why, count = str(error), 0
        passed.account.append({
            "language": language, "items": len(own), "items_run": len(able), "rows": len(holders),
            "programs": count, "likeness_only": "; ".join([*([why] if why else []), *missing]),
        })  # fmt: skip
    return passed


def _rooms(names: Sequence[str] | Mapping[str, None]) -> tuple[dict[str, Any], list[str]]:
    """The tools that are here, and what is missing."""
    found: dict[str, Any] = {}
    missing: list[str] = []
    for name in names:
        try:
            found[name] = plugins.load("languages", name).toolchain()
        except UserError as error:
            missing.append(f"{name}: {error}")
    return found, missing


# --- what is tried ---------------------------------------------------------------------------------------------------


class _Rows:
    """The code of the rows in one language, read when it is asked for."""

    def __init__(self, spool: Spool, family: str) -> None:
        self._spool, self._family = spool, family
        self.of = functools.lru_cache(maxsize=2048)(self._of)

    def _of(self, row: int) -> list[Source]:
        (conversation,) = self._spool.read([row])
        return sources([block for some in of_texts(texts_of(conversation)) for block in some], {self._family})


def _tried(
    items: Sequence[Item], able: Sequence[int], ranking: Ranking, among: NDArray[np.bool_], rows: _Rows
) -> dict[Tried, list[int]]:  # fmt: skip
    """Every program to run, with the rows that hold it."""
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
    """The programs of a row for one item; JavaScript for JavaScript is screened instead."""
    wanted = asked(item)
    fitting = [(source, each) for source in some for each in source.functions() if each.may_answer(wanted)]
    for source, function in fitting[:MOST_OF_A_ROW]:
        if not _screened(source, item):
            room = _TYPESCRIPT if _TYPESCRIPT in (source.language, item.language) else LANGUAGES[source.language]
            yield Tried(index, room, under_name(source, function, wanted), function.name)


def _screened(source: Source, item: Item) -> bool:
    return source.language == item.language == "javascript" and "require(" not in item.tests


@functools.lru_cache(maxsize=4096)
def asked(item: Item) -> Found:
    """The function of an item's own solution."""
    return [each for each in Source(item.language, item.source).functions() if each.name == item.entry_point][-1]


def telling(item: Item) -> bool:
    """Whether an item's tests prove something by themselves: their calls are many, or expect more than yes and no."""
    calls = len(re.findall(rf"\b{re.escape(item.entry_point)}\s*\(", item.tests))
    words = len(re.findall(r"(?i)\b(?:true|false)\b", item.tests))
    asserts_alone = not re.search(r"[=!]=|[Ee]qual|eq!|deep", item.tests)
    return calls >= MANY_CALLS if words >= calls or asserts_alone else calls >= FEW_CALLS


# --- JavaScript, all at once -----------------------------------------------------------------------------------------


def _screen(
    items: Sequence[Item], able: Sequence[int], ranking: Ranking, among: NDArray[np.bool_], rows: _Rows, tools: Any,
    emit: Emit, step: str,
) -> dict[Tried, list[int]]:  # fmt: skip
    """The programs that pass at a first look, which keeps nothing apart but contexts: they are yet to be run."""
    asked_of: dict[int, Sequence[int]] = {row: able for row in np.flatnonzero(among).tolist()}
    if len(asked_of) > MOST_SCREENED:
        asked_of = defaultdict(list)
        for index in able:
            for each in ranking.best(index, RETRIEVED, among):
                asked_of[each.row].append(index)  # type: ignore[attr-defined]
    found: dict[Tried, list[int]] = defaultdict(list)
    texts = [{"entry": items[index].entry_point, "text": items[index].tests} for index in able]
    place = {index: number for number, index in enumerate(able)}
    limits = Limits(cpu_s=SCREEN_CPU_S, wall_s=2 * SCREEN_CPU_S, memory_mb=1024, scratch_mb=64, files=64, threads=512)
    with Pool(1, limits, show=tools.show, import_names=(), proc=dict(tools.proc)) as pool:
        waiting: list[Looked] = []
        for done, (row, indices) in enumerate(sorted(asked_of.items()), 1):
            for source in rows.of(row):
                some = [index for index in indices if _screened(source, items[index])]
                for function in source.functions():
                    fitting = [place[index] for index in some if function.may_answer(asked(items[index]))]
                    waiting += [Looked(row, source, function, fitting)] if fitting else []
            if len(waiting) >= SCREENED or done == len(asked_of):
                for one, number in _passes_at_once(waiting, texts, pool, tools) if waiting else ():
                    index = able[number]
                    program = under_name(one.source, one.function, asked(items[index]))
                    found[Tried(index, "javascript", program, one.function.name)].append(one.row)
                waiting = []
                emit(Event("progress", step, done, len(asked_of), "rows with JavaScript"))
    return found


def _passes_at_once(
    waiting: Sequence[Looked], texts: Sequence[Mapping[str, str]], pool: Pool, tools: Any
) -> Iterator[tuple[Looked, int]]:
    """Which of these functions pass which tests, in one process. Where that dies of one of them, halves are tried."""
    listed = [
        {"code": definitions(each.source), "expression": expression(each.function), "tests": each.tests}
        for each in waiting
    ]
    files = {
        "screen.js": Path(__file__).with_name("screen.js").read_text(encoding="utf-8"),
        "functions.json": json.dumps(listed), "tests.json": json.dumps(texts),
    }  # fmt: skip
    argv = [tools.at["node"], "--max-old-space-size=512", "screen.js"]
    step = {**run_step(argv, cpu_s=SCREEN_CPU_S, memory_mb=1536), "stdin": ""}
    (done,) = pool.run(RunJob(files, {}, (step,), {"files": 0, "bytes": 0}))["steps"]
    if done["status"] != 0 and len(waiting) > 1:
        for half in (waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]):
            yield from _passes_at_once(half, texts, pool, tools)
    for line in done["out"].splitlines() if done["status"] == 0 else ():
        if re.fullmatch(r"\d+ \d+", line):
            number, test = map(int, line.split())
            if number < len(waiting) and test in waiting[number].tests:
                yield waiting[number], test


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
