"""The folder of a pool in the temporary directory: made, held and removed, and those of pools that were killed.

    codeup-pool-x7f2k1q_/    locked (flock) for as long as its pool lives; the kernel lets go of it however that ends

A pool that starts removes the folders that nobody holds. It leaves alone what belongs to another user, what is a link,
and what is younger than a minute: that one may be about to be locked. Folders on file systems without locks stay.
"""

from __future__ import annotations

import fcntl
import glob
import os
import tempfile
import time
from contextlib import suppress

from codeup.errors import WorkFailed
from codeup.sandbox import scratch

PREFIX, YOUNG_S = "codeup-pool-", 60.0


class Home:
    """A pool's own folder. `path` stays the same for its life."""

    def __init__(self) -> None:
        remove_abandoned(tempfile.gettempdir())
        self.path = tempfile.mkdtemp(prefix=PREFIX)
        self._held = _lock(self.path)
        os.chmod(self.path, 0o755)

    def again(self) -> None:
        """Make it anew where a cleaner of /tmp has removed it. Raises WorkFailed where it is not ours."""
        with suppress(FileExistsError):
            os.mkdir(self.path)
            os.chmod(self.path, 0o755)
            _close(self._held)
            self._held = _lock(self.path)
        if os.lstat(self.path).st_uid != os.geteuid():
            raise WorkFailed(f"{self.path} is not ours any more")

    def remove(self) -> None:
        """Remove it with all that is in it."""
        _remove(self.path)
        _close(self._held)
        self._held = None


def remove_abandoned(folder: str) -> None:
    """Remove what pools of this user left behind below `folder` when they were killed."""
    for path in glob.glob(f"{glob.escape(folder)}/{PREFIX}*"):
        with suppress(OSError):
            about = os.lstat(path)
            if about.st_uid != os.geteuid() or time.time() - about.st_mtime < YOUNG_S:
                continue
            if (held := _lock(path)) is not None:
                _remove(path)
                os.close(held)


def _lock(path: str) -> int | None:
    """The locked folder, or None where another process holds it or there are no locks."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number


def _close(number: int | None) -> None:
    if number is not None:
        os.close(number)


def _remove(path: str) -> None:
    with suppress(OSError):
        scratch.empty(path)
        os.rmdir(path)
