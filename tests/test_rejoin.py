"""Conversations that were cut into rows come back whole, in order, and every row is accounted for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from codeup.data import rejoin
from codeup.data.load import Funnel, load_source
from codeup.data.rejoin import JOINED, REPEATED
from codeup.types import Conversation


def part(parent: str, start: int, *texts: str) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[(start + at) % 2], "value": text} for at, text in enumerate(texts)]
    return {"id": f"{parent}_{start}", "conversations": turns}


def read(folder: Path, given: list[dict[str, Any]], **columns: str) -> tuple[list[list[str]], dict[str, Any]]:
    """The conversations that come out, as texts, and the account."""
    path = folder / "rows.json"
    path.write_text(json.dumps(given))
    funnel = Funnel()
    items = list(load_source("sharegpt_parts", [path], funnel=funnel, columns=columns))
    assert len(items) == len(given)
    found = [[turn.content for turn in item.messages] for item in items if isinstance(item, Conversation)]
    return found, funnel.to_dict()


def test_parts_are_joined_by_their_start_wherever_they_stand(tmp_path: Path) -> None:
    given = [part("a", 4, "5", "6"), part("b", 0, "x", "y"), part("a", 0, "1", "2"), part("a", 2, "3", "4")]
    found, account = read(tmp_path, given)
    assert found == [["x", "y"], ["1", "2", "3", "4", "5", "6"]]
    assert account["rows_in"] == 4 and account["dropped"] == {JOINED: 2}


def test_a_gap_a_claimed_place_and_a_number_in_a_name_leave_rows_alone(tmp_path: Path) -> None:
    gap = [part("a", 0, "1", "2"), part("a", 4, "5", "6")]
    assert read(tmp_path, gap)[0] == [["1", "2"], ["5", "6"]]
    both = [part("a", 0, "1", "2"), part("a", 2, "3", "4"), part("a", 2, "3", "other")]
    assert read(tmp_path, both)[0] == [["1", "2"], ["3", "4"], ["3", "other"]]
    names = [part("identity", 2 * number, f"q{number}", "a", "b", "c") for number in range(3)]
    assert len(read(tmp_path, names)[0]) == 3


def test_a_part_that_is_there_twice_is_there_once(tmp_path: Path) -> None:
    whole = [part("a", 0, "1", "2"), part("a", 2, "3", "4"), part("b", 0, "x", "y")]
    found, account = read(tmp_path, whole + whole)
    assert found == [["1", "2", "3", "4"], ["x", "y"]]
    assert account["dropped"] == {REPEATED: 3, JOINED: 1}


def test_columns_can_be_mapped_and_a_row_without_an_id_is_dropped_by_name(tmp_path: Path) -> None:
    given = [
        {"key": row["id"], "talk": row["conversations"]} for row in (part("a", 0, "1", "2"), part("a", 2, "3", "4"))
    ]
    assert read(tmp_path, given, id="key", conversations="talk")[0] == [["1", "2", "3", "4"]]
    _, account = read(tmp_path, [part("a", 0, "1", "2"), {"conversations": []}])
    assert account["dropped"] == {"missing column": 1}


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_many_shuffled_parts_come_back_whole_from_memory_and_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(rejoin, "IN_MEMORY", most)
    chance, wholes, given = random.Random(1), {}, []
    for number in range(60):
        texts = [f"{number}:{turn}" for turn in range(2 * chance.randint(1, 9))]
        wholes[f"c{number}"], at = texts, 0
        while at < len(texts):
            size = 2 * chance.randint(1, 3)
            given.append(part(f"c{number}", at, *texts[at : at + size]))
            at += size
    chance.shuffle(given)
    found, account = read(tmp_path, given)
    assert sorted(found) == sorted(wholes.values())
    assert account["rows_kept"] == 60 and account["dropped"] == {JOINED: len(given) - 60}
