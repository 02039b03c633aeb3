"""Weights in huge pages: which memory is moved, when, and that it is."""

from __future__ import annotations

import mmap
import platform
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from codeup.engines import _huge_pages
from codeup.engines._huge_pages import ENABLED, PAGE, SMALLEST, collapse, worth_it

LINUX = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


def test_large_private_mappings_of_no_file_are_cut_to_whole_pages() -> None:
    maps = (
        "7f0000100000-7f0004100000 rw-p 00000000 00:00 0 \n"  # 64 MiB, from the middle of a page to that of another
        "7f1000000000-7f1004000000 rw-p 00000000 fe:00 123 /model.gguf\n"
        "7f2000000000-7f2004000000 r--p 00000000 00:00 0 \n"
        "7f3000000000-7f3001000000 rw-p 00000000 00:00 0 [heap]\n"
    )
    assert _huge_pages._mappings(maps) == [(0x7F0000200000, 0x7F0004000000)]


def test_a_file_is_read_into_them_where_that_is_allowed_and_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    enabled = tmp_path / "enabled"
    monkeypatch.setattr(_huge_pages, "ENABLED", enabled)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=4 * SMALLEST))
    monkeypatch.setattr("sys.platform", "linux")
    assert not worth_it(SMALLEST)
    enabled.write_text("always [madvise] never\n")
    assert [worth_it(size) for size in (SMALLEST - 1, SMALLEST, 2 * SMALLEST, 2 * SMALLEST + 1)] == [
        False, True, True, False,
    ]  # fmt: skip
    enabled.write_text("always madvise [never]\n")
    assert not worth_it(SMALLEST)


@pytest.mark.skipif(
    not ENABLED.is_file() or "[madvise]" not in ENABLED.read_text() or LINUX < (6, 1),
    reason="huge pages are never or always made here, or Linux is older than 6.1 and moves nothing",
)
def test_what_was_in_small_pages_lies_in_huge_ones_afterwards() -> None:
    with mmap.mmap(-1, SMALLEST + 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"\x07" * len(held))
        before = _huge_bytes()
        collapse(patience_s=-1)
        assert _huge_bytes() - before < SMALLEST
        collapse()
        assert _huge_bytes() - before >= SMALLEST and held[:] == b"\x07" * len(held)


def _huge_bytes() -> int:
    found = re.search(r"^AnonHugePages: *(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)
    return int(found[1]) << 10 if found else 0
