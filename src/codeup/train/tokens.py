"""Token ids on disk: three memory-mapped arrays, so that a training run of any size starts at once.

    document            0            1
    ids.npy      int32  [7 4 9 2     7 5 2]
    trained.npy  uint8  [0 0 1 1     0 1 1]
    offsets.npy  int64  [0           4      7]      document i is ids[offsets[i] : offsets[i + 1]]

`offsets.npy` is written last, by rename: a folder that has it is complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeup.errors import UserError
from codeup.types import Tokens

_FLUSH_TOKENS = 1 << 20


@dataclass(frozen=True)
class TokenStore:
    """Documents as one flat array. `store[i]` -> (ids int32 (n,), trained uint8 (n,)), views into the file."""

    folder: Path
    ids: NDArray[np.int32]
    trained: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        piece = slice(self.offsets[index], self.offsets[index + 1])
        return self.ids[piece], self.trained[piece]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def targets_per_document(self) -> NDArray[np.int64]:
        """How many tokens of each document are learned. The first one never is: nothing of its document predicts it."""
        learned = np.concatenate([[0], np.cumsum(self.trained, dtype=np.int64)])
        starts = self.offsets[:-1]
        filled = self.lengths > 0
        first = np.zeros(len(self), np.int64)
        first[filled] = self.trained[starts[filled]]
        return learned[self.offsets[1:]] - learned[starts] - first

    def digest(self) -> str:
        """sha256 of the content, so that a checkpoint knows which tokens it belongs to."""
        state = hashlib.sha256()
        for array in (self.offsets, self.ids, self.trained):
            state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()


def write_tokens(folder: Path, documents: Iterable[Tokens]) -> TokenStore:
    """Stream documents into `folder` and open it. Memory stays at about a million tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "offsets.npy").unlink(missing_ok=True)
    offsets = [0]
    ids: list[int] = []
    trained: list[bool] = []
    raw_ids, raw_trained = folder / "ids.raw", folder / "trained.raw"
    with raw_ids.open("wb") as ids_file, raw_trained.open("wb") as trained_file:

        def flush() -> None:
            ids_file.write(np.asarray(ids, np.int32).tobytes())
            trained_file.write(np.asarray(trained, np.uint8).tobytes())
            ids.clear()
            trained.clear()

        for document in documents:
            assert len(document.ids) == len(document.trained)
            ids.extend(document.ids)
            trained.extend(document.trained)
            offsets.append(offsets[-1] + len(document.ids))
            if len(ids) >= _FLUSH_TOKENS:
                flush()
        flush()
    _raw_to_npy(raw_ids, folder / "ids.npy", np.dtype(np.int32))
    _raw_to_npy(raw_trained, folder / "trained.npy", np.dtype(np.uint8))
    partial = folder / "offsets.partial.npy"
    np.save(partial, np.asarray(offsets, np.int64))
    os.replace(partial, folder / "offsets.npy")
    return open_tokens(folder)


def _raw_to_npy(raw: Path, target: Path, dtype: np.dtype) -> None:
    """Put the .npy header in front of raw values, copied block by block; the raw file is removed."""
    count = raw.stat().st_size // dtype.itemsize
    with target.open("wb") as out, raw.open("rb") as values:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(out, header)
        while block := values.read(1 << 24):
            out.write(block)
    raw.unlink()


def open_tokens(folder: Path) -> TokenStore:
    """Memory-map a folder that `write_tokens` made. UserError names what is missing or does not fit together."""
    ids, trained, offsets = (_load(folder / f"{name}.npy") for name in ("ids", "trained", "offsets"))
    if not len(offsets) or len(ids) != offsets[-1] or len(trained) != offsets[-1]:
        raise UserError(
            f"the token files do not fit together: {len(ids)} ids, {len(trained)} marks",
            where=str(folder),
            mend="prepare the data again",
        )
    return TokenStore(folder, ids, trained, np.asarray(offsets))


def refuse_foreign(store: TokenStore, vocabulary: int) -> None:
    """UserError for an id that a model of this vocabulary does not know: the tokens were made for another model."""
    foreign = np.flatnonzero((store.ids < 0) | (store.ids >= vocabulary))
    if len(foreign):
        document = int(np.searchsorted(store.offsets, foreign[0], side="right")) - 1
        raise UserError(
            f"{len(foreign)} tokens are not in the model's vocabulary of {vocabulary}; the first is "
            f"{store.ids[foreign[0]]}, in document {document}",
            where=str(store.folder),
            mend="prepare the data with this model's own tokenizer; tokens added to it need rows in the embedding",
        )


def _load(path: Path) -> NDArray[Any]:
    """Memory-mapped, except that an array of length 0 cannot be."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return np.load(path, mmap_mode="r") if shape[0] else np.zeros(0, dtype)
    except FileNotFoundError:
        raise UserError("no token file here", where=str(path), mend="prepare the data first") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"damaged token file ({error})", where=str(path), mend="prepare the data again") from None
