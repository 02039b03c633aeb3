"""Run the programs of a samples file in the sandbox, and score them.

    samples.jsonl -> Answer -> Job -> Verdict -> Score      out/verdicts.jsonl   one line per sample, continued on rerun
                                                            out/examples.jsonl   the first failures of each outcome
                                                            out/answers.jsonl.gz what each verdict is about
                                                            out/scores.json      the summary: the same on every rerun
                                                            out/timing.json      seconds, and what was judged just now

How verdicts become scores is in scores.py. A sandbox that fails raises and leaves no verdict. A verdict is reused only
for the same program, tests and limits.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.evaluate import answers as kept
from codeup.evaluate import elsewhere, evalplus_results, truth, whole
from codeup.evaluate.generate import meta_path, prompt_text
from codeup.evaluate.libraries import lacks
from codeup.evaluate.other_extractions import would_pass
from codeup.evaluate.programs import (
    SuiteRules,
    any_job,
    check_rules,
    costs,
    has_suites,
    judge_programs,
    limits_for,
    suite_job,
)
from codeup.evaluate.samples import Answer, append_line, count_not_asked, read_answers, read_lines, repair_end
from codeup.evaluate.scores import check_pass_at, clusters_of, score_name, scores
from codeup.evaluate.subset import described
from codeup.executors import Executor
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Judges, Pool
from codeup.types import BenchmarkData, Emit, Event, Outcome, Problem, Program, Verdict, ignore_event

EXAMPLES_PER_OUTCOME = 20
PROTECTION = "the runner held no expected values; the judge compared plain data in a process of its own"
PROTECTION_WHOLE = (
    "the program's process held the tests, in its own language; a pass needs a secret that its harness prints after "
    "the last check"
)
JUDGE_VERSION = 2
"""Part of a verdict's key: raise it when the same program could be judged differently."""


def judge_samples(
    samples: Path,
    benchmark: ModuleType,
    data: BenchmarkData,
    out: Path,
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    allow_unsafe: bool = False,
    partial: bool = False,
    rules: SuiteRules | None = None,
    extraction: str = "codeup",
    other_extractions: bool = False,
    model: str = "",
    emit: Emit = ignore_event,
    step_name: str = "judge",
    more: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    pass_at: Sequence[int] = (),
) -> dict[str, Any]:
    """Judge every sample of a file and write verdicts and scores into `out`; `more` is added to the summary.

    With an `executor`, the sandboxes are on its machines, `workers` of them or one per core there.

    `rules` are for benchmarks with suites, which bring their own time limits and write eval_results.json besides.
    `pass_at` are the k of pass@k, besides 1; by default what the number of samples allows (scores.py).
    `partial` allows samples for some of the problems only; the score then counts those, and says how many there are.
    Raises UserError for a file that does not fit, WorkFailed when the sandbox fails; verdicts reached before are kept.
    """
    rules = rules or SuiteRules()
    limits = _limits(limits, data.problems, rules)
    answers = read_answers(samples, benchmark, data, partial=partial, extraction=extraction)
    check_pass_at(pass_at, (answer.program.task_id for answer in answers))
    problems = {problem.task_id: problem for problem in data.problems}
    sandboxes = Sandboxes(workers, limits, allow_unsafe, data.problems, executor)
    artifacts.make_folder(out)
    start = time.monotonic()
    rows, sandbox, judged = _verdicts(out / "verdicts.jsonl", answers, problems, sandboxes, rules, emit, step_name)
    timing = _timing(judged, len(rows), time.monotonic() - start)
    _keep(out, answers, rows, problems, benchmark, _made(samples).get("prompt_style", "default"))
    summary = {
        **settings(samples, answers, data, model),
        **_asked(samples, answers, data),
        **_ran(rows, data, sandbox, limits, extraction),
        **(more or {}),
    }
    if rows and "suites" in rows[0]:
        summary |= {"compat": rules.compat, "all_inputs": rules.all_inputs}
        evalplus_results.write(out / "eval_results.json", samples, answers, rows, problems, data)
    if other_extractions:
        with sandboxes.pool() as pool:
            summary["other_extractions"] = would_pass(
                answers, rows, problems, benchmark, pool, mode=extraction, rules=rules
            )
    summary["scores"] = _scores(summary, rows, data, pass_at)
    artifacts.write_json(out / "scores.json", summary)
    artifacts.write_json(out / "timing.json", timing)
    return {**summary, **timing}


def _keep(
    out: Path, answers: list[Answer], rows: list[dict[str, Any]], problems: Mapping[str, Problem],
    benchmark: ModuleType, style: str,
) -> None:  # fmt: skip
    """Write the verdicts in the order of the answers, some examples of each outcome, and every answer as it ran."""
    _write_lines(out / "verdicts.jsonl", rows)
    _write_lines(out / "examples.jsonl", _examples(answers, rows, problems, benchmark, style))
    kept.write(out / kept.FILE, answers, problems, benchmark, style)


def _limits(given: Limits | None, problems: Sequence[Problem], rules: SuiteRules) -> Limits:
    """What one program may use: suites have limits of their own, other languages at least what their tools need."""
    check_rules(problems, rules)
    if problems and has_suites(problems[0]):
        return limits_for(problems, rules)
    if any(map(whole.needs_tools, problems)):
        return whole.limits_for(given, problems)
    return given or Limits()


def _timing(judged: int, total: int, seconds: float) -> dict[str, Any]:
    """What timing.json holds: it differs from run to run, and so stands in no other file."""
    rate = round(judged / seconds, 1) if judged else 0.0
    return {"judged": judged, "reused": total - judged, "seconds": round(seconds, 3), "samples_per_s": rate}


def _asked(samples: Path, answers: Sequence[Answer], data: BenchmarkData) -> dict[str, Any]:
    """Which of the benchmark's problems the score is about, and how many answers look like Markdown."""
    return {
        "problems_in_benchmark": len(data.problems) + len(data.not_asked),
        "subset": described(data),
        "samples_not_asked": count_not_asked(samples, data),
        "given_with_fences": sum(a.sample.finish == "given" and "\n```" in "\n" + a.sample.raw for a in answers),
    }


def _ran(
    rows: Sequence[Mapping[str, Any]], data: BenchmarkData, sandbox: str, limits: Limits, extraction: str
) -> dict[str, Any]:
    """How the programs were run, and how they ended."""
    return {
        "sandbox": sandbox,
        "protection": PROTECTION_WHOLE if any(map(whole.is_whole, data.problems)) else PROTECTION,
        "limits": asdict(limits),
        "outcomes": _counts(row["outcome"] for row in rows),
        "extraction_mode": extraction,
        "extractions": _counts(row["extraction"] for row in rows),
    }


def _scores(
    summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], data: BenchmarkData, pass_at: Sequence[int]
) -> list[dict[str, Any]]:  # fmt: skip
    """Every score with all that it takes to trust it; the subset stands beside them, once."""
    common = {key: value for key, value in summary.items() if key != "subset"}
    return [{**common, **score, **score_name(data, score)} for score in scores(rows, clusters_of(data), pass_at)]


@dataclass(frozen=True, slots=True)
class Sandboxes:
    """How sandboxes are opened for one file of samples."""

    workers: int | None
    limits: Limits
    allow_unsafe: bool
    problems: Sequence[Problem] = ()
    executor: Executor | None = None

    def pool(self, most: int = 1 << 10) -> AbstractContextManager[Judges]:
        """At most `most` sandboxes: of this machine, or of the executor's."""
        if self.executor is not None:
            return elsewhere.open_pool(
                self.executor, self.workers, most, self.limits, allow_unsafe=self.allow_unsafe, problems=self.problems
            )
        count = min(self.workers or _cores(), most)
        return Pool(count, self.limits, allow_unsafe=self.allow_unsafe, **whole.opened(self.problems))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _place(item: Any) -> tuple[str, int]:
    return item.task_id, item.index


def row_of(verdict: Verdict, problem: Problem, rules: SuiteRules) -> dict[str, Any]:
    """A verdict as a line of verdicts.jsonl; with suites, also the status of each as EvalPlus names it."""
    row = asdict(verdict)
    if not has_suites(problem):
        del row["suites"]
        return row
    statuses = {suite["name"]: suite["status"] for suite in verdict.suites}
    row["all_inputs"] = rules.all_inputs
    return {**row, **{f"{name}_status": statuses.get(name, "fail") for name in rules.suites(problem)}}


def key_of(problem: Problem, program: Program, limits: Limits, rules: SuiteRules) -> str:
    """Identity of one judgement: nothing else may change its outcome."""
    if has_suites(problem):
        files = {(problem.task_id, name): Path(name) for name in rules.suites(problem)}
        versions = truth.folder_of(problem.extra["data_sha256"]).name
        parts = [JUDGE_VERSION, asdict(suite_job(problem, program, rules, files)), asdict(limits), versions]
    else:
        parts = [JUDGE_VERSION, asdict(any_job(problem, program, limits, rules)), asdict(limits), *_versions(problem)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _versions(problem: Problem) -> list[str]:
    return list(whole.versions([problem]).values()) if whole.needs_tools(problem) else []


def _verdicts(
    path: Path, answers: list[Answer], problems: Mapping[str, Problem], sandboxes: Sandboxes, rules: SuiteRules,
    emit: Emit, step_name: str,
) -> tuple[list[dict[str, Any]], str, int]:  # fmt: skip
    """All verdicts as rows in the order of the answers, the sandbox's level, and how many were reached now."""
    programs = [answer.program for answer in answers]
    keys = {_place(each): key_of(problems[each.task_id], each, sandboxes.limits, rules) for each in programs}
    extraction = {_place(each): each.extraction for each in programs}
    repair_end(path)
    old = read_lines(path) if path.exists() else []
    rows = {
        (row["task_id"], row["index"]): row
        for row in old
        if keys.get((row["task_id"], row["index"])) == row["key"] and not lacks(row)
    }
    missing = [each for each in programs if _place(each) not in rows]
    sandbox = next(iter(rows.values()))["sandbox"] if rows else ""
    if missing:
        with (
            sandboxes.pool(len(missing)) as pool,
            path.open("a", encoding="utf-8", errors="backslashreplace") as stream,
        ):
            sandbox = str(pool.isolated)
            work = Work(answers, problems, rules)
            for verdict in judge_programs(pool, problems, missing, rules, emit=emit, step_name=step_name):
                place = _place(verdict)
                more = {"extraction": extraction[place], "sandbox": sandbox, "key": keys[place]}
                rows[place] = {**row_of(verdict, problems[verdict.task_id], rules), **more}
                append_line(stream, rows[place])
                emit(work.event(step_name, rows, place))
    ordered = [{**rows[place], "extraction": extraction[place]} for place in map(_place, programs)]
    return ordered, sandbox, len(missing)


class Work:
    """Progress in what programs cost, because the dearest are judged first: counting them would promise hours."""

    def __init__(self, answers: list[Answer], problems: Mapping[str, Problem], rules: SuiteRules) -> None:
        self.answers, self.problems, self.rules = answers, problems, rules
        self.cost: dict[str, float] = {}
        self.done = self.total = 0.0

    def event(self, step_name: str, rows: Mapping[tuple[str, int], Any], place: tuple[str, int]) -> Event:
        """The next event, after the verdict at `place`. Costs are known once the expected values are."""
        if not self.cost:
            self.cost = costs(self.problems, self.rules)
            self.total = sum(self.cost[answer.program.task_id] for answer in self.answers)
            self.done = sum(self.cost[other[0]] for other in rows if other != place)
        self.done += self.cost[place[0]]
        count = {"programs": f"{len(rows)}/{len(self.answers)}"}
        return Event("progress", step_name, round(self.done, 2), round(self.total, 2), "of the work", count)


def _examples(
    answers: list[Answer],
    rows: list[dict[str, Any]],
    problems: Mapping[str, Problem],
    benchmark: ModuleType,
    style: str,
) -> Iterator[dict[str, Any]]:
    """The first failures of each outcome, with everything needed to understand them."""
    shown: Counter[str] = Counter()
    for answer, row in zip(answers, rows, strict=True):
        outcome = row["outcome"]
        if outcome == Outcome.PASSED or shown[outcome] >= EXAMPLES_PER_OUTCOME:
            continue
        shown[outcome] += 1
        prompt = prompt_text(benchmark, problems[row["task_id"]], answer.sample.form, style)
        texts = {"prompt": prompt, "raw": answer.sample.raw, "code": answer.program.code}
        yield {**{key: row[key] for key in ("task_id", "index", "outcome", "detail", "extraction")}, **texts}


def _made(samples: Path) -> dict[str, Any]:
    meta = meta_path(samples)
    return dict(json.loads(meta.read_text(encoding="utf-8"))) if meta.exists() else {}


def settings(samples: Path, answers: list[Answer], data: BenchmarkData, model: str) -> dict[str, Any]:
    """What made the samples, from the file beside them, as far as it is known."""
    made = _made(samples)
    forms = {answer.sample.form for answer in answers}
    if len(forms) > 1 and not all(answer.sample.finish == "given" for answer in answers):
        raise UserError(
            "mixes answers of the base and the chat form", where=str(samples), mend="keep one form per file"
        )
    given = all(answer.sample.finish == "given" for answer in answers)
    return {
        "model": model or made.get("model", ""), "benchmark": data.name, "form": "given" if given else forms.pop(),
        "engine": made.get("engine", "unknown"), "temperature": made.get("temperature"), "seed": made.get("seed"),
        "data_version": data.version, "data_sha256": data.sha256, "prompt_style": made.get("prompt_style", "unknown"),
        "samples_sha256": artifacts.file_sha256(samples),
        "languages": sorted({problem.language for problem in data.problems}),
    }  # fmt: skip


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(str(name) for name in names).items()))


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    artifacts.write_bytes(path, text.encode(errors="backslashreplace"))  # a lone surrogate: as JSON escapes it
