"""What was paid for is kept: answers by the sha256 of the request, verdicts by the sha256 of what was run.

    answers    key  3f9a…  request {"model": …}  response {"choices": …}  failure ""     answered_at 1764120000.2
    verdicts   key  b07c…  value   {"outcome": "PASSED", "mutants": 12, "killed": 11}

One SQLite file, committed after every answer, so that a run that was killed asks nothing twice and a finished run is
repeated without a single request. A request that was given up on is kept as well, with the reason in `failure`: a rerun
then gives the same rows. The key of an endpoint is never part of a request body, and so never in this file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError

TABLES = """
create table if not exists answers
    (key text primary key, request text not null, response text not null, failure text not null, answered_at real);
create table if not exists verdicts (key text primary key, value text not null);
"""


def key_of(body: Mapping[str, Any]) -> str:
    """The sha256 of a request body as canonical JSON: equal requests, equal keys, whatever the order of the fields."""
    return artifacts.fingerprint(dict(body))


class Cache:
    """The file; use as a context manager. Raises UserError where it is damaged or cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = sqlite3.connect(path, timeout=5.0)
            self._file.executescript(TABLES)
            self._file.commit()
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def answer(self, key: str) -> tuple[dict[str, Any], str] | None:
        """The response to a request and why there is none, if it was asked before."""
        found = self._one("select response, failure from answers where key = ?", key)
        return None if found is None else (json.loads(found[0]), found[1])

    def keep_answer(self, key: str, request: Mapping[str, Any], response: Mapping[str, Any], failure: str = "") -> None:
        """Write one down, for good."""
        values = (key, json.dumps(request), json.dumps(response), failure, round(time.time(), 3))
        self._write("insert or replace into answers values (?, ?, ?, ?, ?)", values)

    def answered(self) -> int:
        """How many requests have an answer here."""
        found = self._one("select count(*) from answers where failure = ?", "")
        assert found is not None
        return int(found[0])

    def verdict(self, key: str) -> dict[str, Any] | None:
        """What running gave, if it was run before."""
        found = self._one("select value from verdicts where key = ?", key)
        value: dict[str, Any] | None = None if found is None else json.loads(found[0])
        return value

    def keep_verdict(self, key: str, value: Mapping[str, Any]) -> None:
        """Write one down."""
        self._write("insert or replace into verdicts values (?, ?)", (key, json.dumps(value)))

    def _one(self, query: str, key: str) -> Any:
        try:
            return self._file.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._file.execute(statement, values)
            self._file.commit()
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def _damaged(self, error: sqlite3.Error) -> UserError:
        return UserError(
            f"cannot be used as the cache of answers ({error})", where=str(self.path),
            mend="free disk space, or remove this file and ask (and pay) again",
        )  # fmt: skip
