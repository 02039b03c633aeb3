"""Writing while a disk may be full or closed to us: one message instead of a traceback, and durable files.

What was whole before a failed write is whole after it: everything is written under a temporary name first.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from codeup.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """No space left, or the quota is used up. safetensors writes in Rust and reports the number as text only."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(f"os error {number})" in str(error) for number in FULL)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """UserError where writing `path` fails, whatever wrote it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: BaseException) -> UserError:
    """What failed, where, and what to do about it."""
    what = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(
        f"cannot write ({what})",
        where=str(path),
        mend=("free disk space there" if is_full(error) else "make the folder writable")
        + " and run the same command again: it goes on from the last checkpoint",
    )


def to_disk(path: Path) -> None:
    """fsync a file or a folder. Folders cannot be opened on Windows, where rename needs no such help."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder_to_disk(folder: Path) -> None:
    """fsync the files of a flat folder, then the folder: after a rename it is whole even if the power fails."""
    for path in folder.iterdir():
        to_disk(path)
    to_disk(folder)
