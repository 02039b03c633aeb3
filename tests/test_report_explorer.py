"""Answers inside the page: packed small, unpacked as they were, left out by rule, and never markup."""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from report_fixture import make_study

from codeup.report import png
from codeup.report.build import build_report
from codeup.report.explorer import MOST_TEXT, pack


def answer(task: int = 0, model: str = "tuned", **changes: Any) -> dict[str, Any]:
    code = f"def f(x):\n    return x + {task}\n"
    row = {
        "model": model, "benchmark": "humaneval", "form": "chat", "task_id": f"T/{task}", "index": 0,
        "outcome": "FAILED", "detail": "f(1) gave 2", "prompt": f"Write f for {task}.", "raw": f"Here:\n{code}Done.",
        "code": code, "language": "python",
    }  # fmt: skip
    return {**row, **changes}


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def restored(packed: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page makes of it: an independent reading of the layout, counting in UTF-16 units as JavaScript does."""
    index, blocks = unpacked(packed["index"]), [unpacked(block) for block in packed["blocks"]]
    rows = []
    for problem, model, outcome, sample, detail, *text in index["rows"]:
        benchmark, task, language = index["problems"][problem]
        row = {"benchmark": benchmark, "task_id": task, "language": language, "index": sample, "detail": detail}
        row |= dict(zip(("model", "form"), index["models"][model], strict=True), outcome=index["outcomes"][outcome])
        if text:
            prompt, block, place = text
            raw, code = blocks[block][place]
            if isinstance(code, list):
                code = raw.encode("utf-16-le")[2 * code[0] : 2 * code[1]].decode("utf-16-le")
            at, there = index["prompts"][prompt]
            row |= {"raw": raw, "code": code, "prompt": blocks[at][there]}
        rows.append(row)
    return rows


def test_what_goes_in_comes_out() -> None:
    given = [answer(t, model, index=i) for model in ("base", "tuned") for t in range(3) for i in range(2)]
    given[3] |= {"raw": "prose \N{GRINNING FACE} x = 1 and more", "code": "x = 1"}
    given[4] |= {"code": "def g(): pass", "outcome": "PASSED", "detail": ""}
    given[5] |= {"raw": "", "code": ""}
    given[6] |= {"prompt": "another prompt for the same task", "language": "rust"}
    assert restored(pack(given, labels={})) == given


def test_many_blocks_come_out_in_order() -> None:
    given = [answer(t, raw=random.Random(t).randbytes(3000).hex(), code="") for t in range(200)]
    packed = pack(given, labels={})
    assert len(packed["blocks"]) == 6  # 1.2 million characters, a block closed after each 200,000
    assert restored(packed) == given


def test_a_prompt_is_stored_once_and_a_program_inside_its_answer_not_at_all() -> None:
    prompt, code = random.Random(1).randbytes(1500).hex(), random.Random(2).randbytes(1500).hex()
    one = pack([answer(prompt=prompt, raw=f"a {code} b", code=code)], labels={})
    many = pack([answer(model=f"m{i}", prompt=prompt, raw=f"{i}", code="") for i in range(50)], labels={})
    assert sum(map(len, one["blocks"])) < 1.25 * 4 / 3 * 3000  # a third text would make it 4500
    assert sum(map(len, many["blocks"])) < 1.5 * 4 / 3 * 1500


def test_where_texts_do_not_fit_passed_ones_go_first_and_then_the_last_failures() -> None:
    noise = random.Random(5)
    given = [
        answer(t, outcome="PASSED" if t % 2 else "FAILED", raw=noise.randbytes(2000).hex(), code="") for t in range(100)
    ]
    for budget in (200_000, 100_000):
        packed = pack(given, labels={}, budget=budget)
        rows = restored(packed)
        assert len(packed["index"]) + sum(map(len, packed["blocks"])) <= budget
        assert len(rows) == packed["count"] == 100
        with_text = [int(row["task_id"][2:]) for row in rows if "raw" in row]
        assert packed["left_out"] == 100 - len(with_text)
        failed = [t for t in with_text if t % 2 == 0]
        passed = [t for t in with_text if t % 2]
        assert failed == list(range(0, 2 * len(failed), 2)), "the first failures"
        assert not passed or len(failed) == 50, "no passed answer while a failed one is left out"
        assert len(with_text) * 2000 * 4 / 3 > 0.8 * budget, "the budget is used"


def test_no_budget_at_all_still_lists_every_answer() -> None:
    packed = pack([answer(t) for t in range(5)], labels={}, budget=0)
    assert (packed["count"], packed["left_out"], packed["blocks"]) == (5, 5, [])


def test_ten_thousand_answers_fit_a_page_of_five_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "charts", lambda study: {})
    noise = random.Random(3)
    words = ["".join(noise.choices("abcdefghijklmnopqrstuvwxyz", k=noise.randint(2, 9))) for _ in range(3000)]

    def text(length: int) -> str:
        return " ".join(noise.choices(words, k=length))

    given = [
        answer(t, f"m{m}", prompt=f"{t} " + "task " * 80, raw=f"{text(30)}\n{text(60)}", code="")
        for m in range(61) for t in range(164)
    ]  # fmt: skip
    page = build_report(make_study(), tmp_path, given)
    assert len(given) == 10_004
    assert page.stat().st_size <= 5_000_000
    assert "10,004 answers" in page.read_text()


def test_the_same_answers_give_the_same_bytes_and_half_a_character_is_no_accident() -> None:
    given = [answer(raw="half \ud83d of it", code="", detail="\udc80")]
    assert pack(given, labels={}) == pack(given, labels={})
    (row,) = restored(pack(given, labels={}))
    assert (row["raw"], row["detail"]) == ("half \\ud83d of it", "\\udc80")


def test_a_very_long_text_is_cut_and_says_so() -> None:
    (row,) = restored(pack([answer(raw="x" * (MOST_TEXT + 1234), code="")], labels={}))
    assert row["raw"].endswith("… 1,234 more characters in the run folder")


def test_without_answers_the_page_has_no_explorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "charts", lambda study: {})
    plain = build_report(make_study(), tmp_path / "a").read_text()
    full = build_report(make_study(), tmp_path / "b", [answer(detail="</script><script>alert(1)</script>")]).read_text()
    assert "answers-index" not in plain and "DecompressionStream" not in plain
    assert "answers-index" in full and "alert(1)" not in full
