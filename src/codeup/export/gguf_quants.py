"""The quantisations of `codeup export gguf`, and what can be refused before any library is loaded."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from codeup.errors import UserError, installs

QUANTS = ("f32", "bf16", "f16", "q8_0", "q4_0", "q4_k_m")
QUANTISER = "llama-quantize"


def check(quant: str, out: Path | None = None) -> None:
    """Raise UserError for a quantisation that is unknown or cannot be made here, and for a file that cannot be one."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError("the package gguf is not installed", mend=installs("cpu"))
    if quant not in QUANTS:
        raise UserError(f"unknown quantisation {quant!r}", mend=f"choose from: {', '.join(QUANTS)}")
    if quant == "q4_k_m":
        quantiser()
    if out is not None and out.is_dir():
        raise UserError("is a folder, and --out is a file", where=str(out), mend=f"name {out / f'model-{quant}.gguf'}")


def quantiser() -> str:
    """llama.cpp's own quantiser. K-quants are its: the package gguf can read them and not write them."""
    found = shutil.which(QUANTISER)
    if found is None:
        raise UserError(
            f"q4_k_m is made by llama.cpp's {QUANTISER}, which is not on the PATH",
            mend="install llama.cpp, or use --quant q4_0 or q8_0",
        )
    return found
