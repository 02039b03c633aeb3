r"""A conversation in the terminal: what is typed, what is answered, and the commands that begin with a slash.

    > Write add(a, b).                          an instruction; Enter sends it
    > Sort this: \                               a line that ends with a backslash goes on in the next
    > '''                                       so does everything between two lines of three quotes, of either kind
    > /run                                      runs the code of the last answer in the sandbox

Answers stream; in a terminal, code is highlighted line by line. What is typed is remembered between sessions where
readline is there. From a pipe each line is an instruction, and answers are all that is printed.
Not covered: a full-screen interface, mouse, completion.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import CodeUpError, UserError
from codeup.types import Message

FENCE = re.compile(r"^```+[ \t]*([\w+#.-]*)[^\n`]*\n(.*?)^```+[ \t]*$", re.M | re.S)
QUOTES = ('"""', "'''")
COMMANDS = {
    "/help": "what can be typed",
    "/clear": "begin afresh (an empty line does too)",
    "/again": "answer the last instruction once more",
    "/system": "/system TEXT: how the model is told to be; /system alone takes it back",
    "/set": "/set NAME VALUE: temperature, top_p, max_tokens or seed; /set alone shows them",
    "/run": "run the code of the last answer in the sandbox; /run FOLDER also keeps the files it makes there",
    "/save": "/save FILE: the conversation as Markdown, or as JSON messages where FILE ends with .json",
    "/quit": "end (Ctrl-D does too)",
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn. `temperature` 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0


Answer = Callable[[list[Message], Sampling], Iterator[str]]
"""A conversation that ends with the user's turn -> the answer, piece by piece."""


class Terminal:
    """One conversation with one model."""

    def __init__(self, who: str, answer: Answer, sampling: Sampling) -> None:
        self.who, self.answer, self.sampling = who, answer, sampling
        self.system, self.turns = "", list[Message]()
        self.person = sys.stdin.isatty()
        self.colours = self.person and sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def talk(self) -> None:
        """Until Ctrl-D, /quit, or the end of the input."""
        if self.person:
            _remember()
            self.say(f"{self.who} — /help shows what can be typed, Ctrl-D ends")
        while (text := self._read()) is not None:
            command, _, rest = text.strip().partition(" ")
            try:
                if command in COMMANDS:
                    if not self._do(command, rest.strip()):
                        return
                elif self.person and re.fullmatch(r"/[a-z]+", command):
                    self.say(f"there is no {command}; /help shows what there is")
                elif text.strip():
                    self._ask(text)
                else:
                    self.turns = []
            except CodeUpError as error:
                if not self.person:
                    raise
                self.say(f"error: {error}")

    def say(self, words: str) -> None:
        """Something that is no answer: to stderr."""
        print(words, file=sys.stderr, flush=True)

    # ------------------------------------------------------------------------------------------------- what is typed

    def _line(self, prompt: str) -> str | None:
        if not self.person:
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        try:
            return input(prompt)
        except EOFError:
            self.say("")
            return None
        except KeyboardInterrupt:
            self.say("")
            raise

    def _read(self) -> str | None:
        """One instruction, which may have several lines; None at the end."""
        line = self._line("> ")
        if line is None or not self.person:
            return line
        parts = []
        if (quotes := line.strip()) in QUOTES:
            while (line := self._line(". ")) is not None and line.strip() != quotes:
                parts.append(line)
            return "\n".join(parts)
        while line is not None and line.endswith("\\"):
            parts.append(line[:-1])
            line = self._line(". ")
        return "\n".join([*parts, line or ""])

    # ---------------------------------------------------------------------------------------------------- the answers

    def _ask(self, text: str) -> None:
        asked = [*self.turns, Message("user", text)]
        said = self._said(asked)
        self.turns = [*asked, Message("assistant", said)]

    def _said(self, asked: list[Message]) -> str:
        """Print an answer while it comes, and return it."""
        system = [Message("system", self.system)] if self.system else []
        printer = _Highlighter() if self.colours else _Plain()
        said: list[str] = []
        try:
            for piece in self.answer([*system, *asked], self.sampling):
                said.append(piece)
                printer.add(piece)
        except KeyboardInterrupt:
            if not self.person:
                raise
            self.say("\n(stopped)")
        except CodeUpError as error:
            printer.end()
            if not self.person or not "".join(said):
                raise
            self.say(f"error: {error}\n(what came is kept; /again asks once more)")
            return "".join(said)
        printer.end()
        if self.person and not "".join(said).strip():
            self.say("(an empty answer)")
        return "".join(said)

    # --------------------------------------------------------------------------------------------------- the commands

    def _do(self, command: str, rest: str) -> bool:
        """Carry out a command; False ends the conversation."""
        if command == "/help":
            self.say("\n".join(f"{name:<9}{about}" for name, about in COMMANDS.items()))
        elif command == "/clear":
            self.turns = []
        elif command == "/again":
            self._again()
        elif command == "/system":
            self.system = rest
        elif command == "/set":
            self._set(rest)
        elif command == "/run":
            self._run(rest)
        elif command == "/save":
            self._save(rest)
        return command != "/quit"

    def _again(self) -> None:
        if not self.turns:
            raise UserError("nothing was asked yet", where="/again", mend="ask something first")
        asked = self.turns[:-1]
        self.turns = [*asked, Message("assistant", self._said(asked))]

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        kinds = {field.name: type(getattr(self.sampling, field.name)) for field in fields(Sampling)}
        if not name:
            self.say(", ".join(f"{known} {getattr(self.sampling, known)}" for known in kinds))
            return
        least = {"temperature": 0.0, "top_p": 1e-9, "max_tokens": 1, "seed": 0}
        most = {"temperature": 2.0, "top_p": 1.0}
        try:
            number = kinds[name](value)
        except KeyError:
            raise UserError(f"there is no setting {name!r}", where="/set", mend=f"one of: {', '.join(kinds)}") from None
        except ValueError:
            raise UserError(f"{name} is a number, not {value!r}", where="/set", mend=f"/set {name} 1") from None
        if not least[name] <= number <= most.get(name, number):
            high = f" and at most {most[name]:g}" if name in most else ""
            raise UserError(f"{name} cannot be {value}", where="/set", mend=f"at least {least[name]:g}{high}")
        changed: dict[str, Any] = {name: number}
        self.sampling = replace(self.sampling, **changed)

    def _run(self, folder: str) -> None:
        """The code of the last answer, in the language of its first block; what it printed, how it ended, its files."""
        blocks = FENCE.findall(self.turns[-1].content) if self.turns else []
        if not blocks:
            raise UserError("the last answer holds no code in a fence", where="/run", mend="ask for code in ``` fences")
        import asyncio

        from codeup.serve.programs import Programs
        from codeup.serve.refusal import Refusal

        programs = Programs()
        try:
            about = programs.about()
            known = {**about["languages"], "": "python"}
            codes = [(known[name.lower()], code) for name, code in blocks if name.lower() in known]
            if about["offered"] and not codes:
                raise UserError(f"programs in {blocks[0][0]} cannot be run here", where="/run")
            language = codes[0][0] if codes else "python"
            code = "\n".join(code for name, code in codes if name == language)
            told = asyncio.run(programs.run(code, [], language))
        except Refusal as error:
            raise UserError(error.message, where="/run") from None
        finally:
            programs.close()
        print(harmless(told["out"]), end="", flush=True)
        if told["err"]:
            self.say(harmless(told["err"].rstrip()))
        silent = "" if told["out"] or told["err"] or told["files"] else ", printed nothing"
        self.say(f"({told['ended']} after {told['seconds']:.2f} s{silent})")
        for note in told["notes"]:
            self.say(note)
        _keep(told["files"], folder, self.say)

    def _save(self, name: str) -> None:
        if not name:
            raise UserError("name a file", where="/save", mend="/save talk.md")
        system = [Message("system", self.system)] if self.system else []
        messages = [{"role": turn.role, "content": turn.content} for turn in [*system, *self.turns]]
        path = Path(name).expanduser()
        if path.suffix == ".json":
            text = json.dumps({"messages": messages}, ensure_ascii=False, indent=1)
        else:
            titles = {"user": "You", "assistant": self.who, "system": "System"}
            text = "\n".join(f"## {titles[each['role']]}\n\n{each['content']}\n" for each in messages)
        artifacts.write_bytes(path, (text + "\n").encode(errors="backslashreplace"))
        self.say(f"{len(self.turns)} turns written to {path}")


def _keep(files: list[dict[str, str]], folder: str, say: Callable[[str], None]) -> None:
    import base64

    if files and not folder:
        say(f"files it made: {', '.join(file['name'] for file in files)}; /run FOLDER keeps them")
    elif files:
        target = Path(folder).expanduser()
        artifacts.make_folder(target)
        for file in files:
            artifacts.write_bytes(target / Path(file["name"]).name, base64.b64decode(file["base64"]))
        say(f"{len(files)} files written to {target}")


class _Plain:
    """Pieces as they come; into a pipe unchanged."""

    def __init__(self) -> None:
        self.seen = sys.stdout.isatty()

    def add(self, piece: str) -> None:
        print(harmless(piece) if self.seen else piece, end="", flush=True)

    def end(self) -> None:
        print(flush=True)


class _Highlighter:
    """Prose as it comes; lines of code whole, in colours. What a model writes cannot move the cursor."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, soft_wrap=True)
        self.line, self.shown, self.language = "", 0, None  # type: str, int, str | None

    def add(self, piece: str) -> None:
        self.line += harmless(piece)
        while "\n" in self.line:
            line, _, self.line = self.line.partition("\n")
            self._whole(line)
            self.shown = 0
        if self.language is None and not self.line.lstrip().startswith("`"):
            print(self.line[self.shown :], end="", flush=True)
            self.shown = len(self.line)

    def _whole(self, line: str) -> None:
        from rich.syntax import Syntax

        fence = re.match(r"\s*```+[ \t]*(\w*)", line)
        if fence:
            self.language = None if self.language is not None else (fence[1] or "text")
            self.console.print(line, style="dim", markup=False)
        elif self.language is None:
            print(line[self.shown :], flush=True)
        else:
            code = Syntax("", self.language, theme="ansi_dark").highlight(line)
            self.console.print(code, end="" if code.plain.endswith("\n") else "\n")

    def end(self) -> None:
        if self.line or self.shown:
            self._whole(self.line)
        self.line, self.shown = "", 0


def harmless(text: str) -> str:
    r"""Text without control characters but tabs and line ends: a model must not steer a terminal.

    >>> harmless("a\x1b[2Jb")
    'a[2Jb'
    """
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def _remember() -> None:
    """What was typed in earlier sessions, where readline is there; kept in the cache."""
    with contextlib.suppress(ImportError, OSError):
        import atexit
        import readline

        path = artifacts.cache_folder() / "chat-history"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            readline.read_history_file(path)
        readline.set_history_length(1000)
        atexit.register(_write_history, path)


def _write_history(path: Path) -> None:
    import readline

    with contextlib.suppress(OSError):
        readline.write_history_file(path)
