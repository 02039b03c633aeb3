"""CodeUp and EvalPlus 0.3.1 judge the same programs, as whole processes, in one run; times, memory and statuses.

    data file -> samples.jsonl per set -> cold: EvalPlus, CodeUp   warm: CodeUp, EvalPlus   -> Comparison

"Cold" starts with empty caches (both compute the expected values), "warm" reuses what the cold run cached; verdicts are
never reused. The ratio is taken from `result_s`, when the result file is complete: EvalPlus 0.3.1 then stays up to 20 s
in a sleeping thread before it exits, which `wall_s` shows and the ratio does not charge it with.

Not measured: generation, and the time to install the peer. A program that runs into a time limit may get another
status under load, so run nothing else meanwhile.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from codeup import plugins
from codeup.bench import mutations, peers
from codeup.bench.measure import CommandFailed, Measured, measured
from codeup.errors import UserError, WorkFailed
from codeup.types import Emit, Event, Problem, ignore_event

PEERS = {"evalplus": "0.3.1"}
DATASETS = {"humaneval_plus": "humaneval", "mbpp_plus": "mbpp"}
"""Our name of a benchmark -> EvalPlus's."""
OVERRIDE = {"humaneval": "HUMANEVAL_OVERRIDE_PATH", "mbpp": "MBPP_OVERRIDE_PATH"}
SETS = ("canonical", "derived")
STEP = "bench evaluate"

Tool = Literal["peer", "codeup"]
Statuses = dict[tuple[str, int], tuple[str, str | None]]
"""(task id, which of its samples) -> base status, plus status"""


@dataclass(frozen=True, slots=True)
class Timed:
    """One tool over one set; `state` is cold or warm."""

    set: str
    state: str
    tool: Tool
    samples: int
    time: Measured

    @property
    def per_s(self) -> float:
        return self.samples / self.time.result_s


@dataclass(frozen=True, slots=True)
class Agreement:
    """Statuses of one set in one state, sample by sample. Passing plus means passing base and plus."""

    set: str
    state: str
    samples: int
    same_status: int
    same_pass: int
    peer_pass: tuple[int, int]
    codeup_pass: tuple[int, int]
    differences: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a run of `compare` found."""

    benchmark: str
    peer: str
    workers: int
    base_only: bool
    times: tuple[Timed, ...]
    agreements: tuple[Agreement, ...]

    def ratio(self, set_: str, state: str) -> float:
        """How many times longer the peer took until its results were there."""
        seconds = {time.tool: time.time.result_s for time in self.times if (time.set, time.state) == (set_, state)}
        return seconds["peer"] / seconds["codeup"]


@dataclass(frozen=True, slots=True)
class Program:
    """One row of a samples file and the kind of program it is (a key of mutations.MIX)."""

    task_id: str
    kind: str
    solution: str


def compare(
    benchmark: str,
    data: Path,
    *,
    sets: Sequence[str] = SETS,
    workers: int = 2,
    base_only: bool = False,
    peer_python: Path | None = None,
    emit: Emit = ignore_event,
) -> Comparison:
    """Let both tools judge the sets of programs made from `data`, cold and warm.

    Raises UserError for an unknown benchmark, a file that is not its data, or a peer that is missing and cannot be
    installed; WorkFailed when a tool fails.
    """
    name = benchmark.replace("+", "_plus")
    if name not in DATASETS:
        raise UserError(f"--benchmark is {benchmark!r}", mend="use humaneval+ or mbpp+")
    if unknown := [each for each in sets if each not in SETS]:
        raise UserError(f"--set is {unknown[0]!r}", mend="use canonical, derived or both")
    tasks: Sequence[Problem] = plugins.load("benchmarks", name).load(data).problems
    version, module = PEERS["evalplus"], "evalplus.evaluate"
    python = peers.installed("evalplus", version, python=peer_python, module=module, step=STEP, emit=emit)
    peers.checked(python, "evalplus", version, module)
    times: list[Timed] = []
    agreements: list[Agreement] = []
    emit(Event("start", STEP))
    with tempfile.TemporaryDirectory(prefix="codeup-bench-") as temporary:
        bench = _Bench(Path(temporary), name, data, workers, base_only, python)
        for set_ in sets:
            programs = programs_of(set_, tasks)
            samples = bench.write_samples(set_, programs)
            bench.forget_caches()
            for state, order in (("cold", ("peer", "codeup")), ("warm", ("codeup", "peer"))):
                found: dict[str, Statuses] = {}
                for tool in order:
                    hear = _progress(emit, f"{set_} {state} {tool}", len(times), 4 * len(sets))
                    time, found[tool] = bench.run(tool, samples, hear)  # type: ignore[arg-type]
                    times.append(Timed(set_, state, tool, len(programs), time))  # type: ignore[arg-type]
                    hear(1.0)
                agreements.append(agreement(set_, state, programs, found["peer"], found["codeup"]))
    emit(Event("finish", STEP, values={"seconds": sum(time.time.wall_s for time in times)}))
    return Comparison(name, f"evalplus {PEERS['evalplus']}", workers, base_only, tuple(times), tuple(agreements))


def programs_of(set_: str, tasks: Sequence[Problem]) -> list[Program]:
    """One program for every task: the canonical solution, or its turn in the fixed mix of mutations.MIX."""
    right = [(task.task_id, task.prompt + task.canonical_solution, task.entry_point) for task in tasks]
    if set_ == "canonical":
        return [Program(task_id, "correct", program) for task_id, program, _ in right]
    return [Program(each.task_id, each.kind, each.solution) for each in mutations.derived(right)]


def agreement(set_: str, state: str, programs: Sequence[Program], peer: Statuses, codeup: Statuses) -> Agreement:
    """Both tools' statuses, sample by sample; every difference is named.

    Raises WorkFailed when a tool did not judge every sample.
    """
    places = [(program.task_id, 0) for program in programs]
    for tool, found in (("EvalPlus", peer), ("CodeUp", codeup)):
        if found.keys() != set(places):
            raise WorkFailed(f"{tool} judged {len(found)} of {len(places)} samples of the {set_} set")
    differences: tuple[dict[str, Any], ...] = tuple(
        {"task_id": program.task_id, "kind": program.kind, "peer": peer[place], "codeup": codeup[place]}
        for program, place in zip(programs, places, strict=True)
        if peer[place] != codeup[place]
    )
    other_pass = sum(passes(each["peer"]) != passes(each["codeup"]) for each in differences)
    return Agreement(
        set_, state, len(places), len(places) - len(differences), len(places) - other_pass,
        _count(peer), _count(codeup), differences,
    )  # fmt: skip


def passes(status: tuple[str, str | None]) -> tuple[bool, bool]:
    """(passes base, passes base and plus).

    >>> passes(("pass", "fail")), passes(("fail", "pass"))
    ((True, False), (False, False))
    """
    base, plus = status
    return base == "pass", base == plus == "pass"


def _count(found: Statuses) -> tuple[int, int]:
    pairs = [passes(status) for status in found.values()]
    return sum(base for base, _ in pairs), sum(plus for _, plus in pairs)


def as_json(result: Comparison) -> dict[str, Any]:
    """The whole comparison as one plain object."""
    pairs = [(each.set, each.state) for each in result.agreements]
    return {
        **{key: getattr(result, key) for key in ("benchmark", "peer", "workers", "base_only")},
        "memory": "PSS of the whole process tree, MiB",
        "mix": mutations.MIX,
        "times": [
            {"set": t.set, "state": t.state, "tool": t.tool, "samples": t.samples, "per_s": t.per_s, **asdict(t.time)}
            for t in result.times
        ],
        "ratios": [{"set": set_, "state": state, "ratio": result.ratio(set_, state)} for set_, state in pairs],
        "agreements": [asdict(each) for each in result.agreements],
    }


class _Bench:
    """Folders and command lines of one comparison."""

    def __init__(
        self,
        root: Path,
        name: str,
        data: Path,
        workers: int,
        base_only: bool,
        peer: Path,
    ) -> None:
        self.root, self.name, self.data, self.workers, self.base_only = root, name, data.absolute(), workers, base_only
        self.peer, self.runs, self.caches = peer.absolute(), 0, root
        self.plain = root / "data.jsonl"
        raw = data.read_bytes()
        self.plain.write_bytes(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)

    def write_samples(self, set_: str, programs: Sequence[Program]) -> Path:
        path = self.root / f"{set_}.jsonl"
        rows = (json.dumps({"task_id": each.task_id, "solution": each.solution}) + "\n" for each in programs)
        path.write_text("".join(rows), encoding="utf-8")
        return path

    def forget_caches(self) -> None:
        """Give the next runs empty caches."""
        self.caches = Path(tempfile.mkdtemp(dir=self.root, prefix="cache-"))

    def run(self, tool: Tool, samples: Path, hear: Callable[[float], None]) -> tuple[Measured, Statuses]:
        self.runs += 1
        folder = self.root / f"run-{self.runs}"
        folder.mkdir()
        own = folder / "samples.jsonl"
        own.write_bytes(samples.read_bytes())
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.caches / tool)}
        dataset = DATASETS[self.name]
        if tool == "peer":
            environment[OVERRIDE[dataset]] = str(self.plain)
            result = folder / "samples_eval_results.json"
            command = [str(self.peer), "-m", "evalplus.evaluate", "--dataset", dataset, "--samples", str(own)]
            command += ["--parallel", str(self.workers), "--i-just-wanna-run"]
        else:
            result = folder / "out" / "eval_results.json"
            command = [sys.executable, "-m", "codeup", "evaluate", "--benchmark", self.name, "--samples", str(own)]
            command += ["--data", str(self.data), "--compat", "evalplus-0.3.1", "--workers", str(self.workers)]
            command += ["--out", str(folder / "out")]
        try:
            time = measured(command + ["--base-only"] * self.base_only, result, folder, environment, hear)
        except CommandFailed as error:
            raise WorkFailed(f"{'EvalPlus' if tool == 'peer' else 'codeup evaluate'} failed: {error}") from None
        return time, read_statuses(result)


def read_statuses(path: Path) -> Statuses:
    """Statuses of an eval_results.json, of either tool."""
    rows = json.loads(path.read_text(encoding="utf-8"))["eval"]
    return {
        (task_id, index): (row["base_status"], row["plus_status"])
        for task_id, own in rows.items()
        for index, row in enumerate(own)
    }


def _progress(emit: Emit, what: str, done: int, total: int) -> Callable[[float], None]:
    return lambda share: emit(Event("progress", STEP, done + share, total, "runs", values={"now": what}))
