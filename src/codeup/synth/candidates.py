"""What methods hand to the filters: a task with its answer, or the reason why there is none, and where it is from.

    one request for 2 tasks -> answer cut off in the second      ->  Candidate("Double x.", "…", "assert …")
                                                                     Candidate(drop="cut off")
    one request without an answer                                ->  Candidate(drop="request given up") x 2

So every task that was asked for is one candidate, and the funnel adds up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeup.synth import sections
from codeup.synth.endpoint import Answer
from codeup.synth.prompts import INSTRUCTION, PROBLEM, SOLUTION, TESTS, Template
from codeup.synth.seeds import Seed

GIVEN_UP = "request given up"
CUT_OFF = "cut off"
FILTERED = "withheld by the endpoint"
EMPTY = "empty answer"
NOT_DELIVERED = "asked for but not in the answer"
NO_SECTION = "a section is missing"
REFUSED = "refusal"
UNANSWERED = "caps ended the run before its answer"

_REFUSAL = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|sorry,|i can(?:no|['’])t (?:help|assist|provide|do|fulfil|create|write)"
    r"|i am unable|i['’]?m unable|as an ai\b|as a language model)", re.I,
)  # fmt: skip
REFUSAL_WITHIN = 200
"""Characters from the beginning in which a refusal shows."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request: its text, the template it is from, how many tasks it asks for, and what they are made from."""

    text: str
    template: Template
    tasks: int = 1
    seeds: tuple[Seed, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(slots=True)
class Candidate:
    """One task that was asked for. `drop` is the reason why it is not kept, '' as long as there is none."""

    instruction: str = ""
    answer: str = ""
    tests: str = ""
    drop: str = ""
    detail: str = ""
    parents: tuple[str, ...] = ()
    seeds: tuple[Seed, ...] = ()
    operation: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """By what it says: the same task and answer, the same id."""
        return hashlib.sha256(f"{self.instruction}\0{self.answer}".encode("utf-8", "replace")).hexdigest()[:16]


def seed_id(seed: Seed) -> str:
    """What stands for a seed among the parents of a row."""
    return "seed-" + hashlib.sha256(seed.text.encode("utf-8", "replace")).hexdigest()[:16]


def request_of(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    """Provenance of one request, for the rows it led to."""
    return {
        "sha256": answer.key, "template": prompt.template.name, "template_sha256": prompt.template.sha256,
        "tasks": prompt.tasks, "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens,
        "usage_reported": answer.counted, "finish": answer.finish, **answer.about,
    }  # fmt: skip


def unanswered(answer: Answer) -> str:
    """Why an answer as a whole is none, or ''."""
    if answer.failure:
        return GIVEN_UP
    if answer.finish == "content_filter":
        return FILTERED
    if not answer.text.strip():
        return CUT_OFF if answer.finish == "length" else EMPTY
    return ""


def refuses(text: str) -> bool:
    """Whether a text begins with a refusal."""
    return bool(_REFUSAL.search(text[:REFUSAL_WITHIN]))


def from_tasks(prompt: Prompt, answer: Answer) -> list[Candidate]:
    """Exactly `prompt.tasks` candidates out of an answer of numbered tasks; what it gives beyond them is ignored."""
    requests = [request_of(prompt, answer)]

    def candidate(parts: Mapping[str, str], drop: str = "") -> Candidate:
        return _from_sections(parts, prompt, requests, drop)

    whole = unanswered(answer)
    if whole:
        return [candidate({}, whole) for _ in range(prompt.tasks)]
    found = sections.tasks(answer.text, (INSTRUCTION, SOLUTION, TESTS))
    if not found and refuses(answer.text):
        return [candidate({}, REFUSED) for _ in range(prompt.tasks)]
    cut = answer.finish == "length"
    made = [
        candidate(task.sections, CUT_OFF if cut and number + 1 == len(found) else "")
        for number, task in enumerate(found)
    ]
    missing = [candidate({}, CUT_OFF if cut and not found else NOT_DELIVERED)] * (prompt.tasks - len(made))
    return [*made, *missing][: prompt.tasks]


def from_problem(prompt: Prompt, answer: Answer) -> Candidate:
    """The one candidate of an answer with a problem, its solution and its tests."""
    parts = sections.sections(answer.text, (PROBLEM, SOLUTION, TESTS))
    parts[INSTRUCTION] = parts.get(PROBLEM, "")
    drop = unanswered(answer) or (CUT_OFF if answer.finish == "length" else "")
    if not drop and SOLUTION not in parts and refuses(answer.text):
        drop = REFUSED
    return _from_sections(parts, prompt, [request_of(prompt, answer)], drop)


def from_answer(instruction: str, prompt: Prompt, answer: Answer, before: Sequence[dict[str, Any]]) -> Candidate:
    """The candidate of a task that is known and an answer with its solution and its tests."""
    parts = {**sections.sections(answer.text, (SOLUTION, TESTS)), INSTRUCTION: instruction}
    drop = unanswered(answer) or (CUT_OFF if answer.finish == "length" else "")
    if not drop and SOLUTION not in parts and refuses(answer.text):
        drop = REFUSED
    return _from_sections(parts, prompt, [*before, request_of(prompt, answer)], drop)


def _from_sections(
    parts: Mapping[str, str], prompt: Prompt, requests: list[dict[str, Any]], drop: str
) -> Candidate:  # fmt: skip
    instruction, solution = parts.get(INSTRUCTION, "").strip(), parts.get(SOLUTION, "").strip()
    if not drop and not (instruction and solution):
        drop = REFUSED if _REFUSAL.search(instruction) else NO_SECTION
    if not drop and (refuses(instruction) or refuses(solution)):
        drop = REFUSED
    if not drop and not sections.fenced(solution):
        drop = CUT_OFF
    tests = parts.get(TESTS, "").strip()
    return Candidate(instruction, solution, tests, drop, "", prompt.parents, prompt.seeds, "", requests)
