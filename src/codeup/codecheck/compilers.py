"""What the tools of a language say about one piece of code, which may be a part of a program.

    def f(x: return x                    fails      invalid syntax, whatever stands around it
    return x                             ok         the body of a function
    std::vector<Node*> all; walk(all);   not told   'Node' was not declared: perhaps it is, elsewhere

A piece is read in each way that its language room knows (`pieces`: a file, the body of a function, members of a class).
The first way that the compiler takes decides; where one is refused because a name, a module or a header is missing,
nothing is told, and nothing of a piece with sentences in it, which are an answer's explanations. So a piece fails only
for what no surroundings could explain, as far as the first complaint of each reading shows.

Run, a piece is a program of its own. It fails by an exception or a signal that is not about missing names, modules,
files, network, input or arguments; what ran out of time or memory is not told, for it may be a server or a game.
Everything happens in the sandbox: to read Perl is to run its BEGIN blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeup import plugins
from codeup.errors import UserError
from codeup.languages._tools import Toolchain, Wrapped
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, ProgramJob
from codeup.types import Outcome, Verdict

Mode = Literal["compiles", "runs"]
RUN_CPU_S, RUN_MB = 5.0, 512
LIMITS = Limits(cpu_s=30.0, wall_s=120.0, memory_mb=1024, scratch_mb=128, files=256, threads=512)
"""The sandbox's own; one reading gets the seconds of languages/_tools.py, one run RUN_CPU_S."""
AT_ONCE = 64
"""Pieces that one process reads where a language can read many."""
OUTSIDE = re.compile(
    r"No such file|Permission denied|Operation not permitted|Connection refused|Network is unreachable|SIGSYS|"
    r"Name or service not known|Temporary failure in name resolution|Read-only file system|[Ff]unction not implemented"
)
"""What any program says that wants files, processes or a network, which the sandbox has not."""
_ELIDED = re.compile(r"(?m)^[ \t]*(?:\.{3,}|…)[ \t]*\r?$")
_SENTENCE = re.compile(
    r"""(?m)^[ \t]*(?:\d+[.)]|[-*•])?[ \t]*['"‘“(`]?[A-Z]\w*(?:[ ,:'"’”`-]{1,3}\w+){3,}(?![^\n]*;[ \t]*$)"""
)
"""A line that begins with a capital and four words, which is neither a comment nor code."""


@dataclass(frozen=True, slots=True)
class Said:
    """`ok`, `fails` or `not told`, and why in a few words."""

    status: Literal["ok", "fails", "not told"]
    why: str = ""


OK = Said("ok")


def languages(mode: Mode) -> list[str]:
    """The languages whose code can be read, or run."""
    names = plugins.names("languages")
    offers = "MISSING" if mode == "compiles" else "MISSING_AT_RUN"
    return [name for name in names if hasattr(plugins.load("languages", name), offers)]


def versions(compiles: Sequence[str], runs: Sequence[str]) -> dict[str, str]:
    """Language -> the version of its tools here. Raises UserError for a language that cannot be checked, or whose tools
    are missing: its rows are never dropped or kept for that."""
    modes: tuple[tuple[Mode, Sequence[str]], ...] = (("compiles", compiles), ("runs", runs))
    for mode, asked in modes:
        offered = languages(mode)
        if unknown := [name for name in asked if name not in offered]:
            raise UserError(
                f"code_{mode} cannot check {', '.join(unknown)}",
                where="filters",
                mend=f"one of: {', '.join(offered)}",
            )
    return {name: plugins.load("languages", name).probe() for name in sorted({*compiles, *runs})}


class Compilers:
    """The tools of some languages, and the sandboxes that show them. Use as a context manager.

    Raises UserError where a tool is missing or the sandbox is not strong, WorkFailed where one breaks.
    """

    def __init__(self, names: Iterable[str], *, workers: int) -> None:
        self.rooms = {name: plugins.load("languages", name) for name in names}
        self.tools: dict[str, Toolchain] = {name: room.toolchain() for name, room in self.rooms.items()}
        show = dict.fromkeys(path for tools in self.tools.values() for path in tools.show)
        proc = {name: text for tools in self.tools.values() for name, text in tools.proc.items()}
        self.pool = Pool(workers, LIMITS, show=tuple(show), proc=proc)

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()

    def read(self, codes: Sequence[tuple[str, str]]) -> list[Said]:
        """What the compilers say to (language, code), in order."""
        taken = self._taken_at_once(codes)
        ways = {place: self._ways(*each) for place, each in enumerate(codes) if place not in taken}
        found: list[Said | None] = [OK if place in taken else None for place in range(len(codes))]
        while ways:  # the next way of all that are still refused
            asked = {place: way for place, rest in ways.items() if (way := next(rest, None)) is not None}
            verdicts = self._judged(asked)
            for place in list(ways):
                if place not in asked:
                    del ways[place]
                    continue
                said = _of_reading(self.rooms[codes[place][0]].MISSING, verdicts[place])
                before = found[place]
                if said.status == "ok":
                    found[place] = said
                    del ways[place]
                elif before is None or (before.status == "fails" and said.status == "not told"):
                    found[place] = said
        return [_unless_prose(said or OK, code) for said, (_, code) in zip(found, codes, strict=True)]

    def run(self, codes: Sequence[tuple[str, str]]) -> list[Said]:
        """The same of running them as programs."""
        verdicts = self._judged({place: self._program(*each) for place, each in enumerate(codes)})
        return [_of_run(self.rooms[language], code, verdicts[place]) for place, (language, code) in enumerate(codes)]

    def _taken_at_once(self, codes: Sequence[tuple[str, str]]) -> set[int]:
        """The places of pieces that one process for many took as they are; all others are asked about one by one."""
        jobs: dict[int, Wrapped] = {}
        of: dict[int, list[int]] = {}
        for language, room in self.rooms.items():
            own = [place for place, each in enumerate(codes) if each[0] == language] if hasattr(room, "many") else []
            for begin in range(0, len(own), AT_ONCE):
                places = own[begin : begin + AT_ONCE]
                texts = [_ELIDED.sub("", codes[place][1]) for place in places]
                of[len(jobs)], jobs[len(jobs)] = places, room.many(texts, tools=self.tools[language])
        taken: set[int] = set()
        for job, verdict in self._judged(jobs).items():
            refused = re.match(r"error: refused ([\d ]+)$", verdict.detail)
            if verdict.outcome is Outcome.PASSED or refused:
                numbers = {int(number) for number in refused[1].split()} if refused else set()
                taken.update(place for number, place in enumerate(of[job]) if number not in numbers)
        return taken

    def _ways(self, language: str, code: str) -> Iterator[Wrapped]:
        pieces: Callable[..., Iterator[Wrapped]] = self.rooms[language].pieces
        return pieces(_ELIDED.sub("", code), tools=self.tools[language])

    def _program(self, language: str, code: str) -> Wrapped:
        room, how = self.rooms[language], {"tools": self.tools[language], "cpu_s": RUN_CPU_S, "memory_mb": RUN_MB}
        if language != "python":
            alone: Wrapped = room.alone(code, **how)
            return Wrapped(alone.files, alone.steps, "exit-code")
        path, step = room.script(**how)
        return Wrapped({path: [["program", code]]}, (step,), "exit-code")

    def _judged(self, asked: dict[int, Wrapped]) -> dict[int, Verdict]:
        jobs = [ProgramJob("row", place, way.files, way.steps, way.compat) for place, way in asked.items()]
        return {verdict.index: verdict for verdict in self.pool.judge(jobs)}


def _unless_prose(said: Said, code: str) -> Said:
    return Said("not told", "sentences among the code") if said.status == "fails" and _SENTENCE.search(code) else said


def _of_reading(missing: str, verdict: Verdict) -> Said:
    if verdict.outcome is Outcome.PASSED:
        return OK
    if verdict.outcome in (Outcome.TIMEOUT, Outcome.MEMORY, Outcome.CRASHED):
        return Said("not told", f"the compiler: {verdict.outcome.name.lower()}")
    if missing and re.search(missing, verdict.detail):
        return Said("not told", "what it needs stands elsewhere")
    return Said("fails", shortened(verdict.detail))


def _of_run(room: Any, code: str, verdict: Verdict) -> Said:
    if verdict.outcome is Outcome.PASSED:
        return OK
    if verdict.outcome is Outcome.COMPILE:
        return Said("not told", "no program of its own")
    if verdict.outcome in (Outcome.TIMEOUT, Outcome.MEMORY):
        return Said("not told", f"out of {'time' if verdict.outcome is Outcome.TIMEOUT else 'memory'}")
    if verdict.detail.startswith("ended with exit code"):
        return Said("not told", "ended by an exit code of its own")
    if re.search(room.ASKS, code):
        return Said("not told", "asks for input or a network")
    if OUTSIDE.search(verdict.detail) or re.search(room.MISSING_AT_RUN, verdict.detail):
        return Said("not told", "what it needs stands elsewhere")
    return Said("fails", shortened(verdict.detail))


def shortened(complaint: str) -> str:
    """A complaint without its place, names and numbers, so that equal ones are counted together.

    >>> shortened("main.cpp:3:5: error: expected ';' before 'return'"), shortened("ValueError: bad value: 17")
    ("expected '…' before '…'", 'ValueError')
    """
    text = re.sub(r"^(?:\S*\.\w+:(?:\d+:)*\s*|(?:\S+: )?line \d+:\s*)(?:error:\s*)?", "", complaint)
    if named := re.match(r"(?:[\w.]*\.)?(\w*(?:Error|Exception))\b:?", text):
        return re.sub(r"\d+", "0", text)[:80].strip() if named[1] == "SyntaxError" else named[1]
    if text.startswith("assert "):  # what Python shows of a bare AssertionError
        return "AssertionError"
    text = re.sub(r"'[^']*'|‘[^’]*’|`[^`]*`|\"[^\"]*\"", "'…'", text)
    return re.sub(r"\d+", "0", text)[:80].strip()
