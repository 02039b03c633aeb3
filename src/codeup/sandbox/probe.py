"""What this machine's sandbox reaches, found by starting one."""

from __future__ import annotations

import functools

from codeup.errors import CodeUpError
from codeup.sandbox.pool import Isolated, Pool


@functools.cache
def probe() -> Isolated:
    """Start one sandbox and report its level and layers; measured once per process. Raises WorkFailed."""
    with Pool(1, allow_unsafe=True) as pool:
        return pool.isolated


def describe() -> str:
    """One line for `codeup doctor`."""
    try:
        return str(probe())
    except CodeUpError as error:
        return f"none: {error}"
