"""Files of answers: our own samples.jsonl and EvalPlus-like lines, read with every mistake named.

    {"task_id", "index", "form", "raw", "finish", "tokens"}     written by generate.py; "prefill" where there was one
    {"task_id", "solution"}                                      a whole program, graded as it is
    {"task_id", "completion"}                                    continues the prompt, as human-eval reads it

`Answer.program` is what will run; `Answer.sample` keeps what the model said. Three sets of rules lead from one to the
other: our own (`codeup`, extract.py), the published study's (`codeup-2024`) and EvalPlus's (`evalplus`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts, plugins
from codeup.errors import UserError
from codeup.evaluate import extract_2024, extract_evalplus, extract_fragment, extract_script, extract_whole, prompts
from codeup.evaluate.extract import extract, without_thinking
from codeup.types import BenchmarkData, Problem, Program, Sample

OURS = frozenset(("task_id", "index", "form", "raw", "finish", "tokens"))
EXTRACTIONS = ("codeup", "codeup-2024", "evalplus")
"""Modes of extraction, the default first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer and the program taken from it."""

    sample: Sample
    program: Program


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file. Raises UserError naming the line that is none."""
    return [row for _, row in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """`read_lines` with the number of each row's line, counted from 1; empty lines count and hold no row."""
    artifacts.check_ordinary(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(
            "no such file of samples", where=str(path), mend="name a JSONL file; `codeup generate` writes one"
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), mend="name a JSONL file") from None
    except UnicodeDecodeError as error:
        mend = "give JSON lines as UTF-8 text; unpack a compressed file first"
        raise UserError(
            f"is not UTF-8 text ({error.reason} at byte {error.start})", where=str(path), mend=mend
        ) from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            last = number == len(lines)
            mend = (
                "generate again: finished lines are kept, the cut one is made again"
                if last
                else "mend or remove the line"
            )
            raise UserError(
                f"{'the file ends in the middle: ' if last else ''}{error}", where=f"{path}:{number}", mend=mend
            ) from None
        if not isinstance(row, dict):
            mend = "write one object a line, as JSON Lines; no list around them"
            raise UserError("is not a JSON object", where=f"{path}:{number}", mend=mend)
        rows.append((number, row))
    return rows


def find_samples(folder: Path, sha256: str) -> Path | None:
    """The file of answers, known by its content: in the folder, beside it, or in a step beside it."""
    near = [*folder.glob("*.jsonl"), *folder.parent.glob("*.jsonl"), *folder.parent.glob("*/samples.jsonl")]
    return next((path for path in near if artifacts.file_sha256(path) == sha256), None)


def append_line(stream: Any, value: Mapping[str, Any]) -> None:
    """One JSON line, on disk before this returns to the caller's buffer."""
    stream.write(json_line(value))
    stream.flush()


def json_line(value: Mapping[str, Any]) -> str:
    """A line of JSONL with its end."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def repair_end(path: Path) -> None:
    """Cut a last line that was not written to its end, so that appending continues cleanly."""
    if path.exists():
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            path.write_bytes(whole)


def to_row(sample: Sample) -> dict[str, Any]:
    """The JSON object of a sample."""
    return asdict(sample)


def read_answers(
    path: Path, benchmark: ModuleType, data: BenchmarkData, *, partial: bool = False, extraction: str = EXTRACTIONS[0]
) -> list[Answer]:
    """Every answer in a file to a problem that is asked for, in the benchmark's order.

    Several lines of one task are its samples, numbered as they come. Raises UserError for what does not fit.
    """
    if extraction not in EXTRACTIONS:
        raise UserError(f"no extraction is named {extraction!r}", mend=f"use one of {', '.join(EXTRACTIONS)}")
    others = set(data.not_asked)
    rows = [(number, row) for number, row in _with_tasks(path, data) if row["task_id"] not in others]
    problems = {problem.task_id: problem for problem in data.problems}
    _check_tasks(path, [row for _, row in rows], problems, partial=partial)
    seen: Counter[str] = Counter()
    answers = []
    for number, row in rows:
        task = row["task_id"]
        sample = _sample(row, seen[task], where=f"{path}:{number}")
        answers.append(Answer(sample, program_of(sample, problems[task], benchmark, extraction)))
        seen[task] += 1
    places = {task: place for place, task in enumerate(problems)}
    answers.sort(key=lambda answer: (places[answer.sample.task_id], answer.sample.index))
    twice = [key for key, n in Counter((a.sample.task_id, a.sample.index) for a in answers).items() if n > 1]
    if twice:
        raise UserError(
            f"sample {twice[0][1]} of {twice[0][0]} occurs twice", where=str(path), mend="remove one of the two lines"
        )
    return answers


def count_not_asked(path: Path, data: BenchmarkData) -> int:
    """How many samples of a file are for problems of the benchmark that were not asked for."""
    others = set(data.not_asked)
    return sum(row["task_id"] in others for _, row in _with_tasks(path, data)) if others else 0


def answered_tasks(path: Path, data: BenchmarkData) -> set[str]:
    """The problems that a file answers."""
    return {row["task_id"] for _, row in _with_tasks(path, data)}


def _with_tasks(path: Path, data: BenchmarkData) -> list[tuple[int, dict[str, Any]]]:
    """The numbered rows of a file that holds some, each with a task id of the benchmark where it names one.

    A number, or the part of an id behind its "/", names the one problem whose id ends so: 7 and "7" are CPP/7.
    """
    whole = {problem.task_id for problem in data.problems} | set(data.not_asked)
    ends = Counter(task.rpartition("/")[2] for task in whole)
    known = {end: task for task in whole if ends[end := task.rpartition("/")[2]] == 1}
    rows = [(number, {**row, **_task(row.get("task_id"), whole, known)}) for number, row in numbered_lines(path)]
    if not rows:
        raise UserError(
            "holds no samples", where=str(path), mend='write one JSON object a line: {"task_id", "solution"}'
        )
    for number, row in rows:
        if not isinstance(row.get("task_id"), str):
            what = _kind(row["task_id"]) if "task_id" in row else "missing"
            raise UserError(f'its "task_id" is {what}', where=f"{path}:{number}", mend="name the task as text")
    return rows


def _task(value: Any, whole: Collection[str], known: Mapping[str, str]) -> dict[str, str]:
    """The benchmark's own id in place of a number or of the end of one; nothing where none is meant."""
    named = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(named, str):
        return {}
    return {"task_id": named if named in whole else known.get(named, named)}


def _kind(value: Any) -> str:
    """What a JSON value is, for a person: a number, not text."""
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else f"{names.get(type(value), 'empty text')}, not text"


def _check_tasks(path: Path, rows: list[dict[str, Any]], problems: Mapping[str, Problem], *, partial: bool) -> None:
    tasks = [row.get("task_id") for row in rows]
    unknown = list(dict.fromkeys(str(task) for task in tasks if task not in problems))
    if unknown:
        raise UserError(
            f"{len(unknown)} task ids are not in this benchmark: {_some(unknown)}",
            where=str(path),
            mend=f"name the benchmark the samples are for; this one has {_some(list(problems), 2)}",
        )
    missing = [task for task in problems if task not in set(tasks)]
    if missing and (not partial or not rows):
        raise UserError(
            f"{len(missing)} of {len(problems)} tasks have no sample: {_some(missing)}",
            where=str(path),
            mend="generate the rest, or ask for a partial evaluation (--partial): its score counts the tasks present",
        )


def _some(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _sample(row: Mapping[str, Any], index: int, *, where: str) -> Sample:
    if "raw" in row:
        lacking = OURS - row.keys()
        texts = isinstance(row["raw"], str) and isinstance(row.get("prefill", ""), str)
        counted = isinstance(row.get("index"), int) and row["index"] >= 0
        if lacking or row["form"] not in ("base", "chat") or not texts or not counted:
            raise UserError(f"is not a sample: check {', '.join(sorted(lacking)) or 'form, raw, index'}", where=where)
        return Sample(**{key: row[key] for key in OURS}, prefill=row.get("prefill", ""))
    for key in ("solution", "completion"):
        if isinstance(row.get(key), str):
            return Sample(row["task_id"], index, "base" if key == "completion" else "chat", row[key], "given")
    wrong = [f'"{key}" is {_kind(row[key])}' for key in ("solution", "completion") if key in row]
    raise UserError(
        f"the answer to {row['task_id']} is not text: {', '.join(wrong)}"
        if wrong
        else f'the answer to {row["task_id"]} has neither "raw", "solution" nor "completion"',
        where=where,
        mend='give a whole program as "solution", or the text after the prompt as "completion"',
    )


def program_of(sample: Sample, problem: Problem, benchmark: ModuleType, extraction: str = EXTRACTIONS[0]) -> Program:
    """The program in an answer: continued from the prompt (base form), or taken from the text (chat form)."""
    if sample.form == "base" and "suffix" in problem.extra:  # an empty answer is a program too
        code = str(benchmark.program_from_completion(problem, sample.raw))
        rule = "given-completion" if sample.finish == "given" else "filled-gap"
    elif not sample.raw.strip():
        code, rule = "", f"given-{_given(sample)}" if sample.finish == "given" else "empty"
    elif extraction == "evalplus":
        code, rule = _evalplus(sample, problem)
    elif "compared" in problem.extra:
        code, rule = _text(sample, problem, benchmark)
    elif sample.finish == "given" and (problem.extra.get("whole") or "stops" in problem.extra):
        code, rule = _given_whole(sample, problem, benchmark), f"given-{_given(sample)}"
    elif sample.finish == "given":
        code = problem.prompt + sample.raw if sample.form == "base" else sample.raw
        rule = f"given-{_given(sample)}"
    elif extraction == "codeup-2024":
        code, rule = _codeup_2024(sample, problem)
    elif sample.form == "base":
        code, rule = benchmark.program_from_completion(problem, sample.raw), "completion"
    else:
        language = plugins.load("languages", problem.language)
        if problem.extra.get("inserted"):
            taken = extract_fragment.extract(sample.prefill + sample.raw, problem, benchmark, language)
            return Program(problem.task_id, sample.index, taken.code, taken.rule)
        if problem.extra.get("whole"):
            taken = extract_whole.extract(sample.prefill + sample.raw, problem.entry_point, language)
            return Program(problem.task_id, sample.index, _solution(problem, taken.code, benchmark), taken.rule)
        name, text = str(problem.extra.get("defines", problem.entry_point)), sample.prefill + sample.raw
        found = extract(text, name, language) if name else extract_script.extract(text, language)
        asked = str(problem.extra.get("question", problem.prompt))
        code = language.assemble(asked, problem.entry_point, found.code) if found.code else ""
        rule = found.rule
    return Program(problem.task_id, sample.index, code, rule)


def _text(sample: Sample, problem: Problem, benchmark: ModuleType) -> tuple[str, str]:
    """The text of an answer that is compared: as given, the first block of code, or the words without thinking."""
    if sample.finish == "given":
        return sample.raw, f"given-{_given(sample)}"
    if sample.form == "base":
        return str(benchmark.program_from_completion(problem, sample.raw)), "completion"
    if problem.extra["compared"] == "code":
        language = plugins.load("languages", problem.language)
        found = extract_fragment.extract(sample.prefill + sample.raw, problem, benchmark, language)
        return found.code, found.rule
    return " ".join(without_thinking(sample.prefill + sample.raw)[0].split()), "words"


def _given_whole(sample: Sample, problem: Problem, benchmark: ModuleType) -> str:
    """A given answer in another language: as it is, unless its benchmark says where a completion stops."""
    if sample.form == "chat":
        return _solution(problem, sample.raw, benchmark)
    if "stops" in problem.extra:
        return str(benchmark.program_from_completion(problem, sample.raw))
    return problem.prompt + sample.raw


def _solution(problem: Problem, code: str, benchmark: ModuleType) -> str:
    """A whole solution as the tests of its benchmark can follow it."""
    follows = bool({"stops", "joined"} & problem.extra.keys())
    return str(benchmark.program_from_solution(problem, code)) if follows and code else code


def _given(sample: Sample) -> str:
    return "completion" if sample.form == "base" else "solution"


def _evalplus(sample: Sample, problem: Problem) -> tuple[str, str]:
    """EvalPlus sanitizes the completed prompt of a base model, and of a chat model what it wrote after the prefill."""
    before = "" if sample.form == "chat" else problem.prompt.strip() + "\n"
    if sample.finish == "given" and sample.form == "base":
        before = problem.prompt + "\n"  # as its command line does
    found = extract_evalplus.sanitize(before + sample.raw, problem.entry_point)
    return found.text, "evalplus-limited" if found.limited else "evalplus"


def _codeup_2024(sample: Sample, problem: Problem) -> tuple[str, str]:
    """The study writes completions, which are graded behind the prompt."""
    if sample.form == "base":
        code = extract_2024.from_completion(sample.raw, prompts.stops("codeup-2024", None, [problem], "base"))
    else:
        code = extract_2024.from_chat(sample.raw)
    return problem.prompt + code, "last-block" if sample.form == "chat" else "completion-2024"
