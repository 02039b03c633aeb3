"""How Rust programs are linked in half of the time: by lld, called by rustc itself, against empty libraries.

    libstd.so, the library of rust.rs    10,000 names, which a linker reads for every program to find thirty
    stubs/libstd.so, ...                 the same with what rustc itself reads of them, and nothing to link
    program                              names them as needed, and says nothing of what is missing (ignore-all)

The loader binds every name when the program starts (`-z now`), so one that is nowhere ends it there, with exit code 127
in place of a linker's error: no such program runs, and none passes. Needs binutils; where a tool is missing gcc links,
as rustc has it by itself.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from codeup.languages._tools import call

NAMES = ("libgcc_s.so", "libgcc_s.so.1", "libgcc.a", "libutil", "librt", "libpthread", "libm", "libdl", "libc")
"""The libraries of the system that rustc names for the standard library, and what the first of them refers to."""

SYSTEM = "system"
"""The folder of links to them."""


def tools(root: str) -> dict[str, str]:
    """Rustup's linker, which takes half of the time of ld, and a tool of binutils: {"lld", "objcopy"} -> path or ""."""
    lld = next(iter(glob.glob(f"{glob.escape(root)}/lib/rustlib/*/bin/rust-lld")), "")
    return {"lld": lld, "objcopy": shutil.which("objcopy") or ""}


def as_gcc_links(lld: str, gcc: str, folder: Path) -> dict[str, list[str]]:
    """Arguments of rustc: to call lld itself, with what gcc would give it; else gcc.

        gcc -### -pie main.o   ->   ... collect2 ... -dynamic-linker /lib64/ld-linux-x86-64.so.2 ... Scrt1.o crti.o
                                    crtbeginS.o -L/usr/lib/gcc/... main.o ... crtendS.o crtn.o

    That is two processes less for each program. "library" is for what all programs share, "program" for each of them,
    "folders" for one that names libraries of its own.
    """
    (folder / "main.o").touch()
    said = subprocess.run([gcc, "-###", "-pie", "main.o"], cwd=folder, capture_output=True, text=True).stderr
    words = shlex.split(next((line for line in said.splitlines() if "-dynamic-linker" in line), ""))
    files = [os.path.realpath(word) for word in words if re.search(r"/\w*crt\w*\.o$", word)]
    if not lld or len(files) != 5:
        plain = ["-C", f"linker={gcc}"]
        return {"library": [*plain, *_given(["-Wl,-Bsymbolic"])], "program": plain, "folders": []}
    folders = [f"-L{path}" for path in dict.fromkeys(os.path.realpath(word[2:]) for word in words if word[:2] == "-L")]
    flavor = ["-C", f"linker={lld}", "-C", "linker-flavor=ld.lld"]
    start, shared = [path for path in files if "Scrt1" in path], [path for path in files if "Scrt1" not in path]
    interpreter = words[words.index("-dynamic-linker") + 1]
    _system(folders, folder / SYSTEM)
    program = ["--threads=1", "-nostdlib", "-dynamic-linker", interpreter, *start, *shared]
    library = _given(["-Bsymbolic", *shared, *folders])
    return {"library": [*flavor, *library], "program": [*flavor, *_given(program)], "folders": _given(folders)}


def _given(arguments: list[str]) -> list[str]:
    return [part for each in arguments for part in ("-C", f"link-arg={each}")]


def _system(folders: list[str], place: Path) -> None:
    """A folder with the few libraries that are looked for."""
    place.mkdir()
    for name in NAMES:
        places = (f"{each[2:]}/{name}{ending}" for each in folders for ending in ("", ".so", ".a"))
        if found := next((path for path in places if os.path.isfile(path)), ""):
            (place / os.path.basename(found)).symlink_to(os.path.realpath(found))


def stub(library: str, place: Path, gcc: str, objcopy: str) -> None:
    """An empty shared library with the name of `library` and with what rustc reads in it (section `.rustc`)."""
    name = os.path.basename(library)
    call([objcopy, "--dump-section", ".rustc=read", library, "/dev/null"], cwd=place)
    text = '.section .rustc,"",%progbits\n.incbin "read"\n.section .note.GNU-stack,"",%progbits\n'
    (place / "read.s").write_text(text, encoding="ascii")
    call([gcc, "-shared", "-nostdlib", "read.s", "-o", name, f"-Wl,-soname,{name}"], cwd=place)
    (place / "read").unlink()
    (place / "read.s").unlink()


def sysroot(root: str, library: str, place: Path, gcc: str, objcopy: str) -> str:
    """A sysroot of links to `root`'s libraries, with a stub in the place of the standard library; the stub's path."""
    real = next(iter(glob.glob(f"{glob.escape(library)}/libstd-*.so")))
    ours = place / os.path.relpath(library, root)
    ours.mkdir(parents=True)
    for path in glob.glob(f"{glob.escape(library)}/*.r*"):  # .rlib and .rmeta
        (ours / os.path.basename(path)).symlink_to(path)
    stub(real, ours, gcc, objcopy)
    return str(ours / os.path.basename(real))


def against_stubs(*stubs: str) -> list[str]:
    """Arguments of rustc: the program needs these libraries, whose names are looked for when it starts."""
    return _given(["--unresolved-symbols=ignore-all", "--no-as-needed", *stubs]) if all(stubs) else []
