"""Everything that two runs, models of runs, folders or files of verdicts have in common, compared pair by pair.

    A            B            pairs
    runs/old     runs/new     each model, benchmark and prompt form that both runs judged
    runs/r:code  runs/r:full  each benchmark that both models were judged on, each model in its better prompt form
    a/, a.jsonl  runs/r:full  the benchmark that the file is about

B is the new side, A what it is held against. `Threshold` says from where on B is too much worse, for use in CI.
What a pair says is in compare.py, what changed between its sides in changed.py. Does not correct for the number of
pairs: with many of them, one in twenty differs by chance, and `codeup report` has the corrected table of one study.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup.errors import UserError
from codeup.evaluate import changed
from codeup.evaluate.compare import compare

VERDICTS = "verdicts.jsonl"
ROUNDING = 1e-9
"""Differences are quotients of small whole numbers; 2 of 100 must count as 0.02."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One set of verdicts: where it lies and, as far as scores.json says so, what was judged."""

    place: Path
    model: str
    benchmark: str
    form: str
    value: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """`worse:0.02`: missed where A's score minus B's is at least 0.02.

    `worse:0.02:significant` asks besides that the data support it: the 95 % interval of the difference leaves out 0
    and, with one sample per problem, McNemar's p is below 0.05.
    """

    worse: float
    significant: bool = False

    def missed(self, found: Mapping[str, Any]) -> bool:
        """Whether B is too much worse in one comparison, as `compare` returns it."""
        return found["difference"] >= self.worse - ROUNDING and (not self.significant or found["better"] == "a")


def parse_threshold(text: str) -> Threshold:
    """Raises UserError for anything but `worse:X` or `worse:X:significant` with X in (0, 1].

    >>> parse_threshold("worse:0.02"), parse_threshold("worse:0.1:significant").significant
    (Threshold(worse=0.02, significant=False), True)
    """
    kind, _, rest = text.partition(":")
    value, _, how = rest.partition(":")
    try:
        worse = float(value)
    except ValueError:
        worse = 0.0
    if kind != "worse" or not 0 < worse <= 1 or how not in ("", "significant"):
        raise UserError(
            f"{text!r} is not a threshold", where="--fail-if",
            mend="give worse:X or worse:X:significant, X a share of the problems such as 0.02",
        )  # fmt: skip
    return Threshold(worse, how == "significant")


def compare_all(
    a: str,
    b: str,
    *,
    suite: str = "",
    seed: int = 0,
    problems: Path | None = None,
    fail_if: Sequence[Threshold] = (),
) -> dict[str, Any]:
    """Compare two sides, each `RUN`, `RUN:MODEL`, a folder with verdicts.jsonl, or such a file.

    Returns plain JSON: `comparisons` (each what `compare` returns, with names and what changed), `warnings` (what had
    no counterpart), `failed` (labels of the comparisons that miss a threshold). The entries of a single comparison
    stand at the top too, without what changed. `problems`: the benchmark's file, where prompts are not found without.
    Raises UserError where there is nothing to compare, or where `problems` is no file.
    """
    if problems is not None and not problems.is_file():
        raise UserError("no such file", where=f"--data {problems}", mend="give the benchmark's file, or leave it out")
    left, right = find(a), find(b)
    pairs, warnings = match(left, right)
    if not pairs:
        raise UserError(
            "no benchmark was judged on both sides", where=f"{a} and {b}",
            mend=f"A has {_listed(left)}; B has {_listed(right)}",
        )  # fmt: skip
    whole_runs = len(left) > 1 or len(right) > 1
    comparisons = []
    for one, two in pairs:
        found = compare(one.place, two.place, suite=suite, seed=seed)
        both = [found]
        if whole_runs and not suite and found["suite"] == "plus":
            both = [compare(one.place, two.place, suite="base", seed=seed), found]
        comparisons += [_named(each, one, two, problems) for each in both]
    failed = [each["label"] for each in comparisons if any(threshold.missed(each) for threshold in fail_if)]
    single = {k: v for k, v in comparisons[0].items() if k != "changed"} if len(comparisons) == 1 else {}
    return {
        **single,
        "a": a,
        "b": b,
        "comparisons": comparisons,
        "warnings": [*warnings, *single.get("warnings", [])],
        "fail_if": [f"worse:{t.worse}" + (":significant" if t.significant else "") for t in fail_if],
        "failed": failed,
    }


def find(side: str) -> list[Judged]:
    """The sets of verdicts that one side names. Raises UserError where it holds none, or the run has no such model."""
    path, model = Path(side), ""
    if not path.exists() and ":" in side:
        path, model = Path(side.rpartition(":")[0]), side.rpartition(":")[2]
    places = _places(path)
    found = [_judged(place) for place in places]
    if model and path.is_dir():
        chosen = [each for each in found if each.model == model]
        if not chosen:
            names = ", ".join(sorted({each.model for each in found if each.model}))
            raise UserError(
                f"has no verdicts of a model {model!r}", where=str(path), mend=f"it has: {names or 'none yet'}"
            )
        return chosen
    return found


def _places(path: Path) -> list[Path]:
    """Folders (or the file) of verdicts: a run's current judge steps, all below `steps`, or the path itself."""
    if not path.exists():
        mend = "give a run folder, RUN:MODEL, a folder that `codeup evaluate` wrote, or its verdicts.jsonl"
        raise UserError("cannot be read (no such file or folder)", where=str(path), mend=mend)
    if not path.is_dir() or (path / VERDICTS).exists():
        return [path]
    try:
        steps = json.loads((path / "run.json").read_text(encoding="utf-8"))["steps"]
        current = [path / place for name, place in steps.items() if name.startswith("judge-")]
    except FileNotFoundError:
        current = [file.parent for file in sorted(path.glob(f"steps/*/{VERDICTS}"))]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise UserError("damaged", where=str(path / "run.json"), mend="run `codeup run` on its recipe again") from None
    present = [folder for folder in current if (folder / VERDICTS).is_file()]
    if current and not present:
        raise UserError("its verdicts are gone", where=str(path), mend="run `codeup run` on its recipe again")
    return present or [path]


def _judged(place: Path) -> Judged:
    file = (place / VERDICTS if place.is_dir() else place).with_name("scores.json")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        values = [score["value"] for score in about["scores"] if score["metric"] == "pass@1"]
        return Judged(place, about["model"], about["benchmark"], about["form"], values[-1] if values else 0.0)
    except (OSError, ValueError, KeyError, TypeError):
        return Judged(place, "", "", "", 0.0)  # compare.py warns that nothing says what was judged


def match(left: Sequence[Judged], right: Sequence[Judged]) -> tuple[list[tuple[Judged, Judged]], list[str]]:
    """Pairs of verdicts to compare, and a sentence for all that has no counterpart.

    Two sides of one set each are a pair, whatever they are. Between two sides of one model each, benchmarks are paired
    and each model counts in its better form, as in a report. Otherwise model, benchmark and form must be the same.
    """
    if len(left) == len(right) == 1:
        return [(left[0], right[0])], []
    names = [{each.model for each in side} for side in (left, right)]
    one_model_each = all(len(each) == 1 for each in names)
    keyed: list[dict[Hashable, Judged]]
    if one_model_each and names[0] != names[1]:
        keyed = [{each.benchmark: each for each in sorted(side, key=lambda j: j.value)} for side in (left, right)]
    elif any(len(side) == 1 for side in (left, right)):
        keyed = [{(each.benchmark, each.form): each for each in _of_model(side, names)} for side in (left, right)]
    else:
        keyed = [{(each.model, each.benchmark, each.form): each for each in side} for side in (left, right)]
    pairs = [(keyed[0][key], keyed[1][key]) for key in keyed[0] if key in keyed[1]]
    used = {each.place for pair in pairs for each in pair}
    warnings = []
    for name, side in (("A", left), ("B", right)):
        alone = [each for each in side if each.place not in used]
        if alone and not one_model_each:
            warnings.append(f"only {name} has {_listed(alone)}: not compared")
    return pairs, warnings


def _of_model(side: Sequence[Judged], names: Sequence[set[str]]) -> Iterable[Judged]:
    """Of a side with several models, the one that the other side is about too."""
    shared = names[0] & names[1]
    several = len({each.model for each in side}) > 1
    if several and not shared:
        listed = ", ".join(sorted({each.model for each in side}))
        raise UserError("which model is meant is not clear", mend=f"name one, RUN:MODEL, of: {listed}")
    return [each for each in side if not several or each.model in shared]


def _listed(side: Iterable[Judged]) -> str:
    names = [" ".join(filter(None, (each.model, each.benchmark, each.form))) or str(each.place) for each in side]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _named(found: dict[str, Any], one: Judged, two: Judged, problems: Path | None) -> dict[str, Any]:
    """A comparison with what it is called and the problems that changed."""
    suite = f" {found['suite']}" if found["suite"] else ""
    names = [each.model or str(each.place) for each in (one, two)]
    models = names[0] if names[0] == names[1] else f"{names[0]} → {names[1]}"
    forms = one.form if one.form == two.form else f"{one.form or '?'} → {two.form or '?'}"
    label = " · ".join(filter(None, (models, f"{one.benchmark or two.benchmark}{suite}", forms)))
    return {
        **found,
        "label": label,
        "name_a": names[0],
        "name_b": names[1],
        "benchmark": one.benchmark or two.benchmark,
        **changed.between(one.place, two.place, suite=found["suite"], problems=problems),
    }
