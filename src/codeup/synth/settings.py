"""What decides about the rows of a folder; caps, prices and concurrency decide only how far a run gets, and when.

A folder belongs to its settings: `belongs` refuses a second run with others, which would mix what one manifest
describes. The number of rows and the caps may grow; what was asked before is then found in the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError

METHODS = ("self-instruct", "evol", "oss-instruct")
TESTS = ("require", "optional", "none")
WEAK_TESTS = ("drop", "mark")
NEAR = {"self-instruct": 0.7, "oss-instruct": 0.7, "evol": 0.9}
"""ROUGE-L F from which two tasks are one. An evolved task says most of what its parent says."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`params` goes into every request as it is; a None takes a field out. `near` None: that of the method."""

    method: str
    seeds: Path
    model: str
    rows: int = 100
    rounds: int = 3
    seed: int = 0
    temperature: float = 0.7
    max_tokens: int = 4096
    params: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Path] = field(default_factory=dict)
    tests: str = "require"
    weak: str = "drop"
    mutants_killed: float = 0.7
    near: float | None = None
    licence: str = ""

    def threshold(self) -> float:
        """Similarity of two tasks that are one."""
        return NEAR[self.method] if self.near is None else self.near

    def identity(self) -> dict[str, Any]:
        """Plain values; files by what they hold."""
        return {
            "method": self.method,
            "seeds": _digest(self.seeds),
            "model": self.model,
            "rounds": self.rounds,
            "seed": self.seed,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "params": dict(self.params),
            "tests": self.tests,
            "weak": self.weak,
            "mutants_killed": self.mutants_killed,
            "near": self.threshold(),
            "licence": self.licence,
            "against": {name: _digest(path) for name, path in self.against.items()},
        }

    def body(self, prompt: str, seed: int) -> dict[str, Any]:
        """The request for a prompt."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": seed,
            **self.params,
        }
        return {name: value for name, value in body.items() if value is not None}


def belongs(out: Path, settings: Settings, *, answered: int) -> None:
    """Give a folder to these settings. Raises UserError where it has others, and `answered` requests under them."""
    path, now = out / "settings.json", settings.identity()
    before = _read(path)
    other = sorted(name for name in now if before.get(name) != now[name])
    if before and other and answered:
        what = f"holds rows made with other settings ({', '.join(other)})"
        raise UserError(what, where=str(out), mend="name another folder, or the same settings")
    if other:
        artifacts.write_json(path, now)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=str(path), mend="name another folder") from None
    return value if isinstance(value, dict) else {}


def _digest(path: Path) -> str:
    """Of a file, or of all names and contents below a folder."""
    if path.is_file():
        return artifacts.file_sha256(path)
    digest = hashlib.sha256()
    for each in sorted(path.rglob("*")) if path.is_dir() else []:
        if each.is_file():
            digest.update(each.relative_to(path).as_posix().encode() + b"\0" + artifacts.file_sha256(each).encode())
    return digest.hexdigest()
