"""Rust: one crate of two modules, the program's and ours, compiled by rustc with the crates that HumanEval-X names.

    mod solution { program; tests }   #[test] functions become ordinary ones, `assert_eq!` becomes `::core::assert_eq!`
    fn main()                         ours: reads the secret, calls every test, prints the secret and their number
    harness/rust.rs                   a library compiled once: how main reads and prints, the named crates, and code of
                                      the standard library that most programs would compile again

A program cannot pass by std::process::exit, panic hooks, printing, or macros named like the standard's. What puts code
before `main` or in the place of a library's function (`link_section`, `no_mangle`, `export_name`, an allocator,
assembly) does not compile. It could with unsafe code that searches its own memory. Crates: regex 1 and md5 0.7 from
Debian's packages of sources, or from Cargo's folder; rand is our stand-in for what the tests use of rand 0.4.
"""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
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
    refused_word,
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

PLAIN = ("-C", "debuginfo=0", "-C", "strip=symbols", "-C", "prefer-dynamic")
UNCHECKED = ("-C", "debug-assertions=off", "-C", "overflow-checks=on")
"""Arithmetic overflows as it does in tests; what is left out are the standard library's looks after unsafe code."""

REFUSED = re.compile(
    r"\b(?:link_section|no_mangle|export_name|global_allocator|(?:global_|naked_)?asm\s*!|arch\s*::[^;]*asm)"
)

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

    The standard library is linked dynamically, and by rustup's own linker where it is there. With that and the library
    of harness/rust.rs a small program needs half of the time.
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
    ours = [harness("rand.rs"), harness("rust.rs")]
    key = {"version": number, "sources": sources, "ours": ours, "lld": lld, "linker": linker}
    cache = prepared(NAME, key, lambda at: _prepare(rustc, root, env, sources, (lld, linker), at))
    show = (root, "/usr/bin", str(cache))
    shared = next(cache.glob("libcodeup_*.so"))
    at = {"rustc": rustc, "root": root, "cache": str(cache), "library": library, "shared": str(shared)}
    return Toolchain(f"rustc {number}", show, {**at, "linking": (cache / "linking.json").read_text()}, env)


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
    rustc: str, root: str, env: Mapping[str, str], sources: Mapping[str, str], linkers: tuple[str, str], folder: Path
) -> None:  # fmt: skip
    """How to link, the crates compiled, and the library that every program is linked with.

    The library has a random name, and so have its functions: a program cannot name what it has not seen. Its own calls
    are bound while it is linked (-Bsymbolic): each start of a program is a millisecond quicker.
    """
    linking = _as_gcc_links(*linkers, folder)
    (folder / "linking.json").write_text(json.dumps(linking), encoding="utf-8")
    call_rustc = [rustc, "--sysroot", root, "--cap-lints", "allow", "-L", "."]
    made = _crates(call_rustc, env, sources, folder)
    text = harness("rust.rs") + "".join(f"pub extern crate {name};\n" for name in made)
    (folder / "shared.rs").write_text(text, encoding="utf-8")
    name = f"codeup_{secrets.token_hex(8)}"
    symbolic = "-Bsymbolic" if "linker-flavor=ld.lld" in linking else "-Wl,-Bsymbolic"
    flags = ["--edition", "2021", "--crate-type", "dylib", *PLAIN, *linking, "-C", f"link-arg={symbolic}"]
    call([*call_rustc, *flags, *_externs(folder, made), "--crate-name", name, "shared.rs"], cwd=folder, env=env)


def _crates(rustc: list[str], env: Mapping[str, str], sources: Mapping[str, str], folder: Path) -> list[str]:
    """Compile what programs may name; the names."""
    (folder / "rand.rs").write_text(harness("rand.rs"), encoding="utf-8")
    rlib = [*rustc, "--crate-type", "rlib"]
    call([*rlib, "--edition", "2018", "--crate-name", "rand", "rand.rs"], cwd=folder, env=env)
    for crate, path in sources.items():
        name, _, features, needs = CRATES[crate]
        wanted = [*features, *(f"unicode-{part}" for part in _UNICODE if "unicode" in features)]
        edition = ["--edition", _edition(path)]
        flags = [part for feature in wanted for part in ("--cfg", f'feature="{feature}"')]
        externs = [part for need in needs for part in ("--extern", f"{need}=lib{need}.rlib")]
        root_file = next(p for p in (f"{path}/src/lib.rs", f"{path}/lib.rs") if os.path.exists(p))
        call([*rlib, *edition, *flags, *externs, "--crate-name", name, root_file], cwd=folder, env=env)
    return _crates_there(folder)


def _as_gcc_links(lld: str, linker: str, folder: Path) -> list[str]:
    """Arguments of rustc: to call rustup's linker itself, with what gcc would give it; else gcc.

        gcc -### -pie main.o   ->   ... collect2 ... -dynamic-linker /lib64/ld-linux-x86-64.so.2 ... Scrt1.o crti.o
                                    crtbeginS.o -L/usr/lib/gcc/... main.o ... crtendS.o crtn.o

    That is two processes less for each program. One thread is enough for so little.
    """
    (folder / "main.o").touch()
    said = subprocess.run([linker, "-###", "-pie", "main.o"], cwd=folder, capture_output=True, text=True).stderr
    words = shlex.split(next((line for line in said.splitlines() if "-dynamic-linker" in line), ""))
    files = [os.path.realpath(word) for word in words if re.search(r"/\w*crt\w*\.o$", word)]
    if not lld or len(files) != 5:
        return ["-C", f"linker={linker}"]
    folders = dict.fromkeys(os.path.realpath(word[2:]) for word in words if word.startswith("-L"))
    interpreter = words[words.index("-dynamic-linker") + 1]
    arguments = ["--threads=1", "-dynamic-linker", interpreter, *files, *(f"-L{path}" for path in folders)]
    given = [part for each in arguments for part in ("-C", f"link-arg={each}")]
    return ["-C", f"linker={lld}", "-C", "linker-flavor=ld.lld", *given]


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


def _crates_there(cache: Path) -> list[str]:
    return [name for name in ("rand", "regex", "md5") if (cache / f"lib{name}.rlib").exists()]


def _externs(cache: Path, names: list[str]) -> list[str]:
    return [part for name in names for part in ("--extern", f"{name}={cache}/lib{name}.rlib")]


def _compiling(tools: Toolchain, more: Sequence[str] = ()) -> dict[str, Any]:
    """main.rs -> main, with the crates that are there."""
    cache = tools.at["cache"]
    arguments = [
        tools.at["rustc"], "--sysroot", tools.at["root"], "--edition", "2021", "--cap-lints", "allow", "-L", cache,
        *_externs(Path(cache), _crates_there(Path(cache))), *PLAIN, "-C", "codegen-units=1",
        *json.loads(tools.at["linking"]), *more, "-o", "main", "main.rs",
    ]  # fmt: skip
    return compile_step(arguments, env=tools.env)


def _checks_itself(text: str) -> bool:
    """Whether a text can tell if debugging assertions are on: by their name, or by unsafe code that they look after."""
    return bool(re.search(r"unsafe|debug_assert", text))


def wrap(
    program: str, tests: str, *, tools: Toolchain, cpu_s: float, memory_mb: int, extra: Mapping[str, Any] | None = None,
    compat: str = "",
) -> Wrapped:  # fmt: skip
    """The crate and its two steps. Raises UserError where the benchmark's crates were not found."""
    have = _crates_there(Path(tools.at["cache"]))
    missing = [name for name in (extra or {}).get("crates", ()) if name not in have]
    if missing:
        raise UserError(f"this benchmark's Rust programs need the crates {', '.join(missing)}", mend=CRATES_INSTALL)
    program = re.sub(r"(?<![\w$:])crate::", "crate::solution::", program)
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
    shared = Path(tools.at["shared"])
    name = shared.stem.removeprefix("lib")
    ours = (
        f"#![allow(warnings)]\nextern crate {name} as {HARNESS};\n"
        + (f'compile_error!("not in a program: {word}");\n' if (word := refused_word(REFUSED, program)) else "")
        + f"fn main() {{\n    let secret = {HARNESS}::secret();\n"
        + "".join(f"    {each}();\n" for each in calls)
        + f"    {HARNESS}::prove(&secret, {len(calls)});\n}}\npub mod solution {{\n"
    )
    run = run_step(
        ["./main"], cpu_s=cpu_s, memory_mb=memory_mb, address_mb=memory_mb, memory_words=MEMORY_WORDS,
        env={"LD_LIBRARY_PATH": f"{tools.at['library']}:{tools.at['cache']}"},
    )  # fmt: skip
    flags = ["--extern", f"{name}={shared}", *(() if _checks_itself(program + tests) else UNCHECKED)]
    steps = (_compiling(tools, flags), run)
    return Wrapped({"main.rs": [["ours", ours], ["program", program], ["ours", f"\n{plain}\n}}\n"]]}, steps, compat)


def pieces(code: str, *, tools: Toolchain) -> Iterator[Wrapped]:
    """The ways in which code may be whole: a crate, statements of a function, items of an `impl`."""
    cache, root = tools.at["cache"], tools.at["root"]
    externs = _externs(Path(cache), _crates_there(Path(cache)))
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
