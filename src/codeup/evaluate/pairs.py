"""Preference pairs out of judged answers: to one problem, an answer that passed its tests and one that failed.

    samples.jsonl + verdicts.jsonl, several samples per problem
    problem 7: passed a c, failed b d e   ->   (a, b) (c, d) (a, e)      at most `per_problem`, drawn by the seed
    problem 8: all failed                 ->   Drop("no finished answer passed")

The prompt is the one the answers were given to, in its prompt style. Answers cut at the token limit are not used, on
either side: their end was not the model's. Only chat answers have a prompt template to be trained in.
Does not know which problems a study is evaluated on; `shared_problems` compares them for the caller.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts
from codeup.data.rows import BAD_UNICODE, Drop, Pair, is_valid_unicode
from codeup.errors import UserError
from codeup.evaluate import prompts
from codeup.evaluate.samples import find_samples, read_lines
from codeup.types import BenchmarkData, Message, Outcome, Problem

NONE_PASSED = "no finished answer passed"
NONE_FAILED = "no finished answer failed"


@dataclass(frozen=True, slots=True)
class Judged:
    """A folder of verdicts with the file of answers they are about, and how the problems were put."""

    folder: Path
    samples: Path
    benchmark: str
    problems: Path | None
    data_sha256: str
    prompt_style: str

    @property
    def verdicts(self) -> Path:
        return self.folder / "verdicts.jsonl"


def find_judged(folder: Path) -> list[Judged]:
    """The judged chat answers of an evaluation folder, of a judge step, or of all judge steps of a run folder.

    Raises UserError where there are none, or where the answers cannot be found.
    """
    if (folder / "run.json").is_file():
        steps = json.loads((folder / "run.json").read_text(encoding="utf-8"))["steps"]
        folders = [folder / place for name, place in steps.items() if name.startswith("judge-")]
        folders = [each for each in folders if _scores(each)["form"] == "chat"]
    else:
        folders = [folder]
    if not folders or not all((each / "verdicts.jsonl").is_file() for each in folders):
        raise UserError(
            "holds no verdicts on chat answers", where=str(folder),
            mend="give a run folder, or the folder that `codeup evaluate` wrote",
        )  # fmt: skip
    return [_judged(each) for each in folders]


def _judged(folder: Path) -> Judged:
    scores = _scores(folder)
    if scores["form"] != "chat":
        raise UserError(
            f"its answers are of the {scores['form']} form, which has no prompt template", where=str(folder),
            mend="generate with --form chat and judge again",
        )  # fmt: skip
    marker = folder / artifacts.MARKER
    spec = json.loads(marker.read_text(encoding="utf-8"))["spec"] if marker.is_file() else {}
    path = spec.get("at", {}).get("path")
    return Judged(
        folder=folder,
        samples=_samples(folder, scores["samples_sha256"]),
        benchmark=spec.get("benchmark", {}).get("name", scores["benchmark"]),
        problems=Path(spec["at"]["data_root"] or ".") / path if path else None,
        data_sha256=scores["data_sha256"],
        prompt_style="default" if scores["prompt_style"] == "unknown" else scores["prompt_style"],
    )


def _scores(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "scores.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            "holds no scores.json", where=str(folder), mend="give a run folder, or one that `codeup evaluate` wrote"
        ) from None
    except ValueError:
        raise UserError("damaged scores.json", where=str(folder), mend="judge the answers again") from None


def _samples(folder: Path, sha256: str) -> Path:
    path = find_samples(folder, sha256)
    if path is None:
        raise UserError(
            "the answers that were judged here are not beside it", where=str(folder),
            mend="put the samples file that was judged, unchanged, into this folder",
        )  # fmt: skip
    return path


def load_problems(judged: Judged, benchmark: ModuleType, problems: Path | None) -> BenchmarkData:
    """The problems that were judged, from `problems`, the run's own file or the benchmark. UserError for others."""
    data: BenchmarkData = benchmark.load(problems or judged.problems)
    if data.sha256 != judged.data_sha256:
        raise UserError(
            f"the verdicts are on other problems than those of {problems or judged.problems or judged.benchmark}",
            where=str(judged.folder), mend="name the file that was judged: problems: FILE",
        )  # fmt: skip
    return data


def verdict_pairs(
    judged: Judged, benchmark: ModuleType, data: BenchmarkData, *, per_problem: int, seed: int, label: str
) -> Iterator[Pair | Drop]:
    """At most `per_problem` pairs for every problem with answers, or one Drop that says why there is none.

    `label` and the problem's number in the file are what the items carry as source and row.
    """
    answers = _by_task(judged)
    for number, problem in enumerate(data.problems):
        if problem.task_id not in answers:
            continue
        passed, failed = answers[problem.task_id]
        if not passed or not failed:
            yield Drop(NONE_FAILED if passed else NONE_PASSED, problem.task_id, label, number)
            continue
        draw = random.Random(f"{seed}/{problem.task_id}")
        draw.shuffle(passed)
        draw.shuffle(failed)
        question = Message("user", prompts.ask(judged.prompt_style, benchmark, problem, "chat").text)
        for k in range(min(per_problem, max(len(passed), len(failed)))):
            messages = (question, Message("assistant", passed[k % len(passed)]))
            pair = Pair(messages, label, number, problem.task_id, failed[k % len(failed)])
            yield pair if is_valid_unicode(pair) else Drop(BAD_UNICODE, problem.task_id, label, number)


def _by_task(judged: Judged) -> dict[str, tuple[list[str], list[str]]]:
    """Different finished answers of each task, those that passed and those that failed."""
    outcomes = {(row["task_id"], row["index"]): row["outcome"] for row in read_lines(judged.verdicts)}
    found: dict[str, tuple[list[str], list[str]]] = {}
    for row in read_lines(judged.samples):
        key = (row["task_id"], row.get("index"))
        if "raw" not in row or key not in outcomes:
            continue
        passed, failed = found.setdefault(row["task_id"], ([], []))
        text = row.get("prefill", "") + row["raw"]
        side = passed if outcomes[key] == Outcome.PASSED else failed
        if row["finish"] == "stop" and text.strip() and text not in (*passed, *failed):
            side.append(text)
    return found


def shared_problems(ours: Iterable[Problem], theirs: Sequence[Problem]) -> list[str]:
    """Ids of those of `ours` that are also among `theirs`: the same prompt, white space aside."""
    prompts_there = {" ".join(problem.prompt.split()) for problem in theirs}
    return [problem.task_id for problem in ours if " ".join(problem.prompt.split()) in prompts_there]
