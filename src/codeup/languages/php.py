"""PHP: program and tests in one file, required by a harness that holds the secret where PHP code cannot look.

    harness.php   reads the secret into a local variable of a generator, then requires main.php
    main.php      program, tests, and as the last line a call that resumes the generator, which looks who called it

A program cannot pass by exit, die, return at the top, shutdown functions, printing, or by calling the harness itself:
the generator answers only the last line of the file. It could by another extension that reads its process's memory.
Warnings go to standard error and decide nothing, as in the original runners.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import Toolchain, Wrapped, alone_step, find, harness, piece, read_step, run_step
from codeup.languages._tools import version as version_of

NAME = "php"
TITLE = "PHP"
FENCES = ("php", "php8", "php7")
INSTALL = "install PHP's command line (Debian: apt-get install php-cli)"
MISSING = ""
"""No complaint of its parser is about what stands elsewhere."""
MISSING_AT_RUN = (
    r"Call to undefined|Class \"[^\"]*\" not found|Failed opening|Failed to open|failed to open|Undefined constant|"
    r"Interface \"[^\"]*\" not found|on null|Trait \"[^\"]*\" not found|must be of type \S+, (?:null|bool|false) given|"
    r"PDOException|could not find driver"
)
ASKS = r"\breadline\s*\(|\bSTDIN\b|php://(?:stdin|input)|\$argv\b|\$_(?:GET|POST|REQUEST|SERVER|FILES|ENV|SESSION)\b"
MEMORY_WORDS = ("Allowed memory size", "Out of memory")


def probe() -> str:
    """The version of the tools. Raises UserError where they are missing."""
    return toolchain().version


def toolchain() -> Toolchain:
    """php. Raises UserError where there is none."""
    php = find(TITLE, ("php", "php8.4", "php8.2"), INSTALL)
    return Toolchain(f"php {version_of([php, '--version'])}", (php,), {"php": php})


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    text = code if "<?" in code else f"<?php\n{code}"
    step = alone_step(
        [tools.at["php"], "-n", "-d", f"memory_limit={memory_mb}M", "main.php"], cpu_s=cpu_s, memory_mb=memory_mb + 256,
        address_mb=memory_mb + 512, memory_words=MEMORY_WORDS,
    )  # fmt: skip
    return Wrapped({"main.php": [["program", text]]}, (step,))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """Two files, one step: no php.ini, no extension but the built-in ones."""
    if not re.match(r"\s*<\?", program):
        program = f"<?php\n{program}"
    more = re.sub(r"^\s*<\?php", "", tests)
    whole = f"{program.lstrip()}\n{more}\n"
    if _ends_in_text(whole):
        whole += "<?php "
    line = whole.count("\n") + 1
    files = {
        "harness.php": [["ours", harness("php.php").replace("@LINE@", str(line))]],
        "main.php": [["program", whole], ["ours", f"{HARNESS}();\n"]],
    }
    arguments = [tools.at["php"], "-n", "-d", f"memory_limit={memory_mb}M", "harness.php"]
    run = run_step(
        arguments, cpu_s=cpu_s, memory_mb=memory_mb + 256, address_mb=memory_mb + 512, memory_words=MEMORY_WORDS
    )
    return Wrapped(files, (run,), compat)


def _ends_in_text(text: str) -> bool:
    """Whether the file's end is outside of PHP code, after a closing tag."""
    return text.rfind("?>") > text.rfind("<?")


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a page, statements, members of a class."""
    opened = "" if "<?" in code or code.lstrip().startswith("<") else "<?php\n"
    bare = re.sub(r"<\?(?:php)?|\?>", "", code)
    read = read_step([tools.at["php"], "-n", "-l", "main.php"])
    for text in (f"{opened}{code}", f"<?php\nclass Piece {{\n{bare}\n}}\n"):
        yield piece("main.php", text, read)
