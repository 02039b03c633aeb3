"""EvalPlus's rules: how its files become inputs, and when an answer counts as right.

Source: github.com/evalplus/evalplus, evalplus/eval/__init__.py, eval/_special_oracle.py and data/mbpp.py at 26d6d00
("evalplus") and at v0.3.1 ("evalplus-0.3.1"), read and written down anew; tests compare with 0.3.1 itself. The rules
are reproduced as they are, also where they are odd: a tolerance that stays once a float was expected, types compared
only where values are close, and problems recognised by the name of their function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

RULES: Mapping[str, Mapping[str, float]] = {
    "evalplus": {"least_s": 4.0, "factor": 4.0, "total_s": 60.0, "memory_mb": 4096},
    "evalplus-0.3.1": {"least_s": 1.0, "factor": 4.0, "total_s": 60.0, "memory_mb": 4096},
}
"""Two versions: its development version, and the one that `pip install evalplus` gives.

A call may take max(least_s, factor * the canonical solution's seconds), a suite total_s, a program memory_mb.
"""

DEEPEN = 23
"""Frames to spend before the call, so that a program has 971 of Python's 1000 left, as in EvalPlus (measured)."""

NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")
"""Their expected values are match objects, of which only "not None" is kept."""

SETS = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip
"""Any order and any repetition is right."""

RTOL = 1e-07  # numpy.testing.assert_allclose's
FLOAT_ATOL = 1e-6
MOST_PAIRS = 10**7
"""An array of another shape than the expected value is compared with it element by element up to here: a column
against a long list would otherwise fill the judge's memory."""


class Comparison:
    """Decides, input by input and in their order, whether an answer is right. One per program and suite.

    plain     whether an answer that equals the expected one is right whatever else; false for special oracles
    mutated   whether the arguments as the call left them are needed
    records   whether a pass is recorded at all: 0.3.1 forgets to for find_zero, so that nobody can pass HumanEval/32
    """

    def __init__(self, *, dataset: str, entry_point: str, atol: float, compat: str) -> None:
        self.entry_point, self.atol = entry_point, atol
        self.oracle = (_MBPP if dataset == "mbpp" else _HUMANEVAL).get(entry_point)
        self.plain = self.oracle is None
        self.mutated = self.oracle is _find_zero
        self.records = not (dataset == "humaneval" and entry_point == "find_zero" and compat == "evalplus-0.3.1")
        self.why = "EvalPlus 0.3.1 records no result for this problem, so no program passes it"

    def saw(self, floats: bool) -> None:
        """A float was expected: from here on values may differ by FLOAT_ATOL, also where none is."""
        if self.atol == 0 and floats:
            self.atol = FLOAT_ATOL

    def same(self, output: Any, expected: Any, arguments: Sequence[Any], floats: bool) -> bool:
        """Whether the answer is right; raises where EvalPlus's own comparison raises, which counts as wrong."""
        import numpy

        large = isinstance(output, numpy.ndarray) and output.size * numpy.size(expected) > MOST_PAIRS
        if large and output.shape != numpy.shape(expected):
            return False
        exact = output == expected
        if self.oracle is not None:
            exact = self.oracle(exact, output, expected, arguments, self.atol)
            if self.oracle is _find_zero:
                return bool(exact)
        self.saw(floats)
        if exact or self.atol == 0:
            return bool(exact)
        if type(output) is not type(expected):
            return False
        if isinstance(expected, list | tuple) and len(output) != len(expected):
            return False
        return bool(numpy.allclose(output, expected, rtol=RTOL, atol=self.atol))


Oracle = Callable[[Any, Any, Any, Sequence[Any], float], Any]


def _find_zero(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    """HumanEval/32: any root will do; the polynomial is taken as the call left it."""
    coefficients, x = *arguments, output
    return abs(sum(c * math.pow(x, power) for power, c in enumerate(coefficients))) <= atol


def _anything(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    return True


def _or_zero(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    return exact or output == 0


def _surface_area(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    """Mbpp/581: the height may be the pyramid's own instead of its side's."""
    return exact or abs(output - _pyramid(*arguments)) <= atol


def _pyramid(base: Any, height: Any) -> int:
    slant = math.sqrt((base / 2) ** 2 + height**2)
    return round(base**2 + 4 * (base * slant) / 2)


def _digit_distance(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    """Mbpp/558: the shorter number may be filled with zeros."""
    return exact or output == _digits_apart(*arguments)


def _digits_apart(first: Any, second: Any) -> int:
    a, b = str(first), str(second)
    width = max(len(a), len(b))
    return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(width), b.zfill(width), strict=True))


def _sets(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    return set(output) == set(expected)


def _not_none(exact: Any, output: Any, expected: Any, arguments: Sequence[Any], atol: float) -> Any:
    return output == expected if isinstance(output, bool) else expected == (output is not None)


_HUMANEVAL: Mapping[str, Oracle] = {"find_zero": _find_zero}
_MBPP: Mapping[str, Oracle] = {
    "are_equivalent": _anything,
    "sum_div": _or_zero,
    "surface_Area": _surface_area,
    "digit_distance_nums": _digit_distance,
    **dict.fromkeys(SETS, _sets),
    **dict.fromkeys(NOT_NONE, _not_none),
}
"""Special oracles by the name of the function, as EvalPlus finds them. Some belong to problems of older versions."""


def mbpp_inputs(task_id: str, inputs: list[Any]) -> list[Any]:
    """Inputs with the types that JSON lost: tuples, sets, complex numbers; by problem, as EvalPlus restores them."""
    number = int(task_id.rpartition("/")[2])
    for numbers, restore in _RESTORE.items():
        if number in numbers:
            return [restore(item) for item in inputs]
    return inputs


def _tuples(items: Any) -> list[Any]:
    return [tuple(item) for item in items]


def _deep_tuples(item: Any) -> Any:
    return tuple(_deep_tuples(part) for part in item) if isinstance(item, list) else item


_RESTORE: Mapping[tuple[int, ...], Callable[[Any], Any]] = {
    (
        2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809,
    ): _tuples,
    (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780): lambda inp: [*map(_tuples, inp)],
    (75, 413, 444, 753): lambda inp: [_tuples(inp[0]), inp[1]],
    (106, 750): lambda inp: [inp[0], tuple(inp[1])],
    (115,): lambda inp: [[set(item) if isinstance(item, list) and item else {} for item in inp[0]]],
    (124,): lambda inp: (float(inp[0]), complex(inp[1])),
    (250, 405, 446, 617, 720, 763, 808): lambda inp: [tuple(inp[0]), inp[1]],
    (259, 401, 445): lambda inp: _tuples([_tuples(part) for part in inp]),
    (278,): lambda inp: _tuples([[tuple(item) if isinstance(item, list) else item for item in inp[0]]]),
    (307,): lambda inp: [tuple(inp[0]), inp[1], inp[2]],
    (722,): lambda inp: [{key: tuple(value) for key, value in inp[0].items()}, *inp[1:]],
    (252,): lambda inp: [complex(inp[0])],
    (580, 615, 791): _deep_tuples,
}  # fmt: skip


def shown_inputs(task_id: str, inputs: list[Any]) -> list[Any]:
    """Failed inputs as EvalPlus writes them into its results, where JSON cannot hold them."""
    number = int(task_id.rpartition("/")[2])
    if number == 115:
        return [[[list(item) for item in inp[0]]] for inp in inputs]
    if number == 124:
        return [(str(inp[0]), str(inp[1])) for inp in inputs]
    return [[str(inp[0])] for inp in inputs] if number == 252 else inputs
