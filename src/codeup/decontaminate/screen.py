"""A first look at JavaScript, TypeScript and PHP: every function of the rows on every item's tests, in a few processes.

    own solutions   on their own tests, written down with what they are called with   -> inputs, and varied ones
                    on the varied inputs                                              -> Suite, what is expected
    rows' functions on the items' tests; those that pass, on the varied inputs        -> Look

An item with three short tests is passed by many wrong functions; where its own solution is right, it says what other
inputs give (varied.py), as in suites.py for Python. Little is kept apart, contexts (screen.js) or children of a process
(screen.php): what passes here is run again by itself (programs.py). TypeScript's texts are translated by its compiler
first.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codeup.data.contamination.items import Item
from codeup.data.contamination.other_functions import Found, Source
from codeup.decontaminate.alike import alike
from codeup.decontaminate.renamed import definitions, expression
from codeup.decontaminate.suites import ENOUGH_INPUTS, MOST_INPUTS, agreeing
from codeup.decontaminate.varied import varied
from codeup.languages._tools import Toolchain, run_step, version
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, RunJob
from codeup.types import Emit, Event

TOGETHER = 200
"""Functions of one process, and what it may take."""
TRANSLATED = 2000
"""Texts that one process translates."""
CPU_S, MEMORY_MB, HEAP_MB = 120.0, 1536, 512
LIMITS = Limits(cpu_s=CPU_S, wall_s=2 * CPU_S, memory_mb=1024, scratch_mb=64, files=64, threads=512)
SAID = {"files": 1, "bytes": 32 << 20}
TYPED = "typescript"
ROOMS = {"javascript": ("javascript", TYPED), "php": ("php",)}
"""The rooms whose tools look at a family's functions; the first is needed."""
_KNOWN = {"assert", "node:assert", "assert/strict", "lodash", "js-md5"}
"""What screen.js has of the modules that tests ask for."""


@dataclass(frozen=True, slots=True)
class Text:
    """A function as it is looked at: code that defines it, and the expression that it is."""

    code: str
    expression: str
    typed: bool


@dataclass(frozen=True, slots=True)
class Suite:
    """Inputs that are not the tests', and what an item's own solution gives for them. `strength` is how many different
    values are expected of all inputs, `given` how many the tests have."""

    inputs: tuple[list[Any], ...] = ()
    expected: tuple[Any, ...] = ()
    given: int = 0
    strength: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What a function that passes an item's tests does on its varied inputs: how many it gets right, and, where two
    values are expected, the share of the one that it gets right more rarely."""

    right: int
    suite: Suite
    rarely: float = 1.0

    @property
    def told(self) -> str:
        """The same for a person."""
        count = len(self.suite.inputs)
        return f", and gives {self.right} of {count} expected values on varied inputs" if count else ""

    @property
    def agrees(self) -> bool:
        """Whether it gives what the item's solution gives also where the tests do not look."""
        share = agreeing(self.suite.strength)
        return self.right >= share * len(self.suite.inputs) and self.rarely >= share


UNSEEN = Look(0, Suite())
"""Of a function that no varied inputs were tried on."""


@functools.lru_cache(maxsize=4096)
def seen_here(family: str, item: Item) -> bool:
    """Whether a family's functions are looked at with an item's tests here."""
    if family == "javascript":
        return _KNOWN.issuperset(re.findall(r"\b(?:require\(|from)\s*['\"]([^'\"]+)['\"]", item.tests))
    return family in ROOMS


def able(rooms: Mapping[str, Toolchain]) -> bool:
    """Whether these tools can look: Node, or a PHP that can make children of its process."""
    return "javascript" in rooms or ("php" in rooms and _forks(rooms["php"].at["php"]))


@functools.lru_cache(maxsize=4)
def _forks(php: str) -> bool:
    return version([php, "-n", "-r", "echo extension_loaded('pcntl') ? '1.0' : '';"]) == "1.0"


@functools.lru_cache(maxsize=4096)
def asked(item: Item) -> Found:
    """The function of an item's own solution."""
    return [each for each in Source(item.language, item.source).functions() if each.name == item.entry_point][-1]


@dataclass(frozen=True, slots=True)
class Passing:
    """A function of a row that passes the tests of an item at a first look."""

    row: int
    source: Source
    function: Found
    item: int
    look: Look


def screen(
    items: Sequence[Item], asked_of: Mapping[int, Sequence[int]], sources: Callable[[int], Sequence[Source]],
    rooms: Mapping[str, Toolchain], emit: Emit, step: str,
) -> tuple[list[Passing], set[int]]:  # fmt: skip
    """Look at the functions of rows, {row: items that it may answer}: what passes, and the items that were looked at.

    `rooms` are the tools of a family (ROOMS); without TypeScript's its texts are left out. Raises UserError and
    WorkFailed as the sandbox does.
    """
    family = next(iter(rooms))
    tools = list(rooms.values())
    show = dict.fromkeys(path for each in tools for path in each.show)
    proc = {name: text for each in tools for name, text in each.proc.items()}
    asked_about = sorted({index for some in asked_of.values() for index in some})
    chosen = {index: items[index] for index in asked_about if seen_here(family, items[index])}
    wanted = {index: asked(item) for index, item in chosen.items()}
    found: list[Passing] = []
    with Pool(1, LIMITS, show=tuple(show), import_names=(), proc=proc) as pool:
        looking = Screen(chosen, pool, rooms)
        looking.expect()
        waiting: list[tuple[int, Source, Found, list[int]]] = []
        for done, (row, indices) in enumerate(asked_of.items(), 1):
            for source in sources(row):
                for function in source.functions():
                    fitting = [index for index in indices if index in wanted and function.may_answer(wanted[index])]
                    waiting += [(row, source, function, fitting)] if fitting else []
            if len(waiting) >= TOGETHER or done == len(asked_of):
                texts = [text_of(source, function) for _, source, function, _ in waiting]
                for number, index, look in looking.look(texts, [fitting for *_, fitting in waiting]):
                    held, source, function, _ = waiting[number]
                    found.append(Passing(held, source, function, index, look))
                waiting = []
                emit(Event("progress", step, done, len(asked_of), f"rows with {family}"))
    return found, set(chosen) & looking.read


class Screen:
    """One process at a time that looks at functions; of the items, those whose tests can be read."""

    def __init__(self, items: Mapping[int, Item], pool: Pool, rooms: Mapping[str, Toolchain]) -> None:
        self._pool, self._node = pool, rooms["javascript"].at["node"] if "javascript" in rooms else ""
        self._php = rooms["php"].at["php"] if "php" in rooms else ""
        self._compiler = f"{rooms[TYPED].at['cache']}/typescript.js" if TYPED in rooms else None
        texts = self._javascript([Text(item.tests, "", item.language == TYPED) for item in items.values()])
        self.items = [index for index, text in zip(items, texts, strict=True) if text is not None]
        self.place = {index: number for number, index in enumerate(self.items)}
        self._tests: list[dict[str, Any]] = [
            {"entry": item.entry_point, "text": text, "inputs": []}
            for item, text in zip(items.values(), texts, strict=True) if text is not None
        ]  # fmt: skip
        own = [_own_text(items[index]) for index in self.items]
        self._own = [
            replace(text, code=code or "", typed=False) for text, code in zip(own, self._javascript(own), strict=True)
        ]
        self.suites: dict[int, Suite] = dict.fromkeys(self.items, Suite())
        self.read = set(self.items)
        """The items whose tests can be read; found out by looking."""

    def expect(self) -> None:
        """Learn from the items' own solutions what varied inputs give."""
        calls: dict[int, list[list[Any]]] = {}
        for number, said in self._on_own_tests([{**test, "record": True} for test in self._tests]):
            calls[number] = list({json.dumps(each): each for each in said["calls"]}.values())[:MOST_INPUTS]
        few = {n: given for n, given in calls.items() if 0 < len(given) < ENOUGH_INPUTS}
        more = {n: list(varied(given, ENOUGH_INPUTS - len(given))) for n, given in few.items()}
        tests = [{**test, "inputs": [*calls.get(n, []), *more.get(n, [])]} for n, test in enumerate(self._tests)]
        for number, said in self._on_own_tests(tests):
            given, inputs = len(calls.get(number, [])), tests[number]["inputs"]
            values = said["values"]
            known = [place for place in range(given, len(inputs)) if values[place] is not None]
            strength = len({value for value in values if value is not None})
            self.suites[self.items[number]] = Suite(
                tuple(inputs[place] for place in known), tuple(json.loads(values[place]) for place in known), given,
                strength,
            )  # fmt: skip
            self._tests[number]["inputs"] = [inputs[place] for place in known]

    def look(self, functions: Sequence[Text], indices: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, Look]]:
        """Which functions pass the tests of which of the items that they are asked about: (function, item, look)."""
        numbers = [[self.place[index] for index in some if index in self.place] for some in indices]
        for number, test, said in self._said(functions, numbers, self._tests):
            suite = self.suites[self.items[test]]
            pairs = zip(said["values"], suite.expected, strict=True)
            if suite.strength == 1 and len(set(said["values"])) > 1:  # PHP's `true` equals whatever is expected
                yield number, self.items[test], UNSEEN
                continue
            right = [value is not None and alike(json.loads(value), wanted) for value, wanted in pairs]
            yield number, self.items[test], Look(sum(right), suite, _rarely(right, suite))

    def _on_own_tests(self, tests: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for begin in range(0, len(self._own), TOGETHER):
            own = self._own[begin : begin + TOGETHER]
            numbers = [[begin + number] for number in range(len(own))]
            yield from ((test, said) for _, test, said in self._said(own, numbers, tests))

    def _said(
        self, functions: Sequence[Text], numbers: Sequence[Sequence[int]], tests: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """What each function that passes a test says: (function, test, line). One that dies is asked in halves."""
        codes = self._javascript(functions)
        asked_of = [
            (n, {"code": code, "expression": functions[n].expression, "tests": numbers[n]})
            for n, code in enumerate(codes) if code is not None and numbers[n]
        ]  # fmt: skip
        yield from self._at_once(asked_of, tests)

    def _at_once(
        self, some: Sequence[tuple[int, Mapping[str, Any]]], tests: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, int, dict[str, Any]]]:
        files = {"functions.json": json.dumps([each for _, each in some]), "tests.json": json.dumps(tests)}
        lines = self._run("screen.js" if self._node else "screen.php", files) if some else []
        if lines is None:
            for half in _halves(some):
                yield from self._at_once(half, tests)
        for line in lines or ():
            if isinstance(line, dict) and isinstance(line.get("unread"), list):
                self.read -= {self.items[n] for n in line["unread"] if isinstance(n, int) and n < len(self.items)}
            elif _sound(line, [each["tests"] for _, each in some], tests):
                yield some[line["function"]][0], line["test"], line

    def _javascript(self, texts: Sequence[Text]) -> list[str | None]:
        """The texts in JavaScript; None where the compiler refuses one or there is none."""
        found: list[str | None] = [None if text.typed else text.code for text in texts]
        typed = [number for number, text in enumerate(texts) if text.typed and self._compiler is not None]
        waiting = [typed[begin : begin + TRANSLATED] for begin in range(0, len(typed), TRANSLATED)]
        while waiting:
            part = waiting.pop()
            lines = self._run("translate.js", {"texts.json": json.dumps([texts[n].code for n in part])})
            if lines is not None and len(lines) == len(part):
                for number, line in zip(part, lines, strict=True):
                    found[number] = line
            elif len(part) > 1:
                waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
        return found

    def _run(self, script: str, files: Mapping[str, str]) -> list[Any] | None:
        """What a script writes, a line of JSON each; None where it does not end well."""
        text = Path(__file__).with_name(script).read_text(encoding="utf-8")
        argv = [self._php, "-n", "-d", f"memory_limit={HEAP_MB // 2}M", script]
        if self._node:
            argv = [
                self._node,
                f"--max-old-space-size={HEAP_MB}",
                script,
                *([self._compiler] if self._compiler else []),
            ]
        step = {**run_step(argv, cpu_s=CPU_S, memory_mb=MEMORY_MB, processes=bool(self._php)), "stdin": ""}
        answer = self._pool.run(RunJob({**files, script: text}, {}, (step,), SAID))
        if answer["steps"][-1]["status"] != 0 or "said.jsonl" not in answer.get("made", {}):
            return None
        said = base64.b64decode(answer["made"]["said.jsonl"]).decode("utf-8", "replace")
        try:
            return [json.loads(line) for line in said.split("\n") if line]  # splitlines knows other ends of lines
        except (ValueError, RecursionError):  # a function wrote there too
            return None


def _sound(line: Any, asked_of: Sequence[Sequence[int]], tests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a line is one of screen.js about what it was asked; a function may have written there too."""
    try:
        number, test, values = line["function"], line["test"], line["values"]
        for value in values:
            _ = None if value is None else json.loads(value)
        return test in asked_of[number] and len(values) == len(tests[test]["inputs"]) and type(line["calls"]) is list
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return False


def _halves(some: Sequence[tuple[int, Mapping[str, Any]]]) -> list[Sequence[tuple[int, Mapping[str, Any]]]]:
    """What is asked again after a process died: half of the functions each, or of one function half of its tests."""
    if len(some) > 1:
        return [some[: len(some) // 2], some[len(some) // 2 :]]
    ((number, each),) = some
    tests = each["tests"]
    middle = len(tests) // 2
    return [[(number, {**each, "tests": part})] for part in (tests[:middle], tests[middle:])] if middle else []


def text_of(source: Source, function: Found) -> Text:
    """A row's function with the definitions around it."""
    return Text(definitions(source), expression(source.family, function), source.language == TYPED)


def _rarely(right: Sequence[bool], suite: Suite) -> float:
    """The smallest share of right answers for one expected value, so that saying no to everything is not alike."""
    if suite.strength != 2:
        return 1.0
    of: dict[str, list[bool]] = defaultdict(list)
    for one, wanted in zip(right, suite.expected, strict=True):
        of[json.dumps(wanted)].append(one)
    return min((sum(some) / len(some) for some in of.values()), default=1.0)


def _own_text(item: Item) -> Text:
    source = Source(item.language, item.source)
    return text_of(source, asked(item))
