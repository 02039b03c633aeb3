"""Packages that Go programs are linked with, compiled once; and a lean set of them, which links in half the time.

    imports    {"path": archive} of the standard library and testify, as an import configuration
    lean       the same without what drags net/http, yaml and the fuzzer into every program:
               testify's assert without its HTTP* and YAML* functions, package testing on our own dependencies

A linker reads every package that a program could reach. A program that names HTTP or YAML gets the whole set. Where the
lean set does not compile (another version of Go or of testify), there is none, and programs are linked as before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from codeup.errors import WorkFailed
from codeup.languages._tools import call, harness

TESTIFY = "github.com/stretchr/testify/assert"
GOPATH = "/usr/share/gocode"
"""Where Debian keeps the sources of Go packages."""

OURS, THEIRS = "codeupdeps", "testing/internal/testdeps"
"""What package testing is started with: our stand-in, and that of `go test`."""

HEAVY = re.compile(r"\b(?:HTTP|YAML)")
"""What only the whole set has."""

_DROPPED = re.compile(r"(?:^//[^\n]*\n)*^func (?:\([^)]*\) )?(?:HTTP|YAML)\w*\(.*?^\}\n", re.S | re.M)
_UNUSED = re.compile(
    r'^\t(?:\w+ )?"(?:net/http|net/url|gopkg\.in/yaml\.v\d|github\.com/stretchr/testify/assert/yaml)"\n', re.M
)
_PROBE = f"""package main
import "testing"
import deps "{OURS}"
func main() {{ testing.MainStart(deps.TestDeps{{}}, nil, nil, @FUZZ@nil) }}
"""


def build(go: str, tools: str, folder: Path, *, has_testify: bool, has_fuzz: bool) -> None:
    """Compile everything once; files `imports` and, where it can be made, `lean`, both with @HERE@ for the folder."""
    packages = ["std", *([TESTIFY] if has_testify else [])]
    env = {"GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": str(folder / "work"), "GOFLAGS": ""}
    text = call([go, "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", *packages], cwd=folder, env=env)
    known: dict[str, str] = {}
    (folder / "pkg").mkdir()
    for number, line in enumerate(sorted(set(text.split()))):
        path, _, archive = line.partition("=")
        if archive:
            target = folder / "pkg" / f"{number}.a"
            os.replace(archive, target) if archive.startswith(str(folder)) else os.symlink(archive, target)
            known[path] = f"@HERE@/pkg/{number}.a"
    call(["rm", "-rf", "work"], cwd=folder)
    _write(folder / "imports", known)
    try:
        lean = _lean(tools, folder, known, has_testify=has_testify, has_fuzz=has_fuzz)
    except (OSError, WorkFailed):
        return
    _write(folder / "lean", lean)


def _write(path: Path, known: Mapping[str, str]) -> None:
    path.write_text("".join(f"packagefile {name}={archive}\n" for name, archive in known.items()))


def _lean(
    tools: str, folder: Path, known: Mapping[str, str], *, has_testify: bool, has_fuzz: bool
) -> dict[str, str]:  # fmt: skip
    """The packages with ours in their place. Raises WorkFailed where one of ours does not compile or fit."""
    at = folder / "lean-sources"
    at.mkdir()
    _write(at / "imports", {name: archive.replace("@HERE@", str(folder)) for name, archive in known.items()})
    (at / "deps.go").write_text(harness("go_deps.go"), encoding="utf-8")
    lean = {**known, OURS: "@HERE@/pkg/deps.a"}
    compiler = [f"{tools}/compile", "-importcfg", "imports", "-pack"]
    call([*compiler, "-p", OURS, "-o", "../pkg/deps.a", "deps.go"], cwd=at)
    if has_testify:
        names = _testify_sources(at)
        call([*compiler, "-p", TESTIFY, "-o", "../pkg/assert.a", *names], cwd=at)
        lean[TESTIFY] = "@HERE@/pkg/assert.a"
    _write(at / "imports", {name: archive.replace("@HERE@", str(folder)) for name, archive in lean.items()})
    (at / "probe.go").write_text(_PROBE.replace("@FUZZ@", "nil, " if has_fuzz else ""))
    call([f"{tools}/compile", "-importcfg", "imports", "-p", "main", "-o", "probe.a", "probe.go"], cwd=at)
    call([f"{tools}/link", "-importcfg", "imports", "-o", "probe", "probe.a"], cwd=at)
    call(["rm", "-rf", str(at)], cwd=folder)
    return lean


def _testify_sources(at: Path) -> list[str]:
    """testify's own files without the functions that need net/http and yaml; the names of those written.

    Their folder has testify's name, by which testify leaves itself out of what it says about a failure.
    """
    names = []
    (at / "assert").mkdir()
    for source in sorted(Path(GOPATH, "src", TESTIFY).glob("*.go")):
        if source.name.endswith("_test.go") or source.name == "http_assertions.go":
            continue
        text = source.read_text(encoding="utf-8")
        if re.search(r"^//go:build !go", text, re.M):  # for a Go older than this one's generics
            continue
        (at / "assert" / source.name).write_text(_UNUSED.sub("", _DROPPED.sub("", text)), encoding="utf-8")
        names.append(f"assert/{source.name}")
    return names
