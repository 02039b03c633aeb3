"""The verdict on a whole program: what its steps did, and whether its harness proved that the checks ran to their end.

    files: {"main.js": [["ours", harness], ["program", answer], ["ours", tests], ["ours", epilogue]]}
    CODEUP_NAME in our parts -> a random name, new for every program; the secret -> standard input of the last step

    last step ended with 0   and printed the secret with a count of checks   -> PASSED
    last step ended with 0   and did not                                     -> EXITED: exit code 0 is never a pass
    anything else            -> COMPILE, FAILED, TIMEOUT, MEMORY or CRASHED, by what the kernel and the tool say

The tests are part of the program here, because their language is the program's: it could look for their expected values
in its own memory. What it cannot do is end early, print something, or swallow an exception, and pass.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Mapping
from typing import Any

from codeup.sandbox import wire
from codeup.sandbox.handle import SandboxBroken, Zygote
from codeup.sandbox.limits import HAD_A_CORE
from codeup.sandbox.warm import WarmCompilers

NAME = "CODEUP_NAME"
ANSWER_MB, RUN_ANSWER_MB = 4, 32


def judge(zygote: Zygote, compilers: WarmCompilers, job: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on one job. Raises SandboxBroken where a step could not be started."""
    start = time.monotonic()
    name, secret = f"codeup_{secrets.token_hex(8)}", secrets.token_hex(16)
    warm = job["warm"]
    made = compilers.answer(warm, _joined(warm["ask"], name)) if warm else None
    if made:
        job = {**job, "steps": warm["steps"]}
        files, data, compiling_s = {}, {warm["path"]: made[0]}, made[1]
    else:
        files, data, compiling_s = {path: _joined(parts, name) for path, parts in job["files"].items()}, {}, 0.0
    reply = supervised(zygote, {"files": files, "data": data, "steps": job["steps"], "secret": secret}, ANSWER_MB)
    done = reply["steps"]
    found, detail, checks = outcome(job, done)
    used = compiling_s + sum(step["cpu_s"] for step in done)
    spent = time.monotonic() - start
    return {
        "outcome": found, "detail": detail[:600].replace(name, "harness"), "checks": checks,
        "seconds": round(spent, 4), "cpu_s": used, "memory_mb": max(step["memory_mb"] for step in done),
        "contended": not done[-1]["waited"] and used < HAD_A_CORE * spent,
    }  # fmt: skip


def run(zygote: Zygote, job: Mapping[str, Any]) -> dict[str, Any]:
    """What a program that nobody judges said and left behind: the supervisor's answer as it is."""
    asked = {key: job[key] for key in ("files", "data", "steps", "collect")}
    return supervised(zygote, {**asked, "secret": ""}, RUN_ANSWER_MB)


def supervised(zygote: Zygote, request: Mapping[str, Any], answer_mb: int) -> dict[str, Any]:
    """One exchange with the supervisor. Raises SandboxBroken, after which the zygote is of no more use."""
    channel = zygote.supervisor()
    try:
        channel.settimeout(60 + 10 * sum(step["wall_s"] for step in request["steps"]))
        if (first := wire.receive(channel)) != ["isolated"]:
            raise SandboxBroken(f"a supervisor could not be isolated: {first}")
        wire.send(channel, request)
        reply = wire.receive(channel, answer_mb << 20)
    except (wire.Closed, wire.TooLarge, TimeoutError) as error:
        raise SandboxBroken(f"a supervisor ended early ({type(error).__name__})") from None
    if not isinstance(reply, dict):
        raise SandboxBroken(f"a step could not be started: {reply}")
    return reply


def _joined(parts: list[list[str]], name: str) -> str:
    return "".join(text.replace(NAME, name) if whose == "ours" else text for whose, text in parts)


def outcome(job: Mapping[str, Any], done: list[dict[str, Any]]) -> tuple[str, str, int]:
    """Outcome, one line for a person, and the number of checks."""
    last, step = done[-1], job["steps"][len(done) - 1]
    compiling = len(done) < len(job["steps"])
    said = " ".join((last["err"] or last["out"]).split())
    if last["timed_out"]:
        return (
            "TIMEOUT",
            f"{step['name']} did not finish in {step['wall_s']:g} s ({last['cpu_s']:.1f} s of CPU time)",
            0,
        )
    if last["flooded"]:
        return "FAILED", f"{step['name']} printed more than 64 MB", 0
    if last["status"] == 0 and not compiling:
        return _proved(job, last)
    text = last["err"] + last["out"]
    if any(words in text for words in step["memory_words"]):
        return "MEMORY", f"{step['name']} needed more than {step['data_mb']} MB: {_first_error(text)}", 0
    if os.WIFSIGNALED(last["status"]):
        return _killed(step, last, said, compiling=compiling)
    if step["compiler"]:
        return "COMPILE", _first_error(text), 0
    code = os.WEXITSTATUS(last["status"])
    if code == NOT_COMPILED:
        return "COMPILE", _first_error(text), 0
    return "FAILED", _first_error(text) or f"ended with exit code {code}", 0


NOT_COMPILED = 98
"""The exit code of a harness whose own language refused the program, where compiling and running are one step."""


def _proved(job: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[str, str, int]:
    """A last step that ended well: what proves that the checks ran. `compat` has the original's weaker rule."""
    if job["compat"] == "exit-code":
        return "PASSED", "", 1
    if job["compat"] == "silence":
        noise = last["printed"]
        return ("FAILED", f"printed {noise} bytes, and silence is asked for", 0) if noise else ("PASSED", "", 1)
    proof = last["proof"]
    if not proof:
        return "EXITED", "ended with exit code 0 before its checks had run to the end", 0
    if not proof.isdigit() or int(proof) == 0:
        return "FAILED", "the tests checked nothing, so nothing was proved", 0
    return "PASSED", "", int(proof)


def _killed(
    step: Mapping[str, Any], last: Mapping[str, Any], said: str, *, compiling: bool
) -> tuple[str, str, int]:  # fmt: skip
    number = os.WTERMSIG(last["status"])
    name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
    if number == signal.SIGXCPU or (number == signal.SIGKILL and last["cpu_s"] >= step["cpu_s"]):
        return "TIMEOUT", f"{step['name']} used {step['cpu_s']:g} s of CPU time", 0
    if number == signal.SIGABRT and "ssertion" in said:
        return "FAILED", said[:400], 0
    if number == signal.SIGXFSZ:
        return "FAILED", f"{step['name']} wrote too large a file", 0
    return ("COMPILE" if compiling else "CRASHED"), f"{step['name']} was killed by {name} {said[:300]}".strip(), 0


_ERROR = re.compile(
    r"\w*(?:Error|Exception)\b[^;(]*:|\berror(?:\[\w+\]| CS\d+)?:(?! \")|panicked at|assertion failed|Fatal error"
)
_PERHAPS = re.compile(r"(?i)error|exception|assert|panic|fatal|fail|expected|undefined|cannot")


def _first_error(text: str) -> str:
    """The first line that reads like an error, or the first line."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    for pattern in (_ERROR, _PERHAPS):
        if found := next((line for line in lines if pattern.search(line)), ""):
            return found[:400]
    return lines[0][:400] if lines else ""
