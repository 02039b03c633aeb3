"""Exported rows are the prepared ones, in files that datasets, TRL and LLaMA-Factory's rules read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prepared_fixture import prepare, read
from typer.testing import CliRunner

from codeup import recipe as recipes
from codeup import run as engine
from codeup import study
from codeup.cli.app import app
from codeup.data.load import load_source
from codeup.data.split import group_key
from codeup.data.store import read_conversations
from codeup.errors import UserError
from codeup.interop.datasets import find, read_info
from codeup.prepared.export import FORMATS, as_messages, as_sharegpt, export
from codeup.prepared.verify import verify
from codeup.types import Conversation, Message

WITH_INPUT = Conversation(
    (Message("system", "Be brief."), Message("user", "Add", "1, 2"), Message("assistant", "3")), "a:b", 7, "g"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    return prepare(folder / "data", folder / "run")


@pytest.fixture(scope="module")
def exported(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("exported")
    for format in FORMATS:
        export(made, out / format, format=format)
    return {format: out / format for format in FORMATS}


def test_a_row_in_both_shapes() -> None:
    about = {"source": "a:b", "row": 7, "group": "g"}
    turns = [("system", "Be brief."), ("user", "Add\n\n1, 2"), ("assistant", "3")]
    assert as_messages(WITH_INPUT) == {"messages": [{"role": r, "content": c} for r, c in turns], **about}
    assert as_sharegpt(WITH_INPUT) == {
        "conversations": [{"from": "human", "value": "Add\n\n1, 2"}, {"from": "gpt", "value": "3"}],
        "system": "Be brief.",
        **about,
    }


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    if (folder / f"{split}.parquet").exists():
        return pq.read_table(folder / f"{split}.parquet").to_pylist()
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("format", FORMATS)
def test_every_kept_row_is_in_one_split_in_order_and_groups_stay_whole(
    made: Path, exported: dict[str, Path], format: str
) -> None:
    shape = as_sharegpt if format == "sharegpt" else as_messages
    kept = list(read_conversations(made / "conversations.jsonl"))
    train, held = (rows_of(exported[format], split) for split in ("train", "validation"))
    assert (len(train), len(held)) == (25, 6)
    expected = [shape(each) for each in kept]
    assert [row for row in expected if row in train] == train and [row for row in expected if row in held] == held
    keys = {json.dumps(row): group_key(each) for row, each in zip(expected, kept, strict=True)}
    assert not {keys[json.dumps(row)] for row in train} & {keys[json.dumps(row)] for row in held}


@pytest.mark.parametrize("format", FORMATS)
def test_datasets_loads_the_folder_by_its_card(exported: dict[str, Path], format: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(exported[format]), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 25, "validation": 6}
    first = loaded["train"][0]
    turns = first["conversations"] if format == "sharegpt" else first["messages"]
    assert set(turns[0]) == ({"from", "value"} if format == "sharegpt" else {"role", "content"})


def test_trl_recognises_the_rows_as_conversations(exported: dict[str, Path]) -> None:
    trl = pytest.importorskip("trl")
    row = rows_of(exported["parquet"], "train")[0]
    assert trl.data_utils.is_conversational(row)
    assert not trl.data_utils.is_conversational({"text": "no"})


@pytest.mark.parametrize("format", FORMATS)
def test_llama_factorys_rules_lead_back_to_the_same_conversations(
    made: Path, exported: dict[str, Path], format: str
) -> None:
    info = read_info(str(exported[format]), Path())
    assert set(info.entries) == {"small", "small_validation"}
    entry = find(info, "small")
    assert entry.rows == 25 and entry.differs == ()
    source = entry.source
    items = load_source(source["source"], [Path(source["path"])], columns=source.get("columns", {}))
    back = [as_messages(item)["messages"] for item in items if isinstance(item, Conversation)]
    kept = [as_messages(each)["messages"] for each in read_conversations(made / "conversations.jsonl")]
    assert len(back) == 25 and [turns for turns in kept if turns in back] == back


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_verifies_and_a_changed_row_does_not(exported: dict[str, Path], format: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported[format], tmp_path / "copy"))
    found = verify(folder)
    assert found.problems == [] and found.checked["rows"] == 31 and found.checked["files"] == 5
    manifest = read(folder / "manifest.json")
    assert manifest["kind"] == "export" and manifest["licence"]["licence"] == "not stated"
    path = next(folder.glob("train.*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert (path.name, "has other content (sha256 differs)") in [(p.file, p.what) for p in verify(folder).problems]


def test_the_card_of_an_export_names_its_files_and_the_same_bytes_come_again(made: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(made, tmp_path / name, format="jsonl")
    text = (tmp_path / "a" / "README.md").read_text()
    assert 'split: train\n    path: "train.jsonl"' in text and 'split: validation\n    path: "validation.jsonl"' in text
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "README.md",
        "dataset_info.json",
        "manifest.json",
        "recipe.yaml",
        "train.jsonl",
        "validation.jsonl",
    ]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_folder_in_use_is_refused_and_only_an_export_is_replaced(made: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UserError, match="is no export"):
            export(made, tmp_path / "mine", format="jsonl", force=force)
    with pytest.raises(UserError, match="is no export"):
        export(made, made.parents[1], format="jsonl", force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    export(made, tmp_path / "out", format="jsonl")
    with pytest.raises(UserError, match="holds an export already"):
        export(made, tmp_path / "out", format="parquet")
    export(made, tmp_path / "out", format="parquet", force=True)
    assert (tmp_path / "out" / "train.parquet").is_file() and not (tmp_path / "out" / "train.jsonl").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_rows_that_are_not_those_counted_leave_no_folder(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / made.name))
    lines = (folder / "conversations.jsonl").read_text().splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="not those that were counted"):
        export(folder, tmp_path / "out", format="jsonl")
    assert not (tmp_path / "out").exists()


def test_several_datasets_of_a_run_get_a_folder_each(made: Path, tmp_path: Path) -> None:
    text = (
        f"{{name: x, data_root: {made.parents[2] / 'data'}, model: {{base: nano-base}}, stages: [{{name: s, data: a}}, "
        "{name: t, data: b}], variants: {v: [s, t]}, data: {a: {sources: [{source: alpaca, path: first.jsonl}], "
        "validation_rows: 0}, b: {sources: [{source: sharegpt, path: second.jsonl}], validation_rows: 2}}}"
    )
    steps = study.compile_recipe(recipes.parse(text))
    for name in ("data-a", "data-b"):
        engine.run(steps, tmp_path / "run", only=name)
    run = CliRunner().invoke(app, ["data", "export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--json"])
    told = json.loads(run.stdout.splitlines()[-1])
    assert run.exit_code == 0 and set(told["datasets"]) == {"a", "b"}
    assert told["datasets"]["a"]["rows"] == {"train": 21} and told["datasets"]["b"]["rows"]["validation"] == 2
    info = read(tmp_path / "out" / "dataset_info.json")
    assert info["b_validation"]["file_name"] == "b/validation.parquet" and "a_validation" not in info
    assert CliRunner().invoke(app, ["data", "verify", str(tmp_path / "out")]).exit_code == 0


def test_a_wrong_format_exits_2(made: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["data", "export", str(made), "--format", "csv", "--out", str(tmp_path / "o")])
    assert run.exit_code == 2 and "parquet, jsonl, sharegpt" in run.stderr
