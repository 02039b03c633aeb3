"""The nano benchmark: held-out problems in the shape of HumanEval, and the measures that prove them held out.

114 problems join two families that no training row joins in that order; 50 use a parameter that no training row uses
with that family (25 alone, 25 within a pair that training may use). Every problem has 8 to 10 checks whose expected
values come from running the canonical program, at least 3 of them different, and each step of a pair changes one.
Does not claim distance in meaning: the sentences are made of the same phrasings as the training sets.
"""

from __future__ import annotations

import ast
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codeup.nano.tasks import (
    BY_SOURCE,
    FAMILIES,
    INPUTS,
    Move,
    Task,
    choose_move,
    choose_names,
    compile_program,
    held_out_pair,
    is_held_out,
)

COMPOSITIONS, SINGLE_PARAMETERS, PAIR_PARAMETERS = 114, 25, 25
CHECKS = 10
NEAR = 0.7  # 5-gram Jaccard similarity of masked instructions from which a training row is dropped


def write_benchmark(path: Path, *, seed: int = 0) -> None:
    """Writes the problems as gzipped JSON lines; the same bytes for the same seed and zlib."""
    write_rows(path, benchmark_rows(seed=seed))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(lines.encode())


def benchmark_rows(*, seed: int = 0) -> list[dict[str, Any]]:
    """The 164 problems as dictionaries."""
    rng = random.Random(f"nano benchmark {seed}")
    return [_row(rng, number, task) for number, task in enumerate(_tasks(rng))]


def development_rows() -> list[dict[str, Any]]:
    """Other problems of the same kinds, to choose a training step by: none has the program of a benchmark problem, nor
    an instruction close to one's. In random order, so that the first of them are a fair sample."""
    rng, keys = random.Random("nano development"), benchmark_keys()
    near = Likeness(masked(row["instruction"]) for row in benchmark_rows())
    rows = [_row(rng, number, task) for number, task in enumerate(_tasks(rng)) if task.key not in keys]
    rows = [row for row in rows if near.highest(masked(row["instruction"])) < NEAR]
    rng.shuffle(rows)
    return [{**row, "task_id": f"nano_dev/{number}"} for number, row in enumerate(rows)]


def benchmark_keys(*, seed: int = 0) -> frozenset[str]:
    """The programs of all problems, names removed (Task.key)."""
    return frozenset(task.key for task in _tasks(random.Random(f"nano benchmark {seed}")))


def _tasks(rng: random.Random) -> list[Task]:
    tasks: list[Task] = []
    uses: Counter[str] = Counter()
    seen: set[object] = set()
    makers = (
        [_composition] * COMPOSITIONS + [_single_parameter] * SINGLE_PARAMETERS + [_pair_parameter] * PAIR_PARAMETERS
    )
    for maker in makers:
        while True:
            moves = maker(rng)
            names = tuple(move.family.name for move in moves)
            if not moves or any(uses[name] >= 6 for name in names):
                continue
            task = Task(moves, *choose_names(rng, moves[0].family.source))
            identity = {task.key, names} if maker is _composition else {task.key}
            if not identity & seen and _is_testable(task):
                break
        seen |= identity
        uses.update(names)
        tasks.append(task)
    return tasks


def _composition(rng: random.Random) -> tuple[Move, ...]:
    """Two families whose order is held out, with parameters of the training side."""
    first = choose_move(rng, rng.choice(tuple(FAMILIES.values())).source)
    second = choose_move(rng, first.family.target) if first else None
    return (first, second) if first and second and held_out_pair(first.family, second.family) else ()


def _single_parameter(rng: random.Random) -> tuple[Move, ...]:
    move = choose_move(rng, rng.choice(tuple(BY_SOURCE)), held_out=True)
    return (move,) if move else ()


def _pair_parameter(rng: random.Random) -> tuple[Move, ...]:
    """A held-out parameter first or second, in an order of families that training may use."""
    which = rng.randrange(2)
    first = choose_move(rng, rng.choice(tuple(BY_SOURCE)), held_out=which == 0)
    second = choose_move(rng, first.family.target, held_out=which == 1) if first else None
    return (first, second) if first and second and not held_out_pair(first.family, second.family) else ()


def _is_testable(task: Task) -> bool:
    """Enough checks, enough different values, and no step without effect."""
    assert is_held_out(task.moves)
    checks = _checks(task)
    if len(checks) < 8 or len({repr(value) for _, value in checks}) < 3:
        return False
    shorter = [Task((move,), "f", "_") for move in task.moves] if len(task.moves) > 1 else []
    return all(_differs(other, checks) for other in shorter) and any(argument != value for argument, value in checks)


def _differs(task: Task, checks: list[tuple[Any, Any]]) -> bool:
    function = compile_program(task.program(), task.function)
    for argument, value in checks:
        try:
            if function(argument) != value:
                return True
        except (TypeError, AttributeError, ValueError, KeyError, IndexError):
            return True
    return False


def _checks(task: Task) -> list[tuple[Any, Any]]:
    """Up to CHECKS (input, value), the short ones of the inputs in their order (edge cases come first)."""
    function = compile_program(task.program(), task.function)
    found = [(value, function(value)) for value in INPUTS[task.source]]
    return [(value, result) for value, result in found if len(repr(result)) <= 90][:CHECKS]


def _row(rng: random.Random, number: int, task: Task) -> dict[str, Any]:
    checks = _checks(task)
    description = task.description(rng, task.phrases(rng))
    shown = [check for check in checks if check[0] not in (0, "", [], {})]
    examples = "".join(
        f"    >>> {task.function}({value!r})\n    {result!r}\n" for value, result in rng.sample(shown[:6], 2)
    )  # fmt: skip
    sentence = description[0].upper() + description[1:]
    asserts = "".join(f"    assert candidate({value!r}) == {result!r}\n" for value, result in checks)
    return {
        "task_id": f"nano/{number}",
        "prompt": f'def {task.function}({task.argument}):\n    """{sentence}.\n\n{examples}    """\n',
        "entry_point": task.function,
        "canonical_solution": task.body(),
        "test": f"def check(candidate):\n{asserts}",
        "instruction": task.instruction(rng, description),
        "families": [move.family.name + (f"={move.parameter}" if move.parameter else "") for move in task.moves],
        "held_out": "composition" if number < COMPOSITIONS else "parameter",
    }


def read_benchmark(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def masked(instruction: str) -> list[str]:
    """The instruction's words and signs in lower case, names in backticks replaced, so that names hide no likeness."""
    return re.findall(r"\w+|[^\w\s]", re.sub(r"`[^`]*`", " NAME ", instruction).lower())


def grams(tokens: list[str], n: int = 5) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1)))


class Likeness:
    """The largest 5-gram Jaccard similarity of a text to any of the given texts, through an index of their 5-grams."""

    def __init__(self, texts: Iterable[list[str]]) -> None:
        self.sets = [grams(text) for text in texts]
        self.index: dict[tuple[str, ...], list[int]] = {}
        for number, gram_set in enumerate(self.sets):
            for gram in gram_set:
                self.index.setdefault(gram, []).append(number)

    def highest(self, text: list[str]) -> float:
        mine = grams(text)
        shared = Counter(number for gram in mine for number in self.index.get(gram, ()))
        return max((n / (len(mine) + len(self.sets[i]) - n) for i, n in shared.items()), default=0.0)


def normal_form(program: str) -> str:
    """The program's syntax tree with the names of its function and argument replaced, for equality of programs."""
    tree = ast.parse(program)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    argument = function.args.args[0].arg
    function.name = "f"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == argument:
            node.id = "a"
        elif isinstance(node, ast.arg) and node.arg == argument:
            node.arg = "a"
    return ast.dump(tree)


def programs_in(text: str) -> Iterator[str]:
    """The fenced Python programs of an answer."""
    yield from re.findall(r"```python\n(.*?)```", text, flags=re.S)
