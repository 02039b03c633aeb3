"""Shared fixtures. Tests never touch the network, and real public files are used only where they are given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; two spinning thread pools on two cores crawl


@pytest.fixture(scope="session")
def public_data() -> Path:
    """Folder of public benchmark and training files, named by CODEUP_TEST_DATA; tests that need it skip without it."""
    folder = os.environ.get("CODEUP_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CODEUP_TEST_DATA does not name a folder of public data files")
    return Path(folder)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread: small models are quicker so, and their sums are those of any machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium that asks for nothing by itself; tests skip where it is absent."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=300_000)
        yield opened
        opened.close()
