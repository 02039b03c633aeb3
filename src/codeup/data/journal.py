"""Work that appends to files and can be killed at any moment: what was done up to the last save stays done.

    journal = Journal(folder, "read")            {} the first time, else what the last save said
    rows = journal.append("rows.jsonl")          opened at its end; what a killed process wrote after its save is cut
    ...write, every few thousand rows:
    journal.save({"rows": 16384})                files to disk first, then the journal, by rename
    journal.save({...}, done=True)               the next call finds `journal.done` and has nothing to do

    rows.jsonl        |----- 41,207,331 bytes, saved -----|--- lost, written again ---|x kill -9
    .read.journal     {"done": false, "files": {"rows.jsonl": 41207331}, "state": {"rows": 16384}}

The state must say all that the files do not. Does not protect against two processes in one folder; a run is locked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from codeup import artifacts
from codeup.errors import UserError


class Journal:
    """The state and file sizes of one piece of work. Use as a context manager: it closes the files."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / f".{name}.journal"
        self._files: dict[str, BinaryIO] = {}
        self._sizes: dict[str, int] = {}
        self.state: dict[str, Any] = {}
        self.done = False
        if self._path.is_file():
            try:
                saved = json.loads(self._path.read_text(encoding="utf-8"))
                self.state, self._sizes, self.done = saved["state"], saved["files"], saved["done"]
            except (ValueError, KeyError, TypeError) as error:
                mend = f"remove the folder {folder}; the work then starts again"
                raise UserError(f"damaged journal ({error})", where=str(self._path), mend=mend) from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def remove(self) -> None:
        """Forget all of it: the work is complete, or starts again."""
        self._path.unlink(missing_ok=True)

    def append(self, name: str) -> BinaryIO:
        """A file of the folder to write at its end. Raises UserError where it is shorter than the last save left it."""
        path, size = self.folder / name, self._sizes.get(name, 0)
        there = path.stat().st_size if path.exists() else 0
        if there < size:
            mend = f"remove the folder {self.folder}; the work then starts again"
            raise UserError(f"holds {there} bytes where {size} were saved", where=str(path), mend=mend)
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        self._files[name] = file
        return file

    def save(self, state: dict[str, Any], *, done: bool = False) -> None:
        """Everything written so far, and `state`, is what a later call goes on from."""
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            self._sizes[name] = file.tell()
        self.state, self.done = state, done
        artifacts.write_json(self._path, {"done": done, "files": self._sizes, "state": state})
