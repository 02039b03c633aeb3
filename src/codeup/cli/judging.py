"""How `codeup evaluate` judges one file of samples, and what it says about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import executors
from codeup.cli.progress import display
from codeup.errors import UserError
from codeup.types import BenchmarkData

TO_EXTRACT = (
    'to have code taken out of answers, give {"task_id", "index": 0, "form": "chat", "raw": text, "finish": "stop", '
    '"tokens": 0}'
)


@dataclass(frozen=True, slots=True)
class Judging:
    """The options of the command that hold for every file of samples; described in app.py."""

    workers: int | None
    timeout_s: float
    memory_mb: int
    compat: str
    base_only: bool
    all_inputs: bool
    allow_unsafe: bool
    partial: bool
    extraction: str
    other_extractions: bool
    tasks: list[str] | None
    limit: int | None
    exclude: str
    calibration: bool
    executor: str = executors.LOCAL
    pass_at: tuple[int, ...] = ()

    def judge(
        self, module: ModuleType, found: BenchmarkData, samples: Path, out: Path | None, on: executors.Executor | None
    ) -> tuple[dict[str, Any], Path]:
        """The summary of a file of samples, and the folder with its verdicts: `out`, or one beside the file.

        `on` is what self.executor opens: its connection serves any number of files.
        """
        from codeup.evaluate import scores, similarity
        from codeup.evaluate.subset import reduced, tag

        scores.check_pass_at(self.pass_at, ())
        problems = reduced(found, tasks=self.tasks, limit=self.limit)
        name = samples.name.split(".")[0] + "-verdicts"
        folder = out or samples.with_name("-".join(filter(None, (name, tag(problems)))))
        if similarity.compares(problems):
            if self.pass_at:
                raise UserError(f"{found.name} compares texts and has no pass@k", where="--pass-at")
            return similarity.score_samples(samples, module, problems, folder, partial=self.partial), folder
        return self._run(module, problems, samples, folder, on), folder

    def _run(
        self, module: ModuleType, problems: BenchmarkData, samples: Path, folder: Path, on: executors.Executor | None
    ) -> dict[str, Any]:
        """Calibrate, then run the programs."""
        from codeup.evaluate import calibrate
        from codeup.evaluate.judge import judge_samples
        from codeup.evaluate.programs import SuiteRules
        from codeup.evaluate.samples import read_answers
        from codeup.evaluate.scores import check_pass_at
        from codeup.sandbox.limits import Limits

        limits = Limits.of(self.timeout_s, self.memory_mb)
        if calibrate.applies(problems):  # which takes long: what is wrong with the samples is told before
            answers = read_answers(samples, module, problems, partial=True, extraction=self.extraction)
            check_pass_at(self.pass_at, (answer.program.task_id for answer in answers))
        with display() as emit:
            problems, more = calibrate.first(
                problems, samples, exclude=self.exclude, run=self.calibration, partial=self.partial,
                workers=self.workers, limits=limits, allow_unsafe=self.allow_unsafe, emit=emit,
            )  # fmt: skip
            return judge_samples(
                samples,
                module,
                problems,
                folder,
                workers=self.workers,
                limits=limits,
                more=more,
                rules=SuiteRules(self.compat, self.base_only, self.all_inputs),
                allow_unsafe=self.allow_unsafe,
                partial=self.partial,
                extraction=self.extraction,
                other_extractions=self.other_extractions,
                emit=emit,
                executor=on,
                pass_at=self.pass_at,
            )


def told(summary: Mapping[str, Any], folder: Path) -> str:
    """The lines for a terminal."""
    lines = [_score(score) for score in summary["scores"]]
    if subset := summary["subset"]:
        left_out = f"{summary['samples_not_asked']} samples of the others left out"
        lines.append(f"subset: {subset['asked']} of {subset['of']} problems were asked for; {left_out}")
    asked = subset["asked"] if subset else summary["problems_in_benchmark"]
    if (answered := summary["scores"][0]["n"]) < asked:
        lines.append(f"partial: {answered} of {asked} problems have an answer; the score is of those alone")
    lines += _calibrated(summary)
    data = f"data: {summary['data_version']} sha256 {summary['data_sha256'][:16]}"
    if "outcomes" in summary:
        lines.append("outcomes: " + ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items()))
        data += f"; sandbox: {summary['sandbox']}"
    if fenced := summary.get("given_with_fences"):
        lines.append(f"{fenced} of the given programs hold Markdown fences (```); they ran as they are: {TO_EXTRACT}")
    for mode, passed in (summary.get("other_extractions") or {}).items():
        lines.append(f"under --extract {mode}, {passed} of the failed samples would pass")
    lines += [f"{name} was not computed: {why}" for name, why in summary.get("not_computed", {}).items()]
    return "\n".join([*lines, data, f"verdicts: {folder}"])


def _score(score: Mapping[str, Any]) -> str:
    of = f" in {score['clusters']} clusters" if "clusters" in score else ""
    if (samples := score.get("samples", score["n"])) != score["n"]:
        of += f", {samples} samples"
    name = f"{score['benchmark']} {score['metric']}"
    return f"{name} {score['value']:.3f}  95 % [{score['low']:.3f}, {score['high']:.3f}]  n={score['n']} problems{of}"


def _calibrated(summary: Mapping[str, Any]) -> list[str]:
    """What the canonical solutions did, and which problems were left out of the score."""
    from codeup.evaluate.calibrate import Calibration

    found = summary.get("calibration")
    if not found:
        return []
    lines = [found if isinstance(found, str) else Calibration(**found).text()]
    return lines + [f"  excluded from the score: {task} ({cause})" for task, cause in summary["excluded"].items()]
