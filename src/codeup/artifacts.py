"""Fingerprints and step folders: what makes a rerun free and an interrupted run safe.

A step's folder is named by its fingerprint and is complete exactly when it holds `artifact.json`, which is written last
and by rename. A folder without it is unfinished work that the step may continue; nothing is ever overwritten by a step
with other settings, because that step has another fingerprint and so another folder.

    runs/nano/steps/train-code-3f9a1c07d2/
        adapter/ ... metrics.jsonl ...      written by the step
        artifact.json                       fingerprint, spec, inputs, sizes of files, summary

Does not protect against somebody editing files of a finished step without changing their size.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codeup.errors import UserError
from codeup.types import Artifact, Step

MARKER = "artifact.json"
DIGITS = 10
"""Hexadecimal digits of the fingerprint in a folder's name: 40 bits, ample for the steps of one run folder."""


def cache_home() -> Path:
    """Where programs of this user keep what can be made again: XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def cache_folder() -> Path:
    """CodeUp's own part of the cache: fetched benchmark files and computed expected values."""
    return cache_home() / "codeup"


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of a plain value: equal values, equal fingerprints, whatever the key order.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def step_fingerprint(step: Step, inputs: Sequence[str], code: str) -> str:
    """What a step's result depends on: its kind and settings, the fingerprints of its inputs, the code that runs it.

    The spec's key `at` says where things lie (paths, device), not what they are, and is left out: a moved folder of
    data or a reinstalled package does not repeat hours of work.
    """
    spec = {key: value for key, value in step.spec.items() if key != "at"}
    return fingerprint({"kind": step.kind, "spec": spec, "inputs": list(inputs), "code": code})


@cache
def code_version(parts: tuple[str, ...]) -> str:
    """Fingerprint of the package's files under `parts` (files or folders relative to `codeup/`), whatever their kind:
    what a page or a program of another language is made of is source, too."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for part in sorted(parts):
        path = root / part
        inside = (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        files = sorted(inside) if path.is_dir() else [path]
        assert files and files[0].is_file(), f"no source under {path}"
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def check_ordinary(path: Path) -> None:
    """Raise UserError for what is there and is no ordinary file: a folder, a pipe, a device or a socket.

    Inputs are read more than once (rows, SHA-256, a page that shows them later); a pipe waits for ever the second time.
    """
    kinds = {"folder": path.is_dir, "pipe": path.is_fifo, "socket": path.is_socket}
    kinds["device"] = lambda: path.is_char_device() or path.is_block_device()
    if kind := next((kind for kind, is_one in kinds.items() if is_one()), ""):
        mend = "name a file in it" if kind == "folder" else "write what it gives into a file first"
        raise UserError(f"this is a {kind}, not a file", where=str(path), mend=mend)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces. Raises UserError for what is no ordinary file."""
    check_ordinary(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weight_files(model: Path) -> list[Path]:
    """The .safetensors files of a model folder, in the order of their names."""
    if not (model / "config.json").exists():
        raise UserError("not a model folder: no config.json", where=str(model), mend="name the folder that holds it")
    index = model / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [model / name for name in names]
    else:
        files = sorted(model.glob("model*.safetensors"))
    missing = [file.name for file in files if not file.exists()]
    if missing or not files:
        raise UserError(
            f"weights missing: {', '.join(missing) or 'no .safetensors file'}",
            where=str(model),
            mend="download the model again",
        )
    return files


def weights_sha256(model: Path) -> str:
    """sha256 over the weight files: the identity of a base. An adapter records it, a merge and a server compare it."""
    state = hashlib.sha256()
    for file in weight_files(model):
        try:
            with file.open("rb") as opened:
                state.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=str(file)) from None
    return state.hexdigest()


def step_folder(run_dir: Path, step: Step, print_: str) -> Path:
    """Where a step with this fingerprint keeps its files."""
    return step_folder_of(run_dir, step.name, print_)


def step_folder_of(run_dir: Path, name: str, print_: str) -> Path:
    """The folder of a step by its name and fingerprint, as another step's `inputs` name it."""
    return run_dir / "steps" / f"{name}-{print_[:DIGITS]}"


def read_artifact(folder: Path) -> Artifact | None:
    """The finished artifact in a folder, or None when the step has not finished or a file of it is gone.

    Raises UserError when `artifact.json` itself is damaged: somebody should know before hours of work are repeated.
    """
    marker = folder / MARKER
    if not marker.is_file():
        return None
    try:
        record = json.loads(marker.read_text(encoding="utf-8"))
        files = record["files"]
        artifact = Artifact(
            step=record["step"],
            kind=record["kind"],
            folder=str(folder),
            fingerprint=record["fingerprint"],
            summary=record["summary"],
            seconds=record["seconds"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"damaged marker ({error})", where=str(marker), mend="delete that file; the step then runs again"
        ) from None
    whole = all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in files.items())
    return artifact if whole else None


def damage(folder: Path) -> str | None:
    """What is wrong with a folder that was marked complete: an unreadable marker, a lost or shortened file. None where
    it is whole, or was never complete.

    `weights.bin: 5 bytes when it was written, gone now`
    """
    marker = folder / MARKER
    if not marker.is_file():
        return None
    try:
        read_artifact(folder)
        files = json.loads(marker.read_text(encoding="utf-8"))["files"]
    except UserError as error:
        return f"{MARKER}: {error.what}"
    for name, size in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name}: {size:,} bytes when it was written, gone now"
        if path.stat().st_size != size:
            return f"{name}: {size:,} bytes when it was written, {path.stat().st_size:,} now"
    return None


def finish(
    folder: Path, step: Step, print_: str, inputs: Mapping[str, str], summary: Mapping[str, Any], seconds: float
) -> Artifact:
    """Mark a step's folder complete. The marker lists every file with its size, so that a lost file is noticed."""
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARKER
    }
    record = {
        "step": step.name,
        "kind": step.kind,
        "fingerprint": print_,
        "spec": step.spec,
        "inputs": dict(inputs),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 3),
        "files": files,
        "summary": summary,
    }
    write_json(folder / MARKER, record)
    return Artifact(step.name, step.kind, str(folder), print_, summary, round(seconds, 3))


def make_folder(path: Path) -> None:
    """Create a folder and prove that files can be written there, before work begins. Raises UserError."""
    probe = path / f".probe.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot be written to ({error.strerror})", where=str(path), mend="name another folder"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it, even after power loss."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically: temporary name, fsync, rename, fsync of the folder. Raises UserError."""
    if path.is_dir():
        raise UserError("this is a folder", where=str(path), mend="name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"cannot write ({error.strerror})", where=str(path), mend="free disk space, or name another place"
        ) from None
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
