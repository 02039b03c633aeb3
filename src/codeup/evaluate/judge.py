"""Run the programs of a samples file in the sandbox, and score them.

    samples.jsonl -> Answer -> Job -> Verdict -> Score      out/verdicts.jsonl   one line per sample, continued on rerun
                                                            out/examples.jsonl   the first failures of each outcome
                                                            out/scores.json      the summary that is returned

The score is the unbiased pass@k of Chen et al. 2021 with the Wilson interval over problems; a sandbox that fails raises
and leaves no verdict. A verdict is reused only for the same program, tests and limits.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts, stats
from codeup.errors import UserError
from codeup.evaluate.generate import meta_path, prompt_text
from codeup.evaluate.samples import Answer, append_line, read_answers, read_lines, repair_end
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Job, Pool
from codeup.types import BenchmarkData, Emit, Event, Outcome, Problem, Program, Score, Verdict, ignore_event

EXAMPLES_PER_OUTCOME = 20
KS = (1, 10, 100)
JUDGE_VERSION = 1
"""Part of a verdict's key: raise it when the same program could be judged differently."""


def judge_one(problem: Problem, code: str, *, pool: Pool | None = None, limits: Limits | None = None) -> Verdict:
    """The verdict on one program for one problem. Starts a sandbox for it unless given one."""
    program = Program(problem.task_id, 0, code, "given-solution")
    if pool is not None:
        return next(iter(judge_programs(pool, {problem.task_id: problem}, [program])))
    with Pool(1, limits) as own:
        return next(iter(judge_programs(own, {problem.task_id: problem}, [program])))


def judge_programs(pool: Pool, problems: Mapping[str, Problem], programs: Iterable[Program]) -> Iterator[Verdict]:
    """Verdicts as they are reached. A program without code is NO_CODE and is not run."""
    jobs = []
    for program in programs:
        if program.code.strip():
            jobs.append(job(problems[program.task_id], program))
        else:
            yield Verdict(
                program.task_id, program.index, Outcome.NO_CODE, f"no code in the answer ({program.extraction})"
            )
    yield from pool.judge(jobs)


def job(problem: Problem, program: Program) -> Job:
    """What the sandbox needs: the program for the runner, the tests and their reference for the referee."""
    reference = problem.extra.get("reference", problem.prompt + problem.canonical_solution)
    return Job(problem.task_id, program.index, program.code, problem.entry_point, problem.tests, str(reference))


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
    extraction: str = "codeup",
    other_extractions: bool = False,
    model: str = "",
    emit: Emit = ignore_event,
    step_name: str = "judge",
) -> dict[str, Any]:
    """Judge every sample of a file and write verdicts and scores into `out`.

    `partial` allows samples for some of the problems only; the score then counts those, and says how many there are.
    Raises UserError for a file that does not fit, WorkFailed when the sandbox fails; verdicts reached before are kept.
    """
    limits = limits or Limits()
    answers = read_answers(samples, benchmark, data, partial=partial, extraction=extraction)
    problems = {problem.task_id: problem for problem in data.problems}
    out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    keys = {_place(a.program): _key(problems[a.program.task_id], a.program, limits) for a in answers}
    rows, sandbox, judged = _verdicts(
        out / "verdicts.jsonl", answers, problems, keys, workers or _cores(), limits, allow_unsafe, emit, step_name
    )
    seconds = time.monotonic() - start
    style = _made(samples).get("prompt_style", "default")
    _write_lines(out / "verdicts.jsonl", rows)
    _write_lines(out / "examples.jsonl", _examples(answers, rows, problems, benchmark, style))
    summary = {
        **_settings(samples, answers, data, model),
        "problems_in_benchmark": len(data.problems),
        "sandbox": sandbox,
        "limits": asdict(limits),
        "outcomes": _counts(row["outcome"] for row in rows),
        "extraction_mode": extraction,
        "extractions": _counts(row["extraction"] for row in rows),
        "judged": judged,
        "reused": len(rows) - judged,
        "seconds": round(seconds, 3),
        "samples_per_s": round(judged / seconds, 1) if judged else 0.0,
        "scores": scores(rows),
    }
    if other_extractions:
        from codeup.evaluate.other_extractions import would_pass

        with Pool(workers or _cores(), limits, allow_unsafe=allow_unsafe) as pool:
            others = would_pass(answers, rows, problems, benchmark, pool, mode=extraction)
        summary["other_extractions"] = others
    common = {
        key: summary[key] for key in summary if key not in ("scores", "seconds", "samples_per_s", "judged", "reused")
    }
    summary["scores"] = [{**common, **score} for score in summary["scores"]]
    artifacts.write_json(out / "scores.json", summary)
    return summary


def scores(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """pass@k for every k that each problem has enough samples for, with n problems and the Wilson interval.

    The interval treats problems as drawn from a wider set and takes the mean of their pass rates as successes / n.
    """
    passes: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        passes[row["task_id"]].append(row["outcome"] == Outcome.PASSED)
    fewest = min((len(each) for each in passes.values()), default=0)
    found = []
    for k in (k for k in KS if k <= fewest):
        values = [stats.pass_at_k(len(each), sum(each), k) for each in passes.values()]
        value = sum(values) / len(values)
        low, high = stats.wilson(sum(values), len(values))
        counts = {"passed": sum(map(sum, passes.values())), "samples": len(rows)}
        found.append({**asdict(Score(f"pass@{k}", value, low, high, len(values))), **counts})
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _place(item: Any) -> tuple[str, int]:
    return item.task_id, item.index


def _key(problem: Problem, program: Program, limits: Limits) -> str:
    """Identity of one judgement: nothing else may change its outcome."""
    parts = [JUDGE_VERSION, asdict(job(problem, program)), asdict(limits)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _verdicts(
    path: Path, answers: list[Answer], problems: Mapping[str, Problem], keys: Mapping[tuple[str, int], str],
    workers: int, limits: Limits, allow_unsafe: bool, emit: Emit, step_name: str,
) -> tuple[list[dict[str, Any]], str, int]:  # fmt: skip
    """All verdicts as rows in the order of the answers, the sandbox's level, and how many were reached now."""
    repair_end(path)
    old = read_lines(path) if path.exists() else []
    rows = {
        (row["task_id"], row["index"]): row for row in old if keys.get((row["task_id"], row["index"])) == row["key"]
    }
    missing = [answer.program for answer in answers if _place(answer.program) not in rows]
    extraction = {_place(answer.program): answer.program.extraction for answer in answers}
    sandbox = next(iter(rows.values()))["sandbox"] if rows else ""
    if missing:
        with Pool(min(workers, len(missing)), limits, allow_unsafe=allow_unsafe) as pool, path.open("a") as stream:
            sandbox = str(pool.isolated)
            for verdict in judge_programs(pool, problems, missing):
                place = _place(verdict)
                more = {"extraction": extraction[place], "sandbox": sandbox, "key": keys[place]}
                rows[place] = {**asdict(verdict), **more}
                append_line(stream, rows[place])
                emit(Event("progress", step_name, len(rows), len(answers), "programs"))
    ordered = [_place(answer.program) for answer in answers]
    return [{**rows[place], "extraction": extraction[place]} for place in ordered], sandbox, len(missing)


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


def _settings(samples: Path, answers: list[Answer], data: BenchmarkData, model: str) -> dict[str, Any]:
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
    }  # fmt: skip


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(str(name) for name in names).items()))


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    artifacts.write_bytes(path, text.encode())
