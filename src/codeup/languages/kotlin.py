"""Kotlin: program and tests compiled by JetBrains' compiler for the JVM, then run under a harness as Java's are.

    Main.kt    program, tests; `assert(`, `check(` and `require(` of the tests become a function of ours that throws,
               and their main the method that the harness calls
    harness    Java's: reads the secret into a local variable, loads MainKt in a class loader that does not know the
               harness, calls that method, prints the secret when it comes back
    compiler   cold for the first program; then one that stays in a sandbox of its own, as Java's (java.py)

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
from codeup.languages._tools import (
    Toolchain,
    Wrapped,
    alone_step,
    call,
    companion_step,
    compile_step,
    prepared,
    run_step,
)

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
    key = {"version": name, "jar": found.at["jar"], "flags": FLAGS, "home": str(home)}
    cache = prepared(NAME, key, lambda at: _prepare(found.at, home, at))
    at = {**found.at, "cache": str(cache), "home": str(home)}
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


def _prepare(java_at: Mapping[str, str], home: Path, folder: Path) -> None:
    """The compiler's classes as an archive, by compiling a sample once."""
    (folder / "Main.kt").write_text(SAMPLE, encoding="utf-8")
    archive = "-XX:ArchiveClassesAtExit=kotlin.jsa"
    call([java_at["java"], *FLAGS, archive, *_classes(java_at, home), *_compile(home)], cwd=folder)
    shutil.rmtree(folder / "out", ignore_errors=True)


def _classes(at: Mapping[str, str], home: Path) -> list[str]:
    """Where the compiler's classes and ours are; the same for every start, as the archive asks."""
    return ["-cp", ":".join([*(str(home / "lib" / f"{name}.jar") for name in JARS), at["jar"]])]


def _machine(tools: Toolchain) -> list[str]:
    """The virtual machine that compiles."""
    archive = f"-XX:SharedArchiveFile={tools.at['cache']}/kotlin.jsa"
    return [tools.at["java"], *FLAGS, "-Xmx1g", archive, *_classes(tools.at, Path(tools.at["home"]))]


def _compile(home: Path, out: str = "out") -> list[str]:
    stdlib = str(home / "lib" / "kotlin-stdlib.jar")
    return [MAIN, "-kotlin-home", str(home), *OPTIONS, "-d", out, "-cp", stdlib, "Main.kt"]


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program without its package line, otherwise as it is, to be looked at and not judged."""
    code = re.sub(r"(?m)^[ \t]*package\s+[\w.]+\s*;?", "", code)
    classes = f".out:{tools.at['home']}/lib/kotlin-stdlib.jar"
    step = alone_step(
        [tools.at["java"], *java.FLAGS, f"-Xmx{memory_mb}m", "-cp", classes, "MainKt"], cpu_s=cpu_s,
        memory_mb=memory_mb + 1024, memory_words=java.MEMORY_WORDS, env=tools.env,
    )  # fmt: skip
    compiling = compile_step([*_machine(tools), *_compile(Path(tools.at["home"]), ".out")], env=tools.env)
    return Wrapped({"Main.kt": [["program", code]]}, (compiling, step))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """One file, two steps: compile, run; or classes from the compiler that stays."""
    program = re.sub(r"(?m)^[ \t]*package\s+[\w.]+\s*;?", "", program)
    checked = re.sub(r"(?<![\w.])(?:assert|check|require)\s*\(", f"{HARNESS}_check(", tests)
    checked = re.sub(r"\bfun\s+main\s*\(", "fun codeupMainOfTests(", checked, count=1)
    home, memory = Path(tools.at["home"]), f"-Xmx{memory_mb}m"
    machine = _machine(tools)
    harness_ = [tools.at["java"], *java.FLAGS, memory, "-cp", tools.at["jar"], "CodeupHarness"]
    called = ["MainKt", "codeupMainOfTests", str(home / "lib" / "kotlin-stdlib.jar")]
    limits: dict[str, Any] = {"cpu_s": cpu_s, "memory_mb": memory_mb + 1024, "memory_words": java.MEMORY_WORDS}
    cold, warmed = (run_step([*harness_, name, *called], env=tools.env, **limits) for name in ("out/", "classes"))
    parts = [["program", program], ["ours", f"\n{checked}{CHECKS}"]]
    warm = {
        "step": companion_step([*machine, "CodeupKotlinCompiler", *_compile(home)], env=tools.env),
        "ask": parts, "path": "classes", "steps": [warmed],
    }  # fmt: skip
    steps = (compile_step([*machine, *_compile(home)], env=tools.env), cold)
    return Wrapped({"Main.kt": parts}, steps, compat, warm)
