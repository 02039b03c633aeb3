"""A scratch that is a real folder, where the machine allows no private one in memory: how full it is, emptying it.

The program owns everything in it and may have made it hard to count and to remove: files without a name, folders nested
thousands deep, folders that may not be entered, links to elsewhere. Nothing here follows a link or recurses.
"""

from __future__ import annotations

import contextlib
import os
import stat

ENDLESS = 1 << 62
MOST_ENTRIES = 4096
LONGEST_PATH = 1024


def size(folder: str, process: int) -> int:
    """Bytes on disk below a folder and in the nameless files of a process; too many or too deep count as endless."""
    total, entries, waiting = nameless(process), 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > MOST_ENTRIES or len(entry.path) > len(folder) + LONGEST_PATH:
                        return ENDLESS
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:  # gone meanwhile, or a folder made unreadable: an entry without contents
            continue
    return total


def nameless(process: int) -> int:
    """Bytes of files that a process holds open or mapped and that have no name any more; 0 where /proc is missing."""
    held: dict[tuple[int, int], int] = {}
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{process}/fd/{number}")
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    held[found.st_dev, found.st_ino] = found.st_blocks * 512
    total = sum(held.values())
    with contextlib.suppress(OSError), open(f"/proc/{process}/maps", "rb") as file:
        for line in file:
            place, _, _, device, inode, *name = line.split()
            if name and name[-1] == b"(deleted)" and name[0] != b"/dev/zero":
                major, minor = (int(part, 16) for part in device.split(b":"))
                if (os.makedev(major, minor), int(inode)) not in held:
                    start, end = (int(part, 16) for part in place.split(b"-"))
                    total += end - start
    return total


def empty(folder: str) -> None:
    """Remove everything in a folder. Folders inside folders are moved up first, so that no path grows too long."""
    fresh, moved = os.urandom(8).hex(), 0
    folders = _unlink_all(folder)
    while folders:
        path = folders.pop()
        for inner in _unlink_all(path):
            moved += 1
            place = os.path.join(folder, f"{fresh}-{moved}")
            os.chmod(inner, 0o700)  # a folder that may not be written to may not be moved
            os.rename(inner, place)
            folders.append(place)
        os.rmdir(path)


def _unlink_all(folder: str) -> list[str]:
    """Remove what is not a folder; the folders."""
    os.chmod(folder, 0o700)
    folders = []
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                os.unlink(entry.path)
    return folders
