"""Whatever is changed in a prepared dataset, verify names the file; what is not changed passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared_fixture import prepare, read, recipe_text, resign, write_rows
from typer.testing import CliRunner

from codeup import artifacts, study
from codeup import recipe as recipes
from codeup import run as engine
from codeup.cli.app import app
from codeup.prepared import where
from codeup.prepared.export import export
from codeup.prepared.verify import verify

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    return prepare(folder / "data", folder / "run")


@pytest.fixture
def copied(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


def test_an_untouched_dataset_passes_with_everything_counted(original: Path) -> None:
    found = verify(original, every_row=True)
    assert found.problems == [] and found.not_checked == []
    assert found.checked["files"] == 13 and found.checked["inputs"] == 2
    assert found.checked["rows"] == 33 and found.checked["documents"] == found.checked["rows_rendered"] == 31


# --- what is noticed by size and hash --------------------------------------------------------------------------------


def flip(name: str) -> Change:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-2] ^= 1
        (folder / name).write_bytes(data)

    return change


def cut(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])

    return change


def write_text(name: str, text: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


FILES = [
    "conversations.jsonl", "dropped.jsonl", "funnel.json", "README.md", "recipe.yaml", "train/ids.npy",
    "train/offsets.npy", "train/runs.npy", "train/run_offsets.npy", "validation/ids.npy", "validation/offsets.npy",
    "validation/runs.npy", "validation/run_offsets.npy",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_changed_a_shortened_and_a_lost_file_are_each_named(copied: Path, name: str) -> None:
    whole = (copied / name).read_bytes()
    flip(name)(copied)
    assert (name, "has other content (sha256 differs)") in [(p.file, p.what) for p in verify(copied).problems]
    cut(name)(copied)
    problem = next(p for p in verify(copied).problems if p.file == name)
    assert problem.what == f"has {len(whole) - 1:,} bytes, should have {len(whole):,}"
    (copied / name).unlink()
    assert (name, "is gone") in [(p.file, p.what) for p in verify(copied).problems]
    (copied / name).write_bytes(whole)
    assert verify(copied).problems == []


# --- what is noticed although every hash was made right again --------------------------------------------------------


def edit_json(name: str, edit: Callable[[dict], object]) -> Change:
    def change(folder: Path) -> None:
        value = read(folder / name)
        edit(value)
        artifacts.write_json(folder / name, value)

    return change


def edit_lines(name: str, edit: Callable[[list[dict]], list[dict]]) -> Change:
    def change(folder: Path) -> None:
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in edit(rows)))

    return change


def edit_array(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(folder: Path) -> None:
        np.save(folder / name, edit(np.load(folder / name).copy()))

    return change


def put(array: np.ndarray, place: int, value: int) -> np.ndarray:
    array[place] = value
    return array


def other_answer(rows: list[dict]) -> list[dict]:
    for row in rows:
        row["messages"][-1]["content"] += "!"
    return rows


def swap_questions(rows: list[dict]) -> list[dict]:
    """Every row moves one place on, so that other groups are held out at each place."""
    return rows[1:] + rows[:1]


def copy_of_train(folder: Path) -> None:
    """Validation becomes the first training documents."""
    documents = len(np.load(folder / "validation/offsets.npy"))
    for values, borders in (("ids", "offsets"), ("runs", "run_offsets")):
        some = np.load(folder / f"train/{borders}.npy")[:documents]
        np.save(folder / f"validation/{borders}.npy", some)
        np.save(folder / f"validation/{values}.npy", np.load(folder / f"train/{values}.npy")[: some[-1]])


def one_document(folder: Path) -> None:
    """All of train as a single document."""
    for name in ("offsets", "run_offsets"):
        edit_array(f"train/{name}.npy", lambda a: np.delete(a, slice(1, -1)))(folder)


def shift(array: np.ndarray, by: tuple[int, int, int, int]) -> np.ndarray:
    """Add to the first two runs."""
    array[:2] += np.array(by, dtype=array.dtype).reshape(2, 2)
    return array


def more_kept(value: dict) -> None:
    value["counts"]["rows_kept"] += 1


def lost_reason(value: dict) -> None:
    value["sources"][0]["dropped"] = {}


SIGNED: dict[str, tuple[Change, str, str]] = {
    "a row taken out": (edit_lines("conversations.jsonl", lambda rows: rows[1:]), "conversations.jsonl", "has 20 rows"),
    "an answer changed": (edit_lines("conversations.jsonl", other_answer), "train/ids.npy", "rendered again"),
    "rows in other places": (edit_lines("conversations.jsonl", swap_questions), "validation/ids.npy", "rendered again"),
    "a row from nowhere": (
        edit_lines("conversations.jsonl", lambda rows: [{**rows[0], "source": "web:x"}, *rows[1:]]),
        "conversations.jsonl", "web:x, which is not among the sources",
    ),
    "a line that is no conversation": (
        edit_lines("conversations.jsonl", lambda rows: [{"messages": 3}, *rows[1:]]),
        "conversations.jsonl", "line 1 is not a conversation",
    ),
    "a drop forgotten": (edit_lines("dropped.jsonl", lambda rows: rows[1:]), "dropped.jsonl", "counted were 1"),
    "another reason": (
        edit_lines("dropped.jsonl", lambda rows: [{**rows[0], "reason": "dull"}, *rows[1:]]),
        "dropped.jsonl", "as 'dull', counted were 0",
    ),
    "a reason gone from the account": (edit_json("funnel.json", lost_reason), "funnel.json", "1 of 22 rows are unacc"),
    "another count in the account": (
        edit_json("funnel.json", lambda value: value.update(rows_kept=30)), "funnel.json", "rows_kept is 30",
    ),
    "another count in the manifest": (edit_json("manifest.json", more_kept), "manifest.json", "rows_kept is 32"),
    "one token": (edit_array("train/ids.npy", lambda a: put(a, -1, 7)), "train/ids.npy", "rendered again"),
    "one mark": (edit_array("train/runs.npy", lambda a: shift(a, (-1, 1, 0, 0))), "train/runs.npy", "trained: "),
    "marks moved about": (
        edit_array("train/runs.npy", lambda a: shift(a, (1, -1, -1, 1))), "train/runs.npy", "marks other tokens",
    ),
    "a mark of another document": (
        edit_array("train/runs.npy", lambda a: shift(a, (1, 0, -1, 0))), "train/runs.npy", "not one mark for each",
    ),
    "marks fewer than none": (
        edit_array("train/runs.npy", lambda a: shift(a, (999, 0, -999, 0))), "train/runs.npy", "fewer than 0",
    ),
    "ids that are not whole": (edit_array("train/ids.npy", lambda a: a.astype("f4")), "train/ids.npy", "whole numbers"),
    "ids too few": (edit_array("train/ids.npy", lambda a: a[:-1]), "train", "do not fit together"),
    "a border that falls": (
        edit_array("train/offsets.npy", lambda a: put(a, 2, 1)), "train/offsets.npy", "does not rise from 0",
    ),
    "a border moved": (
        edit_array("train/offsets.npy", lambda a: put(a, 2, int(a[2]) + 1)), "train/ids.npy", "rendered again",
    ),
    "a document too long": (
        one_document, "train/offsets.npy", "more than 128",
    ),
    "training rows as validation": (copy_of_train, "validation/ids.npy", "are in train too"),
    "an array that is none": (write_text("train/ids.npy", "x"), "train/ids.npy", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_a_change_with_every_hash_made_right_again_is_found_by_what_it_contradicts(copied: Path, name: str) -> None:
    change, file, says = SIGNED[name]
    change(copied)
    assert verify(copied).problems, "before the hashes are mended it is found in any case"
    resign(copied)
    found = [(each.file, each.what) for each in verify(copied, every_row=True).problems]
    assert any(where == file and says in what for where, what in found), found
    assert not any("sha256" in what for _, what in found), "the forger was careful"


# --- manifest, marker, inputs ----------------------------------------------------------------------------------------


def test_a_manifest_that_was_edited_damaged_or_lost_is_named(copied: Path) -> None:
    path = copied / "manifest.json"
    whole = path.read_text()
    path.write_text(whole.replace("cc-by-nc-4.0", "cc-by-4.0"))
    assert [p.file for p in verify(copied).problems] == ["manifest.json"]
    for text in (whole[:-9], "[]", '{"name": "x"}'):
        path.write_text(text)
        assert [p.file for p in verify(copied).problems] == ["manifest.json"]
    path.unlink()
    assert [(p.file, p.what) for p in verify(copied).problems] == [("manifest.json", "there is no manifest.json")]


def test_a_file_that_nobody_listed_and_a_lost_marker_are_named(copied: Path) -> None:
    (copied / "notes.txt").write_text("mine")
    (copied / "artifact.json").unlink()
    found = [(p.file, p.what) for p in verify(copied).problems]
    assert found == [("notes.txt", "is not in the manifest"), ("artifact.json", "is gone")]


def test_an_input_that_changed_is_named_and_one_that_moved_is_said_not_to_be_checked(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", tmp_path / "run")
    first = tmp_path / "data" / "first.jsonl"
    first.write_text(first.read_text().replace("Hi!", "Ho!"))
    assert [(p.file, "other content" in p.what) for p in verify(folder).problems] == [(str(first), True)]
    first.unlink()
    found = verify(folder)
    assert found.problems == [] and found.not_checked == [f"input first.jsonl: not at {first} any more"]


def test_rows_that_a_mix_repeats_verify_and_a_repeat_of_nothing_does_not(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", tmp_path / "run", licence=", epochs: 2")
    offsets = np.load(folder / "train/offsets.npy")
    train_rows = read(folder / "manifest.json")["counts"]["train_rows"]
    assert len(offsets) - 1 > train_rows and verify(folder).problems == []
    edit_array("train/ids.npy", lambda a: put(a, -2, 7))(folder)
    resign(folder)
    assert [(p.file, "repeats none" in p.what) for p in verify(folder).problems] == [("train/ids.npy", True)]


def test_rows_divided_between_turns_verify_and_export_whole(tmp_path: Path) -> None:
    turns = [("human", "Tell me more " * 8), ("gpt", "More and more " * 12)] * 6
    row = {"conversations": [{"from": who, "value": text} for who, text in turns]}
    write_rows(tmp_path / "data")
    (tmp_path / "data" / "second.jsonl").write_text(json.dumps(row) + "\n")
    text = recipe_text(tmp_path / "data", ", overlong: split_turns").replace("cutoff: 128", "cutoff: 256")
    steps = study.compile_recipe(recipes.parse(text))
    folder = Path(engine.run(steps, tmp_path / "run", only="data-small")["data-small"].folder)
    added = read(folder / "manifest.json")["counts"]["rows_added"]
    assert added >= 1 and verify(folder).problems == []
    done = export(folder, tmp_path / "out", format="jsonl")
    assert sum(done["datasets"]["small"]["rows"].values()) == 21 + 1 + added


# --- places and exit codes -------------------------------------------------------------------------------------------


def test_a_run_folder_means_its_datasets_and_an_older_step_is_passed_over(tmp_path: Path) -> None:
    old = prepare(tmp_path / "data", tmp_path / "run", settings=", textbook: 5")
    marker = read(old / "artifact.json")
    artifacts.write_json(old / "artifact.json", {**marker, "finished": "2020-01-01T00:00:00+0000"})
    new = prepare(tmp_path / "data", tmp_path / "run")
    assert old != new and where.find(tmp_path / "run") == [new]
    assert where.find(tmp_path / "run", "small") == [new] and where.find(old) == [old]


def test_the_command_exits_0_1_and_2(copied: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    good = run(app, ["data", "verify", str(copied)])
    assert good.exit_code == 0 and good.stdout.startswith("small: as its manifest says  (13 files, ")
    flip("train/ids.npy")(copied)
    bad = run(app, ["data", "verify", str(copied), "--json"])
    told = json.loads(bad.stdout.splitlines()[-1])
    assert bad.exit_code == 1 and told["ok"] is False
    assert {each["file"] for each in told["datasets"][0]["problems"]} == {"train/ids.npy"}
    (tmp_path / "empty").mkdir()
    for wrong in (["data", "verify", str(tmp_path / "empty")], ["data", "verify", str(tmp_path / "none")]):
        refused = run(app, wrong)
        assert refused.exit_code == 2 and "error: " in refused.stderr and "Traceback" not in refused.stderr
    assert run(app, ["data", "verify", str(copied), "--dataset", "big"]).exit_code == 2
