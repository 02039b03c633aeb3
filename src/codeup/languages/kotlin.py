"""Kotlin: program and tests compiled by JetBrains' compiler for the JVM, then run under a harness as Java's are.

    Main.kt    program, tests; `assert(`, `check(` and `require(` of the tests become a function of ours that throws,
               and their main the method that the harness calls
    harness    reads the secret into a local variable, loads MainKt in a class loader that does not know the harness,
               calls that method, prints the secret when it comes back

A program cannot pass by exitProcess, Runtime.halt, printing, or functions of its own named assert or check. It could by
searching the memory of its process (sun.misc.Unsafe). The compiler's classes come from a shared archive.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.languages import java
from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import Toolchain, Wrapped, alone_step, call, compile_step, harness, prepared, run_step

NAME = "kotlin"
TITLE = "Kotlin"
FENCES = ("kotlin", "kt", "kts")
JARS = ("kotlin-compiler", "kotlin-stdlib", "kotlin-script-runtime", "kotlin-reflect", "kotlinx-coroutines-core-jvm",
        "annotations-13.0")  # fmt: skip
MAIN = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto", "-Xss8m")
OPTIONS = ("-no-stdlib", "-no-reflect", "-nowarn", "-Xno-param-assertions")
CHECKS = """

private fun CODEUP_NAME_check(good: Boolean, why: () -> Any = { "" }) {
    if (!good) throw AssertionError("assertion failed " + why())
}
"""
SAMPLE = (
    "fun main() { val all = listOf(1, 2).map { it * 2 }; check(all == listOf(2, 4)); println(all.joinToString()) }\n"
)


def probe() -> str:
    """The version of the tools, without preparing anything. Raises UserError where they are missing."""
    home, number = _compiler(), java.probe()
    return f"kotlin {_version(home)} on {number}"


def toolchain() -> Toolchain:
    """A JDK, Kotlin's compiler with an archive of its classes, and the harness. Raises UserError."""
    found = java.toolchain()
    home = _compiler()
    name = f"kotlin {_version(home)} on {found.version}"
    key = {"version": name, "harness": harness("CodeupKotlin.java"), "flags": FLAGS, "home": str(home)}
    cache = prepared(NAME, key, lambda at: _prepare(found.at["java"], home, at))
    at = {"java": found.at["java"], "cache": str(cache), "home": str(home)}
    return Toolchain(name, (*found.show, str(home), str(cache)), at, found.env)


def _compiler() -> Path:
    """The folder of a kotlinc on PATH, or of npm's package in the cache. Raises UserError."""
    cached = artifacts.cache_folder() / "kotlin"
    places = [cached / "node_modules" / "kotlin-compiler"]
    if kotlinc := shutil.which("kotlinc"):
        places.insert(0, Path(os.path.realpath(kotlinc)).parent.parent)
    for place in places:
        if (place / "lib" / "kotlin-compiler.jar").is_file():
            return place
    raise UserError(
        "Kotlin programs cannot run here: no Kotlin compiler is installed",
        mend=f"npm install --prefix {cached} kotlin-compiler (and {java.INSTALL})",
    )


def _version(home: Path) -> str:
    """What the compiler's build file says: 2.4.20-release-123 -> 2.4.20."""
    build = home / "build.txt"
    found = re.match(r"[\d.]+", build.read_text(encoding="utf-8")) if build.is_file() else None
    return found[0] if found else "unknown"


def _prepare(runtime: str, home: Path, folder: Path) -> None:
    """The harness as a jar, and the compiler's classes as an archive, by compiling a sample once."""
    tools = os.path.dirname(runtime)
    (folder / "CodeupKotlin.java").write_text(harness("CodeupKotlin.java"), encoding="utf-8")
    (folder / "Main.kt").write_text(SAMPLE, encoding="utf-8")
    call([f"{tools}/javac", "CodeupKotlin.java"], cwd=folder)
    call([f"{tools}/jar", "cf", "harness.jar", "CodeupKotlin.class"], cwd=folder)
    call([runtime, *FLAGS, "-XX:ArchiveClassesAtExit=kotlin.jsa", *_compile(home)], cwd=folder)
    shutil.rmtree(folder / "out", ignore_errors=True)


def _compile(home: Path, out: str = "out") -> list[str]:
    jars = ":".join(str(home / "lib" / f"{name}.jar") for name in JARS)
    stdlib = str(home / "lib" / "kotlin-stdlib.jar")
    return ["-cp", jars, MAIN, "-kotlin-home", str(home), *OPTIONS, "-d", out, "-cp", stdlib, "Main.kt"]


def _compiler_call(tools: Toolchain, out: str) -> list[str]:
    archive = f"-XX:SharedArchiveFile={tools.at['cache']}/kotlin.jsa"
    return [tools.at["java"], *FLAGS, "-Xmx1g", archive, *_compile(Path(tools.at["home"]), out)]


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program without its package line, otherwise as it is, to be looked at and not judged."""
    code = re.sub(r"(?m)^[ \t]*package\s+[\w.]+\s*;?", "", code)
    classes = f".out:{tools.at['home']}/lib/kotlin-stdlib.jar"
    step = alone_step(
        [tools.at["java"], *java.FLAGS, f"-Xmx{memory_mb}m", "-cp", classes, "MainKt"], cpu_s=cpu_s,
        memory_mb=memory_mb + 1024, memory_words=java.MEMORY_WORDS, env=tools.env,
    )  # fmt: skip
    compiling = compile_step(_compiler_call(tools, ".out"), env=tools.env)
    return Wrapped({"Main.kt": [["program", code]]}, (compiling, step))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """One file, two steps: compile, run."""
    program = re.sub(r"(?m)^[ \t]*package\s+[\w.]+\s*;?", "", program)
    checked = re.sub(r"(?<![\w.])(?:assert|check|require)\s*\(", f"{HARNESS}_check(", tests)
    checked = re.sub(r"\bfun\s+main\s*\(", "fun codeupMainOfTests(", checked, count=1)
    home, cache = Path(tools.at["home"]), tools.at["cache"]
    arguments = [
        tools.at["java"], *java.FLAGS, f"-Xmx{memory_mb}m", "-cp", f"{cache}/harness.jar", "CodeupKotlin", "out/",
        str(home / "lib" / "kotlin-stdlib.jar"), "codeupMainOfTests",
    ]  # fmt: skip
    steps = (
        compile_step(_compiler_call(tools, "out"), env=tools.env),
        run_step(arguments, cpu_s=cpu_s, memory_mb=memory_mb + 1024, memory_words=java.MEMORY_WORDS, env=tools.env),
    )
    parts = [["program", program], ["ours", f"\n{checked}{CHECKS}"]]
    return Wrapped({"Main.kt": parts}, steps, compat)
