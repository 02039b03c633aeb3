"""Score a samples file of a benchmark whose answers are compared with reference texts (CodeXGLUE); nothing is run.

    samples.jsonl -> Answer -> (answer, reference) -> text_metrics     out/answers.jsonl    what was compared
                                                                       out/scores.json      the summary

One answer a problem. A metric whose package is missing is named in `not_computed` with how to install it; it is no 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.evaluate import text_metrics
from codeup.evaluate.judge import settings
from codeup.evaluate.samples import Answer, count_not_asked, read_answers
from codeup.evaluate.subset import described
from codeup.stats import Mean
from codeup.types import BenchmarkData, Problem, Score

TITLES = {"exact_match": "exact match", "bleu": "BLEU", "codebleu": "CodeBLEU", "smoothed_bleu4": "smoothed BLEU-4"}


def compares(data: BenchmarkData) -> bool:
    """Whether a benchmark compares texts instead of running programs."""
    return any("compared" in problem.extra for problem in data.problems)


def score_samples(
    samples: Path, benchmark: ModuleType, data: BenchmarkData, out: Path, *, partial: bool = False
) -> dict[str, Any]:
    """Compare every answer with its reference; write answers and scores into `out`. Raises UserError."""
    answers = read_answers(samples, benchmark, data, partial=partial)
    problems = {problem.task_id: problem for problem in data.problems}
    if many := next((answer.program.task_id for answer in answers if answer.program.index > 0), None):
        raise UserError(f"{many} has several answers", where=str(samples), mend="give one answer a problem")
    found, missing = _scores(benchmark.METRICS, answers, problems)
    common = {
        **settings(samples, answers, data, ""),
        "problems_in_benchmark": len(data.problems) + len(data.not_asked), "subset": described(data),
        "samples_not_asked": count_not_asked(samples, data), "versions": _versions(), "not_computed": missing,
    }  # fmt: skip
    summary = {**common, "scores": [{**common, **score} for score in found]}
    artifacts.make_folder(out)
    rows = [{"task_id": answer.program.task_id, "answer": answer.program.code} for answer in answers]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    artifacts.write_bytes(out / "answers.jsonl", text.encode(errors="backslashreplace"))
    artifacts.write_json(out / "scores.json", summary)
    return summary


def _scores(
    metrics: Sequence[str], answers: Sequence[Answer], problems: dict[str, Problem]
) -> tuple[list[dict[str, Any]], dict[str, str]]:  # fmt: skip
    """The scores, and the metrics that could not be computed with the reason."""
    pairs = [(each.program.code, problems[each.program.task_id].canonical_solution) for each in answers]
    language = problems[answers[0].program.task_id].language
    found, missing = [], {}
    for name in metrics:
        try:
            mean = _metric(name, pairs, language)
        except UserError as error:
            missing[TITLES[name]] = str(error)
            continue
        score = Score(TITLES[name], mean.value, mean.low, mean.high, mean.n, mean.interval)
        found.append({**asdict(score), "standard_error": mean.standard_error})
    if not found:
        raise UserError(next(iter(missing.values())))
    return found, missing


def _metric(name: str, pairs: text_metrics.Pairs, language: str) -> Mean:
    if name == "codebleu":
        return text_metrics.codebleu(pairs, language)
    mean: Mean = getattr(text_metrics, name)(pairs)
    return mean


def _versions() -> dict[str, str]:
    """The packages that counted."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("sacrebleu", "codebleu", "tree-sitter"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
