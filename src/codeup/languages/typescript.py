"""TypeScript: translated by the compiler's own transpiler inside the harness of JavaScript, then run like it.

    program.ts, tests.ts  ->  ts.transpileModule  ->  two scripts of one Node process (javascript.py)

Syntax errors are COMPILE; types are not checked, as in mxeval's runner, which goes on after tsc's errors. `target` in a
problem's extra is the version of JavaScript to make (MBXP: ES5, as that runner asks). The compiler (version 5, which
is JavaScript) is loaded from a snapshot of Node's heap, made once, which takes a quarter of the time of reading it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError, WorkFailed
from codeup.languages import javascript
from codeup.languages._tools import Toolchain, Wrapped, alone_step, call, compile_step, harness, prepared
from codeup.languages._tools import version as version_of

NAME = "typescript"
TITLE = "TypeScript"
FENCES = ("typescript", "ts", "tsx")
TRANSLATE = """
const fs = require('fs'), ts = require('@TYPESCRIPT@'), text = fs.readFileSync('main.ts', 'utf8');
const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS };
const done = ts.transpileModule(text, { fileName: 'main.ts', reportDiagnostics: true, compilerOptions });
for (const one of done.diagnostics) {
  const line = text.slice(0, one.start).split('\\n').length;
  console.error('main.ts line ' + line + ': error: ' + ts.flattenDiagnosticMessageText(one.messageText, ' '));
}
if (done.diagnostics.length) process.exit(1);
fs.writeFileSync('.main.js', done.outputText);
"""


def probe() -> str:
    """The version of the tools, without preparing anything. Raises UserError where they are missing."""
    node = javascript.toolchain()
    number = version_of([node.at["node"], "-e", f"console.log(require({str(_compiler())!r}).version)"])
    return f"typescript {number} on {node.version}"


def toolchain() -> Toolchain:
    """Node and TypeScript's compiler. Raises UserError where either is missing."""
    node = javascript.toolchain()
    compiler = _compiler()
    argument = f"console.log(require({str(compiler)!r}).version)"
    number = version_of([node.at["node"], "-e", argument])
    command = [node.at["node"], *node.at["quick"].split()]
    key = {"version": number, "node": node.version, "command": command}
    cache = prepared(NAME, key, lambda at: _snapshot(command, compiler, at))
    at = {**node.at, "cache": str(cache)}
    return Toolchain(f"typescript {number} on {node.version}", (*node.show, str(cache)), at)


def _compiler() -> Path:
    """typescript.js of a tsc on PATH, or of the cache. Version 7 is a program of its own and has no such file."""
    home = artifacts.cache_folder() / "typescript"
    places = [home / "node_modules" / "typescript" / "lib" / "typescript.js"]
    if tsc := shutil.which("tsc"):
        places.insert(0, Path(os.path.realpath(tsc)).parent.parent / "lib" / "typescript.js")
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        "TypeScript programs cannot run here: no compiler of version 5 is installed",
        mend=f"npm install --prefix {home} typescript@5",
    )


def _snapshot(node: list[str], compiler: Path, folder: Path) -> None:
    """Node's heap with the compiler in it, made with the options that it is used with; where this Node cannot make one,
    the compiler itself."""
    shutil.copy(compiler, folder / "typescript.js")
    text = compiler.read_text(encoding="utf-8")
    (folder / "entry.js").write_text(f"const module = {{ exports: {{}} }};\n{text};\nglobalThis.ts = module.exports;\n")
    try:
        call([*node, "--snapshot-blob", "typescript.blob", "--build-snapshot", "entry.js"], cwd=folder)
    except WorkFailed:  # Node before 18.20
        (folder / "typescript.blob").unlink(missing_ok=True)
    (folder / "entry.js").unlink()


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged: translated, then run."""
    translate = TRANSLATE.replace("@TYPESCRIPT@", f"{tools.at['cache']}/typescript.js")
    heap = f"--max-old-space-size={memory_mb}"
    step = alone_step(
        [tools.at["node"], heap, ".main.js"], cpu_s=cpu_s, memory_mb=memory_mb + 512,
        memory_words=javascript.MEMORY_WORDS,
    )  # fmt: skip
    files: dict[str, Any] = {"main.ts": [["program", code]], ".translate.js": [["ours", translate]]}
    return Wrapped(files, (compile_step([tools.at["node"], ".translate.js"]), step))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """JavaScript's harness with a translation before it."""
    cache = Path(tools.at["cache"])
    target = (extra or {}).get("target", "ES2022")
    translate = harness("typescript.js").replace("@TYPESCRIPT@", f"{cache}/typescript.js").replace("@TARGET@", target)
    blob = cache / "typescript.blob"
    more = ("--snapshot-blob", str(blob)) if blob.exists() else ()
    run = javascript.run(tools, "harness.js", cpu_s, memory_mb, more)
    return Wrapped(javascript.files(program, tests, translate), (run,), compat)
