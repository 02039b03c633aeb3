"""C++: one translation unit of prelude, program and tests, compiled by g++ with a precompiled header.

    prelude     reads the secret before any other constructor of the file, defines the check that tests call
    program     as it is; its own `main` does not run (it gets another name)
    tests       every `assert(...)` becomes the prelude's check, `main` is called by ours, which then prints the secret;
                where they throw and assert nothing, that their `main` came back is the check
    between     every word of the tests is #undef'd, so that a macro of the program cannot change them

A program cannot pass by ending early, by `exit` handlers, by redefining assert, __assert_fail or read, or by printing.
What would run before the prelude (a constructor with a priority, sections, ifunc, assembler) does not compile. It could
pass by searching the memory of its own process, by hiding those words in macros, or by overloading the operators that
the tests use.
The precompiled header holds exactly the headers that HumanEval-X's runner adds to every program, or all of them. At the
end of each program g++ instantiates what functions of the headers use, half of its time for a short program. So there
is a lean header too: templates of string conversions come from an object compiled once, and what takes longest in
<bits/stdc++.h> is left out, unless a program names something of it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup.errors import WorkFailed
from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import (
    Toolchain,
    Wrapped,
    alone_step,
    call,
    compile_step,
    find,
    harness,
    identifiers,
    lifted,
    piece,
    prepared,
    read_step,
    refused_word,
    run_step,
)
from codeup.languages._tools import version as version_of

NAME = "cpp"
TITLE = "C++"
FENCES = ("cpp", "c++", "cc", "cxx", "c")
INSTALL = "install g++ (Debian: apt-get install g++)"
HEADERS = ("stdlib.h", "algorithm", "math.h", "stdio.h", "vector", "string", "climits", "cstring", "iostream")
"""What CodeGeeX's evaluate_humaneval_x.py adds where it is missing."""

STANDARDS = {"c++11": HEADERS, "c++17": ("assert.h", "bits/stdc++.h")}
"""HumanEval-X and its headers; MultiPL-E and MBXP, whose prompts include everything."""
MISSING = (
    r"not declared in this scope|does not name a type|has not been declared|No such file or directory|"
    r"is not a member of|is ambiguous|declared void|incomplete type|is not a class|is not a template|"
    r"file not found|forward declaration"
)
"""What g++ says where a name, a header or the definition of a type is not in the text."""
MISSING_AT_RUN = r"No such file|cannot open"
ASKS = r"\bcin\b|\bscanf\b|\bgetline\b|\bgetchar\b|\bargv\b|\bgets\b|\bifstream\b"
SLOW = {
    "c++11": (),
    "c++17": ("FUTURE", "FILESYSTEM", "THREAD", "CONDITION_VARIABLE", "SHARED_MUTEX", "MEMORY_RESOURCE", "EXECUTION"),
}
"""Headers that the lean one leaves out, by the names of their guards in libstdc++."""

_SLOW_WORDS = re.compile(
    "future|promise|async|packaged_task|launch|filesystem|thread|condition_variable|cv_status|notify_all|"
    "shared_mutex|shared_timed_mutex|shared_lock|memory_resource|pmr|execution"
)
"""What a program must not say to be compiled without them; one that does for another reason loses time only."""
REFUSED = re.compile(
    r"(?:__attribute__|\[\[)[^;{}]*?\b_*(?:constructor|init_priority|section|ifunc)_*\b"
    r"|\b(?:asm|__asm|__asm__)\b\s*(?:\w+\s*)?\("
)
"""What runs before the secret is taken, or where nobody looks; the words alone may stand in a comment."""
_KEEP = frozenset((
    "assert", "main", "defined", "NULL", "errno", "stdin", "stdout", "stderr", "and", "or", "not", "xor", "bitand",
    "bitor", "compl", "and_eq", "or_eq", "xor_eq", "not_eq"))  # fmt: skip


def probe() -> str:
    """The version of the tools, without preparing anything. Raises UserError where they are missing."""
    return f"g++ {version_of([find(TITLE, ('g++',), INSTALL), '-dumpfullversion'])}"


def toolchain() -> Toolchain:
    """g++ and a precompiled header for each standard. Raises UserError where there is no g++."""
    compiler = find(TITLE, ("g++",), INSTALL)
    number = version_of([compiler, "-dumpfullversion"])
    key = {"version": number, "prelude": 3, "headers": STANDARDS, "slow": SLOW, "once": harness("cpp_once.hpp")}
    cache = prepared(NAME, key, lambda at: _precompile(compiler, at))
    show = ("/usr/bin", "/usr/include", str(cache))
    gold = shutil.which("ld.gold", path="/usr/bin") or ""  # links in half of ld's time
    return Toolchain(f"g++ {number}", show, {"g++": compiler, "cache": str(cache), "gold": gold})


def _precompile(compiler: str, folder: Path) -> None:
    """For each standard a header with everything, and a lean one with its object where it can be made."""
    for standard, headers in STANDARDS.items():
        included = "".join(f"#include <{name}>\n" for name in (*headers, "unistd.h"))
        _header(compiler, standard, folder / f"{standard}.h", included)
        once, guards = harness("cpp_once.hpp"), "".join(f"#define _GLIBCXX_{name} 1\n" for name in SLOW[standard])
        (folder / "once.cpp").write_text(included + once.replace("@ONCE@", "template"))
        try:
            call([compiler, f"-std={standard}", "-c", "once.cpp", "-o", f"{standard}.o"], cwd=folder)
            lean = guards + included + once.replace("@ONCE@", "extern template")
            _header(compiler, standard, folder / f"{standard}-lean.h", lean)
        except WorkFailed:
            (folder / f"{standard}.o").unlink(missing_ok=True)


def _header(compiler: str, standard: str, path: Path, text: str) -> None:
    path.write_text(text)
    call([compiler, f"-std={standard}", "-x", "c++-header", path.name, "-o", f"{path.name}.gch"], cwd=path.parent)


def _included(tools: Toolchain, standard: str, text: str) -> tuple[str, list[str]]:
    """The header before a program, and what it is linked with."""
    cache = tools.at["cache"]
    if not Path(f"{cache}/{standard}.o").exists() or (SLOW[standard] and _SLOW_WORDS.search(text)):
        return f"{cache}/{standard}.h", []
    return f"{cache}/{standard}-lean.h", [f"{cache}/{standard}.o"]


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    linker = ["-fuse-ld=gold"] if tools.at["gold"] else []
    compiling = compile_step([tools.at["g++"], "-std=c++17", "-Wall", *linker, "-o", "main", "main.cpp"])
    step = alone_step(
        ["./main"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb, memory_words=("std::bad_alloc",)
    )
    return Wrapped({"main.cpp": [["program", code]]}, (compiling, step))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """The file and its two steps. `extra["standard"]` is c++11 or c++17; with `compat` the tests stay as they are."""
    standard = (extra or {}).get("standard", "c++11")
    header, objects = _included(tools, standard, program + tests)
    libraries = ["-lcrypto", "-lssl"] if "openssl/" in program else []
    options = [f"-std={standard}", "-w", *(["-fuse-ld=gold"] if tools.at["gold"] else []), "-include", header]
    arguments = [tools.at["g++"], *options, "-o", "main", "main.cpp", *objects, *libraries]
    words = ("std::bad_alloc", "std::length_error")
    steps = (
        compile_step(arguments),
        run_step(["./main"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb, memory_words=words),
    )
    if compat:
        return Wrapped(
            {"main.cpp": [["ours", "using namespace std;\n"], ["program", f"{program}\n{tests}"]]}, steps, compat
        )
    ours = "".join(f"#undef {word}\n" for word in identifiers(tests) if word not in _KEEP and not word.isupper())
    checked = _own_templates(re.sub(r"\bassert\s*\(", f"{HARNESS}_check(", tests))
    renamed = re.sub(r"\bmain\s*\(", f"{HARNESS}_main(", checked, count=1)
    called = f"{HARNESS}_main({_main_arguments(tests)});"
    if checked.count(f"{HARNESS}_check(") == 0 and _THROWS.search(tests):  # MBXP's tests throw, and assert nothing
        caught = f"catch (const std::runtime_error& wrong) {{ {HARNESS}::wrong(wrong.what()); }}"
        called = f"try {{ {called} }} {caught} {HARNESS}_check(true);"
    end = f'\n#line 1 "end"\nint main() {{ {called} {HARNESS}::done(); return 0; }}\n'
    prelude, using = harness("cpp.hpp"), "using namespace std;\n" if standard == "c++11" else ""
    if word := refused_word(REFUSED, program):
        prelude += f"#error not in a program: {word}\n"
    parts = [
        ["ours", f'{prelude}{using}#define main {HARNESS}_unused\n#line 1 "program"\n'],
        ["program", program],
        ["ours", f'\n#undef main\n{ours}#line 1 "tests"\n{renamed}{end}'],
    ]
    return Wrapped({"main.cpp": parts}, steps)


_THROWS = re.compile(r"\bthrow\s+(?:std::)?runtime_error\b")


def _own_templates(tests: str) -> str:
    """The tests with other names for their own function templates, before which a program's function would come."""
    for name in dict.fromkeys(re.findall(r"(?m)^template\s*<[^<>]*>\s*[\w:]+\s+(\w+)\s*\(", tests)):
        tests = re.sub(rf"(?<![.\w]){name}\b", f"{HARNESS}_{name}", tests)
    return tests


def _main_arguments(tests: str) -> str:
    """What our main passes to theirs: nothing, or an empty command line."""
    found = re.search(r"\bmain\s*\(([^)]*)\)", tests)
    return "0, nullptr" if found and "," in found[1] else ""


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a file, statements of a function with the usual headers, members."""
    outside, rest = lifted(code, r"\s*(?:#|using\s+namespace\b)")
    usual = ["-include", f"{tools.at['cache']}/c++17.h"]
    ways: tuple[tuple[str, list[str]], ...] = (
        (code, []),
        (code, usual),
        (f"{outside}\nvoid piece() {{\n{rest}\n}}\n", usual),
        (f"{outside}\nstruct Piece {{\n{rest}\n}};\n", usual),
    )
    reading = [tools.at["g++"], "-fsyntax-only", "-std=c++17", "-w", "-fmax-errors=1"]
    for text, more in ways:
        yield piece("main.cpp", text, read_step([*reading, *more, "main.cpp"], processes=True))
