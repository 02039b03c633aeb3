"""Go: compiled and linked by the toolchain's own compiler and linker, against packages built once.

    main.go    package main, the imports of program and tests that are used, ours, the program, the tests
    ours       a variable that reads the secret before any other is initialised; a main that runs every test function
               (or the tests' main) under package testing, and prints the secret if each of them came back without a
               failure; a main of the program does not run

A program cannot pass by os.Exit, by init functions, by flags that select no test, by t.SkipNow, or by printing. It
could with package unsafe, by searching its own memory. The packages: the standard library, and testify's
assert from Debian's package of sources (_go_packages.py). `go build` is not used: it spends most of its time on finding
out that nothing has changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup.errors import UserError
from codeup.languages import _go_packages as packages
from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import (
    Toolchain,
    Wrapped,
    alone_step,
    call,
    compile_step,
    find,
    harness,
    piece,
    prepared,
    read_step,
    run_step,
)
from codeup.languages._tools import version as version_of

NAME = "go"
TITLE = "Go"
FENCES = ("go", "golang")
INSTALL = "install Go (Debian: apt-get install golang-go)"
TESTIFY_INSTALL = "install testify (Debian: apt-get install golang-github-stretchr-testify-dev)"
UNCOLLECTED = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
"""For compiler and linker: garbage is collected only when a gibibyte is in use, and few programs need a tenth."""

MEMORY_WORDS = ("runtime: out of memory", "cannot allocate memory", "makeslice: len out of range")
MISSING = (
    r"undefined:|could not import|can't find import|imported and not used|declared and not used|missing function body|"
    r"undefined \("
)
"""What Go says where a name or a package is not in the text, and of names that only the rest would use."""
MISSING_AT_RUN = r"no such file|permission denied|connection refused|dial tcp|no such host|listen tcp|exit status"
ASKS = r"\bos\.(?:Stdin|Args|Getenv)\b|\bfmt\.S?[Ss]can|\bflag\."
USUAL = (
    "bytes", "crypto/md5", "errors", "fmt", "math", "math/big", "math/bits", "math/rand", "os", "regexp", "sort",
    "strconv", "strings", "time", "unicode", "unicode/utf8",
)  # fmt: skip
"""Packages that an answer may use without naming them, because the prompt or the runner does."""

OURS = f"""
var {HARNESS}_secret = func() string {{
	var all []byte
	buffer := make([]byte, 256)
	for {{
		n, err := {HARNESS}_os.Stdin.Read(buffer)
		all = append(all, buffer[:n]...)
		if n == 0 || err != nil {{
			break
		}}
	}}
	for len(all) > 0 && all[len(all)-1] < 33 {{
		all = all[:len(all)-1]
	}}
	return string(all)
}}()
var {HARNESS}_done int

func {HARNESS}_one(name string, f func(*testing.T)) testing.InternalTest {{
	return testing.InternalTest{{Name: name, F: func(t *testing.T) {{
		f(t)
		if !t.Failed() && !t.Skipped() {{
			{HARNESS}_done++
		}}
	}}}}
}}

func main() {{
	if true != (1 == 1) || false == (1 == 1) {{
		{HARNESS}_os.Exit(97)
	}}
	tests := []testing.InternalTest{{ {{TESTS}} }}
	if code := testing.MainStart({HARNESS}_deps.TestDeps{{}}, tests, nil, {{FUZZ}}nil).Run(); code != 0 {{
		{HARNESS}_os.Exit(97)
	}}
	if {HARNESS}_done != len(tests) {{
		{HARNESS}_os.Stderr.WriteString("error: a test did not run to its end\\n")
		{HARNESS}_os.Exit(97)
	}}
	{HARNESS}_os.Stdout.WriteString("\\n" + {HARNESS}_secret + " " + {HARNESS}_text.Itoa({HARNESS}_done) + "\\n")
}}
""".replace("{TESTS}", "@TESTS@").replace("{FUZZ}", "@FUZZ@")


_MAIN = re.compile(r"(?m)^func[ \t]+main[ \t]*\(")


def probe() -> str:
    """The version of the tools, without preparing anything. Raises UserError where they are missing."""
    return f"go {version_of([find(TITLE, ('go',), INSTALL), 'version'])}"


def toolchain() -> Toolchain:
    """Go with its standard library and testify compiled. Raises UserError where there is no Go."""
    go = find(TITLE, ("go",), INSTALL)
    known = json.loads(call([go, "env", "-json", "GOROOT", "GOTOOLDIR", "GOVERSION"], cwd=Path("/")))
    number = known["GOVERSION"].removeprefix("go")
    has_testify = os.path.isdir(f"{packages.GOPATH}/src/{packages.TESTIFY}")
    key = {"version": number, "testify": has_testify, "cgo": "as installed", "lean": [2, harness("go_deps.go")]}
    more = {"has_testify": has_testify, "has_fuzz": _has_fuzz(number)}
    cache = prepared(NAME, key, lambda at: packages.build(go, known["GOTOOLDIR"], at, **more))
    at = {"tools": known["GOTOOLDIR"], "cache": str(cache), "testify": "yes" if has_testify else ""}
    root = os.path.realpath(known["GOROOT"])
    return Toolchain(f"go {number}", (root, known["GOTOOLDIR"], str(cache)), at, {"GOROOT": known["GOROOT"]})


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    step = alone_step(["./main"], cpu_s=cpu_s, memory_mb=memory_mb, memory_words=MEMORY_WORDS)
    files = {"main.go": [["program", code]], "imports": [["program", _known_packages(tools, "imports")]]}
    return Wrapped(files, (*_build_steps(tools), step))


def _known_packages(tools: Toolchain, name: str) -> str:
    """An import configuration, with the cache's place in it."""
    cache = tools.at["cache"]
    return (Path(cache) / name).read_text().replace("@HERE@", cache)


def _is_lean(tools: Toolchain, text: str) -> bool:
    """Whether a program is linked with the lean set of packages."""
    return (Path(tools.at["cache"]) / "lean").exists() and not packages.HEAVY.search(text)


def _build_steps(tools: Toolchain) -> tuple[dict[str, Any], dict[str, Any]]:
    """main.go -> main.a -> main."""
    known, env = ["-importcfg", "imports"], {**tools.env, **UNCOLLECTED}
    compiler = [f"{tools.at['tools']}/compile", "-p", "main", "-complete", *known, "-o", "main.a", "main.go"]
    linker = [f"{tools.at['tools']}/link", *known, "-s", "-w", "-buildmode=exe", "-o", "main", "main.a"]
    return compile_step(compiler, env=env), compile_step(linker, env=env)


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """The file and its three steps. `extra["setup"]` is what stands before the tests: package clause and imports."""
    setup = (extra or {}).get("setup", "")
    if packages.TESTIFY in setup + tests and not tools.at["testify"]:
        raise UserError("this benchmark's Go tests need testify", mend=TESTIFY_INSTALL)
    code, own = split_imports(program)
    body, asked = split_imports(f"{setup}\n{tests}")
    imports = used_imports(code, body, own, asked)
    names = re.findall(r"(?m)^func\s+(Test\w*)\s*\(", body)
    listed = ", ".join(f'{HARNESS}_one("{name}", {name})' for name in names)
    if _MAIN.search(body) and not names:  # MBXP's tests are a main that panics
        body = _MAIN.sub(f"func {HARNESS}_main(", body, count=1)
        listed = f'{HARNESS}_one("main", func(*testing.T) {{ {HARNESS}_main() }})'
    ours = OURS.replace("@TESTS@", listed).replace("@FUZZ@", "nil, " if _has_fuzz(tools.version) else "")
    lean = _is_lean(tools, program + tests)
    deps = packages.OURS if lean else packages.THEIRS
    lines = "".join(f"import {name} {json.dumps(path)}\n" for name, path in imports)
    needed = "".join(
        f'import {name} "{path}"\n'
        for name, path in (
            (f"{HARNESS}_os", "os"), (f"{HARNESS}_text", "strconv"), (f"{HARNESS}_deps", deps),
            *((("", "testing"),) if ("", "testing") not in imports else ()),
        )
    )  # fmt: skip
    run = run_step(["./main"], cpu_s=cpu_s, memory_mb=memory_mb, memory_words=MEMORY_WORDS)
    before, main, behind = code.partition(found[0]) if (found := _MAIN.search(code)) else (code, "", "")
    unused = [["ours", f"func {HARNESS}_unused("], ["program", behind]] if main else []
    parts = [
        ["ours", f"package main\n{needed}{lines}{ours}\n"], ["program", before], *unused, ["ours", f"\n{body}\n"],
    ]  # fmt: skip
    files = {"main.go": parts, "imports": [["program", _known_packages(tools, "lean" if lean else "imports")]]}
    return Wrapped(files, (*_build_steps(tools), run), compat)


def used_imports(
    code: str, tests: str, own: list[tuple[str, str]], asked: list[tuple[str, str]]
) -> dict[tuple[str, str], None]:  # fmt: skip
    """The imports of program and tests, each once; usual packages are added where used and left out where not.

    Prompts import what the canonical solution uses, and the tests' own list is for the tests: an answer need not use
    them. An import of another package that is not used is an error, as Go has it.
    """
    text = _without_text(f"{code}\n{tests}")
    found = dict.fromkeys([*asked, *own])
    known = {path for _, path in found}
    found |= {("", path): None for path in USUAL if path not in known and _uses(_without_text(code), path)}
    return {each: None for each in found if each[0] or each[1] not in USUAL or _uses(text, each[1])}


def _uses(text: str, path: str) -> bool:
    return re.search(rf"\b{path.rsplit('/')[-1]}\.", text) is not None


def _has_fuzz(version: str) -> bool:
    """Whether testing.MainStart takes fuzz targets: from Go 1.18 on."""
    found = re.search(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) >= (1, 18)


def split_imports(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text without its package clause and imports, and those as (name, path).

    >>> split_imports('package main\\nimport (\\n    "math"\\n    str "strings"\\n)\\nvar x = 1\\n')[1]
    [('', 'math'), ('str', 'strings')]
    """
    found: list[tuple[str, str]] = []
    spec = r'([\w.]*)[ \t]*"([^"\n]+)"'

    def take(match: re.Match[str]) -> str:
        found.extend(re.findall(spec, match[0].partition("import")[2]))
        return "\n" * match[0].count("\n")

    text = re.sub(r"(?m)^[ \t]*package[ \t]+\w+[ \t]*;?[ \t]*$", "", text, count=1)
    text = re.sub(r"(?m)^import[ \t]*\([^)]*\)", take, text)
    text = re.sub(rf"(?m)^import[ \t]+{spec}", take, text)
    return text, found


def _without_text(code: str) -> str:
    """Code without comments and strings, in which a package's name would not be a use of it."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|`[^`]*`', " ", code, flags=re.S)


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a file (also without its package clause), statements of a function."""
    rest, imports = split_imports(code)
    outside = "package main\n" + "".join(f"import {name} {json.dumps(path)}\n" for name, path in imports)
    whole = code if re.search(r"(?m)^[ \t]*package[ \t]+\w+", code) else f"{outside}{rest}"
    texts = (whole, f"{outside}func piece() {{\n{rest}\n}}\n")
    read = read_step([f"{tools.at['tools']}/compile", "-p", "main", "-importcfg", "imports", "-o", "main.a", "main.go"],
                     env=tools.env, processes=True)  # fmt: skip
    for text in texts:
        made = piece("main.go", text, read)
        yield Wrapped(
            {**made.files, "imports": [["program", _known_packages(tools, "imports")]]}, made.steps, made.compat
        )
