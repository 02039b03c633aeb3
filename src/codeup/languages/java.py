"""Java: compiled in memory and run in one virtual machine, whose own classes come from a shared archive.

    harness    reads the secret into a local variable of its main, compiles program and tests, calls the tests' main
    compiler   from the second program on they come compiled, from a compiler that stays in a sandbox of its own: it
               runs nothing of what it reads, makes every program's classes anew, and ends when javac itself fails
    program    loaded by a class loader that does not know the harness
    tests      their main throws on a wrong answer; only when it comes back the harness prints the secret

Library classes that the tests use are imported one by one, so that a class of the same name in the program is a compile
error and not a stand-in. org.javatuples, which MultiPL-E's programs import, is ours (_javatuples.py). No annotation
processors run. A program cannot pass by System.exit, Runtime.halt, printing,
or shutdown hooks. It could by searching the memory of its own process (sun.misc.Unsafe).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup.languages import _javatuples
from codeup.languages._tools import (
    Toolchain,
    Wrapped,
    alone_step,
    call,
    companion_step,
    find,
    harness,
    identifiers,
    lifted,
    piece,
    prepared,
    read_step,
    run_step,
)
from codeup.languages._tools import version as version_of

NAME = "java"
TITLE = "Java"
FENCES = ("java",)
INSTALL = "install a JDK, 17 or newer (Debian: apt-get install openjdk-17-jdk-headless)"
MEMORY_WORDS = ("OutOfMemoryError", "insufficient memory", "Could not reserve enough space")
SOURCES = ("CodeupCompiler.java", "CodeupHarness.java", "CodeupKotlinCompiler.java")
"""The harness, with the compilers that stay; Kotlin's names its compiler only when it runs."""
MISSING = (
    r"cannot find symbol|package [\w.]+ does not exist|cannot access|static import only|cannot be dereferenced|"
    r"does not override|cannot be referenced from a static|is not abstract and does not override"
)
"""What javac says where a class, a package or a variable is not in the text."""
MISSING_AT_RUN = (
    r"Main\.java:\d+: error|"
    r"NoSuchElementException|FileNotFoundException|NoSuchFileException|NoClassDefFoundError|ClassNotFoundException|"
    r"ConnectException|UnknownHostException|HeadlessException|no class declared|can't find main|compilation failed|"
    r"AccessDeniedException|SocketException|SQLException|UnsatisfiedLinkError|InputMismatchException"
)
ASKS = r"\bScanner\b|\bSystem\.in\b|\bargs\s*\[|\bSystem\.getenv|\breadLine\b"
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:CICompilerCount=1", "-Xshare:auto")
SAMPLE = """import java.util.*;
import java.util.stream.*;

class Solution {
    public List<Integer> twice(List<Integer> xs) {
        Map<String, Integer> seen = new HashMap<>();
        StringBuilder text = new StringBuilder();
        for (int x : xs) { seen.put("k" + x, x * 2); text.append(x).append(','); }
        return xs.stream().map(x -> seen.getOrDefault("k" + x, 0)).sorted().collect(Collectors.toList());
    }
}

public class Main {
    public static void main(String[] args) {
        Solution s = new Solution();
        List<Boolean> correct = Arrays.asList(s.twice(Arrays.asList(1, 2)).equals(List.of(2, 4)),
            Objects.equals(String.format("%d %.2f", 1, 2.0), "1 2.00"), Math.abs(-1.5) > 1);
        if (correct.contains(false)) throw new AssertionError();
    }
}
"""
"""A program like the benchmarks' own: what compiling and running it loads goes into the archive."""
PACKAGES = {
    "java.util": (
        "Arrays", "List", "ArrayList", "LinkedList", "Map", "HashMap", "TreeMap", "LinkedHashMap", "Set", "HashSet",
        "TreeSet", "Collections", "Objects", "Optional", "Random", "Collection",
    ),
    "java.lang": (
        "AssertionError", "Boolean", "Integer", "Long", "Double", "Float", "String", "Math", "Object", "Character",
    ),
}  # fmt: skip
"""Classes that tests use; the program must not bring its own of that name."""


def probe() -> str:
    """The version of the tools, without preparing anything. Raises UserError where they are missing."""
    return f"javac {version_of([find(TITLE, ('javac',), INSTALL), '-version'])}"


def toolchain() -> Toolchain:
    """A JDK, our harness compiled, and an archive of the classes that compiling loads. Raises UserError."""
    compiler = find(TITLE, ("javac",), INSTALL)
    home = os.path.dirname(os.path.dirname(compiler))
    env = {"LD_LIBRARY_PATH": f"{home}/lib"}
    number = version_of([compiler, "-version"])
    java = f"{home}/bin/java"
    key = {"version": number, "harness": [harness(name) for name in SOURCES]}
    jar = prepared(f"{NAME}-harness", key, lambda at: _compile(java, at)) / "harness.jar"
    tuples = prepared(f"{NAME}-tuples", {"version": number, **_javatuples.sources()}, lambda at: _tuples(java, at))
    more = {**key, "flags": FLAGS, "jar": str(jar), "sample": SAMPLE}
    cache = prepared(NAME, more, lambda at: _archive(java, jar, at))
    show = tuple(
        path
        for path in (
            home,
            "/etc/java-17-openjdk",
            f"/etc/java-{number.split('.')[0]}-openjdk",
            str(jar),
            str(cache),
            str(tuples),
        )
        if os.path.exists(path)
    )
    at = {"java": java, "jar": str(jar), "archive": f"{cache}/classes.jsa", "tuples": f"{tuples}/tuples.jar"}
    return Toolchain(f"javac {number}", tuple(dict.fromkeys(show)), at, env)


def _compile(java: str, folder: Path) -> None:
    for name in SOURCES:
        (folder / name).write_text(harness(name), encoding="utf-8")
    call([f"{os.path.dirname(java)}/javac", *SOURCES], cwd=folder)
    call([f"{os.path.dirname(java)}/jar", "cf", "harness.jar", "-C", ".", "."], cwd=folder)


def _tuples(java: str, folder: Path) -> None:
    for name, text in _javatuples.sources().items():
        (folder / name).write_text(text, encoding="utf-8")
    call([f"{os.path.dirname(java)}/javac", "-d", "out", *_javatuples.sources()], cwd=folder)
    call([f"{os.path.dirname(java)}/jar", "cf", "tuples.jar", "-C", "out", "."], cwd=folder)


def _archive(java: str, jar: Path, folder: Path) -> None:
    """The classes that compiling and running a sample load. Java asks for the jar at the same path."""
    (folder / "program.txt").write_text(SAMPLE, encoding="utf-8")
    archive = ["-XX:ArchiveClassesAtExit=classes.jsa", "-cp", str(jar), "CodeupHarness", "program.txt", "Main", "main"]
    call([java, *FLAGS, *archive], cwd=folder, stdin="secret\n")


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    memory = [f"-Xmx{memory_mb}m"]
    step = alone_step(
        [tools.at["java"], *FLAGS, *memory, "Main.java"], cpu_s=cpu_s, memory_mb=memory_mb + 1024,
        memory_words=MEMORY_WORDS, env=tools.env,
    )  # fmt: skip
    return Wrapped({"Main.java": [["program", code]]}, (step,))  # Java compiles a single file itself (JEP 330)


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """One file, one step. The main class is the one of the tests that has a `main`, or the program's."""
    program = re.sub(r"(?m)^[ \t]*package\s+[\w.]+\s*;", "", program)
    whole = f"{program}\n{tests}"
    words = set(identifiers(tests))
    imports = "".join(
        f"import {package}.{name}; "
        for package, names in PACKAGES.items()
        for name in names
        if name in words and not re.search(rf"\bclass\s+{name}\b", tests)
    )
    limits: dict[str, Any] = {"cpu_s": cpu_s, "memory_mb": memory_mb + 1024, "memory_words": MEMORY_WORDS}
    libraries = [tools.at["tuples"]] if "org.javatuples" in whole else []
    classes = os.pathsep.join([tools.at["jar"], *libraries])
    machine = [f"-XX:SharedArchiveFile={tools.at['archive']}", "-cp", classes]
    harness_ = [tools.at["java"], *FLAGS, f"-Xmx{memory_mb}m", *machine, "CodeupHarness"]
    cold, warmed = (
        run_step([*harness_, name, main_class(whole), "main", *libraries], env=tools.env, **limits)
        for name in ("program.txt", "classes")
    )
    parts = [["ours", imports], ["program", whole]]
    warm = {
        "step": companion_step([tools.at["java"], *FLAGS, "-Xmx512m", *machine, "CodeupCompiler"], env=tools.env),
        "ask": parts, "path": "classes", "steps": [warmed],
    }  # fmt: skip
    return Wrapped({"program.txt": parts}, (cold,), compat, warm)


def main_class(text: str) -> str:
    """The last class before the last `main`, or Main.

    >>> main_class("class Solution {}\\npublic class Main { public static void main(String[] args) {} }")
    'Main'
    """
    place = text.rfind("void main(")
    found = re.findall(r"\bclass\s+(\w+)", text[:place] if place >= 0 else "")
    return found[-1] if found else "Main"


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a file, members of a class, statements of a method, some of each."""
    outside, rest = lifted(code, r"\s*(?:import|package)\b.*;")
    machine = [tools.at["java"], *FLAGS, "-Xmx512m", f"-XX:SharedArchiveFile={tools.at['archive']}"]
    javac = [*machine, "-cp", tools.at["jar"], "com.sun.tools.javac.Main"]  # the archive is of this class path
    reading = [*javac, "-proc:none", "-Xlint:none", "-nowarn", "-Xmaxerrs", "1", "-d", "out"]
    members, statements = _members(rest)
    for text in (
        code,
        f"{outside}\nclass Piece {{\n{rest}\n}}\n",
        f"{outside}\nclass Piece {{ void piece() throws Exception {{\n{rest}\n}} }}\n",
        f"{outside}\nclass Piece {{\n{members}\nvoid piece() throws Exception {{\n{statements}\n}} }}\n",
    ):
        named = re.search(r"(?m)^[ \t]*public\s+(?:\w+\s+)*(?:class|interface|enum|record)\s+(\w+)", text)
        path = f"{named[1] if named else 'Piece'}.java"
        yield piece(path, text, read_step([*reading, path], env=tools.env, processes=True))


_MEMBER = re.compile(
    r"\s*(?:(?:@\w+|public|private|protected|static|abstract|class|interface|enum|record)\b"
    r"|[\w<>\[\], ?]+\s\w+\s*\([^;]*\)[^;=]*\{)"
)


def _members(code: str) -> tuple[str, str]:
    """What stands at the outermost level, sorted: classes and methods, and the statements around them.

    >>> _members("int twice(int x) {\\n  return 2 * x;\\n}\\nint y = twice(1);\\n")
    ('int twice(int x) {\\n  return 2 * x;\\n}\\n', 'int y = twice(1);\\n')
    """
    found: tuple[list[str], list[str]] = ([], [])
    part, depth = "", 0
    for line in code.splitlines(keepends=True):
        part += line
        bare = re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'|//.*', "", line)
        depth += bare.count("{") - bare.count("}")
        if depth <= 0 and bare.rstrip().endswith((";", "}")):
            found[0 if _MEMBER.match(re.sub(r"//[^\n]*", "", part)) else 1].append(part)
            part, depth = "", 0
    return "".join(found[0]), "".join([*found[1], part])
