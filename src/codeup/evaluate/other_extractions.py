"""How many answers that failed would have passed if the program had been taken from them by other rules.

    verdict not PASSED -> the programs that the two other modes find -> those not run yet, each once -> how many pass

The raw answers are kept, so that this can be asked of any old samples file. A large number says that a score measures
the extraction as much as the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from codeup.evaluate.programs import SuiteRules, judge_programs
from codeup.evaluate.samples import EXTRACTIONS, Answer, program_of
from codeup.sandbox.pool import Judges
from codeup.types import Outcome, Problem, Program


def would_pass(
    answers: Sequence[Answer],
    rows: Sequence[Mapping[str, Any]],
    problems: Mapping[str, Problem],
    benchmark: ModuleType,
    pool: Judges,
    *,
    mode: str = EXTRACTIONS[0],
    rules: SuiteRules | None = None,
) -> dict[str, int]:
    """Other mode -> samples that failed and would pass under it. `rows` are the verdicts of `answers`, under `mode`."""
    failed = [a for a, row in zip(answers, rows, strict=True) if row["outcome"] != Outcome.PASSED]
    others = [name for name in EXTRACTIONS if name != mode]
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in others}  # (task, code) per failed sample
    for answer in failed:
        for name in others:
            code = program_of(answer.sample, problems[answer.sample.task_id], benchmark, name).code
            if code.strip() and code != answer.program.code:
                found[name].append((answer.sample.task_id, code))
    distinct = list(dict.fromkeys(key for keys in found.values() for key in keys))
    programs = [Program(task, number, code, "other") for number, (task, code) in enumerate(distinct)]
    verdicts = judge_programs(pool, problems, programs, rules)
    passed = {distinct[verdict.index] for verdict in verdicts if verdict.outcome == Outcome.PASSED}
    return {name: sum(key in passed for key in keys) for name, keys in found.items()}
