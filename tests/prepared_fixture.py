"""A small prepared dataset: two files, repeated rows, a contaminated row, held-out groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codeup import artifacts, study
from codeup import recipe as recipes
from codeup import run as engine

LEAK = "def total(offset, xs):\n    return sum((p + offset) * x for p, x in enumerate(xs))"
BENCHMARK = {
    "task_id": "B/0",
    "prompt": 'def weigh(values, k):\n    """Total of the values, each times its place plus k."""\n',
    "canonical_solution": "    return sum(v * (i + k) for i, v in enumerate(values))\n",
    "entry_point": "weigh",
    "test": "def check(candidate):\n    assert candidate([1, 2, 3], 1) == 14\n"
    "    assert candidate([5, 0, 2], 2) == 18\n",
}
FIRST = [
    {"instruction": f"Write a function that adds {n}", "output": f"```python\ndef add(x):\n    return x + {n}\n```"}
    for n in range(20)
] + [{"instruction": "Say hi", "output": "Hi!"}, {"instruction": "Say hi", "output": "Hi! "}]
SECOND = [
    {"conversations": [{"from": "human", "value": f"And {n}?"}, {"from": "gpt", "value": f"{n} is <b>bold</b> |"}]}
    for n in range(10)
] + [{"conversations": [{"from": "human", "value": "Nobody answers"}]}]


def write_rows(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("first.jsonl", FIRST), ("second.jsonl", SECOND), ("bench.jsonl", [BENCHMARK])):
        (folder / name).write_text("".join(json.dumps(each) + "\n" for each in rows))


def recipe_text(folder: Path, settings: str = "", licence: str = "") -> str:
    return (
        f"{{name: x, seed: 3, data_root: {folder}, model: {{base: nano-base}}, stages: [{{name: s, data: small}}], "
        f"data: {{small: {{sources: [{{source: code_alpaca, path: first.jsonl}}, "
        f"{{source: sharegpt, path: second.jsonl{licence}}}], validation_rows: 6, cutoff: 128{settings}}}}}}}"
    )


def prepare(data: Path, run: Path, settings: str = "", licence: str = "") -> Path:
    """The folder of a finished prepare step, made by the run engine."""
    write_rows(data)
    steps = study.compile_recipe(recipes.parse(recipe_text(data, settings, licence)))
    return Path(engine.run(steps, run, only="data-small")["data-small"].folder)


def resign(folder: Path) -> None:
    """Make the hashes right again after a file was changed, as a careful forger would."""
    from codeup.provenance.manifest import output_files

    manifest = read(folder / "manifest.json")
    manifest["files"] = list(output_files(folder))
    artifacts.write_json(folder / "manifest.json", manifest)
    marker = read(folder / "artifact.json")
    marker["summary"]["manifest_sha256"] = artifacts.file_sha256(folder / "manifest.json")
    artifacts.write_json(folder / "artifact.json", marker)


def read(path: Path) -> Any:
    return json.loads(path.read_text())
