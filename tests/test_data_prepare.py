"""`codeup data prepare`: wrong files are one clear error or a counted drop, never a traceback, and nothing is lost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner, Result

from codeup.cli.app import app

GOOD = [{"instruction": f"Name number {n}.", "output": f"It is {n}."} for n in range(40)]


def text(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Case:
    """A folder with a recipe over one file of good rows, which a test spoils."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, "rows.jsonl"
        self.write(text(GOOD))

    def write(self, data: bytes, name: str = "") -> None:
        if name:
            (self.folder / self.name).unlink()
            self.name = name
        (self.folder / self.name).write_bytes(data)

    def run(self, *more: str) -> Result:
        (self.folder / "recipe.yaml").write_text(
            f"{{name: x, run_dir: {self.folder}/run, data_root: {self.folder}, model: {{base: nano-base}}, data: {{d: "
            f"{{sources: [{{source: alpaca, path: {self.name}}}], validation_rows: 0}}}}}}"
        )
        return CliRunner().invoke(app, ["data", "prepare", str(self.folder / "recipe.yaml"), *more])


def account(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["datasets"][0]
    return found


def cut_line(case: Case) -> None:
    case.write(text(GOOD)[:-9])


def cut_gzip(case: Case) -> None:
    case.write(gzip.compress(text(GOOD))[:-20], "rows.jsonl.gz")


def cut_zstd(case: Case) -> None:
    case.write(zstandard.compress(text(GOOD))[:-9], "rows.jsonl.zst")


def not_gzip(case: Case) -> None:
    case.write(text(GOOD), "rows.jsonl.gz")


def cut_array(case: Case) -> None:
    case.write(json.dumps(GOOD).encode()[:-40], "rows.json")


def bad_line(case: Case) -> None:
    case.write(text(GOOD[:3]) + b'{"instruction": nope}\n' + text(GOOD[3:]))


def empty(case: Case) -> None:
    case.write(b"")


def blank(case: Case) -> None:
    case.write(b"\r\n \r\n")


def wrapped(case: Case) -> None:
    case.write(json.dumps({"data": GOOD}).encode(), "rows.json")


def other_columns(case: Case) -> None:
    case.write(text([{"question": row["instruction"], "answer": row["output"]} for row in GOOD]))


def misspelt_column(case: Case) -> None:
    case.write(text([{"instructions": row["instruction"], "output": row["output"]} for row in GOOD]))


def other_shape(case: Case) -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    case.write(text([{"conversations": turns}] * 3))


def only_numbers(case: Case) -> None:
    case.write(text([{"instruction": 1, "output": 2}] * 3))


def only_surrogates(case: Case) -> None:
    case.write(b'{"instruction": "a", "output": "\\ud800"}\n')


def utf16(case: Case) -> None:
    case.write(text(GOOD).decode().encode("utf-16"))


def not_parquet(case: Case) -> None:
    case.write(text(GOOD), "rows.parquet")


def unknown_ending(case: Case) -> None:
    case.write(text(GOOD), "rows.csv")


def a_folder(case: Case) -> None:
    (case.folder / case.name).unlink()
    (case.folder / case.name).mkdir()


def zeros(case: Case) -> None:
    case.write(bytes(500))


SPOILT: list[tuple[Callable[[Case], None], str]] = [
    (cut_line, "in the middle of row 39 (line 40)"),
    (cut_gzip, "the gzip data is damaged or cut short"),
    (cut_zstd, "the zstd data is cut short"),
    (not_gzip, "the gzip data is damaged"),
    (cut_array, "the file ends at byte"),
    (bad_line, "row 3 (line 4) is not valid JSON: Expecting value at byte 184"),
    (empty, "the file is empty"),
    (blank, "nothing but white space"),
    (wrapped, "the rows are wrapped in an object, under 'data'"),
    (other_columns, "columns: {instruction: question, output: answer}"),
    (misspelt_column, "columns: {instruction: instructions}"),
    (other_shape, "source: sharegpt"),
    (only_numbers, "none of 3 rows can be used as 'alpaca': not text (3)"),
    (only_surrogates, "none of 1 rows can be used as 'alpaca': text is not valid Unicode (1)"),
    (utf16, "UTF-16"),
    (not_parquet, "the parquet data is damaged"),
    (unknown_ending, "'.csv' is not a data format"),
    (a_folder, "no data file in this folder"),
    (zeros, "in the middle of row 0 (line 1)"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
def test_a_wrong_file_is_one_clear_error_that_names_the_place(
    tmp_path: Path, spoil: Callable[[Case], None], message: str
) -> None:
    case = Case(tmp_path)
    spoil(case)
    done = case.run("--json")
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), (done.exception, done.stderr)
    assert message in done.stderr and "to mend:" in done.stderr and case.name in done.stderr, done.stderr
    assert done.stderr.count("error:") == 1 and done.stdout == ""


def with_rows(*extra: bytes) -> Callable[[Case], None]:
    return lambda case: case.write(text(GOOD[:20]) + b"".join(extra) + text(GOOD[20:]))


def crlf_and_mark(case: Case) -> None:
    case.write(b"\xef\xbb\xbf" + text(GOOD).replace(b"\n", b"\r\n"))


def mixed_columns(case: Case) -> None:
    rows: list[Any] = [*GOOD, {"instruction": ["a"], "output": "b"}, {"instruction": "c", "output": {"x": 1}}, 7, None]
    case.write(json.dumps(rows).encode(), "rows.json")


COUNTED: list[tuple[str, Callable[[Case], None], dict[str, int]]] = [
    ("good", lambda case: None, {}),
    ("crlf and byte order mark", crlf_and_mark, {}),
    ("columns of several types", mixed_columns, {"not text": 2, "not an object": 2}),
    ("lone surrogate", with_rows(b'{"instruction": "a\\ud800", "output": "b"}\n'), {"text is not valid Unicode": 1}),
    ("not UTF-8", with_rows(b'{"instruction": "a\xff", "output": "b"}\n'), {"text is not valid Unicode": 1}),
    ("row without an answer", with_rows(b'{"instruction": "a", "output": null}\n'), {"empty answer": 1}),
    ("row without the column", with_rows(b'{"instruction": "a"}\n\n'), {"missing column": 1}),
    ("number too large", with_rows(b'{"instruction": "a", "output": 1e999, "n": NaN}\n'), {"not text": 1}),
    ("control characters", with_rows(b'{"instruction": "a\\u0000\\u001b", "output": "b\\u0085\\u2028"}\n'), {}),
]


@pytest.mark.parametrize(("spoil", "dropped"), [each[1:] for each in COUNTED], ids=[each[0] for each in COUNTED])
def test_a_wrong_row_is_a_counted_drop_and_the_others_are_kept(
    tmp_path: Path, spoil: Callable[[Case], None], dropped: dict[str, int]
) -> None:
    case = Case(tmp_path)
    spoil(case)
    found = account(case.run("--json"))
    assert found["dropped"] == dropped
    assert found["rows_in"] == found["rows_kept"] + sum(dropped.values()) and found["rows_kept"] >= 40


def test_a_line_of_a_hundred_megabytes_is_a_counted_drop(tmp_path: Path) -> None:
    case = Case(tmp_path)
    with (tmp_path / case.name).open("ab") as file:
        file.write(b'{"instruction": "long", "output": "' + b"word 1234 " * 10_000_000 + b'"}\n')
    done = case.run("--json")
    assert account(done)["dropped"] == {"more than 4,000,000 characters": 1}


def test_the_account_is_printed_and_a_second_time_the_step_is_not_run_again(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.write(text([*GOOD, GOOD[0], {"instruction": "a", "input": "<noinput>", "output": "b"}]))
    done = case.run("--examples")
    assert done.exit_code == 0 and "d: 42 rows in, 41 kept" in done.stdout
    assert "exact duplicate" in done.stdout and "1 mended: input that says there is none emptied" in done.stdout
    assert "alpaca:rows.jsonl row 41: 'user: a\\ninput: <noinput>" in done.stdout
    again = case.run("--examples")
    assert again.stdout == done.stdout


def test_a_dataset_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = Case(tmp_path).run("--dataset", "e")
    assert done.exit_code == 2 and "the recipe has no such data" in done.stderr and "one of: d" in done.stderr
