"""What the paired tests support, in sentences. No claim in the report is written by hand.

A comparison holds McNemar's counts for two models on the same problems:

    both 60 · only a 19 · only b 1 · neither 70   ->   a - b = (19 - 1) / 150 = +0.12

Two models are called different only where p < 0.05 and the interval of the difference leaves out 0. Not covered: why
they differ, and anything about problems that are not in the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeup.repeats import holm
from codeup.report import numbers

ALPHA = 0.05
UNCLEAR = "not distinguishable at this n"


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison, oriented: `difference` is first minus second, and first is the model the study lists later."""

    first: str
    second: str
    first_form: str
    second_form: str
    benchmark: str
    difference: float
    low: float
    high: float
    p: float
    n: int
    only_first: int
    only_second: int

    @property
    def distinguishable(self) -> bool:
        return self.p < ALPHA and (self.low > 0 or self.high < 0)

    @property
    def direction(self) -> str:
        """`better`, `worse` (of the first model) or `unclear`."""
        if not self.distinguishable:
            return "unclear"
        return "better" if self.difference > 0 else "worse"


def finding(comparison: Mapping[str, Any], order: Sequence[str] = ()) -> Finding:
    """Orient one comparison of the study and check it against its own counts.

    `difference` may be a - b or b - a; the counts decide which. Raises ValueError where it is neither, because a
    difference that its own counts contradict must not reach a reader.
    """
    c = comparison
    n = c["both"] + c["only_a"] + c["only_b"] + c["neither"]
    gain = (c["only_a"] - c["only_b"]) / n if n else 0.0
    if abs(c["difference"] - gain) < 0.001:
        difference, low, high = c["difference"], c["low"], c["high"]
    elif abs(c["difference"] + gain) < 0.001:
        difference, low, high = -c["difference"], -c["high"], -c["low"]
    else:
        raise ValueError(f"{c['a']} vs {c['b']}: difference {c['difference']} contradicts its counts ({gain:+.4f})")
    rank = {name: place for place, name in enumerate(order)}
    sides = [(c["a"], c.get("form_a", "")), (c["b"], c.get("form_b", ""))]
    only = [c["only_a"], c["only_b"]]
    if rank.get(c["b"], -1) > rank.get(c["a"], -1):
        difference, low, high = -difference, -high, -low
        sides.reverse()
        only.reverse()
    (first, first_form), (second, second_form) = sides
    return Finding(
        first, second, first_form, second_form, c["benchmark"], difference, low, high, c["p_value"], n, only[0], only[1]
    )  # fmt: skip


def named(model: str, form: str, forms: Mapping[str, set[str]]) -> str:
    """The model's name; with its prompt form where the study holds the same model in several forms."""
    return f"{model} ({form} form)" if form and len(forms.get(model, ())) > 1 else model


def sentence(found: Finding, forms: Mapping[str, set[str]] | None = None, *, on: str = "") -> str:
    """One finding as one line.

    >>> f = Finding("instruct-math-code", "base", "chat", "base", "nano", 0.61, 0.53, 0.69, 1e-9, 150, 93, 1)
    >>> sentence(f)
    'instruct-math-code vs base: +0.61 [0.53, 0.69], p < 0.001, n = 150'
    """
    forms = forms or {}
    first = named(found.first, found.first_form, forms)
    second = named(found.second, found.second_form, forms)
    measured = f"{measured_difference(found)}, {numbers.p_value(found.p)}, n = {numbers.count(found.n)}"
    line = f"{first} vs {second}{f' on {on}' if on else ''}: {measured}"
    return line if found.distinguishable else f"{line}: {UNCLEAR}"


def measured_difference(found: Finding) -> str:
    """`+0.22 [0.14, 0.30]`; a third digit where two would print an end of the interval as 0 although it is not."""
    touches_zero = found.distinguishable and min(abs(found.low), abs(found.high)) < 0.005
    digits = 3 if touches_zero else 2
    low, high = numbers.fixed(found.low, digits), numbers.fixed(found.high, digits)
    return f"{numbers.signed(found.difference, digits)} [{low}, {high}]"


def conclusion(found: Sequence[Finding]) -> str:
    """The sentence above the list: how many comparisons show a difference, alone and corrected for their number."""
    if not found:
        return ""
    clear = sum(f.distinguishable for f in found)
    if len(found) == 1:
        return "The comparison shows a difference." if clear else f"The two models are {UNCLEAR}."
    text = f"{clear} of {len(found)} comparisons show a difference (p < {ALPHA})"
    if clear < len(found):
        text += f"; {len(found) - clear} {'is' if len(found) - clear == 1 else 'are'} {UNCLEAR}"
    kept = sum(f.distinguishable and p < ALPHA for f, p in zip(found, holm([f.p for f in found]), strict=True))
    return f"{text}. Corrected for the number of tests (Holm), {kept} remain{'s' if kept == 1 else ''}."
