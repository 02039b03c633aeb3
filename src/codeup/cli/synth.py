"""`codeup data synth …`: new training rows from a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codeup.cli.preparing import named_files
from codeup.cli.progress import display
from codeup.errors import UserError


def synth(
    method: str, *, seeds: Path, out: Path, base_url: str, model: str, api_key_env: str, rows: int, rounds: int,
    against: Sequence[str], max_requests: int | None, max_tokens_total: int | None, max_cost: float | None,
    price_in: float, price_out: float, concurrency: int, temperature: float, max_tokens: int, param: Sequence[str],
    tests: str, weak_tests: str, mutants_killed: float, near: float | None, licence: str, seed: int, timeout_s: float,
    workers: int | None, allow_unsafe: bool, json: bool,
) -> None:  # fmt: skip
    """Check the options, make the rows, print the account."""
    from codeup.synth import settings as synthesis
    from codeup.synth.budget import Budget
    from codeup.synth.cache import Cache
    from codeup.synth.endpoint import Endpoint
    from codeup.synth.make import alone, synthesize

    if not seeds.exists():  # before the folder is given to these settings
        raise UserError("there is no such file or folder", where=f"--seeds {seeds}", mend="check the path")
    _one_of("METHOD", method, synthesis.METHODS)
    _one_of("--tests", tests, synthesis.TESTS)
    _one_of("--weak-tests", weak_tests, synthesis.WEAK_TESTS)
    if max_cost is not None and not (price_in or price_out):
        raise UserError("--max-cost needs prices", where="--max-cost", mend="give --price-in and --price-out")
    key = _key(api_key_env)
    settings = synthesis.Settings(
        method, seeds, model, rows, rounds, seed, temperature, max_tokens, _params(param), named_files(against), tests,
        weak_tests, mutants_killed, near, licence,
    )  # fmt: skip
    budget = Budget(max_requests, max_tokens_total, max_cost, price_in, price_out)
    with alone(out), Cache(out / "cache.sqlite") as cache, display() as emit:
        endpoint = Endpoint(base_url, cache, key=key, concurrency=concurrency, timeout_s=timeout_s)
        manifest = synthesize(
            settings, out, endpoint, budget, workers=workers or len(os.sched_getaffinity(0)),
            allow_unsafe=allow_unsafe, emit=emit,
        )  # fmt: skip
    if json:
        sent = {"sent": endpoint.traffic.sent, "replayed": endpoint.traffic.replayed}
        print(jsonlib.dumps({**manifest, **sent, "out": str(out)}))
        return
    print("\n".join(lines(manifest)))
    print(f"this time: {endpoint.traffic.sent:,} requests sent, {endpoint.traffic.replayed:,} from the cache")
    print(f"rows, what was dropped, manifest: {out}")


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"{value!r} is none of the choices", where=option, mend=f"use {', '.join(known)}")


def _key(variable: str) -> str:
    """The key in an environment variable; never shown."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(f"the environment has no {variable}, or it is empty", where="--api-key-env", mend="export it")
    if not key.isascii() or not key.isprintable():
        raise UserError(
            f"{variable} holds signs that no header can carry", where="--api-key-env", mend="export it again"
        )
    return key


def _params(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=JSON; what is no JSON is text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"{pair!r} is not NAME=JSON", where="--param", mend="e.g. top_p=0.95, or seed=null")
        if name in ("messages", "model", "stream", "n", "tools"):
            raise UserError(f"{name!r} cannot be set", where="--param", mend="leave it out")
        try:
            found[name] = jsonlib.loads(value)
        except ValueError:
            found[name] = value
    return found


def lines(manifest: dict[str, Any]) -> list[str]:
    """The account as text."""
    spent, seeds = manifest["spent"], manifest["seeds"]
    found = [
        f"{manifest['kept']:,} rows of {manifest['rows_asked']:,} asked for; {_why(manifest['stopped'])}",
        f"seeds: {seeds['usable']:,} used"
        + "".join(f", {count:,} {reason}" for reason, count in seeds["dropped"].items()),
        "",
        f"{'requested':<44}{manifest['requested']:>8,}",
    ]
    found += [f"  - {reason:<40}{count:>8,}" for reason, count in manifest["dropped"].items()]
    found.append(f"{'kept':<44}{manifest['kept']:>8,}")
    if len(manifest["rounds"]) > 1:
        found += ["", f"{'round':<10}{'requested':>12}{'kept':>8}"]
        found += [f"{each['round']:<10}{each['requested']:>12,}{each['kept']:>8,}" for each in manifest["rounds"]]
    cost = f", cost {spent['cost']:,.4f}" if spent["price_in"] or spent["price_out"] else ""
    counted = f" ({spent['requests_without_usage']:,} without usage)" if spent["requests_without_usage"] else ""
    found += [
        "",
        f"{spent['requests']:,} requests{counted}, {spent['prompt_tokens']:,} tokens in, "
        f"{spent['completion_tokens']:,} out{cost}; sandbox: {manifest['sandbox']}",
    ]
    return found


def _why(stopped: str) -> str:
    if stopped == "rows":
        return "all there"
    if stopped == "rounds":
        return "all rounds are done"
    return f"stopped by --{stopped}; raise it and run the same command to go on"
