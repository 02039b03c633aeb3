"""How numbers look, everywhere in the report: one format per kind of number.

    score      0.482 [0.41, 0.56], n=164
    difference +0.22 [0.14, 0.30]
    p value    p < 0.001 · p = 0.032
    count      1,066,543        compact 1.07 M
    duration   0.84 s · 45 s · 3 min 12 s · 2 h 05 min

A value that was not recorded is shown as an en dash, never as zero.
"""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"
MINUS = "−"


def known(number: Any) -> bool:
    """True for a finite number; None, text, NaN and infinity are "not recorded"."""
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)


def fixed(number: Any, digits: int = 3) -> str:
    """A decimal with a real minus sign and no negative zero."""
    if not known(number):
        return MISSING
    text = f"{number:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def interval(low: Any, high: Any) -> str:
    """`[0.41, 0.56]`"""
    return f"[{fixed(low, 2)}, {fixed(high, 2)}]"


def score(value: Any, low: Any, high: Any, n: int) -> str:
    """`0.482 [0.41, 0.56], n=164`"""
    return f"{fixed(value)} {interval(low, high)}, n={count(n)}"


def signed(number: float, digits: int = 2) -> str:
    """`+0.22`, `−0.04`; zero has no sign."""
    text = fixed(number, digits)
    return f"+{text}" if number > 0 and float(text.replace(MINUS, "-")) != 0 else text


def p_value(p: float) -> str:
    """`p < 0.001` or `p = 0.032`. A p that would round up to 0.050 while below it keeps a fourth digit."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.4f}" if 0.0495 <= p < 0.05 else f"p = {p:.3f}"


def count(number: Any) -> str:
    """`1,066,543`"""
    if not known(number):
        return MISSING
    return f"{number:,.0f}".replace("-", MINUS)


def compact(number: Any) -> str:
    """`950` · `12.3 k` · `1.07 M` · `2.70 G`: three significant digits, for places with no room."""
    if not known(number):
        return MISSING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size * 0.9995:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.{2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0}f} {unit}".replace(
                "-", MINUS
            )
    return count(number)


def duration(seconds: Any) -> str:
    """`0.84 s` · `45 s` · `3 min 12 s` · `2 h 05 min`"""
    if not known(seconds):
        return MISSING
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(part: Any, whole: Any) -> str:
    """`12.4 %` of the whole; an en dash where the whole is nothing."""
    if not known(part) or not known(whole) or not whole:
        return MISSING
    return f"{100 * part / whole:.1f} %"


def plain(value: Any) -> str:
    """Any recorded value as text: numbers in at most five significant digits, everything else as it is."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if abs(value) >= 10_000:
            return count(value)
        return f"{value:.5g}".replace("-", MINUS)
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)
