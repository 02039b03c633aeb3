"""Rows out of seeds and an endpoint, each with where it is from and what proved it: `codeup data synth`.

    OUT/rows.jsonl       the rows; `messages` makes them a source of a recipe
    OUT/dropped.jsonl    everything asked for and not kept: reason, detail, round, the task
    OUT/manifest.json    settings, seeds, funnel, tokens and money; written last: the run is complete
    OUT/cache.sqlite     answers and verdicts: a rerun sends nothing, runs nothing and writes the same bytes
    OUT/log.jsonl        one line per invocation: what was sent, repeated, replayed, and how long it took

    requested 40 = kept 20 + weak tests 6 + solution fails its tests 5 + near duplicate 4 + cut off 3 + contamination 2

Nothing in rows and manifest depends on the clock, on how many requests are under way, or on interruptions. Methods are
in methods.py, what is kept of their answers in filters.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.sandbox.pool import Pool
from codeup.synth import methods, prompts
from codeup.synth.budget import Budget, worst_case
from codeup.synth.candidates import Candidate, Prompt
from codeup.synth.endpoint import Answer, Endpoint
from codeup.synth.filters import CONTAMINATED, Filters
from codeup.synth.prove import LIMITS, Proof
from codeup.synth.seeds import Code, Seed, read_code, read_tasks
from codeup.synth.settings import Settings, belongs
from codeup.types import Emit, Event, ignore_event

REQUESTS_PER_ROW = 10
"""Without a cap: requests for each row asked for, so that a model that never succeeds ends the run."""
STEP = "synth"
"""What progress is called."""
CODE = ("synth", "decontaminate", "sandbox", "data", "languages", "evaluate/extract.py")


def synthesize(
    settings: Settings, out: Path, endpoint: Endpoint, budget: Budget, *, workers: int = 1, allow_unsafe: bool = False,
    emit: Emit = ignore_event,
) -> dict[str, Any]:  # fmt: skip
    """Make the rows, or continue an interrupted run; the manifest. `endpoint` keeps its cache in `out`.

    Raises UserError for seeds, settings and endpoints that cannot work, WorkFailed where the endpoint or the sandbox
    gives up; what was answered until then is kept.
    """
    if budget.max_requests is None:
        budget.max_requests = REQUESTS_PER_ROW * settings.rows
    belongs(out, settings, answered=endpoint.cache.answered())
    begun, stopped = time.time(), "failed"
    emit(Event("start", STEP))
    try:
        with Pool(workers, LIMITS, allow_unsafe=allow_unsafe) as pool:
            filters = Filters(settings, out, pool, endpoint.cache, workers=workers, allow_unsafe=allow_unsafe)
            with _Maker(settings, out, endpoint, budget, filters, emit) as maker:
                maker.run()
                manifest = maker.finish()
        stopped = manifest["stopped"]
    except KeyboardInterrupt:
        stopped = "interrupted"
        raise
    finally:
        _log(out, endpoint, begun, stopped)
    emit(Event("finish", STEP, values={"seconds": time.time() - begun}))
    return manifest


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """One run at a time in a folder. Raises UserError where another one works, or nothing can be written."""
    artifacts.make_folder(out)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError("another run works in this folder", where=str(out), mend="wait, or name another") from None
        yield


def _log(out: Path, endpoint: Endpoint, begun: float, stopped: str) -> None:
    traffic = endpoint.traffic
    entry = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(begun)),
        "seconds": round(time.time() - begun, 2),
        "endpoint": endpoint.url,
        "stopped": stopped,
        "sent": traffic.sent,
        "answered": traffic.answered,
        "replayed": traffic.replayed,
        "repeated": traffic.repeated,
    }
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


class _Maker:
    """One run: what the methods ask goes out, what they find is filtered, counted and written."""

    def __init__(
        self, settings: Settings, out: Path, endpoint: Endpoint, budget: Budget, filters: Filters, emit: Emit
    ) -> None:  # fmt: skip
        self.settings, self.out, self.endpoint, self.budget, self.filters = settings, out, endpoint, budget, filters
        self.emit = emit
        self.rows, self.rounds, self.seed = settings.rows, settings.rounds, settings.seed
        self.tests = settings.tests != "none"
        self.requested = self.asked = 0
        self.reasons: Counter[str] = Counter()
        self.by_round: dict[int, dict[str, Any]] = {}
        self.licences: Counter[str] = Counter()
        self.seeds: dict[str, Any] = {}

    def __enter__(self) -> _Maker:
        self.files = {name: (self.out / f".{name}.part").open("w", encoding="utf-8") for name in ("rows", "dropped")}
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files.values():
            file.close()

    @property
    def kept(self) -> int:
        """Rows so far."""
        return self.filters.kept

    @property
    def done(self) -> bool:
        """Enough rows, or a cap reached."""
        return self.kept >= self.rows or bool(self.budget.stopped_by)

    def run(self) -> None:
        """All rounds of the method."""
        if self.settings.method == "self-instruct":
            methods.self_instruct(self, self._tasks())
        elif self.settings.method == "evol":
            methods.evol(self, self._tasks())
        else:
            methods.oss_instruct(self, self._code())

    def _tasks(self) -> list[Seed]:
        """The seeds that are no benchmark problems, without repetitions; rows may not repeat them either."""
        read = read_tasks(self.settings.seeds, self.settings.licence)
        found = list({each.text: each for each in read.seeds}.values())
        leaking = self.filters.contaminated([[each.text, each.answer] for each in found])
        clean = [each for number, each in enumerate(found) if number not in leaking]
        dropped = read.dropped + Counter({"repeated": len(read.seeds) - len(found), CONTAMINATED: len(leaking)})
        self.seeds = {"files": read.files, "usable": len(clean), "dropped": _by_count(dropped)}
        if not clean:
            raise UserError(
                f"no seed can be used ({', '.join(f'{what}: {count}' for what, count in dropped.items())})",
                where=str(self.settings.seeds), mend="give seeds that are tasks of their own",
            )  # fmt: skip
        for each in clean:
            self.filters.alike.add("a seed", each.text)
        return clean

    def _code(self) -> list[Code]:
        """Files of code. Their snippets are looked at together with the rows made from them."""
        found, dropped = read_code(self.settings.seeds, self.settings.licence)
        files = {each.path: each.sha256 for each in found}
        self.seeds = {"files": files, "usable": len(found), "dropped": _by_count(dropped)}
        return found

    def ask(self, asked: Sequence[Prompt], round_: int) -> list[Answer]:
        """Answers to the first prompts, as many as the caps allow, whatever the answers before them used."""
        answers: list[Answer] = []
        while len(answers) < len(asked):
            rest = asked[len(answers) :]
            fit = self.budget.fitting([worst_case(each.text, self.settings.max_tokens) for each in rest])
            if not fit:
                break
            seeds = [self._seed_of(self.asked + place) for place in range(fit)]
            bodies = [self.settings.body(each.text, seed) for each, seed in zip(rest, seeds, strict=False)]
            found = self.endpoint.ask(bodies, lambda: self._progress(round_))
            self.asked += fit
            for answer in found:
                self.budget.charge(answer.prompt_tokens, answer.completion_tokens, counted=answer.counted)
            answers += found
        return answers

    def _seed_of(self, number: int) -> int:
        """The sampling seed of a request: no two requests of a run are the same."""
        return int(hashlib.sha256(f"{self.seed} {number}".encode()).hexdigest()[:7], 16)

    def _progress(self, round_: int) -> None:
        traffic = self.endpoint.traffic
        rate = traffic.answered / max(time.monotonic() - traffic.began, 1e-9)
        tokens_in, tokens_out = traffic.tokens_in, traffic.tokens_out
        values: dict[str, float | int | str] = {
            "round": round_,
            "answers": traffic.answered,
            "answers/s": round(rate, 2),
            "tokens": tokens_in + tokens_out,
        }
        if self.budget.price_in or self.budget.price_out:
            values["cost"] = round((tokens_in * self.budget.price_in + tokens_out * self.budget.price_out) / 1e6, 4)
        self.emit(Event("progress", STEP, self.kept, self.rows, "rows", values))

    def take(self, found: Sequence[Candidate], round_: int) -> list[Candidate]:
        """Filter, write and count; the candidates that are kept."""
        proofs = self.filters.sift(found)
        for each in found:
            if each.drop:
                self.files["dropped"].write(json.dumps(_dropped(each, round_)) + "\n")
            else:
                row = _row(each, round_, proofs[id(each)], self.settings)
                self.files["rows"].write(json.dumps(row, ensure_ascii=False) + "\n")
                self.licences.update({each.licence for each in each.seeds})
        account = self.by_round.setdefault(round_, {"round": round_, "requested": 0, "kept": 0, "dropped": Counter()})
        reasons = Counter(each.drop for each in found if each.drop)
        account["requested"] += len(found)
        account["kept"] += len(found) - reasons.total()
        account["dropped"] += reasons
        self.requested += len(found)
        self.reasons += reasons
        self._progress(round_)
        return [each for each in found if not each.drop]

    def finish(self) -> dict[str, Any]:
        """Put the files in their places, the manifest last."""
        assert self.requested == self.kept + self.reasons.total(), "a task is unaccounted for"
        for name, file in self.files.items():
            file.close()
            (self.out / f".{name}.part").replace(self.out / f"{name}.jsonl")
        items = self.filters.items
        manifest = {
            "stopped": "rows" if self.kept >= self.rows else self.budget.stopped_by or "rounds",
            "settings": self.settings.identity(),
            "rows_asked": self.rows,
            "seeds": self.seeds,
            "against": {name: sum(item.benchmark == name for item in items) for name in self.settings.against},
            "prompts": _prompts(self.settings.method, tests=self.tests),
            "requested": self.requested,
            "kept": self.kept,
            "dropped": _by_count(self.reasons),
            "rounds": [{**each, "dropped": _by_count(each["dropped"])} for each in self.by_round.values()],
            "proofs": _by_count(self.filters.proofs),
            "spent": self.budget.to_dict(),
            "caps": self.budget.caps(),
            "licences": {
                "rows_with_seeds_under": _by_count(self.licences),
                "model": f"the terms under which {self.settings.model} is offered hold for its answers too",
            },
            "sandbox": str(self.filters.pool.isolated),
            "code_version": artifacts.code_version(CODE),
            "files": {f"{name}.jsonl": artifacts.file_sha256(self.out / f"{name}.jsonl") for name in self.files},
        }
        artifacts.write_json(self.out / "manifest.json", manifest)
        return manifest


def _dropped(candidate: Candidate, round_: int) -> dict[str, Any]:
    """One line of dropped.jsonl."""
    return {
        "reason": candidate.drop,
        "detail": candidate.detail,
        "round": round_,
        "parents": list(candidate.parents),
        "requests": [each["sha256"] for each in candidate.requests],
        "instruction": candidate.instruction,
        "answer": candidate.answer,
        "tests": candidate.tests,
    }


def _row(candidate: Candidate, round_: int, proof: Proof, settings: Settings) -> dict[str, Any]:
    """One line of rows.jsonl."""
    params = {"temperature": settings.temperature, "max_tokens": settings.max_tokens, **settings.params}
    usage = {
        name: round(sum(each[name] / each["tasks"] for each in candidate.requests), 1)
        for name in ("prompt_tokens", "completion_tokens")
    }
    return {
        "id": candidate.id,
        "method": settings.method,
        "round": round_,
        "operation": candidate.operation,
        "parents": list(candidate.parents),
        "seeds": [each.to_dict() for each in candidate.seeds],
        "messages": [
            {"role": "user", "content": candidate.instruction},
            {"role": "assistant", "content": candidate.answer},
        ],
        "language": "python",
        "entry_point": proof.entry_point,
        "tests": candidate.tests,
        "validators": proof.to_dict(),
        "decontaminated": sorted(settings.against),
        "model": {"name": settings.model, "params": params},
        "prompt_template_sha256": candidate.requests[-1]["template_sha256"],
        "requests": candidate.requests,
        "usage": usage,
    }


def _prompts(method: str, *, tests: bool) -> dict[str, str]:
    """Names and sha256 of the templates of a method."""
    used = {
        "self-instruct": [prompts.self_instruct(tests=tests)],
        "oss-instruct": [prompts.oss_instruct(tests=tests)],
        "evol": [*map(prompts.evolve, prompts.OPERATIONS), prompts.answer(tests=tests)],
    }
    return {each.name: each.sha256 for each in used[method]}


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
