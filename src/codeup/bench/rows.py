"""Any number of training rows, mixed from a few thousand real ones, for measuring how fast data is prepared.

    pieces of real rows      [ask, answer] [ask, answer] ...          from Alpaca, GSM8K or ShareGPT files
    one made row             several pieces about as long as SIZE, in each of them some words put in place of others
    shapes                   half alpaca.jsonl, three tenths sharegpt.jsonl (turns), a fifth qa.jsonl (question, answer)

Of a hundred rows three repeat an earlier one exactly and three in all but a few words; of a thousand, one holds a
problem of a benchmark where one is given. Row n depends on (seed, n) alone, so a longer file begins like a shorter one.
The rows are text like real ones in length, words and code; they make no sense, and no model should learn from them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from codeup.data.files import read_rows
from codeup.errors import UserError

SIZE = 2400
"""Characters of a made row, on average."""
WORD = re.compile(r"[A-Za-z]{4,}")
CHANGES = 3
"""Words that are replaced in a piece."""
FILES = {"alpaca": "alpaca.jsonl", "sharegpt": "sharegpt.jsonl", "prompt_response": "qa.jsonl"}
"""Name of a source -> the file of its rows."""

Piece = tuple[str, str]


def pieces_of(paths: Sequence[Path]) -> list[Piece]:
    """Question and answer of every turn of the files' rows. Raises UserError where there are none."""
    found: list[Piece] = []
    for path in paths:
        for row in read_rows(path):
            found += _pairs(row.value or {})
    if len(found) < 100:
        raise UserError(
            f"{len(found)} questions with answers in {', '.join(map(str, paths)) or 'no file'}",
            mend="name files of Alpaca, GSM8K or ShareGPT rows with 100 or more",
        )
    return found


def _pairs(row: dict[str, Any]) -> list[Piece]:
    turns = row.get("conversations") or row.get("messages")
    if turns:
        texts = [turn.get("value") or turn.get("content") or "" for turn in turns]
        return [(ask, answer) for ask, answer in zip(texts[::2], texts[1::2], strict=False) if ask and answer]
    ask = row.get("instruction") or row.get("question") or row.get("prompt")
    answer = row.get("output") or row.get("answer") or row.get("response")
    if not isinstance(ask, str) or not isinstance(answer, str) or not answer.strip():
        return []
    return [(f"{ask}\n{row['input']}" if row.get("input") else ask, answer)]


def write_rows(
    folder: Path, count: int, pieces: Sequence[Piece], leaks: Sequence[str], seed: int = 0
) -> dict[str, int]:
    """Write the three files; bytes of each by the name of its source. `leaks` are texts of benchmark problems."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: (folder / file).open("w", encoding="utf-8") for name, file in FILES.items()}
    maker = _Maker(pieces, leaks, seed)
    for number in range(count):
        name, row = maker.row(number)
        files[name].write(json.dumps(row, ensure_ascii=False) + "\n")
    for file in files.values():
        file.close()
    return {name: (folder / file).stat().st_size for name, file in FILES.items()}


class _Maker:
    def __init__(self, pieces: Sequence[Piece], leaks: Sequence[str], seed: int) -> None:
        self.pieces, self.leaks, self.seed = pieces, leaks, seed
        self.words = [list(dict.fromkeys(WORD.findall(f"{ask} {answer}"))) for ask, answer in pieces]
        self.vocabulary = sorted({word for words in self.words for word in words})

    def row(self, number: int) -> tuple[str, dict[str, Any]]:
        """The source and the row of a number."""
        source = random.Random(f"{self.seed}:{number}")
        kind = source.random()
        if number >= 100 and kind < 0.06:
            earlier = source.randrange(number)
            name, parts = self._parts(earlier)
            if kind >= 0.03:
                ask, answer = parts[-1]
                parts[-1] = ask, f"{answer} {source.choice(self.vocabulary)} {source.choice(self.vocabulary)}"
        else:
            name, parts = self._parts(number)
            if self.leaks and kind > 0.999:
                parts.append(("Complete this function.", source.choice(self.leaks)))
        return name, _shaped(name, number, parts)

    def _parts(self, number: int) -> tuple[str, list[Piece]]:
        source = random.Random(f"{self.seed}:{number}:text")
        draw, wanted = source.random(), source.randrange(SIZE // 2, SIZE + SIZE // 2)
        name = "alpaca" if draw < 0.5 else "sharegpt" if draw < 0.8 else "prompt_response"
        return name, list(self._pieces(source, wanted))

    def _pieces(self, source: random.Random, wanted: int) -> Iterator[Piece]:
        begun = False
        while wanted > 0:
            at = source.randrange(len(self.pieces))
            ask, answer = self.pieces[at]
            for word in source.sample(self.words[at], min(CHANGES, len(self.words[at]))):
                other = source.choice(self.vocabulary)
                ask, answer = ask.replace(word, other), answer.replace(word, other)
            size = len(ask) + len(answer)
            if begun and size > 2 * wanted:
                return  # further from what is wanted with it than without
            wanted, begun = wanted - size, True
            yield ask, answer


def _shaped(name: str, number: int, parts: list[Piece]) -> dict[str, Any]:
    if name == "sharegpt":
        turns = [
            {"from": who, "value": text} for pair in parts for who, text in zip(("human", "gpt"), pair, strict=True)
        ]
        return {"id": str(number), "conversations": turns}
    asks, answers = "\n\n".join(ask for ask, _ in parts), "\n\n".join(answer for _, answer in parts)
    if name == "prompt_response":
        return {"prompt": asks, "response": answers}
    return {"instruction": asks, "input": "", "output": answers}


def texts(paths: Sequence[Path], limit: int) -> Iterator[str]:
    """The first texts of made rows, whole, for tools that take one text a row."""
    left = limit
    for path in paths:
        for row in read_rows(path):
            if left == 0:
                return
            yield "\n".join(f"{ask}\n{answer}" for ask, answer in _pairs(row.value or {}))
            left -= 1
