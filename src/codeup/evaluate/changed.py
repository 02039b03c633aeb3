"""The problems on which two models differ: what was asked, what each answered, and why the answer failed.

    A passed T/3, B did not   ->   {"task_id": "T/3", "change": "lost", "prompt": ...,
                                    "a": {"outcome": "PASSED", "answer": ...}, "b": {"outcome": "FAILED", ...}}

Of several samples per problem, the shown one of the better side passed and that of the other failed. Answers come from
the samples file that was judged, found by its hash; prompts from the examples beside the verdicts, else from the
benchmark's problems. What cannot be found is None, and `missing` says why. Verdicts are not judged again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup import artifacts, plugins
from codeup.errors import UserError
from codeup.evaluate.compare import Side, passed_in, read_side
from codeup.evaluate.generate import prompt_text
from codeup.evaluate.prompts import Form
from codeup.evaluate.samples import find_samples, read_lines

GAINED, LOST = "gained", "lost"


def between(a: Path, b: Path, *, suite: str = "", problems: Path | None = None) -> dict[str, Any]:
    """`changed`: a record for each problem whose pass rate differs, those that B lost first; `missing`: sentences."""
    left, right = (read_side(place, _suite(place, suite)) for place in (a, b))
    differ = [t for t in left.passes if t in right.passes and left.rates[t] != right.rates[t]]
    if not differ:
        return {"changed": [], "missing": []}
    missing: list[str] = []
    texts = [_answers(side, name, missing) for side, name in ((left, "A"), (right, "B"))]
    prompts = _prompts(left, right, differ, problems, missing)
    rows = [_verdicts(side) for side in (left, right)]
    found = []
    for task in differ:
        lost = left.rates[task] > right.rates[task]
        sides = {
            name: _shown(side, verdicts[task], answers, task, passing=lost == (name == "a"))
            for name, side, verdicts, answers in zip("ab", (left, right), rows, texts, strict=True)
        }
        found.append({"task_id": task, "change": LOST if lost else GAINED, "prompt": prompts.get(task), **sides})
    return {"changed": sorted(found, key=lambda each: each["change"] == GAINED), "missing": missing}


def _suite(place: Path, suite: str) -> str:
    """The suite that `compare` counted on this side: beside verdicts without suites, base is what is alike."""
    return (suite or "base") if read_side(place).suite else ""


def _verdicts(side: Side) -> dict[str, list[Mapping[str, Any]]]:
    """The verdicts of each task, in order of index, as `Side.passes` has them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(read_lines(side.path), key=lambda row: row["index"]):
        found.setdefault(row["task_id"], []).append(row)
    return found


def _shown(
    side: Side, rows: Sequence[Mapping[str, Any]], answers: Mapping[tuple[str, int], str], task: str, *, passing: bool
) -> dict[str, Any]:
    """One sample of a task: the first that passed, or the first that failed, where there is one."""
    good = [passed_in(row, side.suite) for row in rows]
    place = good.index(passing) if passing in good else 0
    row = rows[place]
    return {
        "passed": sum(good),
        "samples": len(good),
        "outcome": "PASSED" if good[place] else row["outcome"] if row["outcome"] != "PASSED" else "FAILED",
        "detail": row.get("detail", ""),
        "answer": answers.get((task, row["index"])),
    }


def _answers(side: Side, name: str, missing: list[str]) -> dict[tuple[str, int], str]:
    """(task, index) -> the answer as the model gave it, behind what it was begun with."""
    path = find_samples(side.path.parent, str(side.about.get("samples_sha256")))
    if path is None:
        missing.append(f"the answers of {name} are not beside its verdicts")
        return {}
    found: dict[tuple[str, int], str] = {}
    counts: dict[str, int] = {}
    for row in read_lines(path):
        task = row["task_id"]
        index = row.get("index", counts.get(task, 0))
        counts[task] = counts.get(task, 0) + 1
        text = row.get("raw", row.get("solution", row.get("completion", "")))
        found[task, index] = str(row.get("prefill", "")) + str(text)
    return found


def _prompts(
    left: Side, right: Side, tasks: Sequence[str], problems: Path | None, missing: list[str]
) -> dict[str, str]:
    """Task -> what was asked. The examples hold those of the first failures; the benchmark's file holds all."""
    found: dict[str, str] = {}
    for side in (right, left):
        examples = side.path.with_name("examples.jsonl")
        if examples.is_file():
            found |= {row["task_id"]: row["prompt"] for row in read_lines(examples) if "prompt" in row}
    if all(task in found for task in tasks):
        return found
    side = right if right.about else left
    try:
        asked = _from_benchmark(side, problems)
    except UserError as error:
        missing.append(f"some prompts are left out: {error.what} (--data names the benchmark's file)")
        return found
    return {**asked, **found}


def _from_benchmark(side: Side, problems: Path | None) -> dict[str, str]:
    marker = side.path.with_name(artifacts.MARKER)
    spec = json.loads(marker.read_text(encoding="utf-8"))["spec"] if marker.is_file() else {}
    about, at = side.about, spec.get("at", {})
    name = spec.get("benchmark", {}).get("name", about.get("benchmark", ""))
    path = Path(at["data_root"] or ".") / at["path"] if at.get("path") else None
    benchmark = plugins.load("benchmarks", name.partition(":")[0])  # humaneval_x:cpp is one language of it
    data = benchmark.load(problems or path)
    if data.sha256 != about.get("data_sha256"):
        raise UserError(
            "holds other problems than those that were judged", where=str(problems or path or name),
            mend="name the file that was judged with --data",
        )  # fmt: skip
    form: Form = "base" if about.get("form") == "base" else "chat"
    style = about.get("prompt_style", "default")
    style = "default" if style == "unknown" else style
    return {p.task_id: prompt_text(benchmark, p, form, style) for p in data.problems}
