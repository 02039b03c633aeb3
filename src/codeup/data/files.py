"""Rows of a data file, one at a time, without holding the file in memory.

    rows.json     [{...}, {...}]       streamed, however long the array is      (also .json.gz, .json.zst)
    rows.jsonl    {...}\\n{...}\\n       one object per line                       (also .jsonl.gz, .jsonl.zst, .ndjson)
    rows.parquet                       batch by batch

A `.json` file that really holds one object after another is read as such, and a `.jsonl` that holds one array as an
array. UTF-8 with or without a byte order mark, either line ending. Damage is a `UserError` with file, row and byte: a
file that ends early never passes for a shorter file. Bytes that are not UTF-8 damage only their own row: they arrive as
lone surrogates, which `load` drops and counts. Byte positions are in the decompressed text.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from codeup.artifacts import check_ordinary
from codeup.data.rows import BAD_UNICODE, NOT_AN_OBJECT
from codeup.errors import UserError

CHUNK = 1 << 20
HEAD_BYTES = 64  # enough to tell a byte order mark and a Git LFS pointer
FORMATS = (".json", ".jsonl", ".ndjson", ".parquet")
COMPRESSIONS = (".gz", ".zst")
PARQUET_BATCH_ROWS = 512
AGAIN = "download or copy it again, and compare its size or sha256 with the original"


@dataclass(frozen=True, slots=True)
class Row:
    """Row `number` (0-based) of a file: its object, or why there is none."""

    number: int
    value: dict[str, Any] | None
    error: str = ""


def is_data_file(path: Path | str) -> bool:
    """Whether the name says that `read_rows` can read it."""
    return _format(Path(path)) is not None


def read_rows(path: Path) -> Iterator[Row]:
    """All rows of a file, in order. Raises `UserError` at once for a path that cannot be read, later for damage."""
    kind = _format(path)
    _check_readable(path)
    if kind is None:
        raise UserError(
            f"the ending {path.suffix or '(none)'!r} is not a data format",
            where=str(path),
            mend=f"convert it to one of {', '.join(FORMATS)} (text formats may be .gz or .zst)",
        )
    return _parquet_rows(path) if kind == ".parquet" else _text_rows(path, kind)


def sha256_of(path: Path) -> str:
    """The sha256 of the file as it lies on disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _format(path: Path) -> str | None:
    """The format behind a name; `.parquet.gz` and unknown endings have none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] in COMPRESSIONS
    kind = suffixes[-2:-1] if packed else suffixes[-1:]
    if not kind or kind[0] not in FORMATS or (packed and kind[0] == ".parquet"):
        return None
    return kind[0]


def _check_readable(path: Path) -> None:
    check_ordinary(path)
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise UserError("there is no such file", where=str(path), mend="check the path") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path), mend="check its permissions") from error
    if empty:
        raise UserError("the file is empty", where=str(path), mend=AGAIN)


# --- bytes -----------------------------------------------------------------------------------------------------------


def _chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes, in pieces."""
    suffix = path.suffix.lower()
    opened: Callable[[Path], Iterator[bytes]] = {".gz": _gzip_chunks, ".zst": _zstd_chunks}.get(suffix, _plain_chunks)
    try:
        yield from opened(path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"the gzip data is damaged or cut short ({error})", where=str(path), mend=AGAIN) from error
    except OSError as error:
        raise UserError(f"reading failed: {error}", where=str(path), mend="check the disk it lies on") from error


def _plain_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """One frame after another. The library's own stream reader takes a frame that was cut short for a finished one."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frame = decompressor.decompressobj()
    started = False
    try:
        for packed in _plain_chunks(path):
            # Small pieces, because a few kilobytes of zstd may hold many megabytes of text.
            for begin in range(0, len(packed), CHUNK >> 4):
                rest = packed[begin : begin + (CHUNK >> 4)]
                while rest:
                    started = True
                    if text := frame.decompress(rest):
                        yield text
                    rest = frame.unused_data if frame.eof else b""
                    if frame.eof:
                        frame, started = decompressor.decompressobj(), bool(rest)
    except zstandard.ZstdError as error:
        raise UserError(f"the zstd data is damaged ({error})", where=str(path), mend=AGAIN) from error
    if started:
        raise UserError("the zstd data is cut short", where=str(path), mend=AGAIN)


def _checked_start(path: Path) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes that are not white space (without byte order mark) and the pieces that follow."""
    chunks = _chunks(path)
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= HEAD_BYTES and start.removeprefix(codecs.BOM_UTF8).strip():
            break
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError("the file is UTF-16 text", where=str(path), mend="save it as UTF-8")
    if not start.removeprefix(codecs.BOM_UTF8).strip():
        raise UserError("the file holds nothing but white space", where=str(path), mend=AGAIN)
    if start.startswith(b"version https://git-lfs"):
        raise UserError(
            "this is a Git LFS pointer, not the data", where=str(path), mend="run `git lfs pull` in its repository"
        )
    return start, chunks


# --- text ------------------------------------------------------------------------------------------------------------


def _text_rows(path: Path, kind: str) -> Iterator[Row]:
    start, rest = _checked_start(path)
    first = start.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first == b"[":
        yield from _array_rows(_Window(path, start, rest))
    elif kind == ".json":
        yield from _object_rows(_Window(path, start, rest))
    else:
        yield from _line_rows(path, start, rest)


def _row(number: int, value: Any) -> Row:
    return Row(number, value) if isinstance(value, dict) else Row(number, None, NOT_AN_OBJECT)


def _beyond(error: Exception) -> str:
    """What Python's reader gives up on though it is JSON: depth, or a number of more than 4,300 digits."""
    return "is nested too deeply" if isinstance(error, RecursionError) else "holds a number of too many digits"


class _Window:
    """The part of a JSON text that is being decoded: grows by chunks at the end, shrinks at the start.

    file    [ {row 0}, {row 1}, {row 2}, {ro|w 3}, ...
    text                        {row 2}, {ro|          `text[position:]` is not yet decoded
    """

    def __init__(self, path: Path, start: bytes, rest: Iterator[bytes]) -> None:
        self.path = path
        self._rest = rest
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        mark = codecs.BOM_UTF8 if start.startswith(codecs.BOM_UTF8) else b""
        self.text = self._utf8.decode(start.removeprefix(mark))
        self.position = 0
        self._bytes_before = len(mark)
        self._decode = json.JSONDecoder().raw_decode

    def byte(self, index: int) -> int:
        """The byte in the file of `text[index]`."""
        return self._bytes_before + len(self.text[:index].encode("utf-8", "surrogateescape"))

    def more(self) -> bool:
        """Let go of what is decoded and read on, at least as much as is left, so that a huge row costs linear time."""
        self._bytes_before = self.byte(self.position)
        pieces = [self.text[self.position :]]
        wanted, got = max(CHUNK, len(pieces[0])), 0
        for chunk in self._rest:
            pieces.append(self._utf8.decode(chunk))
            got += len(pieces[-1])
            if got >= wanted:
                break
        else:
            pieces.append(self._utf8.decode(b"", final=True))
            got += len(pieces[-1])
        self.text, self.position = "".join(pieces), 0
        return got > 0

    def next_character(self) -> str:
        """Step over white space; the character there, or '' at the end of the file."""
        while True:
            text, position, end = self.text, self.position, len(self.text)
            while position < end and text[position] in " \n\r\t":
                position += 1
            self.position = position
            if position < end:
                return text[position]
            if not self.more():
                return ""

    def value(self, number: int) -> Any:
        """Decode the value at `position` and step behind it."""
        while True:
            try:
                value, end = self._decode(self.text, self.position)
            except json.JSONDecodeError as error:
                # Unless the fault lies well before the end of the window, the value may just not be all here yet.
                # 12 characters hold the longest thing that is judged as a whole: a pair of \uXXXX.
                near_end = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 12
                if near_end and self.more():
                    continue
                raise self._fault(error, number, near_end) from None
            except (RecursionError, ValueError) as error:
                raise UserError(
                    f"row {number} (byte {self.byte(self.position)}) {_beyond(error)}",
                    where=str(self.path),
                    mend="take that row out",
                ) from None
            if end == len(self.text) and self.more():
                continue  # a bare number may go on
            self.position = end
            return value

    def _fault(self, error: json.JSONDecodeError, number: int, at_end: bool) -> UserError:
        if at_end:
            where = self.byte(len(self.text))
            return UserError(
                f"the file ends at byte {where}, in the middle of row {number}", where=str(self.path), mend=AGAIN
            )
        text = f"row {number} is not valid JSON: {error.msg} at byte {self.byte(error.pos)}"
        return UserError(text, where=str(self.path), mend="mend or remove that row")


def _array_rows(window: _Window) -> Iterator[Row]:
    """The elements of one JSON array."""
    assert window.next_character() == "["
    window.position += 1
    number = 0
    if window.next_character() == "]":
        window.position += 1
    else:
        while True:
            if not window.next_character():
                raise _ends_early(window, number)
            yield _row(number, window.value(number))
            number += 1
            mark = window.next_character()
            if mark not in (",", "]"):
                raise _ends_early(window, number) if not mark else _after_row(window, number - 1)
            window.position += 1
            if mark == "]":
                break
    if window.next_character():
        raise UserError(
            f"there is more text after the end of the array, at byte {window.byte(window.position)}",
            where=str(window.path),
            mend="keep one array per file, or one object per line in a .jsonl file",
        )


def _ends_early(window: _Window, number: int) -> UserError:
    text = f"the file ends at byte {window.byte(window.position)}, before row {number}: the array is not closed"
    return UserError(text, where=str(window.path), mend=AGAIN)


def _after_row(window: _Window, number: int) -> UserError:
    text = f"after row {number}, at byte {window.byte(window.position)}, a comma or ']' is missing"
    return UserError(text, where=str(window.path), mend="mend the file there")


def _object_rows(window: _Window) -> Iterator[Row]:
    """One value after another in a `.json` file: JSON lines under another name, or objects over several lines."""
    first: Any = None
    number = 0
    while window.next_character():
        value = window.value(number)
        if number == 0:
            first = value  # held back until it is known whether it is a row or a wrapper around all rows
        elif number == 1:
            yield _row(0, first)
        if number > 0:
            yield _row(number, value)
        number += 1
    if number == 1:
        _refuse_wrapper(window.path, first)
        yield _row(0, first)


def _refuse_wrapper(path: Path, value: Any) -> None:
    """`{"version": 1, "data": [{...}, ...]}` would be one unusable row; say so instead."""
    lists = [key for key, inner in value.items() if _is_row_list(inner)] if isinstance(value, dict) else []
    for key in lists:
        if key not in ("conversations", "messages"):
            raise UserError(
                f"the rows are wrapped in an object, under {key!r}",
                where=str(path),
                mend=f"write the list alone into a file: jq '.[{json.dumps(key)}]' {path.name} > rows.json",
            )


def _is_row_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _lines(start: bytes, rest: Iterator[bytes]) -> Iterator[tuple[int, int, bytes, bool]]:
    """(line number from 1, byte where it begins, line without its end, whether it is ended by a line break)."""
    begin = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
    pieces, number = [start[begin:]], 0
    while True:
        whole, newline, tail = pieces[-1].rpartition(b"\n")
        if newline:
            for line in b"".join((*pieces[:-1], whole)).split(b"\n"):
                number += 1
                yield number, begin, line, True
                begin += len(line) + 1
            pieces = [tail]
        chunk = next(rest, b"")
        if not chunk:
            break
        pieces.append(chunk)
    if last := b"".join(pieces):
        yield number + 1, begin, last, False


def _line_rows(path: Path, start: bytes, rest: Iterator[bytes]) -> Iterator[Row]:
    """JSON lines. A line of white space is no row."""
    number = 0
    for line_number, begin, line, ended in _lines(start, rest):
        if not line or line.isspace():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            value = _lenient(path, line, number, line_number, begin, ended)
        yield _row(number, value)
        number += 1


def _lenient(path: Path, line: bytes, number: int, line_number: int, begin: int, ended: bool) -> Any:
    """What the strict decoder refuses though it makes a row: NaN, lone surrogates, bytes that are not UTF-8."""
    text = line.decode("utf-8", "surrogateescape")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = error.pos if isinstance(error, json.JSONDecodeError) else 0
        at = begin + len(text[:place].encode("utf-8", "surrogateescape"))
        reason = error.msg if isinstance(error, json.JSONDecodeError) else f"it {_beyond(error)}"
    if not ended:
        what = f"the file ends at byte {begin + len(line)}, in the middle of row {number} (line {line_number})"
        raise UserError(what, where=str(path), mend=AGAIN)
    raise UserError(
        f"row {number} (line {line_number}) is not valid JSON: {reason} at byte {at}",
        where=str(path),
        mend="mend or remove that line; if objects span several lines, name the file .json",
    )


# --- parquet ---------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a parquet file, a few hundred at a time."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, use_threads=False):
                for value in _batch_values(batch):
                    yield Row(number, value, "" if value is not None else BAD_UNICODE)
                    number += 1
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        text = f"the parquet data is damaged after row {number} ({str(error).splitlines()[0]})"
        raise UserError(text, where=str(path), mend=AGAIN) from error


def _batch_values(batch: Any) -> list[dict[str, Any] | None]:
    """The rows of a batch; None for a row whose text is not UTF-8."""
    try:
        values: list[dict[str, Any] | None] = batch.to_pylist()
        return values
    except UnicodeDecodeError:
        return [_one_value(batch, index) for index in range(batch.num_rows)]


def _one_value(batch: Any, index: int) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = batch.slice(index, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return None
    return value
