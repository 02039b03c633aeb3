"""What language rooms share: finding a tool, its version, what a sandbox must show of it, steps, prepared caches.

    tools = cpp.toolchain()                        Toolchain("g++ 12.2.0", show=("/usr/bin", ...), at={"g++": ...})
    wrapped = cpp.wrap(program, tests, tools=tools, cpu_s=10, memory_mb=2048)
    wrapped.files                                  {"main.cpp": [["ours", prelude], ["program", ...], ["ours", tests]]}
    wrapped.steps                                  compile, run: as sandbox/supervisor.py takes them

Nothing here runs a program of a model: `prepare` runs compilers on our own text and the system's headers only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError, WorkFailed

COMPILE_CPU_S, COMPILE_WALL_S, COMPILE_MB = 30.0, 120.0, 2048
"""Limits of one compiler process; honest programs of the benchmarks take a tenth of them."""

LASTS_S = 86400.0
"""Processor time after which a compiler that stays is started anew."""

READ_CPU_S = 10.0
"""CPU seconds of one reading; most take hundredths."""

NAME = "CODEUP_NAME"
"""The word that the judge replaces by a random name in our own parts of a program."""

Files = dict[str, list[list[str]]]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One language's tools on this machine. `show` are the paths a sandbox must let programs read and execute.

    `proc` are files of /proc that a tool does not start without, made up for it (sandbox/root.py).
    """

    version: str
    show: tuple[str, ...] = ()
    at: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    proc: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A program with its tests, ready for the sandbox: files as lists of parts, and the steps that run it.

    `warm` says how a compiler that stays may take the place of compiling (sandbox/warm.py).
    """

    files: Files
    steps: tuple[dict[str, Any], ...]
    compat: str = ""
    warm: dict[str, Any] | None = None


def find(language: str, names: Sequence[str], install: str) -> str:
    """The real path of the first of these programs on PATH. Raises UserError that says how to install it."""
    for name in names:
        if found := shutil.which(name):
            return os.path.realpath(found)
    raise UserError(f"{language} programs cannot run here: no {' or '.join(names)} is installed", mend=install)


def version(argv: Sequence[str], pattern: str = r"\d+\.\d+(?:\.\d+)?", env: Mapping[str, str] | None = None) -> str:
    """The first version number that a program prints about itself, or "unknown"."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0] if found else "unknown"


def step(
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    secret: bool = False,
    compiler: bool = False,
    processes: bool = False,
    cpu_s: float = COMPILE_CPU_S,
    wall_s: float = COMPILE_WALL_S,
    address_mb: int = 0,
    data_mb: int = COMPILE_MB,
    memory_words: Sequence[str] = (),
) -> dict[str, Any]:
    """One step for the sandbox. The environment is only what is given here, with the scratch as home."""
    home = {"PATH": "/usr/bin:/bin", "HOME": "/scratch", "TMPDIR": "/scratch", "LANG": "C.UTF-8", "TZ": "UTC"}
    return {
        "name": name, "argv": list(argv), "env": {**home, **(env or {})}, "stdin": "secret" if secret else "",
        "compiler": compiler, "processes": processes, "cpu_s": cpu_s, "wall_s": wall_s, "address_mb": address_mb,
        "data_mb": data_mb, "memory_words": list(memory_words),
    }  # fmt: skip


def compile_step(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A compiler: it may start processes; its memory and its time are its own, whatever the program may use."""
    words = ("out of memory", "cannot allocate memory", "Cannot allocate memory", "memory allocation of", "ENOMEM")
    return step("compiling", argv, env=env, compiler=True, processes=True, memory_words=words)


def run_step(
    argv: Sequence[str], *, cpu_s: float, memory_mb: int, memory_words: Sequence[str] = (), address_mb: int = 0,
    env: Mapping[str, str] | None = None, processes: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The program itself: the secret comes on its standard input, and it starts no process."""
    return step(
        "the program", argv, env=env, secret=True, processes=processes, cpu_s=cpu_s, wall_s=4 * cpu_s,
        address_mb=address_mb, data_mb=memory_mb, memory_words=memory_words,
    )  # fmt: skip


def companion_step(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A compiler that stays and answers (sandbox/companion.py): its time is limited for each answer, not in all."""
    return step("a warm compiler", argv, env=env, cpu_s=LASTS_S, wall_s=LASTS_S)


def read_step(argv: Sequence[str], *, env: Mapping[str, str] | None = None, processes: bool = False) -> dict[str, Any]:
    """A compiler or interpreter that only reads the text: a few seconds and a small part of what compiling may take."""
    return step(
        "reading", argv, env=env, compiler=True, processes=processes, cpu_s=READ_CPU_S, wall_s=4 * READ_CPU_S,
        memory_words=("out of memory", "MemoryError"),
    )  # fmt: skip


def piece(path: str, text: str, read: dict[str, Any]) -> Wrapped:
    """A text in a file, and the step that reads it: it is of the language's form if that step ends with 0."""
    return Wrapped({path: [["program", text]]}, (read,), "exit-code")


def lifted(code: str, pattern: str) -> tuple[str, str]:
    """The lines of a text that match, and the others, so that what must stand outside of a function can.

    >>> lifted("import os\\nx = 1\\n", "import ")
    ('import os\\n', 'x = 1\\n')
    """
    found: tuple[list[str], list[str]] = ([], [])
    for line in code.splitlines(keepends=True):
        found[0 if re.match(pattern, line) else 1].append(line)
    return "".join(found[0]), "".join(found[1])


def alone_step(argv: Sequence[str], **limits: Any) -> dict[str, Any]:
    """A person's own program, which gets nothing on its standard input: `limits` as run_step takes them."""
    return {**run_step(argv, **limits), "stdin": ""}


def prepared(language: str, key: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """A folder of the cache for these versions, made once by `make` and moved into place when it is complete.

    Raises UserError where the cache cannot be written, WorkFailed where a tool refuses our own text.
    """
    folder = artifacts.cache_folder() / "languages" / f"{language}-{artifacts.fingerprint(dict(key))[:16]}"
    if not (folder / "complete").exists():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            make(fresh)
            (fresh / "complete").touch()
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        except OSError as error:
            if not (folder / "complete").exists():  # made by another process meanwhile
                raise UserError(
                    f"what {language} programs need cannot be prepared: {error.strerror or error}", where=str(folder)
                ) from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


def call(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """Run one of our own preparations; its output. Raises WorkFailed with what the tool said."""
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, input=stdin, errors="replace"
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise WorkFailed(f"{os.path.basename(argv[0])} failed to prepare what programs share: {said[-500:]}")
    return done.stdout


def harness(name: str) -> str:
    """The text of one of our own parts, a file in languages/harness/."""
    return (Path(__file__).parent / "harness" / name).read_text(encoding="utf-8")


def refused_word(refused: re.Pattern[str], program: str) -> str:
    """The word for which a program is refused, or "".

    >>> refused_word(re.compile(r"__attribute__[^;]*constructor"), "__attribute__((constructor)) void f();")
    'constructor'
    """
    found = refused.search(program)
    words = re.findall(r"\w+", found[0]) if found else [""]
    return words[-1]


def identifiers(text: str) -> list[str]:
    """The distinct identifiers of a C-like text, in order of appearance."""
    return list(dict.fromkeys(re.findall(r"[A-Za-z_]\w*", text)))
