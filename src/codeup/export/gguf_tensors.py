"""Does a GGUF file hold the model's weights? Every tensor read back, widened to float32, beside the one it was made of.

    blk.0.attn_q.weight   q4_0   |file - model| / |model| = 0.09     of at most 0.35
    blk.0.attn_k.weight   q4_0   |file - model| / |model| = 1.41     other rows than the model's: a difference

|x| is the root of the sum of squares. The bound of a kind is what its rounding can do at worst, so that a right file is
never refused: in a block of 32 with the largest value M, q4_0 has steps of M/8, errors of at most M/16, and
sqrt(31)/16 = 0.35; q8_0 has steps of M/127, and sqrt(31)/254 = 0.022. The finer K-quants stay below q4_0's.
Not covered: what is read from the file besides its tensors (gguf_verify.py asks the runtime).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codeup.export.gguf_model import plan, read_config
from codeup.export.weights import files_of, opened

BOUNDS = {"F32": 0.0, "F16": 2**-10, "BF16": 2**-7, "Q8_0": 0.023}
COARSEST = 0.35


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of the file: `error` is relative to the model's, and at most `bound` in a right file."""

    name: str
    kind: str
    error: float

    @property
    def bound(self) -> float:
        return BOUNDS.get(self.kind, COARSEST)

    @property
    def wrong(self) -> bool:
        return not self.error <= self.bound


def held(folder: Path, file: Path, quant: str) -> Iterator[Held]:
    """Every tensor of a model folder as the file holds it; one that is missing or of another size has the error inf."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    there = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    with opened(files_of(folder)) as files:
        for tensor in plan(files, read_config(folder), quant):
            found = there.get(tensor.name)
            here = tensor.change(files[tensor.source].get_tensor(tensor.source).float()).numpy()
            if found is None or found.n_elements != here.size:
                yield Held(tensor.name, tensor.kind.name, float("inf"))
                continue
            values = dequantize(found.data, found.tensor_type).reshape(here.shape)
            yield Held(tensor.name, found.tensor_type.name, _error(values, here))


def _error(values: np.ndarray, right: np.ndarray) -> float:
    size, off = float(np.linalg.norm(right)), float(np.linalg.norm(values - right))
    return off / size if size else float(off > 0)
