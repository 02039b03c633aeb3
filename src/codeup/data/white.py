"""Texts with every run of white space as one space, many at once: what is compared where layout does not count.

    squeezed([b"  a  b\\n", b"c\\xc2\\xa0d"])   ->   [b"a b", b"c d"]

White space is what `str.split` takes for it. One pass of arrays over all texts; `" ".join(text.split())`, which gives
the same, takes several times as long.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

WHITE_BYTES = bytes(sorted({byte for code in range(0x3001) if chr(code).isspace() for byte in chr(code).encode()}))
"""Those that write some white sign in UTF-8, other signs perhaps too."""
_GONE = 0xFF
"""A byte that is in no UTF-8."""
_WHITE = bytes(ord(" ") if byte < 128 and chr(byte).isspace() else byte for byte in range(256))
"""ASCII's white signs as spaces, as a table for bytes.translate."""
_BEYOND = re.compile(b"|".join(chr(code).encode() for code in range(128, 0x3001) if chr(code).isspace()))
"""White signs that are not ASCII, in UTF-8."""


def squeezed(texts: Sequence[bytes]) -> list[bytes]:
    """Each text, which is UTF-8, with single spaces only, and none at its ends."""
    spaced = [text if text.isascii() else _BEYOND.sub(b" ", text) for text in texts]
    joined = b" ".join([b"", *spaced, b""]).translate(_WHITE)
    signs = np.frombuffer(joined, dtype=np.uint8).copy()
    space = signs == ord(" ")
    signs[1:] |= (space[1:] & space[:-1]).view(np.uint8) * np.uint8(_GONE)  # all but the first of each run
    marked, gone = signs.tobytes(), bytes([_GONE])
    ends = itertools.accumulate((len(text) + 1 for text in spaced), initial=1)
    return [marked[begin : end - 1].translate(None, gone).removesuffix(b" ") for begin, end in itertools.pairwise(ends)]
