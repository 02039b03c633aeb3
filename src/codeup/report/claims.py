"""Which sentences of the kind that studies publish the data support: found by tests, written from their numbers.

    rows base, code, math-code, full   ->   "math before code helps on nano: not distinguishable at n = 164 with 3 seeds
        (math-code − code: −0.012 [−0.061, 0.037], p = 0.610, corrected 1.000; a difference of 0.069 would be found in
        80 % of such studies)"

Looked at are: every variant against the base, every pair of variants of which one has one more stage, every pair with
the same stages in another order, and whether the variant with the most stages beats every other row. All p-values are
corrected together (Holm). A claim is supported where the corrected p is below 0.05 and the interval leaves out 0;
contradicted where the opposite is. Not covered: why, and whether it holds for another base or other problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from codeup import repeats
from codeup.report import numbers
from codeup.report.table import Grids, Rates, make_table

ALPHA = 0.05
ARROW = " → "
MARKS = {"supported": "▲", "contradicted": "▼", "open": "≈"}


def study_tables(
    rows: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    passed: Mapping[tuple[str, str], Rates],
    forms: Mapping[tuple[str, str], str],
    trainings: Sequence[Mapping[str, Any]],
    *,
    compare_to: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The study's parts `table`, `claims` and `claims_summary`, from what `make_table` takes; nothing where nothing was
    evaluated."""
    if not passed:
        return {}
    table = make_table(rows, passed, forms, trainings, compare_to=compare_to)
    chains = {name: stages for name, (stages, _) in rows.items()}
    found = claims(chains, table["benchmarks"], Grids(rows, passed), labels)
    return {"table": table, "claims": found, "claims_summary": summary(found)}


def claims(
    chains: Mapping[str, Sequence[str]], benchmarks: Sequence[str], grids: Grids, labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Each claim on each benchmark as plain JSON: its test, `verdict` (supported, contradicted, open) and `text`."""
    found = []
    for benchmark in benchmarks:
        here = {name: chain for name, chain in chains.items() if grids.has(name, benchmark)}
        for title, a, b in _pairs(here):
            pair = grids.compare(a, b, benchmark)
            found.append({"claim": title, "benchmark": benchmark, "a": a, "b": b, **asdict(pair)})
        found += list(_best(here, benchmark, grids))
    adjusted = repeats.holm([claim["p_value"] for claim in found])
    return [_judged(claim, p, labels) for claim, p in zip(found, adjusted, strict=True)]


def _pairs(chains: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    """(claim, row that should be better, row it is compared with)."""
    base = next((name for name, chain in chains.items() if not chain), None)
    trained = {name: tuple(chain) for name, chain in chains.items() if chain}
    if base is not None:
        for name in trained:
            yield f"{name} is better than {base}", name, base
    for longer, chain in trained.items():
        for i in range(len(chain)):
            for shorter, other in trained.items():
                first = i == 0 or chain[i] != chain[i - 1]  # [a, a] is [a] with one more, not in two ways
                if other == chain[:i] + chain[i + 1 :] and first:
                    yield f"{_place(chain, i)} helps", longer, shorter
    names = list(trained)
    for at, one in enumerate(names):
        for two in names[at + 1 :]:
            if sorted(trained[one]) == sorted(trained[two]):
                yield f"{ARROW.join(trained[two])} is better than {ARROW.join(trained[one])}", two, one


def _place(chain: tuple[str, ...], i: int) -> str:
    """Where one more stage stands.

    >>> _place(("instruct", "math", "code"), 0), _place(("instruct", "math", "code"), 1), _place(("math", "code"), 1)
    ('instruct before math → code', 'math between instruct and code', 'code after math')
    """
    before, after = chain[:i], chain[i + 1 :]
    if before and after:
        return f"{chain[i]} between {ARROW.join(before)} and {ARROW.join(after)}"
    return f"{chain[i]} before {ARROW.join(after)}" if after else f"{chain[i]} after {ARROW.join(before)}"


def _best(chains: Mapping[str, Sequence[str]], benchmark: str, grids: Grids) -> Iterator[dict[str, Any]]:
    """Does the variant with the most stages beat every other row? As weak as its weakest comparison: the largest p of
    all (an intersection-union test, Berger 1982, Technometrics 24, 295-300)."""
    longest = max(chains, key=lambda name: len(chains[name]))
    others = [name for name in chains if name != longest]
    if len(others) < 2 or sum(len(chain) == len(chains[longest]) for chain in chains.values()) > 1:
        return
    pairs = {name: grids.compare(longest, name, benchmark) for name in others}
    weakest = max(pairs, key=lambda name: (pairs[name].difference <= 0, pairs[name].p_value))
    pair = asdict(pairs[weakest])
    if pair["difference"] <= 0:
        pair["p_value"] = 1.0
    yield {"claim": f"{longest} is the best row", "benchmark": benchmark, "a": longest, "b": weakest, **pair}


def _judged(claim: Mapping[str, Any], p_holm: float, labels: Mapping[str, str]) -> dict[str, Any]:
    clear = p_holm < ALPHA and (claim["low"] > 0 or claim["high"] < 0)
    verdict = "open" if not clear else "supported" if claim["difference"] > 0 else "contradicted"
    made = {**claim, "p_holm": p_holm, "verdict": verdict}
    return {**made, "text": text(made, labels)}


def text(claim: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> str:
    """One claim as one sentence."""
    seeds = f" with {claim['seeds']} seeds" if claim["seeds"] > 1 else ""
    size = f"n = {numbers.count(claim['n'])}{seeds}"
    said = {
        "supported": f"supported at {size}",
        "contradicted": f"contradicted, the opposite is supported at {size}",
        "open": f"not distinguishable at {size}",
    }[claim["verdict"]]
    p, corrected = (
        numbers.p_value(claim["p_value"]),
        numbers.p_value(claim["p_holm"]).removeprefix("p ").removeprefix("= "),
    )
    ends = f"[{numbers.fixed(claim['low'])}, {numbers.fixed(claim['high'])}]"
    figures = (
        f"{claim['a']} − {claim['b']}: {numbers.signed(claim['difference'], 3)} {ends}, {p}, corrected {corrected}"
    )
    if claim["verdict"] == "open" and claim["detectable"] is not None:
        figures += f"; a difference of {numbers.fixed(claim['detectable'])} would be found in 80 % of such studies"
    on = (labels or {}).get(claim["benchmark"], claim["benchmark"])
    return f"{claim['claim']} on {on}: {said} ({figures})"


def summary(found: Sequence[Mapping[str, Any]]) -> str:
    """The sentence above the list."""
    if not found:
        return ""
    count = {verdict: sum(claim["verdict"] == verdict for claim in found) for verdict in MARKS}
    parts = [f"{count['supported']} of {len(found)} claims are supported"]
    parts += [f"{count['contradicted']} contradicted"] if count["contradicted"] else []
    parts += [f"{count['open']} not distinguishable"] if count["open"] else []
    return f"{', '.join(parts)} (p < {ALPHA}, corrected for {len(found)} tests by Holm's method)."
