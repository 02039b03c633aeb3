"""One YAML file of LLaMA-Factory: its values with their lines, and the mistakes and notes that reading it makes.

Reading never stops at the first mistake; `raise_all` raises them together. Which keys there are, and what becomes of
each, is in keys.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup import recipe_text as text
from codeup.errors import UserError
from codeup.interop.keys import IGNORED, KNOWN, REFUSED


@dataclass(frozen=True, slots=True)
class Note:
    """A key that was read and has no effect (`ignored`), or not quite the same one (`differs`)."""

    kind: str
    key: str
    where: str
    why: str


@dataclass
class File:
    """One YAML file: its values, and the mistakes and notes found so far."""

    path: Path
    document: text.Document
    problems: list[text.Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Any]:
        return self.document.value

    def where(self, key: str) -> str:
        """`file:line` of a key; the file where the key is left out."""
        if (key,) in self.document.places:
            return f"command line {self.document.places[(key,)]!r}"
        line = self.document.numbers.get((key,))
        return f"{self.path}:{line}" if line else str(self.path)

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(text.Problem((key,), message))

    def differs(self, key: str, why: str) -> None:
        self.notes.append(Note("differs", key, self.where(key), why))

    def ignored(self, key: str, why: str) -> None:
        self.notes.append(Note("ignored", key, self.where(key), why))

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            self.wrong(key, f"should be true or false, not {value!r}")
            return default
        return value

    def number(self, key: str, default: float) -> float:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(key, f"should be a number, not {value!r}")
            return default
        return float(value)

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        if value != int(value):
            self.wrong(key, f"should be a whole number, not {value:g}")
            return default
        return int(value)

    def text(self, key: str, default: str = "") -> str:
        value = self._value(key, default)
        if isinstance(value, list):
            value = ",".join(map(str, value))
        return str(value)

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value


def open_file(path: Path, overrides: Sequence[str]) -> File:
    document = text.Document(text.read(path), str(path))
    document.override(list(overrides))
    file = File(path, document, list(document.problems))
    for key, value in document.value.items():
        if key not in KNOWN:
            close = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.6)
            file.wrong(key, "unknown key" + (f"; did you mean {close[0]!r}?" if close else ""))
        elif key in IGNORED and value is not None:
            file.ignored(key, IGNORED[key])
        elif key in REFUSED and value is not None:
            harmless, why = REFUSED[key]
            if not any(value == good and isinstance(value, bool) == isinstance(good, bool) for good in harmless):
                file.wrong(key, f"{value!r} would not be the same here: {why}")
            else:
                file.ignored(key, "what is always done here")
    return file


def raise_all(files: Sequence[File]) -> None:
    """One error with every mistake of every file."""
    wrong = [file for file in files if file.problems]
    if wrong:
        raise UserError("\n".join(file.document.render(file.problems) for file in wrong))


def note_lines(notes: Sequence[Note], *, short: bool = False) -> list[str]:
    """`ignored: KEY: why (places)`, each key once, what differs first; `short` leaves folders out of the places."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for note in sorted(notes, key=lambda n: n.kind):
        places.setdefault((note.kind, note.key, note.why), []).append(
            note.where.rpartition("/")[2] if short else note.where
        )
    return [f"{kind}: {key}: {why} ({', '.join(at)})" for (kind, key, why), at in places.items()]
