"""Programming tasks made by rule: one or two steps, each from a family, with a description, a program and its values.

    steps        (keep_even), (multiply_each, 3)
    description  keep only the even numbers, then scale every number by 3
    program      def solve(xs):
                     result = [x for x in xs if x % 2 == 0]
                     result = [x * 3 for x in result]
                     return result

`is_held_out` is the wall between training and benchmark: an ordered pair of families or a (family, parameter) that it
names never occurs in anything that is trained on, pre-training included. Everything depends on the seed alone.
Does not protect against two different families that happen to mean the same; datasets.py compares the programs.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeup.nano import families_numbers, families_text

PAIR_SHARE = 6  # one ordered pair of families in six is held out
PARAMETER_SHARE = 5  # one (family, parameter) in five, of the families that have eight parameters or more

VERBS = (
    "solve",
    "compute",
    "process",
    "transform",
    "convert",
    "make",
    "build",
    "apply",
    "handle",
    "change",
    "run",
    "work",
)
NOUNS = ("", "", "_it", "_value", "_result", "_data", "_input", "_item", "_task", "_step", "_answer", "_output")
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "ints": ("xs", "nums", "numbers", "values", "data", "items"),
    "int": ("n", "num", "number", "value", "amount", "m"),
    "str": ("s", "text", "string", "line", "message", "phrase"),
    "words": ("words", "names", "tokens", "parts", "labels", "terms"),
    "dict": ("d", "table", "scores", "prices", "ages", "stock"),
}
TYPE_NAMES: Mapping[str, tuple[str, ...]] = {
    "ints": ("a list of integers", "a list of numbers", "a list of whole numbers"),
    "int": ("an integer", "a number", "a whole number"),
    "str": ("a string", "a text", "a piece of text"),
    "words": ("a list of words", "a list of strings", "several words in a list"),
    "dict": ("a dictionary", "a dictionary of numbers", "a dictionary from names to numbers"),
}
JOINS = (
    "{a}, then {b}",
    "{a} and then {b}",
    "first {a}, then {b}",
    "{a}; after that, {b}",
    "{a}, and finally {b}",
    "{a}, and with the result {b}",
)
INSTRUCTIONS = (
    "Write a Python function `{f}({a})` that takes {t}. It should {d}.",
    "Write a function `{f}({a})`. The argument is {t}. The function should {d}.",
    "Given {t}, write `{f}({a})` to {d}.",
    "Implement `{f}({a})` for {t}: {d}.",
    "Define `{f}({a})` in Python. It takes {t} and must {d}.",
    "I need a function `{f}({a})`. For {t}, it should {d}.",
    "Please code `{f}({a})`, which is given {t} and has to {d}.",
    "Create a Python function called `{f}` with the argument `{a}`, {t}. It should {d}.",
)


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of step: `code` is an expression over {x} and {k}, `phrases` are imperatives."""

    name: str
    source: str
    target: str
    code: str
    phrases: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A family with its parameter chosen ("" where the family has none)."""

    family: Family
    parameter: str = ""

    def expression(self, variable: str) -> str:
        return self.family.code.format(x=variable, k=self.parameter)

    def phrase(self, rng: random.Random) -> str:
        return rng.choice(self.family.phrases).format(k=self.parameter)


@dataclass(frozen=True, slots=True)
class Task:
    """Moves whose types fit, and the names of the function and its argument."""

    moves: tuple[Move, ...]
    function: str
    argument: str

    @property
    def source(self) -> str:
        return self.moves[0].family.source

    @property
    def key(self) -> str:
        """The program without names: equal keys are equal programs."""
        return "\n".join(move.expression("_") for move in self.moves)

    def body(self) -> str:
        variables = [self.argument] + ["result"] * (len(self.moves) - 1)
        lines = [f"    result = {move.expression(name)}\n" for move, name in zip(self.moves, variables, strict=True)]
        return "".join(lines) + "    return result\n"

    def program(self) -> str:
        return f"def {self.function}({self.argument}):\n{self.body()}"

    def explained(self, phrases: Sequence[str]) -> str:
        """The program with a comment above each step, as a chat model writes it."""
        head, *lines = self.program().splitlines(keepends=True)
        steps = [f"    # {phrase}\n{line}" for phrase, line in zip(phrases, lines, strict=False)]
        return "".join([head, *steps, lines[-1]])

    def phrases(self, rng: random.Random) -> list[str]:
        return [move.phrase(rng) for move in self.moves]

    def description(self, rng: random.Random, phrases: Sequence[str]) -> str:
        text = phrases[0]
        for phrase in phrases[1:]:
            text = rng.choice(JOINS).format(a=text, b=phrase)
        return text

    def instruction(self, rng: random.Random, description: str) -> str:
        kind = rng.choice(TYPE_NAMES[self.source])
        return rng.choice(INSTRUCTIONS).format(f=self.function, a=self.argument, t=kind, d=description)


def _families() -> dict[str, Family]:
    tables = (
        families_numbers.LIST_TO_LIST,
        families_numbers.LIST_TO_NUMBER,
        families_numbers.NUMBER,
        families_text.TEXT,
        families_text.WORDS,
        families_text.DICTS,
    )
    return {row[0]: Family(*row) for table in tables for row in table}


FAMILIES: Mapping[str, Family] = _families()
BY_SOURCE: Mapping[str, tuple[Family, ...]] = {
    kind: tuple(f for f in FAMILIES.values() if f.source == kind) for kind in ARGUMENTS
}


def _bucket(text: str, buckets: int) -> int:
    return zlib.crc32(text.encode()) % buckets


def held_out_pair(first: Family, second: Family) -> bool:
    return _bucket(f"{first.name}>{second.name}", PAIR_SHARE) == 0


def held_out_parameter(family: Family, parameter: str) -> bool:
    return len(family.parameters) >= 7 and _bucket(f"{family.name}={parameter}", PARAMETER_SHARE) == 0


def is_held_out(moves: Sequence[Move]) -> bool:
    """Whether training must never see these moves in this order."""
    pairs = any(held_out_pair(a.family, b.family) for a, b in itertools.pairwise(moves))
    return pairs or any(held_out_parameter(move.family, move.parameter) for move in moves)


def choose_move(rng: random.Random, source: str, *, held_out: bool = False) -> Move | None:
    """A family that accepts `source` and one of its parameters, on the wanted side of the wall; None if it has none."""
    family = rng.choice(BY_SOURCE[source])
    if not family.parameters:
        return None if held_out else Move(family)
    choices = [p for p in family.parameters if held_out_parameter(family, p) == held_out]
    return Move(family, rng.choice(choices)) if choices else None


def choose_names(rng: random.Random, source: str) -> tuple[str, str]:
    return rng.choice(VERBS) + rng.choice(NOUNS), rng.choice(ARGUMENTS[source])


def training_task(rng: random.Random, *, steps: int) -> Task:
    """A task of `steps` moves that is not held out. The first family is drawn uniformly over all families."""
    while True:
        first = rng.choice(tuple(FAMILIES.values()))
        moves: list[Move] = []
        for index in range(steps):
            move = _with_parameter(rng, first) if index == 0 else choose_move(rng, moves[-1].family.target)
            if move is None:
                break
            moves.append(move)
        if len(moves) == steps and not is_held_out(moves):
            return Task(tuple(moves), *choose_names(rng, first.source))


def _with_parameter(rng: random.Random, family: Family) -> Move | None:
    choices = [p for p in family.parameters if not held_out_parameter(family, p)]
    if not family.parameters:
        return Move(family)
    return Move(family, rng.choice(choices)) if choices else None


def compile_program(program: str, name: str) -> Any:
    """The function that our own generated program defines (never for code that a model wrote)."""
    scope: dict[str, Any] = {}
    exec(compile(program, "<nano>", "exec"), scope)
    return scope[name]


_NUMBERS = (0, 1, -1, 2, 3, 5, 7, 8, 10, 12, 14, -4, 16, 21, 25, -9, 30, 48, 55, 100, -36, 64)
# fmt: off
_LISTS: tuple[list[int], ...] = (
    [], [0], [7], [1, 2, 3, 4, 5], [3, -1, 3, 8, -6, 0], [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], [4, 4, 4], [-5, -2, -9],
    [12, 30, 6, 18, 24], [2, 5, 2, 7, 5, 9, 2], [60, 21, 15, -12, 33, 8, 14], [100, 1],
    [5, 50, 25, 9, 16, 11, 6, 20, 13],
)
_STRINGS = (
    "", "a", "Hello World", "  red apple ", "stone", "The 3 cats ran 12 miles", "a-b_c", "Noon", "new moon in rome",
    "AEIOU xyz", "letters and notes", "trees tell tales 2024", "go", "Mississippi River", "old salt",
)
_WORDS: tuple[list[str], ...] = (
    [], ["one"], ["red", "green", "blue"], ["tea", "note", "tea", "stone", "ant"], ["a", "bb", "ccc", "dddd"],
    ["River", "old", "Sea", "oak"], ["moon", "sun", "star", "sun", "earth", "mars"], ["", "x"],
    ["salt", "nest", "tent"], ["melon", "lemon", "apple", "orange", "lime"],
    ["internet", "art", "instrument", "rain", "sail"], ["east", "west", "north", "south", "rest"],
)
_DICTS: tuple[dict[str, int], ...] = (
    {}, {"a": 1}, {"tea": 3, "milk": 5, "bread": 2}, {"z": 9, "y": 8, "x": 10}, {"ann": 7, "bob": 7, "cy": 1},
    {"red": 0, "blue": -4}, {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6},
    {"oak": 12, "elm": 4, "ash": 6}, {"north": 20, "south": 3}, {"pen": 6, "ink": 2, "paper": 11, "glue": 5},
    {"m": 4, "k": 8, "l": 6},
)
INPUTS: Mapping[str, tuple[Any, ...]] = {
    "int": _NUMBERS, "ints": _LISTS, "str": _STRINGS, "words": _WORDS, "dict": _DICTS,
}
# fmt: on
