"""The quantisations of `codeup export gguf`, and what can be refused before any library is loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from codeup.errors import UserError, installs

QUANTS = ("f32", "bf16", "f16", "q8_0", "q4_0", "q4_k_m")


def check(quant: str, out: Path | None = None) -> None:
    """Raise UserError for a quantisation that is unknown or cannot be made here, and for a file that cannot be one."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError("the package gguf is not installed", mend=installs("cpu"))
    if quant not in QUANTS:
        raise UserError(f"unknown quantisation {quant!r}", mend=f"choose from: {', '.join(QUANTS)}")
    if quant == "q4_k_m":
        from codeup.export.gguf_kquants import quantiser

        quantiser()
    if out is not None and out.is_dir():
        raise UserError("is a folder, and --out is a file", where=str(out), mend=f"name {out / f'model-{quant}.gguf'}")
    if out is not None and out.is_file() and out.stat().st_size and not _is_gguf(out):
        raise UserError("is there already and is no GGUF file", where=str(out), mend="name another file: --out")


def _is_gguf(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"GGUF"
