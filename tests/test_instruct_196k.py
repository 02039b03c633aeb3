"""The recipe of the merged instruct set, on small files of its shapes: parts joined, duplicates out, counts checked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from codeup import recipe as recipes
from codeup import study
from codeup.steps import prepare
from codeup.types import Context, Event

WORDS = ["apple", "bridge", "candle", "dragon", "engine", "forest", "garden", "hammer", "island", "jungle", "kettle"]


def answer(seed: int) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) + str(chance.randint(0, 99)) for _ in range(30))


def turn(who: str, value: str) -> dict[str, str]:
    return {"from": who, "value": value}


WIZARD: list[dict[str, Any]] = [
    {"idx": f"w{n}", "conversations": [turn("human", f"Task {n}: {answer(n)}"), turn("gpt", answer(1000 + n))]}
    for n in range(143)
]


def sharegpt() -> list[dict[str, Any]]:
    """53 conversations in 94 parts, and three more that repeat a row of the other set, one with another last word."""
    rows: list[dict[str, Any]] = []
    for n in range(53):
        talk = [turn(("human", "gpt")[at % 2], f"{n}.{at} {answer(5000 + 10 * n + at)}") for at in range(4)]
        cuts = [0, 2] if n < 41 else [0]
        rows += [
            {"id": f"c{n}_{at}", "conversations": talk[at : at + 2] if len(cuts) == 2 else talk}
            for at in reversed(cuts)
        ]
    for n in range(3):
        copied = [dict(each) for each in WIZARD[n]["conversations"]]
        copied[1]["value"] += " indeed" if n == 2 else ""
        rows.append({"id": f"copy{n}_0", "conversations": copied})
    return rows


def prepared(folder: Path, wizard: list[Any], **expected: int) -> tuple[dict[str, Any], list[str]]:
    """The summary of the shipped recipe's data on small files, counts a thousandth, and what was said on the way."""
    shipped = yaml.safe_load((Path(__file__).parent.parent / "recipes" / "instruct-196k.yaml").read_text())
    data = shipped["data"]["instruct"]
    for source, rows in zip(data["sources"], (wizard, sharegpt()), strict=True):
        source["path"], source["expect_rows"] = f"{source['source']}.json", source["expect_rows"] // 1000
        (folder / source["path"]).write_text(json.dumps(rows))
    data |= {"expect_rows": 196, "validation_rows": 10, "cutoff": 2048, **expected}
    plain = {"name": "x", "data_root": str(folder), "model": {"base": "nano-base"}, "data": {"instruct": data}}
    (step,) = [s for s in study.compile_recipe(recipes.parse(json.dumps(plain))) if s.kind == "prepare"]
    out = folder / "step"
    out.mkdir()
    heard: list[Event] = []
    summary = prepare.run(prepare.Spec.model_validate(step.spec), Context(out, step.name, {}, heard.append))
    return summary, [event.text for event in heard if event.kind == "note"]


def test_the_two_halves_make_196_of_which_each_is_there_once(tmp_path: Path) -> None:
    summary, said = prepared(tmp_path, WIZARD)
    assert summary["rows_in"] == 143 + 97
    assert summary["dropped"] == {
        "part of a conversation, joined to its other parts": 41, "exact duplicate": 2, "near duplicate": 1,
    }  # fmt: skip
    assert summary["rows_kept"] == 196 and summary["train_rows"] == 186
    assert [each["usable"] for each in summary["sources"]] == [143, 56]
    assert summary["warnings"] == said == ["sharegpt_parts: 56 conversations, 53 expected (+5.7%)"]


def test_the_doubled_copy_is_named_and_counted_once(tmp_path: Path) -> None:
    summary, said = prepared(tmp_path, WIZARD + WIZARD)
    assert summary["rows_kept"] == 196
    assert "its second half repeats its first (142 of 143 rows)" in said[0], "one repeats a longer copy in ShareGPT"
    assert said[1].startswith("wizardlm_evol_instruct_v2: 286 conversations, twice the 143 expected")


@pytest.mark.parametrize(("wanted", "warned"), [(199, False), (201, True), (193, False), (191, True)])
def test_two_percent_is_the_limit(tmp_path: Path, wanted: int, warned: bool) -> None:
    summary, _ = prepared(tmp_path, WIZARD, expect_rows=wanted)
    assert any("all sources: 196" in text for text in summary["warnings"]) is warned
