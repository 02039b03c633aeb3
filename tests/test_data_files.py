"""Files become rows: every format, whole or damaged, without holding the file in memory."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from codeup.data import files
from codeup.data.files import Row, is_data_file, read_rows
from codeup.data.resolve import resolve
from codeup.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"a": "plain", "n": 1},
    {"a": 'quote " backslash \\ newline \n tab \t', "n": None},
    {"a": "naïve – ✓ 😀", "n": [1, {"b": "]},{"}]},
    {"a": "", "n": 1.5},
]
WRITERS = {
    "rows.json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False),
    "tight.json": lambda rows: json.dumps(rows, separators=(",", ":")),
    "rows.jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "rows.ndjson": lambda rows: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
    "lines.json": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "pretty.json": lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows),
    "array.jsonl": lambda rows: json.dumps(rows),
}


def values(path: Path) -> list[Any]:
    found = list(read_rows(path))
    assert [row.number for row in found] == list(range(len(found)))
    return [row.value for row in found]


def pack(data: bytes, packing: str) -> bytes:
    return {"": data, ".gz": gzip.compress(data), ".zst": zstandard.compress(data)}[packing]


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("variant", ["plain", "mark", "crlf"])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_the_same_rows_come_out_of_every_text_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, packing: str, variant: str, chunk: int
) -> None:
    monkeypatch.setattr(files, "CHUNK", max(chunk, 16) if packing == ".zst" else chunk)
    text = WRITERS[name](ROWS)
    data = text.replace("\n", "\r\n").encode() if variant == "crlf" else text.encode()
    path = tmp_path / (name + packing)
    path.write_bytes(pack(b"\xef\xbb\xbf" * (variant == "mark") + data, packing))
    assert values(path) == ROWS


def test_parquet_rows_come_out_as_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [{"q": f"question {i}", "turns": [{"from": "human", "value": str(i)}]} for i in range(1300)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert values(path) == rows


def test_a_parquet_row_that_is_not_utf8_damages_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    raw = pyarrow.array([b"good", b"\xff\xfe", b"fine"], pyarrow.binary())
    text = pyarrow.StringArray.from_buffers(3, *raw.buffers()[1:], raw.buffers()[0])
    pyarrow.parquet.write_table(pyarrow.table({"a": text}), path)
    assert list(read_rows(path)) == [
        Row(0, {"a": "good"}),
        Row(1, None, "text is not valid Unicode"),
        Row(2, {"a": "fine"}),
    ]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_row_that_is_not_an_object_is_named_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(WRITERS[name]([{"a": 1}, 12, None, ["x"], "text", {"a": 2}]))
    found = list(read_rows(path))
    assert [row.value for row in found] == [{"a": 1}, None, None, None, None, {"a": 2}]
    assert {row.error for row in found if row.value is None} == {"not an object"}


def test_a_number_that_goes_on_behind_the_window_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", 3)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(list(range(10**6, 10**6 + 100))))
    assert len(list(read_rows(path))) == 100


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_bytes_that_are_not_utf8_damage_only_their_own_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WRITERS[name]([{"a": "one"}, {"a": "t?o"}, {"a": "three"}]).encode().replace(b"t?o", b"t\xffo"))
    assert values(path) == [{"a": "one"}, {"a": "t\udcffo"}, {"a": "three"}]


# --- damage ----------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(min_value=1), name=st.sampled_from(["rows.json", "tight.json"]), chunk=st.sampled_from([3, 64]))
def test_an_array_cut_anywhere_is_an_error_and_never_a_shorter_file(
    tmp_path_factory: pytest.TempPathFactory, cut: int, name: str, chunk: int
) -> None:
    data = WRITERS[name](ROWS).encode()
    data = data[: cut % len(data)] or b"["
    path = tmp_path_factory.mktemp("cut") / name
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", chunk)
        with pytest.raises(UserError, match=r"the file ends at byte \d+") as error:
            list(read_rows(path))
    assert str(len(data)) in str(error.value) and "download or copy it again" in str(error.value)


def test_a_truncated_array_names_the_row_and_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes('[{"a": "é"}, {"a": "tw'.encode())
    with pytest.raises(UserError, match=r"ends at byte 23, in the middle of row 1"):
        list(read_rows(path))


def test_a_truncated_last_line_names_row_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2')
    with pytest.raises(UserError, match=r"ends at byte 17, in the middle of row 1 \(line 3\)"):
        list(read_rows(path))


def test_bad_json_names_row_and_byte_also_behind_many_chunks_and_wide_characters(tmp_path: Path) -> None:
    good = '{"a": "é😀"}'
    before = ("[" + f"{good},\n" * 3000).encode()
    path = tmp_path / "rows.json"
    path.write_bytes(before + b'{"a": nope}, ' + b'{"a": 1}, ' * 3000 + b'{"a": 1}]')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", 4096)
        with pytest.raises(UserError, match=rf"row 3000 is not valid JSON.* at byte {len(before) + 6}\n"):
            list(read_rows(path))


def test_a_bad_line_names_row_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"a": "é"}\n\n{"a": nope}\n{"a": 1}\n'.encode())
    with pytest.raises(UserError, match=r"row 1 \(line 3\) is not valid JSON.* at byte 19\n"):
        list(read_rows(path))


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
def test_a_compressed_file_that_is_cut_short_is_an_error(tmp_path: Path, packing: str, keep: float) -> None:
    chance = random.Random(0)
    data = pack("".join(json.dumps({"a": chance.random()}) + "\n" for _ in range(20_000)).encode(), packing)
    path = tmp_path / f"rows.jsonl{packing}"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match="cut short"):
        list(read_rows(path))


def test_a_zstd_file_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(b"".join(zstandard.compress(b'{"a": %d}\n' % i) for i in range(5)))
    assert values(path) == [{"a": i} for i in range(5)]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("rows.json", b"", "the file is empty"),
        ("rows.json", b" \n\n", "nothing but white space"),
        ("rows.jsonl", b"\xef\xbb\xbf", "nothing but white space"),
        ("rows.json", '[{"a": 1}]'.encode("utf-16"), "UTF-16"),
        ("rows.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "Git LFS pointer"),
        ("rows.json", b'[{"a": 1}] [{"a": 2}]', "more text after the end of the array, at byte 11"),
        ("rows.json", b'[{"a": 1} {"a": 2}]', "after row 0, at byte 10, a comma or ']' is missing"),
        ("rows.json", b'{"version": 1, "data": [{"a": 1}]}', "the rows are wrapped in an object, under 'data'"),
        ("rows.json", b"<!DOCTYPE html>" * 9, "row 0 is not valid JSON"),
        ("rows.json", b"[" * 200_000, "nested too deeply"),
        ("rows.json", b'[{"a": 1}, {"a": %s}]' % (b"9" * 5000), "row 1 (byte 11) holds a number of too many digits"),
        ("rows.jsonl", b'{"a": 1}\n{"a": %s}\n' % (b"9" * 5000), "row 1 (line 2) is not valid JSON: it holds a number"),
        ("rows.csv", b"a,b\n", "'.csv' is not a data format"),
        ("rows.parquet", b"PAR1 and then nothing of the kind", "parquet data is damaged"),
        ("rows.parquet.gz", b"x", "is not a data format"),
        ("rows.json.gz", b"[]", "gzip data is damaged"),
        ("rows.json.zst", b"[{}]", "zstd data is damaged"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_a_user_error(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        list(read_rows(path))
    assert message in str(error.value) and "to mend:" in str(error.value) and name in str(error.value)


def test_one_object_over_several_lines_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"messages": [{"role": "user"}]}, indent=2))
    assert values(path) == [{"messages": [{"role": "user"}]}]


def test_a_device_is_no_data_file_and_a_link_to_nothing_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "device.jsonl").symlink_to("/dev/null")
    with pytest.raises(UserError, match="this is a device, not a file"):
        read_rows(tmp_path / "device.jsonl")
    (tmp_path / "link.jsonl").symlink_to("gone.jsonl")
    with pytest.raises(UserError, match=r"this link leads to nothing\n.*it points to 'gone.jsonl'"):
        resolve("link.jsonl", tmp_path)


def test_folders_and_missing_files_are_user_errors_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    for path in (tmp_path / "folder.json", tmp_path / "none.json"):
        with pytest.raises(UserError):
            read_rows(path)


# --- memory ----------------------------------------------------------------------------------------------------------


def peak_while_reading(path: Path) -> tuple[int, int]:
    """(rows, peak bytes of Python objects)."""
    tracemalloc.start()
    try:
        rows = sum(1 for _ in read_rows(path))
        return rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_file_is_streamed_in_memory_that_does_not_grow_with_it(tmp_path: Path, name: str) -> None:
    row = json.dumps({"instruction": "word " * 200, "output": 'x = "é"\n' * 150}, ensure_ascii=False)
    peaks = []
    for count in (2_000, 12_000):
        path = tmp_path / name
        path.write_text(f"[{(row + ',') * (count - 1)}{row}]" if name == "rows.json" else (row + "\n") * count)
        rows, peak = peak_while_reading(path)
        assert rows == count
        peaks.append(peak)
    assert path.stat().st_size > 25_000_000
    assert peaks[1] < 12_000_000, "a few windows of a megabyte, in wide characters"
    assert peaks[1] < 1.5 * peaks[0]


# --- paths -----------------------------------------------------------------------------------------------------------


def test_a_path_may_be_a_file_a_folder_or_a_glob(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json.gz", "notes.txt", ".hidden.json", "dataset_infos.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.parquet").write_text("")
    assert resolve("b.jsonl", tmp_path) == [tmp_path / "b.jsonl"]
    assert resolve(str(tmp_path / "b.jsonl"), Path("/elsewhere")) == [tmp_path / "b.jsonl"]
    assert resolve(".", tmp_path) == [tmp_path / "a.json.gz", tmp_path / "b.jsonl"]
    assert resolve("*/c.*", tmp_path) == [tmp_path / "deep" / "c.parquet"]
    for wrong in ("*.csv", "missing.json", "hub:not-a-dataset"):
        with pytest.raises(UserError):
            resolve(wrong, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="it holds: nothing"):
        resolve("empty", tmp_path)


def test_a_mistyped_file_name_gets_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "code_alpaca.json").write_text("[]")
    with pytest.raises(UserError, match=r"did you mean 'code_alpaca\.json'"):
        resolve("code_alpacca.json", tmp_path)


def test_data_files_are_told_by_their_endings() -> None:
    assert [is_data_file(name) for name in ("a.json", "a.b.JSONL", "a.ndjson.zst", "a.parquet")] == [True] * 4
    assert [is_data_file(name) for name in ("a.txt", "json", "a.gz", "a.parquet.gz", "a.json.bz2")] == [False] * 5
