"""Ruby: program and tests in one file, loaded by a harness; tests of Test::Unit are run by the file's last line.

    harness.rb    reads the secret into a local variable, defines a method that prints it for one line of main.rb only
    main.rb       program, tests, and as the last line that call

A program cannot pass by exit, exit!, abort, at_exit, throwing, or printing. It could by asking the method for its
binding (Method#to_proc and Binding), which shows the secret.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from typing import Any

from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import Toolchain, Wrapped, alone_step, find, harness, piece, read_step, run_step
from codeup.languages._tools import version as version_of

NAME = "ruby"
TITLE = "Ruby"
FENCES = ("ruby", "rb")
INSTALL = "install Ruby (Debian: apt-get install ruby ruby-test-unit)"
MISSING = ""
"""No complaint of its parser is about what stands elsewhere."""
MISSING_AT_RUN = (
    r"NameError|NoMethodError.*nil|undefined method .* nil|LoadError|cannot load such file|Errno::|EOFError"
)
ASKS = r"\bgets\b|\bARGV\b|\bSTDIN\b|\$stdin\b|\bARGF\b|\bENV\b"
MEMORY_WORDS = ("failed to allocate memory", "NoMemoryError")
RUN_UNIT = (
    "(defined?(Test::Unit::AutoRunner) ? (Test::Unit::AutoRunner.need_auto_run = false; "
    "Test::Unit::AutoRunner.run(false, nil, []) or exit!(97)) : true) and "
)


def probe() -> str:
    """The version of the tools. Raises UserError where they are missing."""
    return toolchain().version


def toolchain() -> Toolchain:
    """ruby. Raises UserError where there is none."""
    ruby = find(TITLE, ("ruby",), INSTALL)
    libraries = glob.glob("/usr/share/rubygems-integration") + glob.glob("/var/lib/gems")
    return Toolchain(f"ruby {version_of([ruby, '--version'])}", (ruby, *libraries), {"ruby": ruby})


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    step = alone_step(
        [tools.at["ruby"], "main.rb"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb + 256,
        memory_words=MEMORY_WORDS,
    )  # fmt: skip
    return Wrapped({"main.rb": [["program", code]]}, (step,))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """Two files, one step."""
    whole = f"{program}\n{tests}\n"
    files = {
        "harness.rb": [["ours", harness("ruby.rb").replace("@LINE@", str(whole.count("\n") + 1))]],
        "main.rb": [["program", whole], ["ours", f"{RUN_UNIT}{HARNESS}(1)\n"]],
    }
    run = run_step(
        [tools.at["ruby"], "harness.rb"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb + 256,
        memory_words=MEMORY_WORDS,
    )  # fmt: skip
    return Wrapped(files, (run,), compat)


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a program, the body of a method in a loop."""
    read = read_step([tools.at["ruby"], "-c", "main.rb"])
    for text in (code, f"def piece\nloop do\n{code}\nend\nend\n"):
        yield piece("main.rb", text, read)
