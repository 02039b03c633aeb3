"""All rows that wait on disk, their answers' code put to the compilers: which rows go, and the account.

    spool -> rows -> code blocks (data/code_languages.py) -> each distinct one judged once -> {row: (reason, detail)}

BATCH distinct blocks are judged together; then what was said of them is on the disk, and a call that goes on after this
one was killed does not ask again. Rows are gone through in their order, so the account does not depend on who answered
first. Memory: about 200 bytes for each distinct block. A program that draws random numbers or looks at the clock may be
judged differently on another day; nothing else here is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.codecheck.compilers import Compilers, Mode, Said
from codeup.data.code_languages import of_texts
from codeup.data.filters import code_compiles, code_runs
from codeup.data.spool import Spool
from codeup.types import Conversation, Emit, Event, ignore_event

REASONS: dict[Mode, str] = {"compiles": code_compiles.REASON, "runs": code_runs.REASON}
BATCH = 256
ROWS = 512
"""Rows whose languages are told together."""
EXAMPLES = 5
EXCERPT = 240
Block = tuple[str, str]
Answers = dict[Mode, Said]


@dataclass(slots=True)
class Checked:
    """Rows to take out, with reason and detail, and the account: blocks by what was said of them, examples."""

    out: dict[int, tuple[str, str]] = field(default_factory=dict)
    modes: dict[Mode, dict[str, _Tally]] = field(default_factory=dict)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, number: int, row: Conversation, blocks: Sequence[tuple[Block, Answers]]) -> None:
        """A row with all that was said of its code. It goes for the first block that fails."""
        failed: set[tuple[Mode, str]] = set()
        for (language, code), answers in blocks:
            for mode, said in answers.items():
                tally = self.modes.setdefault(mode, {}).setdefault(language, _Tally())
                tally.said[said.status][said.why] += 1
                if said.status != "fails":
                    continue
                if (mode, language) not in failed:
                    failed.add((mode, language))
                    tally.rows += 1
                reason, detail = REASONS[mode], f"{language}: {said.why}"
                self.out.setdefault(number, (reason, detail))
                shown = self.examples.setdefault(reason, [])
                if len(shown) < EXAMPLES:
                    text = f"{detail}: {code[:EXCERPT]}"
                    shown.append({"source": row.source, "row": row.row, "before": text, "after": ""})

    def to_dict(self) -> dict[str, Any]:
        """{"compiles": {"python": {"blocks", "ok", "not told": {why: n}, "fails": {why: n}, "rows"}}, "examples"}."""
        found: dict[str, Any] = {}
        for mode, each in self.modes.items():
            found[mode] = {name: each[name].to_dict() for name in sorted(each)}
        return {**found, "examples": self.examples}


@dataclass(slots=True)
class _Tally:
    """One language: what was said of its blocks, and how many rows hold one that fails."""

    said: dict[str, Counter[str]] = field(default_factory=lambda: {k: Counter() for k in ("ok", "not told", "fails")})
    rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        blocks = sum(count.total() for count in self.said.values())
        why = {status: dict(self.said[status].most_common()) for status in ("not told", "fails")}
        return {"blocks": blocks, "ok": self.said["ok"].total(), **why, "rows": self.rows}


def check(
    spool: Spool, numbers: Sequence[int], *, compiles: Sequence[str], runs: Sequence[str], known: Path,
    workers: int = 1, emit: Emit = ignore_event, step: str = "",
) -> Checked:  # fmt: skip
    """Judge the code of these rows, in the languages named. `known` is the file in which what was said is kept.

    Raises UserError where a language's tools are missing or the sandbox is not strong, WorkFailed where it breaks.
    """
    checked = Checked(modes={mode: {} for mode, asked in _asked(compiles, runs) if asked})
    wanted = {*compiles, *runs}
    began, judged, done = time.monotonic(), 0, 0
    with Compilers(sorted(wanted), workers=workers) as compilers, _Known(known) as said:
        for group in _groups(_rows(spool, numbers, wanted), said):
            fresh = list(dict.fromkeys(block for _, _, blocks in group for block in blocks if block not in said))
            said.add(_judge(fresh, compilers, compiles, runs))
            for number, row, blocks in group:
                checked.add(number, row, [(block, said.of(block)) for block in blocks])
            judged, done = judged + len(fresh), done + len(group)
            values = {"blocks/s": judged / max(1e-9, time.monotonic() - began)}
            emit(Event("progress", step, done, len(numbers), "rows whose code was tried", values))
    return checked


def _asked(compiles: Sequence[str], runs: Sequence[str]) -> tuple[tuple[Mode, Sequence[str]], ...]:
    return ("compiles", compiles), ("runs", runs)


def _rows(spool: Spool, numbers: Sequence[int], wanted: set[str]) -> Iterator[tuple[int, Conversation, list[Block]]]:
    """Every row with the blocks of its answers that are in the languages wanted."""
    for begin in range(0, len(numbers), ROWS):
        some = numbers[begin : begin + ROWS]
        rows = list(spool.read(some))
        answers = [[turn.content for turn in row.messages if turn.role == "assistant"] for row in rows]
        found = iter(of_texts(list(itertools.chain.from_iterable(answers))))
        for number, row, texts in zip(some, rows, answers, strict=True):
            yield number, row, [block for _ in texts for block in next(found) if block[0] in wanted]


def _groups(rows: Iterator[tuple[int, Conversation, list[Block]]], said: _Known) -> Iterator[list[Any]]:
    """Rows in order, as many together as hold BATCH blocks that nothing was said of yet."""
    group: list[Any] = []
    fresh: set[Block] = set()
    for each in rows:
        group.append(each)
        fresh.update(block for block in each[2] if block not in said)
        if len(fresh) >= BATCH or len(group) >= BATCH * 16:
            yield group
            group, fresh = [], set()
    yield group


def _judge(
    blocks: Sequence[Block], compilers: Compilers, compiles: Sequence[str], runs: Sequence[str]
) -> dict[Block, Answers]:
    """All that is asked of each. Only what compiles is run."""
    read = dict(zip(blocks, compilers.read(blocks), strict=True))
    to_run = [block for block in blocks if block[0] in runs and read[block].status == "ok"]
    ran = dict(zip(to_run, compilers.run(to_run), strict=True))
    found: dict[Block, Answers] = {}
    for block in blocks:
        answers: Answers = {"compiles": read[block]} if block[0] in compiles else {}
        if block[0] in runs and (read[block].status != "fails" or not answers):  # a failure is counted once
            answers["runs"] = ran.get(block, read[block])
        found[block] = answers
    return found


class _Known:
    """What was said of each block, in memory and in a file that survives a kill; a last line cut short is not used."""

    def __init__(self, path: Path) -> None:
        self._said: dict[bytes, Answers] = {}
        if path.exists():
            text = path.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]
            if whole != text:
                artifacts.write_bytes(path, whole)
            for key, answers in map(json.loads, whole.splitlines()):
                self._said[bytes.fromhex(key)] = {mode: Said(*each) for mode, each in answers.items()}
        self._file = path.open("ab")

    def __enter__(self) -> _Known:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, block: Block) -> bool:
        return _key(block) in self._said

    def of(self, block: Block) -> Answers:
        """Raises KeyError for a block that was not judged."""
        return self._said[_key(block)]

    def add(self, found: dict[Block, Answers]) -> None:
        """On the disk when this returns."""
        for block, answers in found.items():
            key = _key(block)
            self._said[key] = answers
            plain = {mode: [said.status, said.why] for mode, said in answers.items()}
            self._file.write(json.dumps([key.hex(), plain]).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _key(block: Block) -> bytes:
    language, code = block
    return hashlib.blake2b(f"{language}\n{code}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
