"""Preparing data: tokens go to the disk as arrays, a killed step resumes to the same bytes, sources are mixed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeup import nano, study
from codeup import recipe as recipes
from codeup.chat import load_renderer
from codeup.chat.rendered import from_tokens, join, marks, runs_of
from codeup.data.journal import Journal
from codeup.data.split import group_key
from codeup.data.store import read_conversations
from codeup.errors import UserError
from codeup.steps import _lengths, _mix, prepare
from codeup.train.tokens import TokenWriter, open_tokens, write_tokens
from codeup.types import Context, Conversation, Message, Tokens

DRIVER = Path(__file__).parent / "prepare_driver.py"
BENCHMARK = {
    "task_id": "B/0",
    "prompt": 'def weigh(values, k):\n    """Total of the values, each times its place plus k, as one number."""\n',
    "canonical_solution": "    return sum(v * (i + k) for i, v in enumerate(values))\n",
}


def row(number: int, extra: str = "") -> dict[str, str]:
    return {"instruction": f"Question number {number}{extra}?", "output": f"Answer {number} " * (1 + number % 7)}


def long_row(number: int) -> dict[str, Any]:
    turns = [f"{who} says word {number} {turn} " * 3 for turn in range(8) for who in ("she", "he")]
    return {"conversations": [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(turns)]}


def write(folder: Path, name: str, rows: list[Any]) -> None:
    (folder / name).write_text("".join(json.dumps(each) + "\n" for each in rows))


def recipe_text(folder: Path, sources: str, settings: str) -> str:
    return (
        f"{{name: x, seed: 5, data_root: {folder}, model: {{base: nano-base}}, stages: [{{name: s, data: d}}], "
        f"data: {{d: {{sources: [{sources}], {settings}}}}}}}"
    )


def prepared(folder: Path, sources: str, settings: str) -> tuple[dict[str, Any], Path]:
    text = recipe_text(folder, sources, settings)
    step = next(each for each in study.compile_recipe(recipes.parse(text)) if each.kind == "prepare")
    out = folder / f"step-{len(list(folder.iterdir()))}"
    out.mkdir()
    return prepare.run(prepare.Spec.model_validate(step.spec), Context(out, step.name, {})), out


def rows_of(out: Path) -> list[tuple[str, int]]:
    return [(each.source, each.row) for each in read_conversations(out / "conversations.jsonl")]


def dropped(out: Path, reason: str) -> list[tuple[str, int]]:
    lines = map(json.loads, (out / "dropped.jsonl").read_text().splitlines())
    return [(each["source"], each["row"]) for each in lines if each["reason"] == reason]


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_a_batch_has_the_tokens_of_each_conversation_alone() -> None:
    renderer = load_renderer(nano.base_folder(), "llama3")
    some = [
        Conversation((Message("user", "Add", "1, 2"), Message("assistant", "3"))),
        Conversation(
            (Message("system", "S"), *[Message(r, f"{r}é {n}") for n in (1, 2) for r in ("user", "assistant")])
        ),
    ]
    batch = renderer.render_batch(some)
    assert [batch.document(i) for i in range(2)] == [renderer.render(each) for each in some]
    assert batch.lengths.tolist() == [len(renderer.render(each).ids) for each in some]
    assert batch.trained.tolist() == [sum(renderer.render(each).trained) for each in some]
    assert len(batch.runs) == 3, "one run for the first, one for each answer of the second"
    twice = join([batch, batch]).take(np.array([3, 0]))
    assert [twice.document(i) for i in range(2)] == [batch.document(1), batch.document(0)]


@pytest.mark.parametrize("marked", [(), (True,), (False,), (False, True, True, False, True, False), (True, False)])
def test_runs_are_the_marks(marked: tuple[bool, ...]) -> None:
    assert marks(np.array(runs_of(marked), np.int32).reshape(-1, 2)).astype(bool).tolist() == list(marked)


def test_small_vocabularies_are_stored_in_two_bytes_and_the_digest_does_not_notice(tmp_path: Path) -> None:
    documents = [Tokens((1, 65535, 3), (False, True, True)), Tokens((4,), (True,)), Tokens((), ())]
    small = write_tokens(tmp_path / "small", documents, vocabulary=65536)
    large = write_tokens(tmp_path / "large", documents, vocabulary=65537)
    assert (small.ids.dtype, large.ids.dtype) == (np.uint16, np.int32)
    assert small.digest() == large.digest()
    assert small.ids.tolist() == large.ids.tolist() == [1, 65535, 3, 4]
    other = write_tokens(tmp_path / "other", [Tokens((1, 65535, 3), (False, False, True)), *documents[1:]])
    assert other.digest() != large.digest()


def test_a_writer_goes_on_where_its_sizes_were_taken(tmp_path: Path) -> None:
    first, second = [Tokens((1, 2), (False, True))], [Tokens((3, 4, 5), (False, True, False))]
    writer = TokenWriter(tmp_path / "a")
    writer.add(from_tokens(first))
    writer.flush()
    sizes = writer.sizes
    writer.add(from_tokens([Tokens((9, 9, 9), (True, True, True))]))  # lost with the process
    writer.close()
    with pytest.raises(UserError, match="no token file"):
        open_tokens(tmp_path / "a")
    again = TokenWriter(tmp_path / "a", begin=sizes)
    again.add(from_tokens(second))
    assert again.finish().digest() == write_tokens(tmp_path / "b", [*first, *second]).digest()
    for name in ("ids", "runs", "offsets", "run_offsets"):
        assert (tmp_path / "a" / f"{name}.npy").read_bytes() == (tmp_path / "b" / f"{name}.npy").read_bytes()


# --- resuming --------------------------------------------------------------------------------------------------------


def test_a_journal_cuts_what_came_after_the_last_save_and_refuses_a_lost_file(tmp_path: Path) -> None:
    with Journal(tmp_path, "work") as journal:
        assert journal.state == {}
        file = journal.append("rows")
        file.write(b"one\n")
        journal.save({"rows": 1})
        file.write(b"two\n")
    with Journal(tmp_path, "work") as again:
        assert (again.state, again.done) == ({"rows": 1}, False)
        again.append("rows").write(b"three\n")
        again.save({"rows": 2}, done=True)
    assert (tmp_path / "rows").read_bytes() == b"one\nthree\n"
    (tmp_path / "rows").write_bytes(b"on")
    with Journal(tmp_path, "work") as broken, pytest.raises(UserError, match="holds 2 bytes where 10 were saved"):
        broken.append("rows")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The uninterrupted step, then one record for each moment at which a step was killed and run again."""
    folder = tmp_path_factory.mktemp("killed")
    leak = {"instruction": "Weigh", "output": BENCHMARK["prompt"] + BENCHMARK["canonical_solution"]}
    write(folder, "a.jsonl", [row(n) for n in range(30)] + [row(3), {"instruction": "", "output": ""}, leak])
    write(folder, "b.jsonl", [long_row(n) for n in range(14)] + [row(1)])
    write(folder, "c.jsonl", [row(n, " again") for n in range(100, 125)])
    write(folder, "bench.jsonl", [BENCHMARK])
    sources = (
        "{source: alpaca, path: a.jsonl, rows: 28, weight: 1, epochs: 1.5}, {source: sharegpt, path: b.jsonl, "
        "weight: 1}, {source: alpaca, path: c.jsonl, weight: 1, cap: 20}"
    )
    settings = (
        "dedup: near, cutoff: 160, overlong: split_turns, validation_rows: 6, "
        "decontaminate: [{name: bench, path: bench.jsonl}]"
    )
    names = ["open .rows", "event rows read", "event dedup", "os.rename .looked/000000036", "open .sifted",
             "event tokenise", "open train/offsets", "os.rename .mixed", "os.remove .rows",
             "open manifest.json"]  # fmt: skip
    found: list[dict[str, Any]] = []
    for number, points in enumerate([5, names]):
        (folder / str(number)).mkdir()
        order = {"recipe": recipe_text(folder, sources, settings), "folder": str(folder / str(number)),
                 "points": points, "seed": 1}  # fmt: skip
        done = subprocess.run([sys.executable, str(DRIVER), json.dumps(order)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found += [{**json.loads(line), "stderr": done.stderr} for line in done.stdout.splitlines()]
    return found


def test_a_step_that_was_killed_anywhere_resumes_to_the_same_bytes(killed: list[dict[str, Any]]) -> None:
    whole, *others = killed
    assert whole["ended"] == 0 and {"conversations.jsonl", "train/ids.npy", "funnel.json"} <= whole["files"].keys()
    assert not [name for name in whole["files"] if name.startswith(".")], "nothing is left beside the results"
    assert len(others) >= 14
    for each in others:
        if "moment" in each:
            assert (each["first"], each["second"]) == (9, 0), (each["moment"], each["stderr"])
        different = [name for name in whole["files"] if each["files"].get(name) != whole["files"][name]]
        assert each["files"].keys() == whole["files"].keys() and different == [], each.get("moment")


def test_the_kills_fell_into_every_part_of_the_work(killed: list[dict[str, Any]]) -> None:
    """Negative control of the test above: had the steps been killed before they began, it would show nothing."""
    left = [set(each["left"]) for each in killed if "moment" in each]
    assert any(".rows" in names and ".sifted" not in names for names in left)
    assert any(".repeated" in names and ".sifted" not in names for names in left)
    assert any(".sifted" in names and "all" not in names for names in left)
    assert any("all" in names and "train" not in names for names in left)
    assert any("train" in names for names in left)


def test_a_resumed_step_does_not_read_again_what_it_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codeup.data import load
    from codeup.steps import _read

    write(tmp_path, "a.jsonl", [row(n) for n in range(40)])
    monkeypatch.setattr(_read, "SHARD", 8)
    monkeypatch.setattr(_read, "CHUNK", 4)
    step = next(
        each
        for each in study.compile_recipe(
            recipes.parse(recipe_text(tmp_path, "{source: alpaca, path: a.jsonl}", "validation_rows: 0"))
        )
        if each.kind == "prepare"
    )
    out, converted, convert = tmp_path / "out", [0], load._convert_row
    out.mkdir()

    def counted(*arguments: Any) -> Any:
        converted[0] += 1
        if converted[0] == 30:
            raise KeyboardInterrupt
        return convert(*arguments)

    monkeypatch.setattr(load, "_convert_row", counted)
    spec = prepare.Spec.model_validate(step.spec)
    with pytest.raises(KeyboardInterrupt):
        prepare.run(spec, Context(out, step.name, {}))
    converted[0] = 100
    summary = prepare.run(spec, Context(out, step.name, {}))
    assert summary["rows_in"] == 40 and converted[0] == 100 + 40 - 24, "24 rows were saved: three shards of 8"


# --- mixing ----------------------------------------------------------------------------------------------------------


def test_weights_hold_at_the_most_that_the_sources_give() -> None:
    """A has 100 rows, B 40 that come twice: with weights 2 to 1, B's 80 would need 160 of A; A's 100 allow 50 of B."""
    found = _mix.shares([100, 40], [{"weight": 2}, {"weight": 1, "epochs": 2}])
    assert [(each.rows_after, each.documents) for each in found] == [(100, 100), (25, 50)]
    assert [each.rows_after for each in _mix.shares([100, 40], [{"cap": 7}, {}])] == [7, 40]
    assert [each.rows_after for each in _mix.shares([100, 0], [{"weight": 1}, {"weight": 1}])] == [100, 0]


def test_a_larger_share_holds_the_smaller_one_and_the_seed_decides() -> None:
    entries = np.zeros(1000, np.int64)

    def chosen(rows: int, seed: int = 0) -> set[int]:
        return set(np.flatnonzero(_mix.choose(entries, [_mix.Share(1000, rows, rows)], seed)[0]).tolist())

    assert len(chosen(100)) == 100 and chosen(100) < chosen(300)
    assert chosen(100) != chosen(100, seed=1)
    thirds = [len([row for row in chosen(300) if row // 334 == third]) for third in range(3)]
    assert all(70 <= count <= 130 for count in thirds), f"evenly over the file: {thirds}"


def test_a_mix_counts_what_it_leaves_out_and_repeats_only_training_rows(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", [row(n) for n in range(60)])
    write(tmp_path, "b.jsonl", [row(n) for n in range(200, 220)])
    sources = "{source: alpaca, path: a.jsonl, weight: 1}, {source: alpaca, path: b.jsonl, weight: 1, epochs: 2}"
    summary, out = prepared(tmp_path, sources, "validation_rows: 10")
    assert summary["mix"] == [
        {"source": "alpaca", "rows_before": 60, "rows_after": 40, "documents": 40},
        {"source": "alpaca", "rows_before": 20, "rows_after": 20, "documents": 40},
    ]
    assert summary["dropped"] == {"mix": 20} and summary["rows_kept"] == 60
    assert summary["sources"][0]["dropped"] == {"mix": 20} and summary["sources"][1]["dropped"] == {}
    assert len(rows_of(out)) == 60 and len(dropped(out, "mix")) == 20
    assert not set(rows_of(out)) & set(dropped(out, "mix"))
    assert {source[-7:]: each["rows"] for source, each in summary["content"].items()} == {"a.jsonl": 40, "b.jsonl": 20}
    train, validation = open_tokens(out / "train"), open_tokens(out / "validation")
    repeats = sum(1 for each in rows_of(out) if each[0].endswith("b.jsonl")) - 20
    assert len(validation) == 10 and repeats == 0
    texts = [tuple(train[i][0].tolist()) for i in range(len(train))]
    assert len(set(texts)) == 50 and max(map(texts.count, texts)) == 2
    held = {tuple(validation[i][0].tolist()) for i in range(10)}
    assert not held & set(texts), "a repeated row is never on both sides"
    plain, other = prepared(tmp_path, sources.replace(", weight: 1", ""), "validation_rows: 10")
    assert plain["dropped"] == {} and len(rows_of(other)) == 80


def test_the_split_over_a_mix_keeps_groups_together(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", [{**row(n), "output": f"{n} {m}"} for n in range(12) for m in range(3)])
    summary, out = prepared(tmp_path, "{source: alpaca, path: a.jsonl, cap: 30}", "validation_rows: 8")
    some = list(read_conversations(out / "conversations.jsonl"))
    renderer = load_renderer(nano.base_folder(), "alpaca")
    validation = open_tokens(out / "validation")
    held = {tuple(validation[i][0].tolist()) for i in range(len(validation))}
    sides: dict[bytes, set[bool]] = {}
    for each in some:
        sides.setdefault(group_key(each), set()).add(renderer.render(each).ids in held)
    assert summary["rows_kept"] == 30 and len(held) == summary["validation_rows"] > 0
    assert all(len(side) == 1 for side in sides.values())


def test_a_weight_for_some_sources_only_is_refused_where_it_is_missing() -> None:
    text = recipe_text(Path("x"), "{source: alpaca, weight: 2}, {source: gsm8k}", "cutoff: 64")
    with pytest.raises(UserError, match=r"data\.d\.sources\[1\].*has no weight"):
        recipes.parse(text)
    recipes.parse(text.replace("gsm8k", "gsm8k, weight: 1"))


# --- lengths ---------------------------------------------------------------------------------------------------------


def test_what_a_cutoff_costs_is_counted_in_rows_and_tokens() -> None:
    found = {each["cutoff"]: each for each in _lengths.truncation(np.array([300, 700, 5000], np.int32), 600)}
    assert list(found) == [512, 600, 1024, 2048, 4096, 8192]
    assert found[512] == {
        "cutoff": 512, "rows": 2, "tokens_in_them": 5700, "tokens_beyond": 188 + 4488, "chosen": False,
    }  # fmt: skip
    assert (found[600]["chosen"], found[8192]["rows"]) == (True, 0)
    assert _lengths.quantiles(np.array([1, 2, 3, 10])) == {"mean": 4.0, "median": 2, "p90": 3, "p99": 3, "longest": 10}
    assert _lengths.quantiles(np.zeros(0, np.int32)) == {}


def test_lengths_are_those_before_the_cutoff_and_after_the_sieve(tmp_path: Path) -> None:
    rows = [row(0), row(0), {"instruction": "Long", "output": "word " * 600}]
    write(tmp_path, "a.jsonl", rows)
    summary, _ = prepared(tmp_path, "{source: alpaca, path: a.jsonl}", "validation_rows: 0, cutoff: 128")
    renderer = load_renderer(nano.base_folder(), "alpaca")
    lengths = [
        len(renderer.render(Conversation((Message("user", r["instruction"]), Message("assistant", r["output"])))).ids)
        for r in rows
    ]
    assert summary["dropped"] == {"exact duplicate": 1, "too long": 1}
    assert summary["lengths"]["longest"] == lengths[2] > 600
    (chosen,) = [each for each in summary["truncation"] if each["chosen"]]
    assert chosen["cutoff"] == 128 and chosen["rows"] == 1 and chosen["tokens_in_them"] == lengths[2]


def test_the_report_shows_what_each_cutoff_costs_and_the_mix(tmp_path: Path) -> None:
    from codeup.report.build import render
    from codeup.report.sections import funnels

    write(tmp_path, "a.jsonl", [row(n) for n in range(30)] + [{"instruction": "Long", "output": "word " * 1200}])
    settings = "validation_rows: 4, cutoff: 256"
    summary, _ = prepared(tmp_path, "{source: alpaca, path: a.jsonl, cap: 20}", settings)
    (shown,) = funnels({"data": [{"name": "d", "summary": summary}]})
    costs = {each["cutoff"]: (each["rows"], each["chosen"]) for each in shown["cutoffs"]}
    assert costs["256"] == ("1", True) and costs["8,192"] == ("0", False)
    assert shown["missing"] == 0 and shown["unsplit"] == 0
    page = render({"name": "x", "data": [{"name": "d", "summary": summary}]})
    assert "rows longer" in page and "256 (chosen)" in page and "mix of 1 source<" in page
    bare = {key: value for key, value in summary.items() if key not in ("truncation", "lengths", "mix")}
    assert "rows longer" not in render({"name": "x", "data": [{"name": "d", "summary": bare}]})
