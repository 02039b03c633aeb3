"""How many rephrased HumanEval problems each method finds among ordinary rows, and how many ordinary rows it takes.

    CODEUP_TEST_DATA=FOLDER python tests/measure_decontamination.py [--plus] [--kinds] [--out FOLDER]

The rephrasings (rephrased_humaneval.jsonl: other names, words, structure, examples; some in a class, in Markdown, with
arguments exchanged, in another language) were written by hand for this. Every other one was looked at while the method
was made ("tune"); the others were only counted ("held"). The ordinary rows are Code Alpaca and Alpaca, 7,550 in all;
they hold a few true HumanEval problems, which count here as ordinary rows dropped.

With --kinds, other rephrasings (rephrased_humaneval_kinds.jsonl) in rows of many shapes, counted by kind, by default
settings. Written after the methods for this; the misses were then looked at (docs/data.md says what came of it).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from codeup.data.contamination.items import Item, read_items
from codeup.decontaminate.files import decontaminate

REPHRASED = Path(__file__).with_name("rephrased_humaneval.jsonl")
KINDS = Path(__file__).with_name("rephrased_humaneval_kinds.jsonl")
ORDINARY = ("new_codealpaca.json", "code_alpaca_2k.json", "alpaca_en_demo.json")


def planted(folder: Path) -> list[dict[str, Any]]:
    """Ordinary and rephrased rows, mixed; `source` says which, `number` which rephrasing."""
    rows: list[dict[str, Any]] = []
    for name in ORDINARY:
        for row in json.loads((folder / "train" / name).read_text(encoding="utf-8")):
            rows.append({key: row[key] for key in ("instruction", "input", "output")} | {"source": name})
    for number, line in enumerate(REPHRASED.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        where = {"source": "rephrased", "number": number, "task": row["task"]}
        rows.append({"instruction": row["instruction"], "input": "", "output": row["output"], **where})
    random.Random(0).shuffle(rows)
    return rows


def count(name: str, rows: list[dict[str, Any]], hit: Iterable[int], seconds: float) -> str:
    """One line of the table."""
    found = set(hit)
    sides = [
        [i for i, row in enumerate(rows) if row.get("number", -1) % 2 == side and "number" in row] for side in (0, 1)
    ]
    ordinary = [i for i, row in enumerate(rows) if "number" not in row]
    tune, held = (f"{len(found & set(side))}/{len(side)}" for side in sides)
    taken = len(found & set(ordinary))
    return f"{name:<44}{tune:>8}{held:>8}{taken:>10}  {taken / len(ordinary):7.2%}{seconds:>9.1f} s"


def substrings(items: list[Item], rows: list[dict[str, Any]]) -> list[int]:
    """BigCode's way: the docstring or the solution, lower case, as it is."""
    texts = []
    for item in items:
        parts = item.prompt.split('"""') if '"""' in item.prompt else item.prompt.split("'''")
        texts += [part.strip().lower() for part in (parts[1] if len(parts) > 1 else "", item.solution)]
    joined = [f"{row['instruction']}\n{row['input']}\n{row['output']}".lower() for row in rows]
    return [i for i, text in enumerate(joined) if any(each and each in text for each in texts)]


def by_kind(folder: Path, files: dict[str, Path], work: Path) -> None:
    """Print how many of each kind are found among ordinary rows, each row in a shape of its own."""
    rows: list[dict[str, Any]] = [
        {**row, "kind": ""} for name in ORDINARY for row in json.loads((folder / "train" / name).read_text("utf-8"))
    ]
    gsm8k = (folder / "train" / "gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()
    rows += [{**json.loads(line), "kind": ""} for line in gsm8k[:1500]]
    planted_rows = [json.loads(line) for line in KINDS.read_text(encoding="utf-8").splitlines()]
    rows += [{**each["row"], "kind": each["kind"]} for each in planted_rows]
    random.Random(5).shuffle(rows)
    work.mkdir(parents=True, exist_ok=True)
    source = work / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    start = time.monotonic()
    decontaminate(source, files, work / "kinds", workers=len(os.sched_getaffinity(0)))
    found = set(_reader(work / "kinds" / "contamination.jsonl")(lambda hit: bool(hit["sufficient"])))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [number for number, row in enumerate(rows) if row["kind"] == kind]
        print(f"{kind or 'ordinary rows dropped':<44}{len(found & set(own)):>6} of {len(own)}")
    print(f"{time.monotonic() - start:.1f} s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plus", action="store_true", help="give HumanEval+ besides HumanEval")
    parser.add_argument("--kinds", action="store_true", help="the other rephrasings, by kind")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    folder = Path(os.environ["CODEUP_TEST_DATA"])
    files = {"humaneval": folder / "benchmarks" / "HumanEval.jsonl.gz"}
    if asked.plus:
        files["humaneval+"] = folder / "benchmarks" / "HumanEvalPlus-v0.1.10.jsonl.gz"
    if asked.kinds:
        with tempfile.TemporaryDirectory() as temporary:
            by_kind(folder, files, asked.out or Path(temporary))
        return
    rows = planted(folder)
    print(f"{'method':<44}{'tune':>8}{'held':>8}{'ordinary rows dropped':>19}{'time':>11}")
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.out or Path(temporary)
        source = work / "rows.jsonl"
        work.mkdir(parents=True, exist_ok=True)
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        start = time.monotonic()
        hits = substrings([item for name, path in files.items() for item in read_items(name, path)], rows)
        print(count("docstring or solution as a substring", rows, hits, time.monotonic() - start))
        for run, name in (
            ("none", "shape, or n-grams (nothing run)"),
            ("retrieved", "top 50 of each problem, run"),
            ("all", "all functions, run"),
        ):
            start = time.monotonic()
            decontaminate(source, files, work / run, run=run, workers=len(os.sched_getaffinity(0)))  # type: ignore[arg-type]
            seconds = time.monotonic() - start
            hits_of = _reader(work / run / "contamination.jsonl")
            if run == "none":
                any_gram = lambda hit: hit["method"] in ("prompt", "tests")  # noqa: E731
                print(count("one 13-gram of a prompt or test", rows, hits_of(any_gram), seconds))
                print(
                    count("one 10-gram of a solution", rows, hits_of(lambda hit: hit["method"] == "solution"), seconds)
                )
                print(
                    count(
                        "equal shape of a function, however common",
                        rows,
                        hits_of(lambda hit: hit["method"] == "shape"),
                        seconds,
                    )
                )
            if run == "all":
                print(
                    count(
                        "  the same, textbook solutions too",
                        rows,
                        hits_of(lambda hit: hit["method"] == "execution"),
                        seconds,
                    )
                )
            print(count(name, rows, hits_of(lambda hit: hit["sufficient"]), seconds))


def _reader(path: Path) -> Callable[[Callable[[dict[str, Any]], bool]], list[int]]:
    hits = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return lambda wanted: [hit["row"] for hit in hits if wanted(hit)]


if __name__ == "__main__":
    main()
