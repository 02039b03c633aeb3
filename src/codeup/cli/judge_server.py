"""`codeup judge-server`: argv to one call of judging/running.py; the address on stdout, what happens on stderr."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from codeup.cli.serving import read_token
from codeup.errors import UserError


def serve(
    *,
    benchmarks: list[str],
    languages: list[str],
    host: str,
    port: int,
    token_env: str,
    allow_host: list[str],
    workers: int | None,
    timeout_s: float,
    memory_mb: int,
    compat: str,
    base_only: bool,
    all_inputs: bool,
    extraction: str,
    floor: str,
    queue: int,
    max_batch: int,
    deadline_s: float,
    json: bool,
) -> None:
    """Serve until Ctrl-C. With --json the line with the address is a JSON object, printed when the judge is ready."""
    token = read_token(token_env)
    named = parse_benchmarks(benchmarks)
    if floor not in ("confined", "strong"):
        raise UserError(f"--floor is {floor!r}", mend="use strong, or confined")
    from codeup.evaluate.programs import SuiteRules
    from codeup.evaluate.samples import EXTRACTIONS
    from codeup.judging import app, running
    from codeup.judging.court import Court, Floor, Settings
    from codeup.sandbox.limits import Limits
    from codeup.serve.guard import is_loopback
    from codeup.serve.running import bind, check_address

    if extraction not in EXTRACTIONS:
        raise UserError(f"no extraction is named {extraction!r}", mend=f"use one of {', '.join(EXTRACTIONS)}")
    check_address(host, token)
    settings = Settings(
        named, tuple(languages), workers or len(os.sched_getaffinity(0)), Limits.of(timeout_s, memory_mb),
        SuiteRules(compat, base_only, all_inputs), extraction, cast(Floor, floor), queue,
    )  # fmt: skip
    limits = app.Limits(deadline_s=deadline_s, max_batch=max_batch)
    running.check(settings, limits)
    listening = bind(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"

    def ready(court: Court) -> None:
        about: dict[str, Any] = {
            "url": url, "benchmarks": list(court.benches), "languages": list(court.free.tools),
            "workers": settings.workers, "sandbox": str(court.pools[0].isolated),
        }  # fmt: skip
        told = f"{url}  {', '.join([*about['benchmarks'], *about['languages']])}; sandbox: {about['sandbox']}"
        print(jsonlib.dumps(about) if json else told, flush=True)
        print("ready; Ctrl-C ends", file=sys.stderr, flush=True)

    print(f"listening on {url}, reading benchmarks", file=sys.stderr, flush=True)
    if not is_loopback(host):
        print("the traffic is not encrypted: put a TLS proxy in front on an open network", file=sys.stderr)
    running.serve(listening, settings, limits, host=host, token=token, allow=allow_host, on_ready=ready)


def bench(benchmark: str, *, workers: int, clients: int, rounds: int, json: bool) -> bool:
    """Print what the way over HTTP costs; False where a verdict was lost or mixed up."""
    from codeup.judging.load import load

    ((name, file),) = parse_benchmarks([benchmark]).items()
    found = load(name, file, workers=workers, clients=clients, rounds=rounds)
    if json:
        print(jsonlib.dumps(asdict(found)))
    else:
        print(f"{found.programs} programs of {name}, {workers} workers; {found.local_per_s:,.1f} verdicts/s locally")
        for way, served in ((f"{clients} clients, one each", found.single), ("batches of one client", found.batch)):
            median, most_of, most = (f"{1000 * value:,.0f}" for value in served.latency_s)
            print(
                f"{way}: {served.per_s:,.1f} verdicts/s, {100 * served.per_s / found.local_per_s:.0f} % of local; "
                f"{served.lost} lost, {served.mixed} mixed up; ms of a request {median} / {most_of} / {most} "
                f"(median / 95 % / most); {1000 * served.server_cpu_s / served.verdicts:.1f} ms of the server's own "
                "processor time a verdict"
            )
    return not any(served.lost or served.mixed for served in (found.single, found.batch))


def parse_benchmarks(pairs: list[str]) -> dict[str, Path | None]:
    """NAME or NAME=FILE, several. Raises UserError for a name twice.

    >>> parse_benchmarks(["nano", "humaneval=HumanEval.jsonl.gz"])
    {'nano': None, 'humaneval': PosixPath('HumanEval.jsonl.gz')}
    """
    found: dict[str, Path | None] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not name or (equals and not file):
            raise UserError(f"--benchmark {pair!r} is not NAME or NAME=FILE", mend="for example --benchmark nano")
        if name in found:
            raise UserError(f"--benchmark {name} is given twice", mend="one file per name")
        found[name] = Path(file).expanduser() if equals else None
    return found
