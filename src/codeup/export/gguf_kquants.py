"""K-quants: which tensor of `q4_k_m` gets how many bits, and the bytes, by llama.cpp's own code in xllamacpp.

    row of 256 weights   q4_K  144 bytes (4.5 bits a weight)   q6_K  210 bytes (6.6)
    the head, and attn_v and ffn_down of half of the layers, are q6_K; all other matrices are q4_K

The package gguf reads K-quants and does not write them. xllamacpp's library exports ggml's C functions, and the one
that llama-quantize calls too, `ggml_quantize_chunk` (ggml.h), makes the bytes here. The rule is that of llama.cpp's
`llama_tensor_get_type_impl` (src/llama-quant.cpp), ftype Q4_K_M, without experts and without an importance matrix.
"""

from __future__ import annotations

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from codeup.errors import UserError, installs

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

SUPERBLOCK, BLOCK = 256, 32
"""Weights that share their scales: of q4_K and q6_K, and of what rows that are no multiple of them become."""
CODED = ("Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q5_1")
"""Kinds that are made here."""


def kind_of(name: str, shape: tuple[int, ...], *, tied: bool, layers: int, one_group: bool) -> GGMLQuantizationType:
    """The kind of a matrix in a q4_k_m file. `one_group`: every query head has keys of its own."""
    from gguf import GGMLQuantizationType as Kind

    part = name.rsplit(".", 2)[-2]
    head = part == "output" or (tied and part == "token_embd")
    fine = part in ("attn_v", "ffn_down") and _more_bits(int(name.split(".")[1]), layers)
    kind = Kind.Q6_K if head or fine else Kind.Q4_K
    if part == "attn_v" and layers == 80 and not one_group and kind == Kind.Q4_K:
        kind = Kind.Q5_K  # Llama-70B: eight heads share these, which are small
    if shape[-1] % SUPERBLOCK:
        kind = {Kind.Q4_K: Kind.Q5_0, Kind.Q5_K: Kind.Q5_1, Kind.Q6_K: Kind.Q8_0}[kind]
    return Kind.F16 if shape[-1] % BLOCK else kind


def _more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between.

    >>> [layer for layer in range(16) if _more_bits(layer, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def encode(values: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """float32 rows (n, columns) as the bytes of a kind, (n, bytes of a row)."""
    from gguf.quants import quant_shape_to_byte_shape

    values = np.ascontiguousarray(values, np.float32)
    made = np.empty(quant_shape_to_byte_shape(values.shape, kind), np.uint8)
    threads = os.cpu_count() or 1
    cuts = [len(values) * part // threads for part in range(threads + 1)]
    chunk = quantiser()

    def encode_rows(first: int, end: int) -> None:
        if end > first:
            chunk(
                kind.value, values[first:].ctypes.data, made[first:].ctypes.data, 0, end - first, values.shape[1], None
            )

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(encode_rows, cuts, cuts[1:]))
    return made


@functools.cache
def quantiser() -> Any:
    """`ggml_quantize_chunk` of the installed xllamacpp. Raises UserError where there is none."""
    try:
        import xllamacpp.xllamacpp as library

        found = ctypes.CDLL(library.__file__).ggml_quantize_chunk
    except (ImportError, OSError, AttributeError) as error:
        raise UserError(
            f"q4_k_m is made by llama.cpp's code in the package xllamacpp, which cannot be used here ({error})",
            mend=f"{installs('cpu')}; or use --quant q4_0 or q8_0",
        ) from None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    found.restype = ctypes.c_size_t
    return found
