"""Bash: program and tests in a subshell without the secret, which says a random word when their last line is reached.

    harness.sh    reads the secret, starts a subshell that does not have it, prints the secret if that said the word
    main.sh       program, tests, and as the last line an `echo` of the word to a file descriptor of its own

A program cannot pass by exit 0, traps, or printing. It could by reading main.sh and saying the word itself. A shell
needs processes: they are limited in number, and none outlives the program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import Toolchain, Wrapped, alone_step, find, harness, piece, read_step, run_step
from codeup.languages._tools import version as version_of

NAME = "bash"
TITLE = "Bash"
FENCES = ("bash", "sh", "shell", "zsh")
MISSING = ""
"""No complaint of its parser is about what stands elsewhere."""
INSTALL = "install Bash (Debian: apt-get install bash)"


LINKS = ("/etc/alternatives",)
"""What awk and others are links into, in Debian."""


def probe() -> str:
    """The version of the tools. Raises UserError where they are missing."""
    return toolchain().version


def toolchain() -> Toolchain:
    """bash and the usual commands beside it. Raises UserError where there is none."""
    bash = find(TITLE, ("bash",), INSTALL)
    return Toolchain(
        f"bash {version_of([bash, '--version'])}", ("/usr/bin", "/bin", *filter(os.path.exists, LINKS)), {"bash": bash}
    )


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    step = alone_step(
        [tools.at["bash"], "--norc", "--noprofile", "main.sh"], cpu_s=cpu_s, memory_mb=memory_mb, processes=True,
        memory_words=("cannot allocate memory", "xmalloc"),
    )  # fmt: skip
    return Wrapped({"main.sh": [["program", code]]}, (step,))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """Two files, one step, in which processes may be started."""
    files = {
        "harness.sh": [["ours", harness("bash.sh")]],
        "main.sh": [["program", f"{program}\n{tests}\n"], ["ours", f"builtin echo {HARNESS} >&4\n"]],
    }
    run = run_step(
        [tools.at["bash"], "--norc", "--noprofile", "harness.sh"], cpu_s=cpu_s, memory_mb=memory_mb, processes=True,
        memory_words=("cannot allocate memory", "xmalloc"),
    )  # fmt: skip
    return Wrapped(files, (run,), compat)


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a script, what was typed after `$` in a session, the body of a function."""
    read = read_step([tools.at["bash"], "--norc", "--noprofile", "-n", "main.sh"])
    typed = re.findall(r"(?m)^[ \t]*\$ (.*)$", code)
    texts = (code, *(["\n".join(typed) + "\n"] if typed else []))
    yield from (piece("main.sh", text, read) for text in texts)
