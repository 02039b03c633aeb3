"""Weights in huge pages: a processor that reads a gigabyte per token looks up 250,000 pages of 4 KiB, or 500 of 2 MiB.

    file 969 MB  ->  read into memory of our own  ->  each 2 MiB of it copied into one page (madvise MADV_COLLAPSE)

Measured where pages are looked up twice (a virtual machine): half as many tokens again (docs/benchmarks.md). A mapped
file keeps the pages of the system's cache, of whatever size they are, so that the file is read and not mapped; it must
fit the memory that is free. Linux 6.1 or newer; elsewhere nothing happens. Not covered: pages of 1 GiB.
"""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path

PAGE = 2 << 20
SMALLEST = 32 << 20
"""Bytes of a mapping worth looking at, and of a file worth not mapping."""
HUGEPAGE, COLLAPSE = 14, 25
"""Advice of madvise(2): Linux's include/uapi/asm-generic/mman-common.h."""
PATIENCE_S = 10.0
"""Where memory is in pieces the system must first make room: 4 s for a gigabyte on a busy machine."""
ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def worth_it(size: int) -> bool:
    """Whether a file of `size` bytes should be read into huge pages: allowed by the system, large, and half of what is
    free or less."""
    import psutil

    if not sys.platform.startswith("linux") or not ENABLED.is_file() or "[never]" in ENABLED.read_text():
        return False
    return SMALLEST <= size <= psutil.virtual_memory().available // 2


def collapse(patience_s: float = PATIENCE_S) -> None:
    """Put what this process holds in large private mappings into huge pages. What cannot be moved stays as it was, and
    so does what is left after `patience_s`."""
    ends = time.monotonic() + patience_s
    library = ctypes.CDLL(None, use_errno=True)
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, end in _mappings(Path("/proc/self/maps").read_text()):
        library.madvise(begin, end - begin, HUGEPAGE)
        for page in range(begin, end, PAGE):  # one by one: a call ends at the first page that cannot be moved
            if time.monotonic() > ends:
                return
            library.madvise(page, PAGE, COLLAPSE)


def _mappings(maps: str) -> list[tuple[int, int]]:
    """(begin, end) of large writable private mappings of no file, cut to whole huge pages, out of /proc/self/maps."""
    found = []
    for line in maps.splitlines():
        addresses, rights, _, _, file, *_ = line.split()
        begin, end = (int(address, 16) for address in addresses.split("-"))
        begin, end = -(-begin // PAGE) * PAGE, end // PAGE * PAGE
        if rights == "rw-p" and file == "0" and end - begin >= SMALLEST:
            found.append((begin, end))
    return found
