"""JavaScript: program and tests as two scripts of one Node process, under a harness that neither can read.

    harness    reads the secret, the program and the tests, removes their files, keeps what it needs of the library
    program    runs as a script of its own: no wrapper function, so nothing to `return` from, no `arguments.callee`
    between    the harness puts the standard objects back as they were, whatever the program made of JSON or assert
    tests      run as a second script that sees the program's names; `console.assert` counts and throws

A program cannot pass by process.exit, by printing, by exit handlers, or by replacing console, assert, JSON or the
methods of arrays. It could by inspecting the heap of its own process. `--compat humaneval-x` has the original's rule
instead: no output at all is a pass, and any console.log a failure. `require('js-md5')`, which one problem asks for, is
answered with Node's own md5, and `require('lodash')`, by whose isEqual MBXP's tests compare, with an isEqual of ours
that means the same; no other package is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codeup.languages._tools import (
    Files,
    Toolchain,
    Wrapped,
    alone_step,
    find,
    harness,
    identifiers,
    lifted,
    piece,
    read_step,
    run_step,
)
from codeup.languages._tools import version as version_of

NAME = "javascript"
TITLE = "JavaScript"
FENCES = ("javascript", "js", "node", "nodejs", "jsx", "mjs", "ecmascript")
INSTALL = "install Node.js 18 or newer (Debian: apt-get install nodejs)"
MEMORY_WORDS = ("out of memory", "Array buffer allocation failed", "Invalid array length", "Zone Allocation")
MISSING = r"Unexpected token '</?'"
"""JSX and HTML inside of code, which Node does not read and other tools do."""
MISSING_AT_RUN = (
    r"ReferenceError|Cannot find (?:module|package)|MODULE_NOT_FOUND|ENOENT|EACCES|EPERM|ECONNREFUSED|ENOTFOUND|"
    r"EAI_AGAIN|Cannot use import statement|Unexpected token 'export'|SyntaxError"
)
ASKS = r"\breadline\b|\bprocess\.(?:argv|stdin|env)|\bprompt\s*\(|\breadFileSync\(0|\bfetch\s*\(|\bXMLHttpRequest\b"
STANDARD = (
    "JSON", "Math", "Object", "Array", "String", "Number", "Boolean", "Set", "Map", "Date", "RegExp", "Symbol",
    "BigInt", "Error", "console", "require", "isNaN", "parseInt", "parseFloat",
)  # fmt: skip
"""Names that tests use and a program could hide behind its own; inside the tests they mean the standard's."""


QUICK = "--no-rehash-snapshot"
"""Node's own heap as it was built, with its seed for the hashes of names: a quarter of its start is their renewal,
which protects a server from requests with names that collide. A program that makes some only slows itself."""


def probe() -> str:
    """The version of the tools. Raises UserError where they are missing."""
    return toolchain().version


def toolchain() -> Toolchain:
    """Node. Raises UserError where there is none."""
    node = find(TITLE, ("node", "nodejs"), INSTALL)
    number = version_of([node, QUICK, "--version"], r"(?<=^v)\d+\.\d+(?:\.\d+)?")
    known = number != "unknown"
    at = {"node": node, "quick": QUICK if known else ""}
    return Toolchain(f"node {number if known else version_of([node, '--version'])}", (node,), at)


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    heap = f"--max-old-space-size={memory_mb}"
    step = alone_step(
        [tools.at["node"], heap, "main.js"], cpu_s=cpu_s, memory_mb=memory_mb + 512, memory_words=MEMORY_WORDS
    )
    return Wrapped({"main.js": [["program", code]]}, (step,))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """The harness with program and tests beside it; with `compat` "silence" one file, as the original runs it."""
    if compat:
        alone = run(tools, "test.js", cpu_s, memory_mb)
        return Wrapped({"test.js": [["program", f"{program}\n{tests}"]]}, (alone,), compat)
    return Wrapped(files(program, tests), (run(tools, "harness.js", cpu_s, memory_mb),))


def files(program: str, tests: str, translate: str = "") -> Files:
    """The harness with the standard names that the tests use; program and tests lie beside it until it read them."""
    used = [name for name in identifiers(tests) if name in STANDARD and not _declares(tests, name)]
    text = harness("javascript.js").replace("@SHIELD@", ", ".join(used)).replace("//@TRANSLATE@", translate)
    return {
        "harness.js": [["ours", text]],
        "program.txt": [["program", program]],
        "tests.txt": [["program", tests]],
    }


def _declares(tests: str, name: str) -> bool:
    return any(f"{word} {name} " in tests for word in ("const", "let", "var", "function"))


def run(
    tools: Toolchain, script: str, cpu_s: float, memory_mb: int, more: Sequence[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """The step that runs a script: the heap is limited by Node itself, the process by the kernel."""
    heap = () if more else (f"--max-old-space-size={memory_mb}",)  # a snapshot's heap cannot be given another limit
    arguments = [tools.at["node"], *tools.at["quick"].split(), *more, *heap, script]
    return run_step(arguments, cpu_s=cpu_s, memory_mb=memory_mb + 512, memory_words=MEMORY_WORDS)


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a script, a module, a function's body, members of a class, an object."""
    imports, rest = lifted(code, r"\s*(?:import|export)\b")
    members = re.sub(r"[;,]\s*$", "", code)
    ways = (
        ("main.js", code),
        ("main.mjs", code),
        ("main.mjs", f"{imports}\n(async function* () {{ while (true) {{\n{rest}\n}} }});\n"),
        ("main.mjs", f"(class {{\n{code}\n}});\n"),
        ("main.mjs", f"({{\n{members}\n}});\n"),
    )
    yield from (piece(path, text, read_step([tools.at["node"], "--check", path])) for path, text in ways)


MANY = """
const refused = [];
for (let n = 0; n < Number(process.argv[1]); n++)
  try { new (require('vm').Script)(require('fs').readFileSync(`${n}.js`, 'utf8')); } catch { refused.push(n); }
if (refused.length) { console.error('error: refused ' + refused.join(' ')); process.exit(1); }
"""


def many(codes: Sequence[str], *, tools: Toolchain) -> Wrapped:
    """The first way of many pieces by one process, which ends with 0 or names those that it refused. Runs none."""
    files = {f"{n}.js": [["program", code]] for n, code in enumerate(codes)}
    return Wrapped(files, (read_step([tools.at["node"], "-e", MANY, str(len(codes))]),), "exit-code")
