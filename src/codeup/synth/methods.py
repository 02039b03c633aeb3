"""The three methods: which requests to make, and what becomes of the answers. Filters and files are make.py's.

    self-instruct    SHOWN known tasks, drawn for each request from the seeds alone -> TASKS new ones
    oss-instruct     a snippet of code                                              -> a problem with its solution
    evol             a task, one of six operations                                  -> a new task -> its solution
                     round 2 goes on from what round 1 kept; a task without a kept successor stays for the next

A request depends on its number and the seed of the run only (in evol also on the answers before it), never on how many
are under way or on when answers arrive: an interrupted run asks for the same things again, and finds them in the cache.

Evol's eliminations: no change from the parent, a refusal, nothing but stop words and signs, words of our own prompt
(Xu et al. 2023, section 3.2). Their first rule, a model that judges the gain, is not covered.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codeup.synth import prompts
from codeup.synth.alike import similarity
from codeup.synth.candidates import (
    UNANSWERED,
    Candidate,
    Prompt,
    from_answer,
    from_problem,
    from_tasks,
    refuses,
    request_of,
    seed_id,
    unanswered,
)  # fmt: skip
from codeup.synth.endpoint import Answer
from codeup.synth.seeds import Code, Seed, snippets

SHOWN = 3
TASKS = 5
"""Tasks per request of self-instruct. Twenty, as published, do not fit one answer once each brings its tests."""
LONGEST_EXAMPLE = 2000
"""Characters of a known task that are shown."""
WAVE = 128
"""Requests, or parents, between one look at the rows and the next."""
FIRST_YIELD, LEAST_YIELD = 0.5, 0.05
UNCHANGED = 0.95
"""ROUGE-L F from which an evolved task is its parent."""

NO_CHANGE = "no change from its parent"
LEAKED = "talks about the rewriting"
NO_WORDS = "nothing but stop words"
_STOP = """a an and are as at be but by can do for from has have how i if in is it its me my no not of on or so that the
then this to was we what when which will with you your"""
STOP_WORDS = frozenset(_STOP.split())


class Run(Protocol):
    """What make.py gives the methods."""

    rows: int
    rounds: int
    seed: int
    tests: bool
    requested: int

    def ask(self, asked: Sequence[Prompt], round_: int) -> list[Answer]:
        """Answers to the first prompts, as many as the caps allow."""

    def take(self, found: Sequence[Candidate], round_: int) -> list[Candidate]:
        """The candidates that are kept."""

    @property
    def kept(self) -> int:
        """Rows so far."""

    @property
    def done(self) -> bool:
        """Enough rows, or a cap reached."""


def self_instruct(run: Run, seeds: Sequence[Seed]) -> None:
    """New tasks like the seeds."""
    template = prompts.self_instruct(tests=run.tests)
    numbers = itertools.count()
    for round_ in itertools.count(1):
        if run.done:
            return
        asked = [_self_prompt(run, seeds, template, next(numbers)) for _ in range(_wave(run, TASKS))]
        answers = run.ask(asked, round_)
        run.take(
            [each for prompt, answer in zip(asked, answers, strict=False) for each in from_tasks(prompt, answer)],
            round_,
        )


def _self_prompt(run: Run, seeds: Sequence[Seed], template: prompts.Template, number: int) -> Prompt:
    shown = random.Random(f"{run.seed} self-instruct {number}").sample(list(seeds), min(SHOWN, len(seeds)))
    examples = "\n\n".join(_example(place, each) for place, each in enumerate(shown, 1))
    text = template.fill(shown=len(shown), asked=TASKS, examples=examples)
    return Prompt(text, template, TASKS, tuple(shown), tuple(map(seed_id, shown)))


def _example(number: int, seed: Seed) -> str:
    solution = f"\n\n[Solution]\n{seed.answer[:LONGEST_EXAMPLE]}" if seed.answer else ""
    return f"### Task {number}\n\n[Instruction]\n{seed.text[:LONGEST_EXAMPLE]}{solution}"


def oss_instruct(run: Run, files: Sequence[Code]) -> None:
    """Problems that pieces of code suggest."""
    template = prompts.oss_instruct(tests=run.tests)
    drawn = snippets(files, run.seed)
    for round_ in itertools.count(1):
        if run.done:
            return
        chosen = list(itertools.islice(drawn, _wave(run, 1)))
        asked = [Prompt(template.fill(snippet=each.text), template, 1, (each,), (seed_id(each),)) for each in chosen]
        run.take([from_problem(*pair) for pair in zip(asked, run.ask(asked, round_), strict=False)], round_)


def _wave(run: Run, tasks: int) -> int:
    """Requests that should give the missing rows, going by the share that was kept so far."""
    share = max(LEAST_YIELD, run.kept / run.requested) if run.requested else FIRST_YIELD
    return min(WAVE, max(1, math.ceil((run.rows - run.kept) / (share * tasks))))


@dataclass(frozen=True, slots=True)
class _Parent:
    """A task to evolve: a seed, or a row that was kept."""

    instruction: str
    id: str
    seeds: tuple[Seed, ...]


def evol(run: Run, seeds: Sequence[Seed]) -> None:
    """Harder tasks out of the seeds, round after round."""
    parents = [_Parent(each.text, seed_id(each), (each,)) for each in seeds]
    random.Random(f"{run.seed} evol").shuffle(parents)
    for round_ in range(1, run.rounds + 1):
        following: list[_Parent] = []
        for begin in range(0, len(parents), WAVE):
            if run.done:
                return
            batch = parents[begin : begin + WAVE]
            kept = {each.parents[0]: each for each in run.take(_evolved(run, batch, round_), round_)}
            for parent in batch:
                child = kept.get(parent.id)
                following.append(_Parent(child.instruction, child.id, child.seeds) if child else parent)
        parents = following


def _evolved(run: Run, parents: Sequence[_Parent], round_: int) -> list[Candidate]:
    """One candidate for each parent whose task was asked for."""
    operations = [
        random.Random(f"{run.seed} evol {round_} {each.id}").choice(list(prompts.OPERATIONS)) for each in parents
    ]
    asked = [
        Prompt(template.fill(instruction=parent.instruction), template, 1, parent.seeds, (parent.id,))
        for parent, template in zip(parents, map(prompts.evolve, operations), strict=True)
    ]
    found = [
        _new_task(parent, operation, prompt, answer)
        for parent, operation, prompt, answer in zip(parents, operations, asked, run.ask(asked, round_), strict=False)
    ]
    template = prompts.answer(tests=run.tests)
    alive = [each for each in found if not each.drop]
    asked = [
        Prompt(template.fill(instruction=each.instruction), template, 1, each.seeds, each.parents) for each in alive
    ]
    answers = run.ask(asked, round_) if asked else []
    solved: dict[int, Candidate] = {}
    for each, prompt, answer in zip(alive, asked, answers, strict=False):
        solved[id(each)] = from_answer(each.instruction, prompt, answer, each.requests)
        solved[id(each)].operation = each.operation
    for each in alive[len(answers) :]:
        each.drop = UNANSWERED
    return [solved.get(id(each), each) for each in found]


def _new_task(parent: _Parent, operation: str, prompt: Prompt, answer: Answer) -> Candidate:
    """The evolved task, or why it is eliminated."""
    text = re.sub(r"\A\s*(?:#+\s*)?(?:\[|\*\*)?(?:new )?task(?:\]|\*\*)?\s*:\s*", "", answer.text, flags=re.I).strip()
    drop = (
        unanswered(answer) or ("cut off" if answer.finish == "length" else "") or eliminated(parent.instruction, text)
    )
    requests: list[dict[str, Any]] = [request_of(prompt, answer)]
    return Candidate(text, "", "", drop, "", prompt.parents, prompt.seeds, operation, requests)


def eliminated(parent: str, text: str) -> str:
    """Why an evolved task is none, or ''.

    >>> eliminated("Double x.", "double X"), eliminated("x", "Sorry, I can't."), eliminated("x", "To be of:")
    ('no change from its parent', 'refusal', 'nothing but stop words')
    """
    if refuses(text):
        return "refusal"
    if all(word in STOP_WORDS for word in re.findall(r"\w+", text.lower())):
        return NO_WORDS
    if similarity(parent, text) >= UNCHANGED or parent.split() == text.split():
        return NO_CHANGE
    lowered = text.lower()
    if any(leak in lowered and leak not in parent.lower() for leak in prompts.LEAKS):
        return LEAKED
    return ""
