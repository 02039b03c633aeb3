"""Perl: program and tests in one file, run by a harness with `do`, whose last line makes the harness print the secret.

    harness.pl    reads the secret into a lexical variable of a block, of which only one sub knows
    main.pl       program, tests, and as the last line a call of that sub, which looks from where it is called

A program cannot pass by exit, die in a handler, END blocks, or printing. It could with B or PadWalker, which read
closures. MultiPL-E's tests compare by Test::Deep's eq_deeply, MBXP's by Data::Compare's Compare; both are the harness's
own comparison here, and neither package is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import Toolchain, Wrapped, alone_step, find, harness, piece, read_step, run_step
from codeup.languages._tools import version as version_of

NAME = "perl"
TITLE = "Perl"
FENCES = ("perl", "pl")
INSTALL = "install Perl (Debian: apt-get install perl)"
MISSING = r"Can't locate|requires explicit package name|Bareword|BEGIN failed|Undefined subroutine"
"""What Perl says where a module or a declaration is not in the text."""
MISSING_AT_RUN = r"BEGIN failed|Can't locate|Undefined subroutine|No such file|Permission denied|Connection refused"
ASKS = r"<STDIN>|<>|@ARGV|\$ARGV|\bshift\s*;|%ENV|\$ENV"
MEMORY_WORDS = ("Out of memory",)
LIBRARIES = ("/usr/share/perl", "/usr/share/perl5", "/etc/perl")


def probe() -> str:
    """The version of the tools. Raises UserError where they are missing."""
    return toolchain().version


def toolchain() -> Toolchain:
    """perl. Raises UserError where there is none."""
    perl = find(TITLE, ("perl",), INSTALL)
    show = (perl, *(path for path in LIBRARIES if os.path.isdir(path)))
    return Toolchain(f"perl {version_of([perl, '-e', 'print $^V'])}", show, {"perl": perl})


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    step = alone_step(
        [tools.at["perl"], "main.pl"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb + 128,
        memory_words=MEMORY_WORDS,
    )  # fmt: skip
    return Wrapped({"main.pl": [["program", code]]}, (step,))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """Two files, one step."""
    lines = f"{program}\n{tests}\n".count("\n") + 1
    files = {
        "harness.pl": [["ours", harness("perl.pl").replace("@LINE@", str(lines))]],
        "main.pl": [["program", f"{program}\n"], ["ours", f"{_compared(tests)}\n{HARNESS}(); 1;\n"]],
    }
    run = run_step(
        [tools.at["perl"], "harness.pl"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb + 128,
        memory_words=MEMORY_WORDS,
    )  # fmt: skip
    return Wrapped(files, (run,), compat)


def _compared(tests: str) -> str:
    """The tests with the harness's comparison in place of those of two packages; as many lines as before."""
    for package, function in (("Test::Deep", "eq_deeply"), ("Data::Compare", "Compare")):
        if re.search(rf"(?m)^use {package};", tests) and not re.search(r"\bcmp_", tests):
            tests = re.sub(rf"(?m)^use {package};", "", tests)
            tests = re.sub(rf"(?<![\w:$&]){function}\s*\(", f"{HARNESS}_same(", tests)
    return tests


READ = """
undef $/; open(my $file, "<", "piece.txt"); my $text = <$file>; $text =~ s/^__(END|DATA)__.*//ms;
unless (eval "sub {\\n$text\\n}; 1") { $@ =~ s/\\s+/ /g; print STDERR "error: $@"; exit 1 }
"""


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The one way in which code may be whole: the body of a sub, which is made and not called. BEGIN blocks run."""
    yield piece("piece.txt", code, read_step([tools.at["perl"], "-e", READ]))
