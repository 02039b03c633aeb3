"""What is kept of the candidates: each filter sets the reason why one is dropped, the first one that finds any.

form -> proof (prove.py) -> benchmark problems (decontaminate/) -> repetitions (alike.py) -> as many as asked for
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from codeup.data.contamination.items import read_items
from codeup.data.rows import BAD_UNICODE, BEYOND_LIMIT
from codeup.data.spool import Spool
from codeup.decontaminate.find import find
from codeup.sandbox.pool import Pool
from codeup.synth.alike import Alike
from codeup.synth.cache import Cache
from codeup.synth.candidates import Candidate
from codeup.synth.prove import NO_TESTS, WEAK, Proof, prove, static
from codeup.synth.settings import Settings
from codeup.types import Conversation, Message

CONTAMINATED = "contamination"
NEAR_DUPLICATE = "near duplicate"
SAME_PROGRAM = "same program as another row"
TOO_LONG = "task too long"
MOST_CHARACTERS = 8000
ROLES: tuple[Literal["user"], Literal["assistant"]] = ("user", "assistant")


class Filters:
    """The filters of one run, and what they remember: kept tasks, kept programs, counts of proofs."""

    def __init__(
        self, settings: Settings, out: Path, pool: Pool, cache: Cache, *, workers: int, allow_unsafe: bool
    ) -> None:  # fmt: skip
        self.settings, self.out, self.pool, self.cache = settings, out, pool, cache
        self.workers, self.allow_unsafe = workers, allow_unsafe
        self.items = [item for name, path in settings.against.items() for item in read_items(name, path)]
        self.alike = Alike(settings.threshold())
        self.programs: set[str] = set()
        self.proofs: Counter[str] = Counter()
        self.kept = 0

    def sift(self, found: Sequence[Candidate]) -> Mapping[int, Proof]:
        """Set `drop` of those that are not kept; the proofs of all that were proved, by `id()`."""
        for each in found:
            if not each.drop:
                each.drop = _form(each)
        proofs = self._prove([each for each in found if not each.drop])
        alive = [each for each in found if not each.drop]
        evidence = self.contaminated([self._texts(each) for each in alive])
        for number, each in enumerate(alive):
            if number in evidence:
                each.drop, each.detail = CONTAMINATED, evidence[number]
            else:
                self._repeated(each, proofs[id(each)])
        return proofs

    def _prove(self, found: Sequence[Candidate]) -> dict[int, Proof]:
        share, answers = self.settings.mutants_killed, [(each.answer, each.tests) for each in found]
        if self.settings.tests == "none":
            proofs = [static(answer) for answer, _ in answers]
        else:
            proofs = prove(answers, self.pool, self.cache, share=share)
        forgiven = {""}
        forgiven |= {WEAK} if self.settings.weak == "mark" else set()
        forgiven |= {NO_TESTS} if self.settings.tests != "require" else set()
        for each, proof in zip(found, proofs, strict=True):
            self.proofs[proof.reason or "passed"] += 1
            if proof.reason not in forgiven:
                each.drop, each.detail = proof.reason, proof.detail or "; ".join(proof.survived[:3])
        return {id(each): proof for each, proof in zip(found, proofs, strict=True)}

    def _texts(self, candidate: Candidate) -> list[str]:
        """What a benchmark problem is looked for in; a snippet that held one taints what was made from it."""
        snippets = [each.text for each in candidate.seeds] if self.settings.method == "oss-instruct" else []
        return [candidate.instruction, f"{candidate.answer}\n\n{candidate.tests}", *snippets]

    def contaminated(self, texts: Sequence[Sequence[str]]) -> dict[int, str]:
        """Which texts hold a benchmark problem, with the evidence. None is excused for being textbook."""
        if not self.items or not texts:
            return {}
        with Spool(self.out / ".spool.part") as spool:
            for number, turns in enumerate(texts):
                messages = tuple(Message(ROLES[place % 2], turn) for place, turn in enumerate(turns) if turn)
                spool.append(Conversation(messages, "synth", number))
            found = find(
                spool,
                self.items,
                self.out / "run.jsonl",
                textbook=0,
                workers=self.workers,
                allow_unsafe=self.allow_unsafe,
            )
        return {
            row: f"{found.items[hit.item].name}: {hit.method}, {hit.evidence}" for row, hit in found.dropped.items()
        }

    def _repeated(self, candidate: Candidate, proof: Proof) -> None:
        """Drop what is like a seed or a kept row; what is not is kept, as long as rows are wanted."""
        program = "".join((proof.program or candidate.answer).split())
        other, similarity = self.alike.like(candidate.instruction)
        if other:
            candidate.drop, candidate.detail = NEAR_DUPLICATE, f"{other}, ROUGE-L {similarity:.3f}"
        elif program in self.programs:
            candidate.drop = SAME_PROGRAM
        elif self.kept >= self.settings.rows:
            candidate.drop = BEYOND_LIMIT
        else:
            self.kept += 1
            self.programs.add(program)
            self.alike.add(candidate.id, candidate.instruction)


def _form(candidate: Candidate) -> str:
    text = f"{candidate.instruction}{candidate.answer}{candidate.tests}"
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        return BAD_UNICODE
    return TOO_LONG if len(candidate.instruction) > MOST_CHARACTERS else ""
