"""Wrong input of `codeup evaluate`: one error that says what, where and how to mend, exit 2, verdicts untouched."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeup.cli.app import app

ROWS = [
    {
        "task_id": f"T/{n}",
        "prompt": f"def f{n}(x):\n",
        "entry_point": f"f{n}",
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
    }
    for n in range(2)
]
GOOD = [{"task_id": row["task_id"], "solution": row["prompt"] + row["canonical_solution"]} for row in ROWS]
KEPT = '{"task_id": "T/0", "index": 0, "outcome": "PASSED", "key": "of an earlier run"}\n'


class Case:
    """A benchmark file and a samples file that fit, a folder with an earlier verdict, and how to run the command."""

    def __init__(self, folder: Path) -> None:
        self.data, self.samples, self.out = folder / "data.jsonl", folder / "s.jsonl", folder / "out"
        self.lines(self.data, ROWS)
        self.lines(self.samples, GOOD)
        self.out.mkdir()
        (self.out / "verdicts.jsonl").write_text(KEPT)

    @staticmethod
    def lines(path: Path, rows: list[dict[str, Any]]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        paths = ["--samples", str(self.samples), "--data", str(self.data), "--out", str(self.out)]
        argv = [sys.executable, "-m", "codeup", "evaluate", "--benchmark", "humaneval", *paths, *more]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120)


def cut_samples(case: Case) -> None:
    case.samples.write_text(case.samples.read_text()[:-20])


def samples_of_another_benchmark(case: Case) -> None:
    case.lines(case.samples, [{"task_id": "Mbpp/2", "solution": "x = 1"}])


def number_as_solution(case: Case) -> None:
    case.samples.write_text(json.dumps(GOOD[0]) + '\n\n{"task_id": "T/1", "solution": 7}\n')


def list_as_completion(case: Case) -> None:
    case.lines(case.samples, [GOOD[0], {"task_id": "T/1", "completion": ["return"]}])


def no_answer(case: Case) -> None:
    case.lines(case.samples, [GOOD[0], {"task_id": "T/1", "text": "def f1(x): pass"}])


def number_as_task(case: Case) -> None:
    case.lines(case.samples, [GOOD[0], {"task_id": 1.0, "solution": "x = 1"}])


def list_as_task(case: Case) -> None:
    case.lines(case.samples, [{"task_id": ["T/0"], "solution": "x = 1"}])


def empty_samples(case: Case) -> None:
    case.samples.write_text("\n")


def binary_samples(case: Case) -> None:
    case.samples.write_bytes(gzip.compress(case.samples.read_bytes()))


def zeros(case: Case) -> None:
    case.samples.write_bytes(bytes(300))


def samples_folder(case: Case) -> None:
    case.samples.unlink()
    case.samples.mkdir()


def data_of_another_benchmark(case: Case) -> None:
    case.lines(case.data, [{"task_id": 2, "text": "Write a function", "code": "x", "test_list": ["assert True"]}])


def no_entry_point(case: Case) -> None:
    case.lines(case.data, [{key: value for key, value in row.items() if key != "entry_point"} for row in ROWS])


def empty_entry_point(case: Case) -> None:
    case.lines(case.data, [ROWS[0], {**ROWS[1], "entry_point": ""}])


def cut_gzip(case: Case) -> None:
    case.data.write_bytes(gzip.compress(case.data.read_bytes())[:-12])


def samples_device(case: Case) -> None:
    case.samples.unlink()
    case.samples.symlink_to("/dev/null")


def data_device(case: Case) -> None:
    case.data.unlink()
    case.data.symlink_to("/dev/null")


def data_folder(case: Case) -> None:
    case.data.unlink()
    case.data.mkdir()


WRONG: list[tuple[Callable[[Case], None], str, str]] = [
    (cut_samples, "s.jsonl:2: the file ends in the middle", "generate again"),
    (samples_of_another_benchmark, "1 task ids are not in this benchmark: Mbpp/2", "this one has T/0, T/1"),
    (number_as_solution, 's.jsonl:3: the answer to T/1 is not text: "solution" is a number', 'program as "solution"'),
    (list_as_completion, 's.jsonl:2: the answer to T/1 is not text: "completion" is a list', "after the prompt"),
    (no_answer, 's.jsonl:2: the answer to T/1 has neither "raw", "solution" nor', 'program as "solution"'),
    (number_as_task, 's.jsonl:2: its "task_id" is a number, not text', "name the task as text"),
    (list_as_task, 's.jsonl:1: its "task_id" is a list, not text', "name the task as text"),
    (empty_samples, "s.jsonl: holds no samples", "one JSON object a line"),
    (binary_samples, "s.jsonl: is not UTF-8 text", "unpack a compressed file"),
    (zeros, "s.jsonl:1: the file ends in the middle", "generate again"),
    (samples_folder, "s.jsonl: this is a folder, not a file", "name a file in it"),
    (data_of_another_benchmark, "problem 1 has no text in task_id, prompt", "name the benchmark this file belongs to"),
    (no_entry_point, "problem 1 has no text in entry_point", "name the benchmark this file belongs to"),
    (empty_entry_point, "the entry point of T/1 is '', not the name of a function", "fetch the file again"),
    (cut_gzip, "data.jsonl: cannot be read: Compressed file ended", "fetch the file again"),
    (samples_device, "s.jsonl: this is a device, not a file", "into a file first"),
    (data_device, "data.jsonl: this is a device, not a file", "into a file first"),
    (data_folder, "data.jsonl: this is a folder, not a file", "name a file in it"),
]


@pytest.mark.parametrize(("spoil", "message", "mend"), WRONG, ids=[spoil.__name__ for spoil, _, _ in WRONG])
def test_one_clear_error_and_nothing_lost(
    tmp_path: Path, spoil: Callable[[Case], None], message: str, mend: str
) -> None:
    case = Case(tmp_path)
    spoil(case)
    done = case.run()
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr and mend in done.stderr
    assert done.stderr.count("error:") == 1 and "Traceback" not in done.stderr and done.stdout == ""
    assert (case.out / "verdicts.jsonl").read_text() == KEPT
    assert [path.name for path in case.out.iterdir()] == ["verdicts.jsonl"]


def test_the_files_that_are_spoilt_above_are_right_as_they_were(tmp_path: Path) -> None:
    done = Case(tmp_path).run("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["scores"][0]["passed"] == 2


def test_a_place_that_cannot_be_written_is_found_before_work_begins(tmp_path: Path) -> None:
    case = Case(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    case.out = tmp_path / "file" / "below"
    done = case.run()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{case.out}: cannot be written to (Not a directory)" in done.stderr
    assert "name another folder" in done.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tasks", "T/0,T/7"], "1 tasks are not in humaneval: 'T/7' (did you mean"),
        (["--tasks", ","], "no task is named"),
        (["--limit", "0"], "limit is 0"),
        (["--limit", "1", "--tasks", "T/0"], "give one of --tasks and --limit"),
        (["--base-only"], "--base-only: this benchmark has one set of tests"),
        (["--compat", "evalplus-0.3.1"], "--compat: there are no rules 'evalplus-0.3.1' for this benchmark"),
        (["--executor", "nowhere"], "'nowhere' is no executor"),
        (["--benchmark", "os.path"], "the module 'os.path' is no benchmark: it has no load"),
    ],
)
def test_an_option_that_cannot_be_is_refused(tmp_path: Path, argv: list[str], message: str) -> None:
    case = Case(tmp_path)
    done = case.run(*argv)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert (case.out / "verdicts.jsonl").read_text() == KEPT


def test_a_byte_order_mark_before_the_samples_is_no_part_of_them(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.samples.write_bytes(b"\xef\xbb\xbf" + case.samples.read_bytes())
    assert case.run().returncode == 0


@pytest.mark.parametrize(
    ("page", "message"),
    [("s.jsonl/x.html", "s.jsonl: cannot be written to"), ("", "this is a folder"),
     ("folder", "folder: this is a folder"), ("dangling/x.html", "dangling: cannot be written to")],
)  # fmt: skip
def test_a_page_that_cannot_be_written_leaves_no_trace(
    page: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path)
    rows = [{"task_id": "T/0", "index": 0, "outcome": "PASSED", "checks": 1, "detail": "", "seconds": 0.1}]
    case.lines(case.out / "verdicts.jsonl", rows)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        app(["compare", str(case.out), str(case.out), "--html", page])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_score_counts_is_printed(tmp_path: Path) -> None:
    case = Case(tmp_path)
    assert "n=2 problems\n" in case.run().stdout
    case.lines(case.samples, [GOOD[0], GOOD[0], {**GOOD[0], "solution": "x = 1"}])
    said = case.run("--partial").stdout
    assert "humaneval pass@1 0.667" in said and "n=1 problems, 3 samples\n" in said, said
    assert "partial: 1 of 2 problems have an answer; the score is of those alone" in said, said
