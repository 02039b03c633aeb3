"""Is A better than B? Two sets of verdicts on the same problems, compared problem by problem.

    A/verdicts.jsonl   PASSED FAILED PASSED ...     one sample each: the paired table, exact McNemar
    B/verdicts.jsonl   PASSED PASSED FAILED ...     several: pass rates per problem, bootstrap over problems

    gaps of solutions                              the gaps of one problem together: bootstrap over problems
    fewer than ten problems differ                 a bootstrap has next to no width then: Tango's interval, sign test

scores.json beside the verdicts says what was judged; where the two sides differ in benchmark, data, rules or limits, or
nothing says what they were, the answer carries a warning. Does not cover: pass@k for k above 1, and the luck of
training, which needs several training runs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeup import power, stats
from codeup.errors import UserError
from codeup.types import Outcome

ALPHA, POWER = 0.05, 0.8
SUITES = ("base", "plus")
SAME = {
    "benchmark": "benchmarks",
    "data_sha256": "data files (sha256)",
    "data_version": "data versions",
    "compat": "rules of judging",
    "limits": "limits of a program",
}
"""Entries of scores.json that must agree for two scores to mean the same, in words."""


@dataclass(frozen=True, slots=True)
class Side:
    """One set of verdicts: passes of each task in order of index, the suite they count, and what was judged."""

    path: Path
    passes: Mapping[str, Sequence[bool]]
    suite: str
    about: Mapping[str, Any]

    @property
    def rates(self) -> dict[str, float]:
        """Task -> share of its samples that passed."""
        return {task: sum(each) / len(each) for task, each in self.passes.items()}

    @property
    def clustered(self) -> bool:
        """Whether its tasks are gaps, several of one problem, which are right or wrong together."""
        scores = self.about.get("scores")
        return isinstance(scores, list) and any("clusters" in score for score in scores)

    @property
    def samples(self) -> tuple[int, int]:
        """Fewest and most samples of a task."""
        counts = [len(each) for each in self.passes.values()]
        return min(counts), max(counts)


def compare(a: Path, b: Path, *, suite: str = "", seed: int = 0) -> dict[str, Any]:
    """Compare two sets of verdicts: a verdicts.jsonl each, a folder that holds one, or a run with a single one.

    `suite` chooses "base" or "plus" of EvalPlus-style verdicts (where not said: plus if both sides have it). Returns
    plain JSON: the scores of both, the paired table, difference (a - b) with its interval, p-value (one sample per
    problem only), the smallest difference that so many problems can show, warnings, `better` ("a", "b" or None) and one
    sentence. Raises UserError.
    """
    if suite not in ("", *SUITES):
        raise UserError(f"there is no suite {suite!r}", mend=f"one of: {', '.join(SUITES)}")
    left, right = read_side(a, suite), read_side(b, suite)
    if not suite and left.suite != right.suite:  # what both have been judged by is base
        left, right = (read_side(side.path, "base" if side.suite else "") for side in (left, right))
    shared = [task for task in left.passes if task in right.passes]
    if not shared:
        raise UserError("no problem has a verdict on both sides", where=f"{a} and {b}", mend="compare one benchmark")
    left_out = [task for task in [*left.passes, *right.passes] if (task in left.passes) != (task in right.passes)]
    pair = _paired(left, right, shared, seed)
    found = {
        "a": str(a),
        "b": str(b),
        "n": len(shared),
        "left_out": len(left_out),
        "suite": left.suite,
        "score_a": _score(left, shared, seed),
        "score_b": _score(right, shared, seed),
        **pair,
        "warnings": _warnings(left, right, left_out),
    }
    found["better"] = _better(found)
    return {**found, "sentence": _sentence(found)}


def read_side(path: Path, suite: str = "") -> Side:
    """Read verdicts and what is said about them. Raises UserError naming the line that is not a verdict."""
    file = _verdicts_file(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        mend = "give verdicts.jsonl, or a folder that holds it (a judge-… folder of a run)"
        raise UserError(f"cannot be read ({reason})", where=str(file), mend=mend) from None
    rows: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        row = _row(line, where=f"{file}:{number}")
        if row["index"] in rows[row["task_id"]]:
            what = f"sample {row['index']} of {row['task_id']} occurs twice"
            raise UserError(what, where=f"{file}:{number}", mend="run codeup evaluate again")
        rows[row["task_id"]][row["index"]] = row
    if not rows:
        raise UserError("holds no verdicts", where=str(file), mend="run codeup evaluate first")
    every = [row for each in rows.values() for row in each.values()]
    suited = [row for row in every if "base_status" in row]
    if suited and len(suited) < len(every):
        raise UserError("mixes verdicts with and without suites", where=str(file), mend="run codeup evaluate again")
    suite = (suite or ("plus" if all(row.get("plus_status") for row in suited) else "base")) if suited else suite
    if suite and any(not row.get(f"{name}_status") for row in every for name in _needed(suite)):
        raise UserError(
            f"its verdicts are not of a {suite} suite",
            where=str(file),
            mend="leave --suite out, or judge with --benchmark humaneval+ or mbpp+",
        )
    passes = {task: [passed_in(each[i], suite) for i in sorted(each)] for task, each in rows.items()}
    return Side(file, passes, suite, _about(file))


def _verdicts_file(path: Path) -> Path:
    if not path.is_dir() or (path / "verdicts.jsonl").exists():
        return path / "verdicts.jsonl" if path.is_dir() else path
    within = sorted(path.glob("steps/*/verdicts.jsonl"))
    if len(within) > 1:
        names = ", ".join(str(file.parent.relative_to(path)) for file in within)
        raise UserError(f"holds {len(within)} sets of verdicts", where=str(path), mend=f"name one of: {names}")
    return within[0] if within else path / "verdicts.jsonl"


def _row(line: str, *, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
        good = isinstance(row["task_id"], str) and isinstance(row["index"], int) and row["outcome"] in set(Outcome)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise UserError("is not a verdict", where=where, mend="run codeup evaluate again")
    checked: Mapping[str, Any] = row
    return checked


def _needed(suite: str) -> Sequence[str]:
    """The statuses a suite reads: a program passes plus only if it passes base too, as EvalPlus counts."""
    return SUITES if suite == "plus" else (suite,)


def passed_in(row: Mapping[str, Any], suite: str) -> bool:
    """Whether a verdict counts as passed: by its outcome, or in a suite and those before it."""
    if not suite:
        return bool(row["outcome"] == Outcome.PASSED)
    return all(row[f"{name}_status"] == "pass" for name in _needed(suite))


def _about(file: Path) -> Mapping[str, Any]:
    """What scores.json beside the verdicts says, or nothing."""
    try:
        about = json.loads(file.with_name("scores.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _score(side: Side, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    """pass@1 of one side on the shared problems."""
    rates = side.rates
    if side.clustered:
        score = asdict(stats.mean_over_clusters(_together(rates, tasks), seed=seed))
    else:
        score = asdict(stats.mean_over_problems([rates[task] for task in tasks], seed=seed))
    about = {key: side.about[key] for key in ("model", "benchmark", "data_version") if key in side.about}
    return {"metric": "pass@1", **score, "samples_per_problem": list(side.samples), **about}


def _paired(a: Side, b: Side, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    """The table, the difference and what could have been found."""
    n, rates_a, rates_b = len(tasks), a.rates, b.rates
    lower = min(sum(rates[task] for task in tasks) / n for rates in (rates_a, rates_b))
    detectable: dict[str, Any] = {"alpha": ALPHA, "power": POWER, "unpaired": power.detectable_unpaired(n, lower)}
    differences = {task: rates_a[task] - rates_b[task] for task in tasks}
    if a.clustered or b.clustered:
        together = _together(differences, tasks)
        gaps, over = stats.compare_clusters(together, seed=seed), f"{len(together)} problems with their gaps"
        detectable["unpaired"] = power.detectable_unpaired(len(together), lower)
        return _tested(gaps, list(differences.values()), len(together), over, detectable)
    if a.samples == b.samples == (1, 1):
        pair = stats.compare_paired([a.passes[t][0] for t in tasks], [b.passes[t][0] for t in tasks], seed=seed)
        discordance = (pair.only_a + pair.only_b) / n
        detectable |= {"paired": power.detectable_paired(n, discordance), "discordance": discordance}
        return {**asdict(pair), "test": "exact McNemar", "detectable": detectable}
    rates = stats.compare_rates([rates_a[t] for t in tasks], [rates_b[t] for t in tasks], seed=seed)
    return _tested(rates, list(differences.values()), n, "problems", detectable)


def _tested(
    rates: stats.PairedRates, differences: Sequence[float], independent: int, over: str, detectable: dict[str, Any]
) -> dict[str, Any]:
    """Rates with their test. Where a bootstrap would be too narrow it is the exact sign test, and what could have been
    found is that of wins and losses of the same mean size."""
    if rates.interval.startswith("tango"):
        paired = power.detectable_paired(independent, sum(map(abs, differences)) / len(differences))
        tested = {"p_value": stats.mcnemar_exact(rates.higher_a, rates.higher_b), "test": f"exact sign over {over}"}
    else:
        paired = power.detectable_rates(independent, rates.spread) if rates.spread else None
        tested = {"p_value": None, "test": f"bootstrap over {over}"}
    return {**asdict(rates), **tested, "detectable": {**detectable, "paired": paired}}


def _together(values: Mapping[str, float], tasks: Sequence[str]) -> list[list[float]]:
    """Values by the problem whose gap a task is: all of its id but the last part (benchmarks/_infilling.py)."""
    found: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        found[task.rpartition("/")[0] or task].append(values[task])
    return list(found.values())


def _warnings(a: Side, b: Side, left_out: Sequence[str]) -> list[str]:
    found = []
    for name, side in (("A", a), ("B", b)):
        if not side.about:
            found.append(f"{name} has no readable scores.json beside its verdicts: what was judged is not known")
    if a.about and b.about:
        for key, words in SAME.items():
            if a.about.get(key) != b.about.get(key):
                found.append(f"the {words} differ: {_short(a.about.get(key))} and {_short(b.about.get(key))}")
    if a.suite != b.suite:
        with_suite, without = ("A", "B") if a.suite else ("B", "A")
        found.append(f"the suites differ: {with_suite}'s base verdicts against {without}'s, which know no suites")
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        found.append(f"{len(left_out)} problems have a verdict on one side only: {', '.join(left_out[:3])}{more}")
    if len({*a.samples, *b.samples}) > 1:
        found.append(f"samples per problem differ: A has {_range(a.samples)}, B has {_range(b.samples)}")
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else text[:16] + "…"


def _range(samples: tuple[int, int]) -> str:
    return str(samples[0]) if samples[0] == samples[1] else f"{samples[0]} to {samples[1]}"


def _better(found: Mapping[str, Any]) -> str | None:
    """The side that the data support: the interval leaves out 0 and, where there is a test, p < 0.05."""
    if found["low"] <= 0 <= found["high"] or (found["p_value"] is not None and found["p_value"] >= ALPHA):
        return None
    return "a" if found["difference"] > 0 else "b"


def _sentence(found: Mapping[str, Any]) -> str:
    better, n = found["better"], found["n"]
    sign = -1 if better == "b" else 1
    low, high = sorted((sign * found["low"], sign * found["high"]))
    test = f", p = {found['p_value']:.2g}" if found["p_value"] is not None else ""
    figures = f"({sign * found['difference']:+.3f}, 95 % [{low:+.3f}, {high:+.3f}]{test}, n = {n} problems)"
    if better:
        return f"The data support that {better.upper()} is better than {'B' if better == 'a' else 'A'} {figures}."
    smallest = found["detectable"]["paired"]
    if smallest is None:
        return f"The data do not support that A or B is better {figures}; so few problems show no difference reliably."
    return (
        f"The data do not support that A or B is better {figures}; a true difference of {smallest:.3f} would be found "
        f"in {POWER:.0%} of such comparisons, a smaller one less often."
    )
