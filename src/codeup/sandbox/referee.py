"""The trusted side of one worker: holds the tests, runs them on a stand-in that asks the child for each answer.

    tests:  def check(candidate):                 candidate is `Candidate`: it ships the arguments to the child and
                assert candidate([1, 2]) == 3     returns the decoded plain value, so `==` is decided here

The namespace of the tests is the problem's own reference program, because some tests call its helpers. The program
under test is never compiled, imported or executed here. A run of `check` that asked for no answer proves nothing.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from codeup.sandbox import program_judge, stdin_judge, values, wire
from codeup.sandbox.handle import SandboxBroken, Zygote
from codeup.sandbox.limits import HAD_A_CORE, LEAST_SHARE, STARVED, starves
from codeup.sandbox.suite_judge import SuiteJudge
from codeup.sandbox.warm import WarmCompilers

TESTS = "<tests>"
MOST_COMPILED = 2048
"""Tests that stay compiled; more than any benchmark has problems, MBPP's 974 included."""


class CandidateError(Exception):
    """The function under test raised; the message is `Type: text`."""


class Ended(BaseException):
    """The sample is over with the given outcome. Not an Exception, so that tests do not catch it by accident."""

    def __init__(self, outcome: str, detail: str) -> None:
        self.outcome, self.detail = outcome, detail
        super().__init__(outcome)


class Candidate:
    """The stand-in for the function under test.

    The wall limit is for programs that wait. One that computes and is merely starved of CPU by other work (limits.py)
    gets up to STARVED times as long, and the CPU limit ends it.
    """

    def __init__(self, zygote: Zygote, limits: Mapping[str, Any], entry_point: str) -> None:
        self.zygote, self.channel, self.entry_point = zygote, zygote.begin(), entry_point
        self.start, self.windows, self.used_s = time.monotonic(), 1, 0.0
        self.wall_s, self.largest = limits["wall_s"], limits["answer_mb"] << 20
        self.calls = 0
        self.ended: Ended | None = None
        self.waited = False
        """Whether it ran out of time without computing: then no processor of its own would have helped."""
        self.last = ""

    def load(self, program: str) -> None:
        """Send the program; raises Ended unless it loads and defines the function.

        The first frame was written before the child read the program: only there can it report a broken sandbox.
        """
        try:
            self._wait_on()
            isolated = wire.receive(self.channel, on_timeout=self._late)
        except (wire.Closed, Ended) as error:
            self.ended = None
            raise SandboxBroken(f"a child ended before it was isolated ({type(error).__name__})") from None
        if isolated != ["isolated"]:
            raise SandboxBroken(f"a child could not be isolated: {isolated}")
        reply = self._ask({"program": program, "entry_point": self.entry_point})
        if reply[0] != "ready":
            self._answer(reply)
            self._end("FAILED", "the program spoke out of turn")

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self.ended:
            raise self.ended
        try:
            request = {"call": [values.encode(part, -values.MAX_DEPTH) for part in (list(arguments), keywords)]}
        except values.Unencodable as error:
            raise SandboxBroken(f"the tests pass what cannot be sent to the sandbox: {error}") from None
        self.calls += 1
        shown = ", ".join(
            [*map(values.short, arguments), *(f"{name}={values.short(value)}" for name, value in keywords.items())]
        )
        self.last = f"{self.entry_point}({shown})"
        value = self._answer(self._ask(request))
        self.last += f" returned {values.short(value)}"
        return value

    def _answer(self, reply: list[Any]) -> Any:
        """The value in a reply, or the exception it stands for."""
        kind, words = reply[0], [str(word)[:400] for word in reply[1:]]
        if kind == "value" and len(reply) == 2:
            try:
                return values.decode(reply[1])
            except (ValueError, RecursionError) as error:
                self._end("FAILED", f"{self.last} sent what is not an answer: {error}")
        if kind == "raised" and words[:1] == ["MemoryError"]:
            self._end("MEMORY", f"{self.last or 'loading'} needed more memory than allowed")
        if kind == "raised" and len(words) == 2:
            self.last += f" raised {words[0]}: {words[1]}"
            if self.calls == 0:
                self._end("FAILED", f"raised {words[0]}: {words[1]}")
            raise CandidateError(f"{words[0]}: {words[1]}")
        outcomes = {"compile": "COMPILE", "exited": "EXITED", "missing": "FAILED", "odd": "FAILED"}
        if kind in outcomes and len(words) == 1:
            self._end(outcomes[kind], f"{self.last} returned {words[0]}" if kind == "odd" else words[0])
        self._end("FAILED", "the program spoke out of turn")

    def _ask(self, message: Any) -> list[Any]:
        """One exchange with the child. Whatever breaks it ends the sample; why is known once the child is reaped."""
        try:
            self._wait_on()
            wire.send(self.channel, message, self._late)
            reply = wire.receive(self.channel, self.largest, self._late)
        except wire.Closed:
            self._end("GONE", self.last or "while loading")
        except wire.TooLarge:
            self._end("MEMORY", f"{self.last} answered with more than {self.largest >> 20} MB")
        except (ValueError, RecursionError) as error:
            self._end("FAILED", f"{self.last} sent what is not an answer: {values.short(error)}")
        if not (isinstance(reply, list) and reply and isinstance(reply[0], str)):
            self._end("FAILED", "the program spoke out of turn")
        return reply

    def _wait_on(self) -> None:
        self.channel.settimeout(max(0.001, self.start + self.windows * self.wall_s - time.monotonic()))

    def _late(self) -> None:
        """The wall limit passed: end the sample, unless it computes and only lacked the CPU to."""
        before, self.used_s = self.used_s, self.zygote.cpu_s()
        self.waited = self.used_s - before < LEAST_SHARE * self.wall_s
        if self.windows == STARVED or not starves(self.used_s - before, self.wall_s):
            passed = self.windows * self.wall_s
            self._end(
                "TIMEOUT", f"{self.last or 'loading'} did not finish in {passed:g} s ({self.used_s:.1f} s of CPU time)"
            )
        self.windows += 1
        self._wait_on()

    def _end(self, outcome: str, detail: str) -> NoReturn:
        self.ended = Ended(outcome, detail)
        raise self.ended


class Referee:
    """Judges one job at a time with one zygote, replaced when it breaks."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self.config, self.limits, self.source = config, config["limits"], source
        self.zygote = Zygote(config, source)
        self.compilers = WarmCompilers(config, source)
        self.compiled: dict[tuple[str, str], tuple[Any, Any]] = {}
        self.suites = SuiteJudge(self.limits, self._why_gone)

    def judge(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict on one program; a broken sandbox is replaced once, then raises SandboxBroken."""
        try:
            return self._judge(job)
        except SandboxBroken:
            self.zygote.stop()
            self.zygote = Zygote(self.config, self.source)
            return self._judge(job)

    def _judge(self, job: Mapping[str, Any]) -> dict[str, Any]:
        if "collect" in job:
            return program_judge.run(self.zygote, job)
        if "tests" in job and "step" in job:
            return stdin_judge.judge(self.zygote, job)
        if "steps" in job:
            return program_judge.judge(self.zygote, self.compilers, job)
        if "suites" in job:
            return (self.suites.truth if job["truth"] else self.suites.judge)(self.zygote, job)
        start = time.monotonic()
        check = self._tests(job)
        candidate = Candidate(self.zygote, self.limits, job["entry_point"])
        try:
            outcome, detail = self._run(candidate, check, job["program"])
        finally:
            candidate.channel.close()
        usage = self.zygote.end(gone=outcome == "GONE")
        if usage["overflow"]:
            outcome, detail = (
                "FAILED",
                f"{detail or candidate.last}: wrote more than {self.limits['scratch_mb']} MB of files",
            )
        elif outcome == "GONE":
            outcome, detail = self._why_gone(usage, detail)
        return {
            "outcome": outcome, "detail": detail[:600], "checks": candidate.calls,
            "seconds": round(time.monotonic() - start, 4), "cpu_s": usage["cpu_s"], "memory_mb": usage["memory_mb"],
            "contended": not candidate.waited and usage["cpu_s"] < HAD_A_CORE * (time.monotonic() - start),
        }  # fmt: skip

    def _tests(self, job: Mapping[str, Any]) -> Any:
        """The problem's `check`, in a namespace made fresh from its reference program."""
        key = (job["reference"], job["tests"])
        try:
            if key not in self.compiled:
                if len(self.compiled) >= MOST_COMPILED:  # a server's tests come with its requests, without end
                    self.compiled.clear()
                self.compiled[key] = compile(key[0], "<reference>", "exec"), compile(key[1], TESTS, "exec")
            namespace: dict[str, Any] = {"__name__": "tests"}
            linecache.cache[TESTS] = (len(key[1]), None, key[1].splitlines(keepends=True), TESTS)
            random.seed(0)  # some tests draw their inputs: the same ones for every program
            for code in self.compiled[key]:
                exec(code, namespace)
            return namespace["check"]
        except BaseException as error:
            raise SandboxBroken(f"the tests themselves do not load: {type(error).__name__}: {error}") from None

    def _run(self, candidate: Candidate, check: Any, program: str) -> tuple[str, str]:
        """Run the tests; the outcome does not depend on whether they swallow the end of the sample."""
        slow = f"the tests did not finish on the answers in {candidate.wall_s:g} s of CPU time"

        def too_slow(number: int, frame: Any) -> NoReturn:
            candidate.ended = candidate.ended or Ended("TIMEOUT", slow)
            raise candidate.ended

        signal.signal(signal.SIGPROF, too_slow)
        signal.setitimer(signal.ITIMER_PROF, candidate.wall_s)
        failure: tuple[str, str] | None = None
        try:
            candidate.load(program)
            check(candidate)
        except SandboxBroken:
            raise
        except Ended as end:
            failure = (end.outcome, end.detail)
        except BaseException as error:
            failure = ("FAILED", self._explain(error, candidate))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if candidate.ended:
            return candidate.ended.outcome, candidate.ended.detail
        if failure:
            return failure
        if candidate.calls == 0:
            return "FAILED", "the tests asked for no answer, so nothing was proved"
        return "PASSED", ""

    @staticmethod
    def _explain(error: BaseException, candidate: Candidate) -> str:
        """The line of the tests that failed, and what the last call did."""
        lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == TESTS]
        line = " ".join((lines[-1] or "").split()) if lines else ""
        why = (
            ""
            if isinstance(error, AssertionError | CandidateError)
            else f"{type(error).__name__}: {values.short(error)}"
        )
        return "; ".join(part for part in (candidate.last, line[:200], why) if part)

    def _why_gone(self, usage: Mapping[str, Any], last: str) -> tuple[str, str]:
        """What the kernel says about a child that ended before it answered."""
        status = usage["status"]
        if os.WIFEXITED(status):
            code = os.WEXITSTATUS(status)
            if code == 71:
                return "CRASHED", f"{last}: Python itself failed in the program's process"
            return "EXITED", f"{last}: ended its process with exit code {code} instead of answering"
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and usage["cpu_s"] >= self.limits["cpu_s"]):
            return "TIMEOUT", f"{last}: used {self.limits['cpu_s']:g} s of CPU time"
        if usage["alive"]:
            return "EXITED", f"{last}: closed its channel instead of answering"
        if number == signal.SIGKILL and usage["memory_mb"] >= self.limits["memory_mb"]:
            return "MEMORY", f"{last}: killed at {usage['memory_mb']} MB"
        name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
        return "CRASHED", f"{last}: killed by {name}"


def main(number: int, source: str) -> None:
    """Read jobs, one JSON object per line, and write verdicts, until standard input closes."""
    channel = os.fdopen(number, "w", encoding="utf-8")
    os.set_inheritable(number, False)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what tests print leads nowhere
    config = json.loads(sys.stdin.readline())
    sys.path += config["import_path"]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    def say(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    referee: Referee | None = None
    try:
        referee = Referee(config, source)
        say({"layers": referee.zygote.layers})
        for line in sys.stdin:
            try:
                say(referee.judge(json.loads(line)))
            except SandboxBroken as error:
                say({"broken": str(error)})
    except SandboxBroken as error:
        say({"broken": str(error)})
    finally:
        if referee is not None:
            referee.zygote.stop()
            referee.compilers.stop()
