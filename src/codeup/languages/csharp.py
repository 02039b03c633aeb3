"""C#: program and tests in one file, compiled by Mono's mcs with a harness that calls the tests' Main.

    main.cs       program and tests; `Debug.Assert(` of the tests becomes the harness's check, their Main another name
    harness.cs    the only Main (a second one does not compile): reads the secret into a local variable, finds that
                  method, prints the secret and the number of checks after it

A program cannot pass by Environment.Exit, static constructors, printing, Console.SetOut, a Main or a Debug class of its
own, or handlers of the process's end. It could by searching its own memory (Marshal). MBXP's tests compare with a
library, CompareNETObjects; a comparison of ours stands in for it, with the same meaning for plain values, lists; sets
and dictionaries are equal in any order. Mono 6.8 knows C# 7.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import Toolchain, Wrapped, alone_step, compile_step, find, harness, run_step
from codeup.languages._tools import version as version_of

NAME = "csharp"
TITLE = "C#"
FENCES = ("csharp", "cs", "c#")
INSTALL = "install Mono's compiler (Debian: apt-get install mono-mcs mono-runtime)"
MEMORY_WORDS = ("OutOfMemoryException", "out of memory", "Could not allocate")
COMPILER = "/usr/lib/mono/4.5/mcs.exe"
STACK = "7ffff0000000-7ffffffff000 rw-p 00000000 00:00 0 [stack]\n"
"""Mono asks the C library for its stack, which looks it up in /proc/self/maps; on x86-64 it ends here where addresses
are not randomised."""
LIBRARIES = ("System.Numerics", "System.Core")


def probe() -> str:
    """The version of the tools. Raises UserError where they are missing."""
    return toolchain().version


def toolchain() -> Toolchain:
    """mono and mcs. Raises UserError where either is missing."""
    find(TITLE, ("mcs",), INSTALL)
    mono = find(TITLE, ("mono",), INSTALL)
    show = (mono, *(path for path in ("/etc/mono", "/usr/lib/mono") if os.path.isdir(path)))
    return Toolchain(f"mono {version_of([mono, '--version'])}", show, {"mono": mono}, proc={"self/maps": STACK})


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    step = alone_step(
        [tools.at["mono"], ".main.exe"], cpu_s=cpu_s, memory_mb=memory_mb + 256, memory_words=MEMORY_WORDS
    )
    steps = (compile_step([*_compile(tools, ".main.exe"), "main.cs"]), step)
    return Wrapped({"main.cs": [["program", code]]}, tuple({**each, "fixed_addresses": True} for each in steps))


def _compile(tools: Toolchain, out: str) -> list[str]:
    references = [f"-r:{name}.dll" for name in LIBRARIES]
    return [tools.at["mono"], COMPILER, "-nologo", "-warn:0", f"-out:{out}", *references]


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """Two files, two steps: compile, run."""
    checked = re.sub(r"\b(?:System\.Diagnostics\.)?Debug\.Assert\s*\(", f"{HARNESS}.Check.That(", tests)
    checked = re.sub(r"\bstatic\s+(async\s+)?(\w+)\s+Main\s*\(", rf"static \1\2 {HARNESS}_main(", checked, count=1)
    checked = re.sub(r"(?<![\w.])CompareLogic\b", "global::KellermanSoftware.CompareNetObjects.CompareLogic", checked)
    files = {
        "main.cs": [["program", f"{program}\n"], ["ours", checked]],
        "harness.cs": [["ours", harness("csharp.cs")]],
    }
    if "KellermanSoftware" in program + checked:
        files["compare.cs"] = [["ours", harness("csharp_compare.cs")]]
    steps = (
        compile_step([*_compile(tools, "main.exe"), *files]),
        run_step([tools.at["mono"], "main.exe"], cpu_s=cpu_s, memory_mb=memory_mb + 256, memory_words=MEMORY_WORDS),
    )
    return Wrapped(files, tuple({**step, "fixed_addresses": True} for step in steps), compat)
