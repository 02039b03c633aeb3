"""The Python of a peer tool: one that is given, or that of a virtual environment kept in the cache and made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codeup import artifacts
from codeup.errors import UserError, WorkFailed
from codeup.types import Emit, Event, ignore_event


def installed(
    package: str,
    version: str,
    *,
    python: Path | None = None,
    module: str = "",
    beside: Sequence[str] = (),
    step: str = "bench",
    emit: Emit = ignore_event,
) -> Path:
    """A Python in which `package` has this version and `module` (default: the package) can be imported.

    `beside` are requirements installed with it. UserError if the Python given has another version or none, or if the
    installation fails.
    """
    module = module or package
    if python is not None:
        if (found := version_in(python, package, module)) != version:
            what = f"has {package} {found}" if found else f"cannot import {package}"
            mend = f"{python} -m pip install {package}=={version}, or leave --peer-python out"
            raise UserError(f"{what}, not {version}", where=str(python), mend=mend)
        return python
    folder = artifacts.cache_folder() / "peers" / f"{package}-{version}"
    own = folder / "bin" / "python"
    if version_in(own, package, module) == version:
        return own
    emit(Event("note", step, text=f"installing {package} {version} into {folder}"))
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(own), "-m", "pip", "install", "--quiet", *beside, f"{package}=={version}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            why = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
            raise UserError(
                f"{package} {version} could not be installed ({why[0]})",
                where=str(folder),
                mend=f"go online, or install {package}=={version} yourself and name its Python with --peer-python",
            )
    return own


def checked(python: Path, package: str, version: str, module: str = "") -> Path:
    """The same Python. WorkFailed if what was installed cannot be imported."""
    if version_in(python, package, module or package) != version:
        raise WorkFailed(f"{python}: {package} was installed and cannot be imported")
    return python


def version_in(python: Path, package: str, module: str) -> str:
    """The package's version as a Python imports it; empty where it cannot."""
    probe = f"import importlib.metadata as m, {module}; print(m.version('{package}'))"
    try:
        done = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().rpartition("\n")[2] if done.returncode == 0 else ""
