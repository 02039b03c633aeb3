"""Rust: one crate of two modules, the program's and ours, compiled by rustc with the crates that HumanEval-X names.

    mod solution { program; tests }   #[test] functions become ordinary ones, `assert_eq!` becomes `::core::assert_eq!`
    fn main()                         ours: reads the secret, calls every test, prints the secret and their number

Nothing of Rust runs before `main`. A program cannot pass by std::process::exit, panic hooks, printing, or macros named
like the standard's. It could with unsafe code that searches its own memory. Crates: regex 1 and md5 0.7 from Debian's
packages of sources, or from Cargo's folder; rand is our stand-in for the functions of rand 0.4 that the tests use.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup.errors import UserError
from codeup.languages._tools import NAME as HARNESS
from codeup.languages._tools import (
    Toolchain,
    Wrapped,
    alone_step,
    call,
    compile_step,
    find,
    harness,
    lifted,
    piece,
    prepared,
    read_step,
    run_step,
)
from codeup.languages._tools import version as version_of

NAME = "rust"
TITLE = "Rust"
FENCES = ("rust", "rs")
INSTALL = "install rustc (Debian: apt-get install rustc; or rustup) and gcc, which links"
CRATES_INSTALL = "install the crates' sources (Debian: apt-get install librust-regex-dev librust-md5-dev)"
MEMORY_WORDS = ("memory allocation of", "capacity overflow")
MISSING = (
    r"cannot find|unresolved import|failed to resolve|can't find crate|file not found for module|undeclared|"
    r"maybe a missing crate|unresolved module|is not a member of trait|unresolved name"
)
"""What rustc says where a name, a crate or a module is not in the text."""
MISSING_AT_RUN = r"NotFound|No such file|PermissionDenied|ConnectionRefused|entity not found"
ASKS = r"\bstdin\b|\benv::args\b|\benv::var\b"
SOURCES = ("/usr/share/cargo/registry", "registry/src/*")
"""Where sources of crates lie: Debian's folder, and Cargo's below CARGO_HOME."""

CRATES = {
    "regex-syntax": ("regex_syntax", ("0.6", "0.8"), ("unicode",), ()),
    "regex": ("regex", ("1.7", "1.6", "1.5"), ("std", "unicode"), ("regex_syntax",)),
    "md5": ("md5", ("0.7",), ("std",), ()),
}
"""Folder -> name, versions, features, needs; in the order of compiling. Newer regex would need regex-automata."""

_UNICODE = ("age", "bool", "case", "gencat", "perl", "script", "segment")


def probe() -> str:
    """The version of the tools, without preparing anything. Raises UserError where they are missing."""
    find(TITLE, ("rustc",), INSTALL)
    find(TITLE, ("gcc", "cc"), INSTALL)
    number = version_of([shutil.which("rustc") or "", "--version"])
    _refuse_old(number)
    return f"rustc {number}"


OLDEST = (1, 80)
"""Tried: 1.95 compiles inside the sandbox, Debian 12's 1.63 does not; in between nothing was tried."""


def _refuse_old(number: str) -> None:
    if (found := re.match(r"(\d+)\.(\d+)", number)) and (int(found[1]), int(found[2])) < OLDEST:
        raise UserError(
            f"Rust programs cannot run here: rustc {number} is too old, it looks for itself in /proc, which is hidden",
            mend=f"install rustc {'.'.join(map(str, OLDEST))} or newer, for example with rustup",
        )


def toolchain() -> Toolchain:
    """rustc with a linker, and the crates that could be found. Raises UserError where there is no rustc.

    The standard library is linked dynamically and rustup's own linker is used where it is there: a small program then
    needs two thirds of the time.
    """
    find(TITLE, ("rustc",), INSTALL)
    compiler = shutil.which("rustc") or ""  # not its real path: rustup's rustc is a link that goes by its name
    linker = find(TITLE, ("gcc", "cc"), INSTALL)
    root = call([compiler, "--print", "sysroot"], cwd=Path("/")).strip()
    rustc = f"{root}/bin/rustc"
    env = {"LD_LIBRARY_PATH": f"{root}/lib"}
    library = call([compiler, "--print", "target-libdir"], cwd=Path("/")).strip()
    number = version_of([rustc, "--version"], env=env)
    _refuse_old(number)
    sources = {name: path for name in CRATES if (path := _source(name))}
    lld = _fast_linker(root)
    key = {"version": number, "sources": sources, "rand": harness("rand.rs"), "lld": lld}
    cache = prepared(NAME, key, lambda at: _prepare(rustc, root, env, sources, lld, at))
    show = (root, "/usr/bin", str(cache))
    return Toolchain(
        f"rustc {number}",
        show,
        {"rustc": rustc, "root": root, "linker": linker, "cache": str(cache), "lld": lld, "library": library},
        env,
    )


def _source(crate: str) -> str:
    """The folder of a crate's sources, of a version that compiles with what there is; or ""."""
    home = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    for place in SOURCES:
        for number in CRATES[crate][1]:
            found = sorted(glob.glob(os.path.join(home, place, f"{crate}-{number}.*")))
            if found:
                return found[-1]
    return ""


def _edition(path: str) -> str:
    """The edition that a crate is written in; one that names none is of 2015 (The Cargo Book, "The edition field")."""
    found = re.search(r'^edition = "(\d+)"', Path(path, "Cargo.toml").read_text(encoding="utf-8"), re.M)
    return found[1] if found else "2015"


def _prepare(
    rustc: str, root: str, env: Mapping[str, str], sources: Mapping[str, str], lld: str, folder: Path
) -> None:  # fmt: skip
    """The crates compiled, and rustup's linker under the name by which gcc finds it."""
    if lld:
        (folder / "ld.lld").symlink_to(lld)
    _crates(rustc, root, env, sources, folder)


def _crates(rustc: str, root: str, env: Mapping[str, str], sources: Mapping[str, str], folder: Path) -> None:
    (folder / "rand.rs").write_text(harness("rand.rs"), encoding="utf-8")
    common = ["--sysroot", root, "--crate-type", "rlib", "--cap-lints", "allow", "-L", "."]
    call([rustc, *common, "--edition", "2018", "--crate-name", "rand", "rand.rs"], cwd=folder, env=env)
    for crate, path in sources.items():
        name, _, features, needs = CRATES[crate]
        wanted = [*features, *(f"unicode-{part}" for part in _UNICODE if "unicode" in features)]
        edition = ["--edition", _edition(path)]
        flags = [part for feature in wanted for part in ("--cfg", f'feature="{feature}"')]
        externs = [part for need in needs for part in ("--extern", f"{need}=lib{need}.rlib")]
        root_file = next(p for p in (f"{path}/src/lib.rs", f"{path}/lib.rs") if os.path.exists(p))
        call([rustc, *common, *edition, *flags, *externs, "--crate-name", name, root_file], cwd=folder, env=env)


def _fast_linker(root: str) -> str:
    """The linker that rustup's toolchains bring, which takes half of ld's time; "" where there is none."""
    found = glob.glob(f"{glob.escape(root)}/lib/rustlib/*/bin/rust-lld")
    return found[0] if found else ""


def alone(code: str, *, tools: Toolchain, cpu_s: float, memory_mb: int) -> Wrapped:
    """A program with nothing added, to be looked at and not judged."""
    step = alone_step(
        ["./main"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb, memory_words=MEMORY_WORDS,
        env={"LD_LIBRARY_PATH": tools.at["library"]},
    )  # fmt: skip
    return Wrapped({"main.rs": [["program", code]]}, (_compiling(tools), step))


def _crates_there(tools: Toolchain) -> list[str]:
    cache = Path(tools.at["cache"])
    return [name for name in ("rand", "regex", "md5") if (cache / f"lib{name}.rlib").exists()]


def _compiling(tools: Toolchain) -> dict[str, Any]:
    """main.rs -> main, with the crates that are there."""
    cache = tools.at["cache"]
    linking = ["-C", f"link-arg=-B{cache}", "-C", "link-arg=-fuse-ld=lld"] if tools.at["lld"] else []
    externs = [part for name in _crates_there(tools) for part in ("--extern", f"{name}={cache}/lib{name}.rlib")]
    arguments = [
        tools.at["rustc"], "--sysroot", tools.at["root"], "--edition", "2021", "--cap-lints", "allow", "-L", cache,
        *externs, "-C", f"linker={tools.at['linker']}", "-C", "debuginfo=0", "-C", "strip=symbols",
        "-C", "codegen-units=1", "-C", "prefer-dynamic", *linking, "-o", "main", "main.rs",
    ]  # fmt: skip
    return compile_step(arguments, env=tools.env)


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """The crate and its two steps. Raises UserError where the benchmark's crates were not found."""
    have = _crates_there(tools)
    missing = [name for name in (extra or {}).get("crates", ()) if name not in have]
    if missing:
        raise UserError(f"this benchmark's Rust programs need the crates {', '.join(missing)}", mend=CRATES_INSTALL)
    plain = re.sub(r"#\[cfg\(test\)\]", "", tests)
    plain = re.sub(r"(?<![:\w])(assert|assert_eq|assert_ne)!", r"::core::\1!", plain)
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", "", plain, flags=re.S)
    names = re.findall(r"#\[test\]\s*(?:pub\s+)?fn\s+(\w+)", bare)
    plain = re.sub(r"#\[test\]((?:\s|//[^\n]*\n|/\*.*?\*/)*)(?:pub\s+)?fn\b", r"\1pub fn", plain, flags=re.S)
    plain = re.sub(r"(?m)^\s*(?:pub\s+)?mod\s+tests\b", "pub mod tests", plain)
    calls = [f"solution::tests::{name}" for name in names]
    if not calls and re.search(r"\bfn\s+main\s*\(", bare):
        plain = re.sub(r"\bfn\s+main\s*\(", f"pub fn {HARNESS}_main(", plain, count=1)
        calls = [f"solution::{HARNESS}_main"]
    ours = (
        "#![allow(warnings)]\nfn main() {\n    let mut secret = String::new();\n"
        "    ::std::io::stdin().read_line(&mut secret).unwrap();\n"
        + "".join(f"    {each}();\n" for each in calls)
        + f'    ::std::println!("\\n{{}} {{}}", secret.trim(), {len(calls)});\n}}\npub mod solution {{\n'
    )
    run = run_step(
        ["./main"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb, memory_words=MEMORY_WORDS,
        env={"LD_LIBRARY_PATH": tools.at["library"]},
    )  # fmt: skip
    steps = (_compiling(tools), run)
    return Wrapped({"main.rs": [["ours", ours], ["program", program], ["ours", f"\n{plain}\n}}\n"]]}, steps, compat)


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a crate, statements of a function, items of an `impl`."""
    cache, root = tools.at["cache"], tools.at["root"]
    externs = [part for name in _crates_there(tools) for part in ("--extern", f"{name}={cache}/lib{name}.rlib")]
    read = read_step(
        [tools.at["rustc"], "--sysroot", root, "--edition", "2021", "--cap-lints", "allow", "--crate-type", "lib",
         "--emit", "metadata", "-L", cache, *externs, "-o", "main.rmeta", "main.rs"],
        env=tools.env, processes=True,
    )  # fmt: skip
    outside, rest = lifted(code, r"\s*(?:use|extern\s+crate)\b.*;|\s*#!\[")
    for text in (
        code,
        f"{outside}\nfn piece() {{\n{rest}\n}}\n",
        f"{outside}\nstruct Piece;\nimpl Piece {{\n{rest}\n}}\n",
    ):
        yield piece("main.rs", text, read)
