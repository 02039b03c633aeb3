"""One matrix of several languages: which file of answers belongs to which data file, and the scores side by side.

    data/humaneval_cpp.jsonl.gz        answers/base/cpp.jsonl               cpp                      rust
    data/humaneval_rust.jsonl.gz       answers/tuned/{cpp,rs}.jsonl  base   0.31 [0.24, 0.38] n=164  -
                                                                     tuned  0.40 [0.33, 0.48] n=164  0.22 [...] n=164

A row is a subfolder of the answers, or the folder itself; a file's language is that of the problems it answers. What
has no file stays empty, never 0. Not covered: a mean over languages, whose problems are the same ones translated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup.errors import UserError
from codeup.evaluate.samples import read_lines
from codeup.types import BenchmarkData

OURS = ("verdicts.jsonl", "examples.jsonl")


@dataclass(frozen=True, slots=True)
class Cell:
    """One file of answers and the data it is judged with."""

    row: str
    language: str
    data: BenchmarkData
    samples: Path


def load(benchmark: ModuleType, folder: Path, languages: Sequence[str]) -> dict[str, BenchmarkData]:
    """Language -> data of the files of a folder. Raises UserError for a language that has none, or two."""
    return {language: data for language, (_, data) in files(benchmark, folder, languages).items()}


def files(
    benchmark: ModuleType, folder: Path, languages: Sequence[str]
) -> dict[str, tuple[Path, BenchmarkData]]:  # fmt: skip
    """Language -> file of a folder, and its data. Raises UserError for a language that has none, or two, and for a
    benchmark of Python alone."""
    if "LANGUAGES" not in vars(benchmark):
        several = "humaneval_x, mbxp and multipl_e have several languages"
        raise UserError(f"{benchmark.NAME} asks for Python only", where="languages", mend=f"leave it out; {several}")
    if not folder.is_dir():
        raise UserError("is not a folder", where=str(folder), mend="with --languages, name folders of files")
    found: dict[str, tuple[Path, BenchmarkData]] = {}
    paths = [path for path in sorted(folder.iterdir()) if path.name.endswith((".jsonl", ".jsonl.gz", ".parquet"))]
    for path in paths:
        data: BenchmarkData = benchmark.load(path)
        language = data.problems[0].language
        if language in languages and language in found:
            raise UserError(f"two files are in {language}", where=str(path), mend="leave one of them in the folder")
        found[language] = path, data
    if missing := [language for language in languages if language not in found]:
        raise UserError(
            f"no file is in {', '.join(missing)}", where=str(folder), mend=f"found: {', '.join(found) or 'none'}"
        )
    return {language: found[language] for language in languages}


def cells(datas: Mapping[str, BenchmarkData], folder: Path) -> list[Cell]:
    """The files of answers to these data, by row and language. Raises UserError where none or two fit one cell."""
    if not folder.is_dir():
        raise UserError("is not a folder", where=str(folder), mend="with --languages, name folders of files")
    tasks = {name: {problem.task_id for problem in data.problems} for name, data in datas.items()}
    found: dict[tuple[str, str], Cell] = {}
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")]):
        if path.name in OURS or path.parent.name.endswith("-verdicts"):
            continue
        language = _language(path, tasks)
        if language is None:
            continue
        row = path.parent.name
        if (row, language) in found:
            raise UserError(f"a second file of {row} answers {language}", where=str(path), mend="leave one of them")
        found[row, language] = Cell(row, language, datas[language], path)
    if not found:
        raise UserError(
            "holds no answers to these languages", where=str(folder), mend="name the folder of the samples files"
        )
    return list(found.values())


def _language(path: Path, tasks: Mapping[str, set[str]]) -> str | None:
    """The language whose problems a file answers; its name decides where ids are the same in several."""
    rows = read_lines(path)
    fits = [name for name, ids in tasks.items() if rows and rows[0].get("task_id") in ids]
    if len(fits) > 1:
        words = path.stem.replace("_", "-").lower().split("-")
        fits = [name for name in fits if name in words]
        if len(fits) != 1:
            mend = f"put the language into the file's name: {', '.join(tasks)}"
            raise UserError("its ids are the same in several languages", where=str(path), mend=mend)
    return fits[0] if fits else None


def make(languages: Sequence[str], scored: Sequence[tuple[Cell, Mapping[str, Any]]]) -> dict[str, Any]:
    """Plain JSON: `rows` of {"name", "cells": {language: value, low, high, n, interval, data_version, excluded}}."""
    keys = ("metric", "value", "low", "high", "n", "interval", "data_version", "data_sha256")
    rows: dict[str, dict[str, Any]] = {}
    for cell, summary in scored:
        score = summary["scores"][0]
        left_out = {"excluded": len(summary.get("excluded") or {})}
        rows.setdefault(cell.row, {})[cell.language] = {key: score[key] for key in keys} | left_out
    return {"languages": list(languages), "rows": [{"name": name, "cells": row} for name, row in rows.items()]}


def text(matrix: Mapping[str, Any]) -> str:
    """The matrix for a terminal."""
    head = ["pass@1, 95 %", *matrix["languages"]]
    lines = [head]
    for row in matrix["rows"]:
        lines.append([row["name"], *(_shown(row["cells"].get(language)) for language in matrix["languages"])])
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join("  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)) for line in lines)


def _shown(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "-"
    excluded = f" ({cell['excluded']} excluded)" if cell["excluded"] else ""
    return f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}] n={cell['n']}{excluded}"
