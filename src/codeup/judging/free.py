"""Checks that come with the request, for programs of no benchmark.

    python  calls   [{"arguments": [[3, 1]], "expected": [1, 3]}]      entry_point is called, compared elsewhere
            tests   "assert add(1, 2) == 3\n..."                       the same, written as assertions with literals
            cases   [{"stdin": "3\n", "expected": "6\n"}]              the program reads and prints
    others  tests   text of the language itself, in one process with the program (docs/languages.md)

Tests of a benchmark are trusted, those of a request are not: they never run in the judge. Python's are read as data
(evaluate/checks.py), and what cannot be read is refused and named. Not covered: a time limit for calls (the server's).
"""

from __future__ import annotations

import ast
import builtins
import keyword
from collections.abc import Iterator
from dataclasses import dataclass, replace

from codeup import plugins
from codeup.benchmarks import _stdin
from codeup.errors import UserError
from codeup.evaluate import checks, programs, whole
from codeup.judging.catalog import Room, Wanted
from codeup.judging.requests import FreeItem, refused
from codeup.sandbox import values
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import AnyJob, Job
from codeup.types import Outcome, Problem, Program, Verdict

EXTRACTION = "given-program"
LEAST_S = 0.1
"""Of a time limit: less, and starting the language alone may take longer."""


@dataclass(frozen=True, slots=True)
class Free:
    """The languages a server takes such checks in: their pool of tools, and for Python's calls the plain one."""

    tools: dict[str, int]
    plain: int | None
    limits: Limits

    def wanted(self, item: FreeItem, inside: str) -> Wanted:
        """The job of an item. Raises Refusal naming the field that is wrong."""
        if item.language not in self.tools:
            known = ", ".join(self.tools) or "none"
            raise refused(inside, "language", f"{item.language[:80]!r} is not offered here; there is {known}")
        kinds = [name for name in ("tests", "calls", "cases") if getattr(item, name) is not None]
        if len(kinds) != 1:
            said = " and ".join(kinds) or "none"
            raise refused(inside, kinds[1] if kinds else "tests",
                          f"one of tests, calls and cases is needed, and there is {said}")  # fmt: skip
        _check_fields(item, kinds[0], inside)
        cpu_s = self.limits.cpu_s if item.time_limit_s is None else item.time_limit_s
        if not LEAST_S <= cpu_s <= self.limits.cpu_s:
            here = f"at least {LEAST_S:g} and at most {self.limits.cpu_s:g} here"
            raise refused(inside, "time_limit_s", f"{cpu_s:g} s, {here}")
        program = Program(item.task_id, item.index, item.program, EXTRACTION)
        job, count, pool = self._job(item, program, replace(whole.limits_for(self.limits), cpu_s=cpu_s), inside)
        more = {"extraction": EXTRACTION}
        if not item.program.strip():
            nothing = Verdict(item.task_id, item.index, Outcome.NO_CODE, f"no code in the answer ({EXTRACTION})")
            return Wanted(nothing, None, pool, None, program, count, more)
        return Wanted(None, job, pool, None, program, count, more)

    def _job(self, item: FreeItem, program: Program, limits: Limits, inside: str) -> tuple[AnyJob, int | None, int]:
        if item.cases is not None:
            pairs = [(case.stdin, case.expected) for case in item.cases]
            problem = _stdin.stdin_problem(item.task_id, "", pairs, comparison=item.comparison or "strict")
            return whole.stdin_job(problem, program, limits), len(pairs), self.tools["python"]
        if item.language != "python":
            problem = Problem(item.task_id, "", "", item.tests or "", "", item.language,
                              {"whole": True})  # fmt: skip
            return whole.job(problem, program, limits), None, self.tools[item.language]
        assert self.plain is not None
        name = item.entry_point or ""
        if item.calls is not None:
            cases = [(call.arguments, call.expected) for call in item.calls]
            problem = _stdin.call_problem(item.task_id, "", name, cases, comparison="same_json")
            return programs.job(problem, program), len(cases), self.plain
        read = _read(item.tests or "", name, inside)
        return Job(item.task_id, item.index, item.program, name, read.source(), ""), None, self.plain


def open_rooms(languages: list[str], limits: Limits) -> dict[str, Room]:
    """The sandbox that each language's programs need. Raises UserError where its tools are missing."""
    rooms = {}
    for language in languages:
        plugins.load("languages", language)
        if language in rooms:
            raise UserError(f"{language} is given twice", where="--language", mend="name each language once")
        rooms[language] = Room.of(whole.limits_for(limits), [Problem("", "", "", "", "", language, {"whole": True})])
    return rooms


def _check_fields(item: FreeItem, kind: str, inside: str) -> None:
    """Raise Refusal for a field that this kind of checks would not use, or lacks."""
    python = item.language == "python"
    if not python and kind != "tests":
        raise refused(inside, kind, f"programs of {item.language} are checked by tests in their own language")
    called = python and kind != "cases"
    if called and (not item.entry_point or not item.entry_point.isidentifier() or keyword.iskeyword(item.entry_point)):
        raise refused(inside, "entry_point", "the name of the function that is called is needed")
    if called and item.time_limit_s is not None:
        raise refused(inside, "time_limit_s", "functions have the server's limit; cases and other languages their own")
    if item.entry_point is not None and not called:
        raise refused(inside, "entry_point", "only functions of Python are called by their name")
    if item.comparison is not None and kind != "cases":
        raise refused(inside, "comparison", "only cases are compared as text")
    for place, call in enumerate(item.calls or ()):
        for field, value in (("arguments", call.arguments), ("expected", call.expected)):
            try:
                values.encode(value)
            except values.Unencodable as error:
                raise refused(inside, f"calls[{place}].{field}", str(error)) from None


def _read(tests: str, entry_point: str, inside: str) -> checks.Checks:
    """The assertions about a function as checks. Raises Refusal where one of them is anything else."""
    read = checks.read(tests, f"def {entry_point}():\n    pass\n")
    if not read.checks or read.left_out:
        raise refused(
            inside, "tests",
            f"{len(read.checks)} assertions about {entry_point} with literals can be read, {read.left_out} cannot; "
            f"tests of a request are not run in the judge (at most {checks.MOST_CHECKS}); or use calls",
        )  # fmt: skip
    for check in read.checks:
        if error := _own_error(check.source):
            raise refused(inside, "tests", f"{check.source[:200]}: fails whatever {entry_point} returns: {error[:200]}")
    return read


def _own_error(check: str) -> str:
    """The error of what a check does by itself, before and beside its calls; "" without one.

    >>> _own_error("assert candidate(min([])) == 1"), _own_error("assert candidate([3])[0] == 1")
    ('ValueError: min() arg is an empty sequence', '')
    """
    names = {name: getattr(builtins, name) for name in checks.BUILTINS | checks.TYPES}
    room = {"__builtins__": names, "candidate": lambda *_, **__: None}
    for part in _own_parts(ast.parse(check).body[0]):
        try:
            eval(compile(ast.Expression(part), "<check>", "eval"), room)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _own_parts(check: ast.AST) -> Iterator[ast.expr]:
    """The largest expressions that need no answer of the program, and calls of it whose arguments are such."""
    asks = set[int]()
    for node in reversed(list(ast.walk(check))):  # children before their parents
        is_name = isinstance(node, ast.Name) and node.id == "candidate"
        if is_name or any(id(child) in asks for child in ast.iter_child_nodes(node)):
            asks.add(id(node))
    waiting = [check]
    while waiting:
        node = waiting.pop()
        inside = [*node.args, *node.keywords] if isinstance(node, ast.Call) else list(ast.iter_child_nodes(node))
        whole = isinstance(node, ast.expr) and not isinstance(node, ast.Starred | ast.Slice | ast.Lambda | ast.Name)
        if whole and not any(id(each) in asks for each in inside):
            yield node  # type: ignore[misc]
        else:
            waiting += inside
