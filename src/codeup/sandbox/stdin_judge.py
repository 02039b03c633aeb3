"""The verdict on a program that reads standard input and prints: one fresh run for each input, compared over here.

    tests   [["3\\n1 2 3\\n", "6\\n"], ...]      the first goes to the program's standard input; the second never
                                              leaves this process: the program and its supervisor are not told

A program passes when every run ends with exit code 0 and prints what is expected; the first other run ends it. `cpu_s`
holds for each input, and all runs together may take ten times the wall clock of one. What counts as the same text is
the benchmark's own function, named in `comparison`.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from typing import Any

from codeup.sandbox import program_judge
from codeup.sandbox.handle import Zygote
from codeup.sandbox.limits import HAD_A_CORE, LEAST_SHARE

ROOM = 1 << 16
"""Bytes that a program may print beyond twice what is expected, so that the difference can be told."""
WINDOWS = 10


def judge(zygote: Zygote, job: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on one job; `checks` are the inputs answered rightly. Raises SandboxBroken."""
    module, _, function = job["comparison"].partition(":")
    same = getattr(importlib.import_module(module), function)
    start, used, memory, right = time.monotonic(), 0.0, 0, 0
    outcome, detail, contended = "PASSED", "", False
    for place, (given, expected) in enumerate(job["tests"], 1):
        if time.monotonic() - start > WINDOWS * job["step"]["wall_s"]:
            outcome, detail = "TIMEOUT", f"all inputs together took more than {WINDOWS * job['step']['wall_s']:g} s"
            contended = used >= LEAST_SHARE * (time.monotonic() - start)
            break
        step = {**job["step"], "stdin_text": given, "kept": len(expected.encode(errors="replace")) + ROOM}
        request = {"files": {job["path"]: job["program"]}, "steps": [step], "secret": ""}
        (done,) = program_judge.supervised(zygote, request, program_judge.RUN_ANSWER_MB)["steps"]
        used, memory = used + done["cpu_s"], max(memory, done["memory_mb"])
        outcome, detail = _one(step, done, expected, same)
        if outcome != "PASSED":
            detail = f"input {place} of {len(job['tests'])}: {detail}"
            contended = not done["waited"] and done["cpu_s"] < HAD_A_CORE * done["wall_s"]
            break
        right += 1
    return {
        "outcome": outcome, "detail": detail[:600], "checks": right, "seconds": round(time.monotonic() - start, 4),
        "cpu_s": round(used, 4), "memory_mb": memory, "contended": contended,
    }  # fmt: skip


def _one(step: Mapping[str, Any], done: Mapping[str, Any], expected: str, same: Any) -> tuple[str, str]:
    """Outcome and a line for a person, of one run."""
    if done["status"] != 0 or done["timed_out"] or done["flooded"]:
        outcome, detail, _ = program_judge.outcome({"steps": [step], "compat": ""}, [dict(done)])
        refused = outcome == "FAILED" and os.WIFEXITED(done["status"]) and _not_python(done["err"])
        return ("COMPILE" if refused else outcome), detail
    if done["out_bytes"] > 2 * step["kept"]:
        return "FAILED", f"printed {done['out_bytes']:,} bytes, expected {len(expected):,}"
    if same(done["out"], expected):
        return "PASSED", ""
    return "FAILED", f"printed {_short(done['out'])}, expected {_short(expected)}"


def _not_python(said: str) -> bool:
    """Whether Python refused the program itself: then no traceback stands before the error."""
    kinds = ("SyntaxError:", "IndentationError:", "TabError:")
    last = said.strip().rpartition("\n")[2]
    return last.startswith(kinds) and "Traceback (most recent call last)" not in said


def _short(text: str) -> str:
    line = repr(text.strip())
    return line if len(line) <= 120 else f"{line[:90]}...{line[-20:]}"
