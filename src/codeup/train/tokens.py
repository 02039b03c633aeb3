"""Token ids on disk: memory-mapped arrays, so that a training run of any size starts at once.

    document            0            1
    ids.npy             [7 4 9 2     7 5 2]     uint16 where the vocabulary allows it, int32 otherwise
    offsets.npy   int64 [0           4      7]  document i is ids[offsets[i] : offsets[i + 1]]
    runs.npy      int32 [[2 2]       [1 2]]     so many tokens not trained, so many trained (chat/rendered.py)
    run_offsets   int64 [0           1      2]

`offsets.npy` is written last, by rename: a folder that has it is complete. Every process of a training maps the same
files; none waits for another to tokenise. A writer can go on where a killed one was (`TokenWriter`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codeup.chat.rendered import Rendered, from_tokens, marks, trained_in
from codeup.errors import UserError
from codeup.types import Tokens

HEADER = 128
"""Bytes of a .npy header; numpy leaves room in it for the longest length, so it can be rewritten in place."""
BLOCK = 1 << 22
"""Tokens looked at together."""
DOCUMENTS = 4096
"""Documents copied together."""


@dataclass(frozen=True)
class TokenStore:
    """Documents as one flat array. `store[i]` -> (ids (n,), a view into the file, trained uint8 (n,))."""

    folder: Path
    ids: NDArray[Any]
    runs: NDArray[np.int32]
    offsets: NDArray[np.int64]
    run_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        ids = self.ids[self.offsets[index] : self.offsets[index + 1]]
        return ids, marks(self.runs[self.run_offsets[index] : self.run_offsets[index + 1]])

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def trained_tokens(self) -> int:
        """Tokens that are marked, first tokens of documents included."""
        return int(self.runs[:, 1].sum(dtype=np.int64))

    def targets_per_document(self) -> NDArray[np.int64]:
        """How many tokens of each document are learned. The first one never is: nothing of its document predicts it."""
        found = trained_in(self.runs, self.run_offsets)
        first = self.run_offsets[:-1][self.lengths > 0]
        found[self.lengths > 0] -= self.runs[first, 0] == 0
        return found

    def digest(self) -> str:
        """sha256 of the content, so that a checkpoint knows which tokens it belongs to.

        Of offsets, ids as int32 and one mark a token: the same however they are stored.
        """
        state = hashlib.sha256(np.ascontiguousarray(self.offsets).data)
        for begin in range(0, len(self.ids), BLOCK):
            state.update(np.ascontiguousarray(self.ids[begin : begin + BLOCK], dtype=np.int32).data)
        for begin in range(0, len(self.runs), BLOCK >> 8):
            state.update(marks(self.runs[begin : begin + (BLOCK >> 8)]).data)
        return state.hexdigest()

    def take(self, documents: NDArray[np.int64]) -> Iterator[Rendered]:
        """These documents in this order, some thousands at a time."""
        whole = Rendered(self.ids, self.offsets, self.runs, self.run_offsets)
        for begin in range(0, len(documents), DOCUMENTS):
            yield whole.take(documents[begin : begin + DOCUMENTS])


class TokenWriter:
    """Appends documents to a folder. `sizes` after `flush` is where a writer made with `begin=sizes` goes on.

    `vocabulary` decides the type of the ids. Whatever is written beyond `begin` (by a process that was killed) is cut.
    """

    def __init__(self, folder: Path, *, vocabulary: int | None = None, begin: tuple[int, int, int] = (0, 0, 0)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "offsets.npy").unlink(missing_ok=True)
        small = vocabulary is not None and vocabulary <= 1 << 16
        self.folder = folder
        self.documents, self.tokens, self.run_count = begin
        self._kinds: dict[str, np.dtype] = {
            "ids": np.dtype(np.uint16 if small else np.int32), "runs": np.dtype((np.int32, 2)),
            "offsets.partial": np.dtype(np.int64), "run_offsets": np.dtype(np.int64),
        }  # fmt: skip
        held = {name: self._lengths()[name] if any(begin) else 0 for name in self._kinds}
        self._files = {name: _at(folder / f"{name}.npy", kind, held[name]) for name, kind in self._kinds.items()}
        if not any(begin):
            self._files["offsets.partial"].write(np.zeros(1, np.int64).data)
            self._files["run_offsets"].write(np.zeros(1, np.int64).data)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Documents, tokens and runs so far."""
        return self.documents, self.tokens, self.run_count

    def add(self, batch: Rendered) -> None:
        """Append all documents of a batch."""
        self._files["ids"].write(np.ascontiguousarray(batch.ids, dtype=self._kinds["ids"]).data)
        self._files["runs"].write(np.ascontiguousarray(batch.runs, dtype=np.int32).data)
        self._files["offsets.partial"].write((batch.offsets[1:] + self.tokens).data)
        self._files["run_offsets"].write((batch.run_offsets[1:] + self.run_count).data)
        self.documents += len(batch)
        self.tokens += len(batch.ids)
        self.run_count += len(batch.runs)

    def flush(self) -> None:
        """Everything added so far is on the disk when this returns."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> TokenStore:
        """Write how long each array is, mark the folder complete and open it."""
        for name, length in self._lengths().items():
            file = self._files[name]
            file.seek(0)
            file.write(_header(self._kinds[name], length))
        self.close()
        os.replace(self.folder / "offsets.partial.npy", self.folder / "offsets.npy")
        return open_tokens(self.folder)

    def close(self) -> None:
        """Let go of the files; without `finish`, the folder stays incomplete."""
        for file in self._files.values():
            file.close()

    def _lengths(self) -> dict[str, int]:
        return {
            "ids": self.tokens, "runs": self.run_count,
            "offsets.partial": self.documents + 1, "run_offsets": self.documents + 1,
        }  # fmt: skip


def write_tokens(
    folder: Path, documents: Iterable[Tokens] | Iterable[Rendered], *, vocabulary: int | None = None
) -> TokenStore:
    """Stream documents, or batches of them, into `folder` and open it."""
    writer = TokenWriter(folder, vocabulary=vocabulary)
    try:
        iterator = iter(documents)
        while some := list(itertools.islice(iterator, 256)):
            plain = [each for each in some if isinstance(each, Tokens)]
            for batch in [from_tokens(plain)] if plain else some:
                assert isinstance(batch, Rendered)
                writer.add(batch)
        return writer.finish()
    finally:
        writer.close()


def _at(path: Path, kind: np.dtype, length: int) -> BinaryIO:
    """The file with room for its header, cut behind `length` values, to be appended to."""
    file = path.open("r+b" if length else "w+b")
    file.truncate(HEADER + length * kind.itemsize if length else 0)
    if not length:
        file.write(_header(kind, 0))
    file.seek(0, os.SEEK_END)
    return file


def _header(kind: np.dtype, length: int) -> bytes:
    import io

    out = io.BytesIO()
    shape = (length, *kind.shape)
    descr = np.lib.format.dtype_to_descr(kind.base)
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    assert len(out.getvalue()) == HEADER, "numpy makes headers of another size"
    return out.getvalue()


def open_tokens(folder: Path) -> TokenStore:
    """Memory-map a folder that `write_tokens` made. UserError names what is missing or does not fit together."""
    ids, runs, offsets, run_offsets = (_load(folder / f"{n}.npy") for n in ("ids", "runs", "offsets", "run_offsets"))
    fits = len(offsets) and len(offsets) == len(run_offsets) and runs.ndim == 2
    marked = int(runs.sum(dtype=np.int64)) if fits else 0
    if not fits or len(ids) != offsets[-1] or marked != offsets[-1] or len(runs) != run_offsets[-1]:
        raise UserError(
            f"the token files do not fit together: {len(ids)} ids, {marked} marks",
            where=str(folder),
            mend="prepare the data again",
        )
    return TokenStore(folder, ids, runs, np.asarray(offsets), np.asarray(run_offsets))


def refuse_foreign(store: TokenStore, vocabulary: int) -> None:
    """UserError for an id that a model of this vocabulary does not know: the tokens were made for another model."""
    count, first = 0, -1
    for begin in range(0, len(store.ids), BLOCK):
        part = store.ids[begin : begin + BLOCK]
        foreign = np.flatnonzero((part < 0) | (part >= vocabulary))
        if len(foreign) and first < 0:
            first = begin + int(foreign[0])
        count += len(foreign)
    if count:
        document = int(np.searchsorted(store.offsets, first, side="right")) - 1
        raise UserError(
            f"{count} tokens are not in the model's vocabulary of {vocabulary}; the first is "
            f"{store.ids[first]}, in document {document}",
            where=str(store.folder),
            mend="prepare the data with this model's own tokenizer; tokens added to it need rows in the embedding",
        )


def _load(path: Path) -> NDArray[Any]:
    """Memory-mapped, except that an array of length 0 cannot be."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return np.load(path, mmap_mode="r") if shape[0] else np.zeros(shape, dtype)
    except FileNotFoundError:
        raise UserError("no token file here", where=str(path), mend="prepare the data first") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"damaged token file ({error})", where=str(path), mend="prepare the data again") from None
