"""When a row's function counts as giving a benchmark's answer: equal values, whatever they are wrapped in.

(1, 2)  [1, 2]     alike: a list for a tuple is the same answer in other words
0.1     0.1000001  alike
"YES"   "yes "     alike
True    1          alike, as for Python
[1, 2]  {1, 2}     not alike
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

RTOL = 1e-6


class Alike:
    """The sandbox's comparison of one program (sandbox/suite_judge.py); keeps no state between inputs."""

    plain, mutated, records, why = True, False, True, ""

    def __init__(self, **_: Any) -> None:
        pass

    def saw(self, floats: bool) -> None:
        """Tolerances do not depend on what was expected before."""

    def same(self, output: Any, expected: Any, arguments: Sequence[Any], floats: bool) -> bool:
        """Whether two values are the same answer."""
        return alike(output, expected)


def alike(a: Any, b: Any) -> bool:
    """See the module."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, str) and isinstance(b, str):
        return a == b or a.strip().casefold() == b.strip().casefold()
    if isinstance(a, int | float) and isinstance(b, int | float):
        return bool(a == b) or math.isclose(a, b, rel_tol=RTOL, abs_tol=RTOL)
    return type(a) is type(b) and bool(a == b)
