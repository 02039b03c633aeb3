"""Shared fixtures. Tests never touch the network, and real public files are used only where they are given."""

from __future__ import annotations

import os
from pathlib import Path

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
