"""Which rows hold a benchmark problem: by text, by the shape of functions, and by running them.

    method             evidence                                                             decides
    prompt, tests      COVERAGE of the 13-grams of an item's prompt or tests                drop
    solution           COVERAGE of the 10-grams of its solution                             drop, unless textbook
    shape              a function equal but for names, of SHAPE_NODES syntax nodes or more  drop, unless textbook
    execution          a function of the row gives all expected values and most on varied   drop, unless textbook
                       inputs, or, in another language than Python, passes the item's own
                       tests (programs.py; varied inputs where screen.py knows some)
    near execution     ... nearly all, in a row among the NEAR_RANK most like the item      drop, unless textbook
    name, examples     among those, a function of its name, or two of its example inputs    drop, unless textbook
    any of these, less one shared gram; a textbook solution; a problem whose tests prove    mark
                       little

Textbook: rows of TEXTBOOK or more unrelated requests give that evidence for one problem. Everybody who asks for
`is_prime` gets it; it is no sign that the benchmark was copied. Requests are unrelated where less than RELATED of
their words are shared, so a leak that was copied does not excuse itself. A textbook row is dropped all the same where
it also holds two of the item's example inputs or a 13-gram of its prompt. What a textbook function answers besides is
no evidence either (other languages than Python).

Recall is not complete: a solution in a language that no item is in, a script without a function, or a function with
other arguments is found by what it shares as text only (likeness.py). What looks most like each item and was not
dropped is listed (`residue`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codeup.data import words
from codeup.data.contamination.items import Item
from codeup.data.contamination.ngrams import FIELDS, Overlap
from codeup.data.contamination.retrieval import Ranked, Ranking
from codeup.data.dedup import clusters
from codeup.data.spool import Spool
from codeup.data.store import texts_of
from codeup.decontaminate import likeness, programs
from codeup.decontaminate.likeness import NEAR_RANK, Likeness
from codeup.decontaminate.look import MOST_PROGRAMS, Looking, Seen, look
from codeup.decontaminate.programs import Tried
from codeup.decontaminate.suites import FEW, Problem, agreeing, problems
from codeup.decontaminate.trials import LIMITS, Function, Solved, Trials, functions_of
from codeup.executors import Executor
from codeup.sandbox.pool import Pool
from codeup.types import Conversation, Emit, ignore_event

Action = Literal["report", "mark", "drop"]
Run = Literal["auto", "all", "retrieved", "none"]
COVERAGE = 2 / 3
TEXTBOOK = 4
"""Unrelated requests that make a solution common knowledge; 0: none is."""
RETRIEVED = 50
NEAR_TRIED = 20
MOST_RUN = MOST_PROGRAMS
"""Functions that are all run; of larger sets only the rows retrieved for some item are."""
RELATED = 0.85
"""Share of common words from which two requests count as one."""
WEAK = f"its tests are few or expect little, and it is not among the {NEAR_RANK} rows most like it"
MOST_COMPARED = 400
"""Rows with evidence for one problem that are compared with each other."""
RESIDUE = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """Evidence that a row of the spool holds an item. `drop` says whether it suffices; `why_not` why it does not."""

    row: int
    item: int
    method: str
    score: float
    evidence: str
    drop: bool
    why_not: str = ""


@dataclass(slots=True)
class Findings:
    """All hits, and what else the report says."""

    items: Sequence[Item]
    hits: list[Hit]
    run_problems: int
    run_functions: int
    which_run: str
    textbook: dict[int, int]
    residue: dict[int, list[Ranked]]
    isolated: str = ""
    elsewhere: Sequence[dict[str, Any]] = ()
    """What was done for each language other than Python that items are in (programs.py)."""

    @property
    def dropped(self) -> dict[int, Hit]:
        """Row -> its first hit that suffices."""
        found: dict[int, Hit] = {}
        for hit in self.hits:
            if hit.drop:
                found.setdefault(hit.row, hit)
        return found

    @property
    def marked(self) -> set[int]:
        """Rows with hits of which none suffices."""
        return {hit.row for hit in self.hits} - self.dropped.keys()


def find(
    spool: Spool, items: Sequence[Item], known: Path, *, run: Run = "auto", textbook: int = TEXTBOOK,
    workers: int = 1, allow_unsafe: bool = False, shards: Path | None = None, emit: Emit = ignore_event, step: str = "",
    executor: Executor | None = None, crew_size: int | None = None,
) -> Findings:  # fmt: skip
    """Look for the items in all rows of a spool. `known` is the file in which results of running are kept, `shards` the
    folder in which what was found in the rows' texts is, for a call that goes on after this one was killed.
    Texts are looked at by `crew_size` workers of the executor, if there is one; functions are run by `workers` of here.

    Raises UserError where the machine cannot isolate programs (and `run` is not "none"), WorkFailed where the sandbox
    breaks.
    """
    ranking = Ranking(items)
    runs = run != "none" and any(item.runnable for item in items)
    seen = look(spool, Looking(items, ranking, programs=runs), shards, emit, step, executor, crew_size)
    has_code = np.zeros(seen.rows, dtype=bool)
    has_code[list(seen.functions)] = True
    groups: list[Problem] = []
    solved: dict[int, dict[int, Solved]] = {}
    which, isolated, count = "none", "", 0
    if runs and seen.functions:
        with Pool(workers, LIMITS, allow_unsafe=allow_unsafe) as pool:
            isolated = str(pool.isolated)
            groups = problems(items, pool, emit=emit, step=step)
            trials = Trials(groups, known)
            which = run if run != "auto" else "all" if seen.total <= MOST_RUN else "retrieved"
            rows = sorted(seen.functions) if which == "all" else _retrieved(groups, ranking, has_code)
            solved, count = _solve(rows, seen, trials, pool, emit, step)
    elsewhere = programs.try_all(
        spool, items, seen, ranking, known, run=run != "none", workers=workers, emit=emit, step=step
    )  # fmt: skip
    judge = _Judge(spool, items, groups, ranking, has_code, textbook)
    like = [each for each in likeness.look(spool, items, ranking) if which == "none" or each.row not in seen.functions]
    hits = judge.hits(seen, solved, like, elsewhere.rows)
    dropped = {hit.row for hit in hits if hit.drop}
    residue = _residue(items, ranking, dropped, seen.rows)
    return Findings(items, hits, len(groups), count, which, judge.textbook, residue, isolated, elsewhere.account)


def _retrieved(groups: Sequence[Problem], ranking: Ranking, has_code: NDArray[np.bool_]) -> list[int]:
    """Rows among the best for some problem."""
    return sorted({each.row for problem in groups for each in ranking.best(problem.items[0], RETRIEVED, has_code)})


def _solve(
    rows: Iterable[int], seen: Seen, trials: Trials, pool: Pool, emit: Emit, step: str
) -> tuple[dict[int, dict[int, Solved]], int]:
    """row -> problem -> the best that a function of the row does on it; and how many functions were run."""
    holders: dict[Function, list[int]] = defaultdict(list)
    for row in rows:
        for function in functions_of(*seen.program(row), trials.arities):
            holders[function].append(row)
    found: dict[int, dict[int, Solved]] = defaultdict(dict)
    for function, results in trials.run(list(holders), pool, emit=emit, step=step).items():
        for row in holders[function]:
            for each in results:
                before = found[row].get(each.problem)
                if before is None or each.share > before.share:
                    found[row][each.problem] = each
    return found, len(holders)


def _residue(items: Sequence[Item], ranking: Ranking, dropped: set[int], rows: int) -> dict[int, list[Ranked]]:
    """The rows most like each item that are still there."""
    left = np.ones(rows, dtype=bool)
    left[list(dropped)] = False
    return {index: ranking.best(index, RESIDUE, left) for index in range(len(items))} if rows else {}


class _Judge:
    """From evidence to hits: what is textbook, and what suffices."""

    def __init__(
        self, spool: Spool, items: Sequence[Item], groups: Sequence[Problem], ranking: Ranking,
        has_code: NDArray[np.bool_], textbook: int,
    ) -> None:  # fmt: skip
        self.least = textbook or 1 << 60
        self.spool, self.items, self.groups, self.ranking, self.has_code = spool, items, groups, ranking, has_code
        self.problem_of = {index: number for number, problem in enumerate(groups) for index in problem.items}
        self._translations: dict[tuple[str, str], set[int]] = defaultdict(set)
        for index, item in enumerate(items):
            if item.runnable or item.runnable_elsewhere:
                self._translations[_problem_of(item)].add(self._key(index))
        self.near: dict[int, set[int]] = {}
        self.prompts: set[tuple[int, int]] = set()
        self.unrelated: dict[int, int] = {}
        self.unrelated_near: dict[int, int] = {}
        self.unrelated_like: dict[int, int] = {}

    @property
    def textbook(self) -> dict[int, int]:
        """Problems (or, negative, items that are not run) that many unrelated requests hold, with how many."""
        return {key: count for key, count in self.unrelated.items() if count >= self.least}

    def hits(
        self, seen: Seen, solved: Mapping[int, Mapping[int, Solved]], like: Sequence[Likeness],
        passed: Mapping[int, Mapping[int, Tried]],
    ) -> list[Hit]:  # fmt: skip
        """All hits, by row, those that suffice first."""
        self.prompts = {(each.row, each.item) for each in seen.overlaps if each.field == "prompt"}
        self._count(seen, solved, like, passed)
        found = [
            *self._by_words(seen.overlaps), *self._by_shape(seen.same_shape), *self._by_running(solved),
            *self._by_likeness(like), *self._by_programs(passed),
        ]  # fmt: skip
        return sorted(found, key=lambda hit: (hit.row, not hit.drop, -hit.score, hit.item, hit.method))

    def _key(self, item: int) -> int:
        """What rows are counted for: the problem that an item is, or the item."""
        return self.problem_of.get(item, -1 - item)

    def _count(
        self, seen: Seen, solved: Mapping[int, Mapping[int, Solved]], like: Sequence[Likeness],
        passed: Mapping[int, Mapping[int, Tried]],
    ) -> None:  # fmt: skip
        """How many unrelated requests hold a solution of each problem, whatever shows it."""
        whole: dict[int, set[int]] = defaultdict(set)
        for overlap in seen.overlaps:
            if overlap.field == "solution" and overlap.coverage >= COVERAGE:
                whole[self._key(overlap.item)].add(overlap.row)
        for row, item, _ in seen.same_shape:
            whole[self._key(item)].add(row)
        for row, found in passed.items():
            for item, each_pass in found.items():
                if each_pass.look.agrees:
                    whole[self._key(item)].add(row)
        nearly = {key: set(rows) for key, rows in whole.items()}
        for row, results in solved.items():
            for each in results.values():
                nearly.setdefault(each.problem, set()).add(row)
                if self._wholly(each):
                    whole[each.problem].add(row)
        shown = {key: set(rows) for key, rows in nearly.items()}
        for each_like in like:
            shown.setdefault(self._key(each_like.item), set()).add(each_like.row)
        self.unrelated = {key: self._requests(rows) for key, rows in whole.items()}
        self.unrelated_near = {key: self._requests(rows) for key, rows in nearly.items()}
        self.unrelated_like = {key: self._requests(rows) for key, rows in shown.items()}

    def _by_words(self, overlaps: Sequence[Overlap]) -> Iterator[Hit]:
        for each in overlaps:
            size = FIELDS[each.field]
            what = f"{each.shared} of {each.grams} runs of {size} words of its {each.field}, from word {each.word}"
            why = "" if each.coverage >= COVERAGE else f"less than {COVERAGE:.0%} of them"
            if not why and each.field == "solution":
                why = self._excuse(each.row, each.item, self.unrelated)
            yield Hit(each.row, each.item, each.field, round(each.coverage, 3), what, not why, why)

    def _by_shape(self, same: Sequence[tuple[int, int, int]]) -> Iterator[Hit]:
        for row, item, nodes in sorted(set(same)):
            why = self._excuse(row, item, self.unrelated)
            yield Hit(row, item, "shape", 1.0, f"a function of {nodes} nodes equal but for names", not why, why)

    def _by_running(self, solved: Mapping[int, Mapping[int, Solved]]) -> Iterator[Hit]:
        for row, results in solved.items():
            for each in results.values():
                passed = self._wholly(each)
                method, counts = ("execution", self.unrelated) if passed else ("near execution", self.unrelated_near)
                weak = self._weak(row, each, self.groups[each.problem])
                for index in self._one_per_benchmark(self.groups[each.problem].items):
                    why = weak or self._excuse(row, index, counts)
                    yield Hit(row, index, method, round(each.share, 3), _told(each), not why, why)

    def _by_likeness(self, like: Sequence[Likeness]) -> Iterator[Hit]:
        for each in like:
            why = self._excuse(each.row, each.item, self.unrelated_like)
            yield Hit(each.row, each.item, each.method, each.score, each.evidence, not why, why)

    def _by_programs(self, passed: Mapping[int, Mapping[int, Tried]]) -> Iterator[Hit]:
        for row, found in passed.items():
            for index, each in found.items():
                item = self.items[index]
                weak = "" if programs.telling(item, each.look) or row in self._nearest_to(index) else WEAK
                why = weak or self._excuse(row, index, self.unrelated) or self._known_for_another(index, found)
                if not each.look.agrees:
                    why = "too few on varied inputs"
                evidence = f"its function {each.name} passes the tests in {item.language}{each.look.told}"
                yield Hit(row, index, "execution", 1.0, evidence, not why, why)

    def _known_for_another(self, item: int, found: Mapping[int, Tried]) -> str:
        """Why a row's function is one that everybody has, for another item that it answers; '' where it is not."""
        own = self._key(item)
        for index, each in found.items():
            count = self.unrelated.get(self._key(index), 0)
            solves = each.name == found[item].name and each.look.agrees and self._key(index) != own
            if solves and count >= self.least and programs.telling(self.items[index], each.look):
                return f"textbook: {count} unrelated requests have it as {self.items[index].task_id}"
        return ""

    def _nearest_to(self, item: int) -> set[int]:
        return {each.row for each in self.ranking.best(item, NEAR_RANK)}

    def _wholly(self, result: Solved) -> bool:
        """Right on all the benchmark's inputs, and mostly on varied ones, which the problem may not allow."""
        share = agreeing(self.groups[result.problem].strength)
        return result.right == result.tried and result.varied_right >= share * result.varied

    def _weak(self, row: int, result: Solved, problem: Problem) -> str:
        """Why a result would prove little even if the solution were rare."""
        if problem.strength < 2:
            return "all its tests expect the same value"
        tried = result.tried + result.varied
        if tried < (2 * FEW if problem.strength == 2 else FEW):
            return f"only {tried} inputs, with {problem.strength} different values expected"
        if self._wholly(result):
            return ""
        if result.right == result.tried or result.tried < NEAR_TRIED or problem.strength < 3:
            return "near, and its tests are few or expect one of two values"
        if row not in self._nearest(result.problem):
            return f"near, and not among the {NEAR_RANK} rows most like it"
        return ""

    def _nearest(self, problem: int) -> set[int]:
        if problem not in self.near:
            best = self.ranking.best(self.groups[problem].items[0], NEAR_RANK, self.has_code)
            self.near[problem] = {each.row for each in best}
        return self.near[problem]

    def _one_per_benchmark(self, items: Sequence[int]) -> list[int]:
        first: dict[str, int] = {}
        for index in items:
            first.setdefault(self.items[index].benchmark, index)
        return list(first.values())

    def _excuse(self, row: int, item: int, counts: Mapping[int, int]) -> str:
        """Why this is no contamination although the evidence is there; '' if it is."""
        key = self._key(item)
        count = max(counts.get(each, 0) for each in (key, *self._in_other_languages(key)))
        if count < self.least:
            return ""
        same = self.groups[key].items if key >= 0 else (item,)
        if any((row, each) in self.prompts for each in same) or self._shared_examples(row, same) >= 2:
            return ""
        return f"textbook: {count} unrelated requests have it"

    def _in_other_languages(self, key: int) -> Sequence[int]:
        """The keys of the same problem in other languages: what everybody knows in one is no secret in another."""
        item = self.items[self.groups[key].items[0] if key >= 0 else -1 - key]
        return [each for each in self._translations.get(_problem_of(item), ()) if each != key]

    def _shared_examples(self, row: int, items: Sequence[int]) -> int:
        """How many of an item's telling example inputs are in a row."""
        (conversation,) = self.spool.read([row])
        wanted = {example for index in items for example in likeness.examples(self.items[index])}
        return likeness.shared_examples("\n".join(texts_of(conversation)), wanted)

    def _requests(self, rows: Iterable[int]) -> int:
        """How many unrelated requests there are among rows."""
        some = sorted(rows)[:MOST_COMPARED]
        if len(some) < self.least:
            return len(some)
        asked = [_request(each) for each in self.spool.read(some)]
        found = words.distinct(words.words(asked, words.PROSE))
        related = [
            (a, b) for a in range(len(some)) for b in range(a)
            if words.jaccard(found.of(a), found.of(b)) >= RELATED
        ]  # fmt: skip
        return len(some) - sum(len(group) - 1 for group in clusters(related))


def _problem_of(item: Item) -> tuple[str, str]:
    """What translations of a problem have in common: the letters of its function's name, and its number."""
    letters = "".join(sign for sign in item.entry_point.lower() if sign != "_")
    return letters, "".join(sign for sign in item.task_id if sign.isdigit())


def _told(result: Solved) -> str:
    own = f"a function of the row gives {result.right} of {result.tried} expected values"
    return own + (f", and {result.varied_right} of {result.varied} on varied inputs" if result.varied else "")


def _request(conversation: Conversation) -> str:
    return next((turn.content for turn in conversation.messages if turn.role == "user"), "")
