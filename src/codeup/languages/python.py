"""Python: how a program is put together, and what its source text defines.

Everything here reads source text with `ast`; nothing is imported or executed. That happens only in the sandbox, where
functions are called one at a time and their answers compared elsewhere. `wrap` is the second choice: program and tests
in one process, for tests whose arguments are not plain values (a class, an object of the prompt's own class).
"""

from __future__ import annotations

import ast
import os
import platform
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codeup.languages._tools import Toolchain, Wrapped, harness, piece, read_step, run_step, step

NAME = "python"
TITLE = "Python"
FENCES = ("python", "py", "python3", "python2", "py3", "sage", "ipython")
"""Words after ``` that mean this language."""

MISSING = ""
"""No complaint of its compiler is about what stands elsewhere: names are looked up when they are used."""

MISSING_AT_RUN = (
    r"SyntaxError|IndentationError|NameError|ModuleNotFoundError|ImportError|EOFError|FileNotFoundError|PermissionError|ConnectionError|"
    r"SystemExit|usage:|TclError|OSError|'type' object|type 'type'|OperationalError|no such table|"
    r"builtin_function_or_method|URLError|gaierror|"
    r"ConnectionRefusedError|NotADirectoryError|BlockingIOError"
)
ASKS = r"\binput\s*\(|\bsys\.(?:argv|stdin)|\bargparse\b|\bos\.environ|\bgetpass\b|\braw_input\b"

STARTS = re.compile(r"(?m)^(?:async def|def|class|import|from|@)\b|^@")
"""Where code begins in text without fences."""


def parse(code: str) -> ast.Module | None:
    """The syntax tree, or None where Python could not read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def broken_from(code: str) -> int:
    """0 where code parses; else a line (from 1) such that no beginning of the code that reaches it parses.

    Python's parser reads no further than the token it stumbles over, and names that token's line or an earlier one of
    the same statement: text that follows cannot mend it, and a beginning that ends in between is incomplete.

    >>> broken_from("x = 1\\nHere it is:\\ny = 2\\n"), broken_from("x = (1,\\n2\\n"), broken_from("x = 1")
    (2, 1, 0)
    """
    last = code.count("\n") + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        inside_text = error.msg.startswith(("f-string", "(", "source code"))  # lines counted in another text
        return last if inside_text or not error.lineno else max(1, min(error.lineno, last))
    except (ValueError, RecursionError, MemoryError):
        return last
    return 0


def defined(tree: ast.AST) -> set[str]:
    """Names bound at the top level, also inside top-level if, try, for and with blocks."""
    found: set[str] = set()
    waiting = [tree]  # not by recursion: a sum of a thousand terms is a thousand deep
    while waiting:
        waiting += _bind(waiting.pop(), found)
    return found


def _bind(tree: ast.AST, found: set[str]) -> list[ast.AST]:
    """Add the names that the parts of a node bind; the parts that may bind more."""
    inside = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            inside.append(node)
    return inside


def used(tree: ast.Module) -> set[str]:
    """Names that the code reads."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def functions(tree: ast.Module) -> list[str]:
    """Names of the top-level functions and classes, in order."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds)]


def mentions(code: str, entry_point: str) -> bool:
    """Whether text that does not parse still tries to define the function."""
    return re.search(rf"(?m)^[ \t]*(?:async\s+)?def\s+{re.escape(entry_point)}\s*\(", code) is not None


def is_stub(tree: ast.Module, name: str) -> bool:
    """Whether the last definition of a function has no body of its own: docstring, `pass`, `...`, "not implemented"."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in tree.body if isinstance(node, kinds) and node.name == name]
    return bool(bodies) and all(_says_nothing(node) for node in bodies[-1])


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise) and node.exc is not None:
        return any(isinstance(name, ast.Name) and name.id == "NotImplementedError" for name in ast.walk(node.exc))
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def prelude(prompt: str, entry_point: str) -> str:
    """What a prompt holds before the function it asks for: its imports and its helper functions, nothing else.

    >>> prelude('from typing import List\\n\\n\\ndef f(x: List):\\n    "doc"\\n', "f")
    'from typing import List\\n'
    """
    tree = parse(prompt)
    if tree is None:
        return ""
    keep = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry_point:
            break
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # MBPP's prompt is a docstring
            keep.append(node)
    lines = prompt.splitlines()
    parts = []
    for node in keep:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(item.lineno for item in decorators)])
        parts.append("\n".join(lines[first - 1 : node.end_lineno]) + "\n")
    return "\n".join(parts)


def assemble(prompt: str, entry_point: str, code: str) -> str:
    """The program of a chat answer: the prompt's imports and helpers, then the answer's own code, which wins."""
    before = prelude(prompt, entry_point)
    if not before:
        return code
    tree = parse(code)
    futures = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"] if tree else []
    lines = code.split("\n")
    first = futures[-1].end_lineno or 0 if futures else 0
    return "\n".join([*lines[:first], before, *lines[first:]])  # __future__ imports must stay first


def probe() -> str:
    """The version of the interpreter that runs programs: the one that runs CodeUp."""
    return f"python {platform.python_version()}"


def toolchain() -> Toolchain:
    """The interpreter itself, for `wrap`; its library is in every sandbox."""
    python = os.path.realpath(sys.executable)
    proc = {"self/exe": f"-> {python}", "self/cmdline": f"{python}\0main.py\0"}  # TensorFlow loads only with them
    return Toolchain(probe(), (python,), {"python": python}, proc=proc)


LIBRARIES = {
    "PYTHONPATH": "/packages", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}  # fmt: skip
"""The environment of programs that import libraries: one thread, no window."""


def script(*, tools: Toolchain, cpu_s: float, memory_mb: int) -> tuple[str, dict[str, Any]]:
    """The file of a program that reads standard input and prints, and the step that runs it; numpy can be imported."""
    run = step(
        "the program", [tools.at["python"], "-s", "-S", "-B", "-X", "utf8", "main.py"], cpu_s=cpu_s, wall_s=4 * cpu_s,
        address_mb=memory_mb + 128, data_mb=memory_mb, memory_words=("MemoryError",),
        env={"PYTHONHASHSEED": "0", "PYTHONPATH": "/packages", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    return "main.py", run


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """A harness that runs program and tests in one namespace and prints the secret when they came back.

    With `extra["inserted"]` the program is a piece of code: the tests find it under that name and run it themselves.
    A program cannot pass by sys.exit, os._exit, atexit or printing; an inserted one also not by replacing functions of
    the tests or of the libraries that compare. Either could by reading its callers' frames.
    """
    bound = (extra or {}).get("inserted", "")
    text = harness("python_inserted.txt").replace("@BOUND@", bound) if bound else harness("python.txt")
    files = {
        "harness.py": [["ours", text]],
        "program.txt": [["program", program]],
        "tests.txt": [["program", tests]],
    }
    flags = ["-s", "-S", "-P", "-B", "-X", "utf8"] if bound else ["-I", "-S", "-B", "-X", "utf8"]
    run = run_step(
        [tools.at["python"], *flags, "harness.py"], cpu_s=cpu_s, memory_mb=memory_mb,
        address_mb=0 if bound else memory_mb + 128,  # libraries map much more than they use
        memory_words=("MemoryError", "Unable to allocate"),
        env={"PYTHONHASHSEED": "0", **(LIBRARIES if bound else {})},
    )  # fmt: skip
    return Wrapped(files, (run,), compat)


MANY = """
import sys
refused = []
for n in range(int(sys.argv[1])):
    try:
        compile(open(f"{n}.py", "rb").read(), f"{n}.py", "exec", flags=0x2000, dont_inherit=True)
    except Exception:
        refused.append(str(n))
if refused:
    sys.exit("error: refused " + " ".join(refused))
"""
READ = "compile(open('main.py', 'rb').read(), 'main.py', 'exec', flags=0x2000, dont_inherit=True)"
"""0x2000 is ast.PyCF_ALLOW_TOP_LEVEL_AWAIT: notebooks allow it."""


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a module, the same at the left margin, a session, a body in a loop."""
    texts = [code, textwrap.dedent(code)]
    if prompted := re.findall(r"(?m)^[ \t]*(?:>>>|\.\.\.) ?(.*)$", code):
        texts.append("\n".join(prompted) + "\n")
    texts.append("def piece():\n while True:\n" + textwrap.indent(textwrap.dedent(code), "  ") + "\n  pass\n")
    read = read_step([tools.at["python"], "-I", "-S", "-B", "-c", READ])
    yield from (piece("main.py", text, read) for text in dict.fromkeys(texts))


def many(codes: Sequence[str], *, tools: Toolchain) -> Wrapped:
    """The first way of many pieces by one process, which ends with 0 or names those that it refused."""
    files = {f"{n}.py": [["program", code]] for n, code in enumerate(codes)}
    argv = [tools.at["python"], "-I", "-S", "-B", "-W", "ignore", "-c", MANY, str(len(codes))]
    return Wrapped(files, (read_step(argv),), "exit-code")
