"""Deliberately wrong programs made from right ones: text in, text out, nothing is executed here.

`wrapped` renames a program's entry point and puts another in its place that calls it. `derived` is the fixed mix that
`codeup bench evaluate --set derived` judges: the same programs for the same tasks, every time and everywhere.

Not covered: programs a model would really write. Their mistakes are subtler; the mix stands for their cost (most
answers end at once, a few run into a limit), not for their kind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

MIX = {
    "correct": 0.50,
    "wrong value": 0.30,
    "exception": 0.10,
    "infinite loop": 0.04,
    "memory hungry": 0.03,
    "syntax error": 0.02,
    "C loop": 0.005,
    "import hang": 0.005,
}
"""Shares of the derived set. Of 164 programs: 82, 49, 16, 7, 5, 3, 1, 1; of 378: 189, 113, 38, 15, 11, 8, 2, 2."""

SEED = 20241020

BODIES = {
    "wrong value": "return (out, out)",
    "exception": "raise ValueError('deliberately')",
    "infinite loop": "while True:\n    out = [out]\n    out = out[0]",
    "memory hungry": "hoard = []\nwhile True:\n    hoard.append(bytearray(64 << 20))",
    "C loop": "return sum(range(10 ** 13))",
}
"""What the wrapping entry point does with `out`, the right answer, and `args`."""


def wrapped(program: str, entry_point: str, body: str, head: str = "") -> str:
    """The program with its entry point replaced: the new one calls the old one, then runs `body` over `out`, `args`.

    A recursive program calls the replacement, so that it changes the inner answers too.

    >>> print(wrapped("def f(x):\\n    return x", "f", "return out + 1"))
    def f(x):
        return x
    <BLANKLINE>
    _original = f
    <BLANKLINE>
    def f(*args):
        out = _original(*args)
        return out + 1
    <BLANKLINE>
    """
    lines = f"{head}\n_original = {entry_point}\n\ndef {entry_point}(*args):\n    out = _original(*args)\n"
    return f"{program}\n{lines}{indent(body, '    ')}\n"


@dataclass(frozen=True, slots=True)
class Derived:
    """One program of the derived set; `kind` is a key of MIX."""

    task_id: str
    kind: str
    solution: str


def derived(tasks: Sequence[tuple[str, str, str]]) -> list[Derived]:
    """The derived set of a benchmark given as (task id, program, entry point), in the same order.

    The kinds are dealt from a shuffled deck with the exact shares of MIX, so that small sets keep them too.
    """
    deck = [kind for kind, count in shares(len(tasks)).items() for _ in range(count)]
    random.Random(SEED).shuffle(deck)
    return [
        Derived(task_id, kind, spoil(program, entry_point, kind))
        for (task_id, program, entry_point), kind in zip(tasks, deck, strict=True)
    ]


def shares(n: int) -> dict[str, int]:
    """How many of n programs are of each kind; what rounding leaves over goes to the correct ones.

    >>> shares(378)["wrong value"], sum(shares(378).values()), shares(164)["import hang"]
    (113, 378, 1)
    """
    counts = {kind: max(1, round(share * n)) for kind, share in MIX.items() if kind != "correct"}
    if sum(counts.values()) > n:
        counts = dict.fromkeys(counts, 0)
    return {"correct": n - sum(counts.values()), **counts}


def spoil(program: str, entry_point: str, kind: str) -> str:
    """The program made wrong in the way that `kind` names."""
    if kind == "correct":
        return program
    if kind == "syntax error":
        return program + "\ndef (:\n"
    if kind == "import hang":
        return program + "\nwhile True:\n    pass\n"
    return wrapped(program, entry_point, BODIES[kind])
