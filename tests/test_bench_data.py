"""Rows made for measuring, and the arithmetic of what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeup.bench import data as bench
from codeup.bench import rows
from codeup.bench.runners import own_data
from codeup.cli.benching import data_lines
from codeup.data.dedup import find
from codeup.data.load import Funnel, SourceSpec, load_mix
from codeup.data.spool import Spool
from codeup.data.store import to_json
from codeup.errors import UserError
from codeup.types import Conversation, Event, Message

PIECES = [
    (f"Write function number {n} that adds things", f"def add{n}(x):\n    return x + {n}" * 3) for n in range(150)
]


def lines(folder: Path) -> dict[str, list[str]]:
    return {name: (folder / file).read_text().splitlines() for name, file in rows.FILES.items()}


def test_a_longer_file_begins_like_a_shorter_one_and_another_seed_is_another_file(tmp_path: Path) -> None:
    sizes = rows.write_rows(tmp_path / "long", 400, PIECES, [])
    rows.write_rows(tmp_path / "short", 150, PIECES, [])
    rows.write_rows(tmp_path / "other", 150, PIECES, [], seed=1)
    long, short = lines(tmp_path / "long"), lines(tmp_path / "short")
    assert sum(map(len, short.values())) == 150 and sum(map(len, long.values())) == 400
    assert all(long[name][: len(short[name])] == short[name] for name in rows.FILES)
    assert lines(tmp_path / "other") != short
    assert 0.8 * rows.SIZE < sum(sizes.values()) / 400 < 1.4 * rows.SIZE
    assert [round(len(long[name]) / 400, 1) for name in ("alpaca", "sharegpt", "prompt_response")] == [0.5, 0.3, 0.2]


def test_every_row_can_be_read_and_about_six_in_a_hundred_repeat_another(tmp_path: Path) -> None:
    rows.write_rows(tmp_path, 600, PIECES, ["def leaked_problem(): pass"])
    funnel = Funnel()
    specs = [SourceSpec(name, str(tmp_path / file)) for name, file in rows.FILES.items()]
    with Spool(tmp_path / "spool") as spool:
        for item in load_mix(specs, funnel=funnel):
            assert isinstance(item, Conversation)
            spool.append(item)
        repeats = find(spool, "near", 0.8).duplicates
    assert funnel.rows_kept == 600
    exact = sum(1 for each in repeats.values() if each.similarity == 1.0)
    assert 8 <= exact <= 30 and 15 <= len(repeats) <= 60


def test_rows_that_are_no_questions_with_answers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x"}) + "\n")
    with pytest.raises(UserError, match="0 questions with answers"):
        rows.pieces_of([tmp_path / "a.jsonl"])
    with pytest.raises(UserError, match="--peer is 'nobody'"):
        bench.compare([tmp_path / "a.jsonl"], peer=["nobody"])


def test_what_is_not_the_tokenizer_is_counted_against_the_rows() -> None:
    """10 s reading, 60 s tokenising of which the bare tokenizer takes 45: 25 s besides, whatever its share."""
    parts = (bench.Part("read", 20.0, 10.0, 1_000_000), bench.Part("tokenise", 60.0, 60.0, 1_000_000))
    floors = (bench.Part("encode_batch", 45.0, 45.0, 1_000_000, "tokenise"),)
    peer = (bench.Part("slow 1.0", 9.0, 8.0, 20_000), 4.0)
    result = bench.Comparison(
        1_000_000, 2_400_000_000, 900_000, {"mix": 100_000}, 7, 512.0, parts, floors, 0.9, (peer,)
    )
    assert result.without_tokenizer_s == pytest.approx(25.0)
    told = "\n".join(data_lines(result))
    assert "without the tokenizer 25.0 core s, 0.4 core minutes per million rows" in told
    assert "tokenising at 90.0% of bare encode_batch" in told and "4.0 times CodeUp's" in told
    assert "45.0  encode_batch" in told and "mix 100,000 dropped" in told


def test_the_bare_tokenizer_gets_rows_of_the_whole_file(tmp_path: Path) -> None:
    rows_in = [Conversation((Message("user", "a"), Message("assistant", "b")), "s", number) for number in range(10)]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(to_json(each) + b"\n" for each in rows_in))
    assert [each.row for each in own_data.drawn(tmp_path / "rows.jsonl", 4)] == [0, 2, 5, 7]
    assert own_data.drawn(tmp_path / "rows.jsonl", 99) == rows_in


def test_how_far_the_work_is_is_told_in_seconds_of_all_parts() -> None:
    """Parts of a million rows: 107, 35, 104, 228 and 4 s, 478 in all; without decontamination 374."""
    parts = list(own_data.CORE_S)
    assert own_data.share(parts, [], 0.5) == pytest.approx(53.5 / 478)
    assert own_data.share(parts, parts[:3], 0.1) == pytest.approx((107 + 35 + 104 + 22.8) / 478)
    assert own_data.share(parts, parts, 0.0) == 1
    without = [name for name in parts if name != "decontaminate"]
    assert own_data.share(without, ["read", "dedup"], 0.5) == pytest.approx((107 + 35 + 114) / 374)


def test_no_time_left_is_told_before_there_is_a_share_to_tell_it_from() -> None:
    heard: list[Event] = []
    hear = bench._progress(heard.append)
    for share in (0.0, 0.02, 0.5, 1.0):
        hear(share)
    assert [(event.done, event.total) for event in heard] == [(26.5, 100), (62.5, 100), (100, 100)]
