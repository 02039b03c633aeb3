"""A whole solution put before tests that were written to stand behind a prompt.

    solution                              what the tests need of it
    class Problem { f; main }             Java and C#: the class left open, because the tests are its last method, or
                                          the namespace too; a `main` of its own under another name
    f                                     Java and C#: the class of the prompt around it
    no imports, or its own                the imports of the prompt that the tests use (Go, Java, C#, Rust)

`extra["joined"]` says that a problem's solutions go through here. One that begins with a byte order mark or ends its
lines with \\r\\n is read as without them. Braces are counted outside of texts and comments; a macro of the preprocessor
that opens one is not seen.
"""

from __future__ import annotations

import re

from codeup.types import Problem

OTHER_MAIN = "own_main"
"""What a solution's main method is called, so that the tests can have one."""

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"""(?:\\.|.)*?"""|(?:@\$?|\$@)"(?:""|[^"])*"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|[{}]',
    re.S,
)
"""Comments and texts of Java and C#, and the braces outside of them."""

_MAIN = {"java": r"(\bstatic\s+(?:final\s+)?void\s+)main(?=\s*\()", "csharp": r"(\bstatic\s+[\w.<>]+\s+)Main(?=\s*\()"}
_IMPORT = {"java": r"(?m)^[ \t]*import\s[^;]*;[ \t]*\n?", "csharp": r"(?m)^[ \t]*using\s+[\w.= ]+;[ \t]*\n?"}
_NAMESPACE = re.compile(r"\bnamespace\s+[\w.]+\s*$")


def plain(code: str) -> str:
    """A text without a byte order mark, its lines ended by line feeds."""
    return code.removeprefix("\ufeff").replace("\r\n", "\n")


def joined(problem: Problem, code: str) -> str:
    """The solution as the problem's tests can follow it."""
    code = plain(code)
    if problem.language in _MAIN:
        return _of_classes(problem, code)
    if problem.language == "rust":
        return "".join(line for line in _missing_uses(problem.prompt, code)) + code
    return code


def go_imports(prompt: str, tests: str) -> str:
    """The imports of a Go prompt that the tests name, as text.

    >>> go_imports('package main\\nimport (\\n\\t"sort"\\n\\t"reflect"\\n)\\nfunc f() {\\n', "reflect.DeepEqual(a, b)")
    'import "reflect"\\n'
    """
    head = "\n".join(re.findall(r"(?m)^import\s*\([^)]*\)|^import\s+\"[^\"]+\"", prompt))
    paths = re.findall(r'"([^"\n]+)"', head)
    return "".join(f'import "{path}"\n' for path in paths if re.search(rf"\b{path.rsplit('/')[-1]}\.", tests))


def _missing_uses(prompt: str, code: str) -> list[str]:
    """The `use` lines of a Rust prompt whose name the solution does not bring into scope itself."""
    found = []
    for line in re.findall(r"(?m)^use\s[^;{*]*::\w+;\n?", prompt):
        name = re.findall(r"\w+", line)[-1]
        if not re.search(rf"\buse\s[^;]*(?:\b{name}\b|\*)|\b(?:struct|enum|trait|type)\s+{name}\b", code):
            found.append(line)
    return found


def _of_classes(problem: Problem, code: str) -> str:
    """Java and C#: main renamed, the class and the namespace as open as the tests close them."""
    language, tests = problem.language, problem.tests
    code = re.sub(_MAIN[language], rf"\g<1>{OTHER_MAIN}", code)
    surplus = -sum(_steps(tests))
    if surplus <= 0:  # the tests are a class of their own
        if re.search(r"\bclass\s+Main\b", tests) and problem.entry_point != "Main":
            code = re.sub(r"\bMain\b", "OwnMain", code)
        return _imports(problem.prompt, code, language) + code
    if sum(_steps(code)) > 0:  # left open by its author
        return _imports(problem.prompt, code, language) + code
    imports = _imports(problem.prompt, code, language) + "".join(re.findall(_IMPORT[language], code))
    code = re.sub(r"(?m)^[ \t]*(?:package|namespace)\s+[\w.]+\s*;", "", re.sub(_IMPORT[language], "", code))
    code = _without_namespaces(code)
    spaces = "namespace Solution {\n" * (surplus - 1)
    return f"{imports}{spaces}{_opened(code, problem)}"


def _imports(prompt: str, code: str, language: str) -> str:
    """The imports of the prompt that the solution does not have."""
    own = {" ".join(line.split()) for line in re.findall(_IMPORT[language], code)}
    asked = re.findall(_IMPORT[language], prompt)
    return "".join(line.strip() + "\n" for line in asked if " ".join(line.split()) not in own)


def _opened(code: str, problem: Problem) -> str:
    """The code with the class of the asked function last and without its closing brace."""
    name = re.compile(rf"\b{re.escape(problem.entry_point)}\s*\(")
    blocks = [block for block in _blocks(code) if re.search(r"\b(?:class|struct|record)\s+\w+[^;(){}]*$", block[0])]
    holding = [block for block in blocks if name.search(block[1])]
    if not holding:
        return f"class Problem {{\n{code}\n"
    header, body = holding[-1]
    whole = f"{header}{{{body}}}"
    before, _, behind = code.partition(whole)
    return f"{before}{behind}\n{header}{{{body}\n"


def _without_namespaces(code: str) -> str:
    """C#: what stands in namespaces, without them."""
    for header, body in _blocks(code):
        if _NAMESPACE.search(header):
            inner = _NAMESPACE.sub("", header) + body
            return _without_namespaces(code.replace(f"{header}{{{body}}}", inner, 1))
    return code


def _steps(code: str) -> list[int]:
    """1 for each brace that opens, -1 for each that closes."""
    return [1 if match[0] == "{" else -1 for match in _TOKEN.finditer(code) if match[0] in "{}"]


def _blocks(code: str) -> list[tuple[str, str]]:
    """The outermost pairs of braces: what stands before each since the last one, and what is in it.

    >>> _blocks('class A { int f() { return 1; } }\\n// }\\nclass B { }')
    [('class A ', ' int f() { return 1; } '), ('\\n// }\\nclass B ', ' ')]
    """
    found: list[tuple[str, str]] = []
    depth, begin, opened = 0, 0, 0
    for match in _TOKEN.finditer(code):
        if match[0] == "{":
            depth += 1
            opened = match.start() if depth == 1 else opened
        elif match[0] == "}" and depth:
            depth -= 1
            if depth == 0:
                found.append((code[begin:opened], code[opened + 1 : match.start()]))
                begin = match.end()
    return found
