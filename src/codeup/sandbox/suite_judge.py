"""The trusted side of a suite: sends inputs to the child and compares what comes back with what was expected.

    job     {"program", "entry_point", "suites": [{"name", "file"}], "comparison": "module:function", "task": {...},
             "rules": {"least_s", "factor", "total_s"}, "all_inputs", "guard", "deepen"}
    file    one suite of one problem, zlib-compressed JSON: inputs, expected values, CPU seconds and more (see `read`)

The comparison is the benchmark's own (`benchmarks/_evalplus.py`): an object with `plain`, `mutated`, `records`,
`saw(floats)` and `same(output, expected, arguments, floats)`. An answer whose encoding equals the expected one's is
right without it.

A program that hangs while it loads is not loaded again for the next suite, unless all inputs are asked for.

A call gets max(least_s, factor * the reference's seconds), a suite gets total_s; how they are held: suite_child.py.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from codeup.sandbox import digests, values, wire
from codeup.sandbox.handle import SandboxBroken, Zygote
from codeup.sandbox.limits import HAD_A_CORE, LEAST_SHARE
from codeup.sandbox.suite_child import WALL_FACTOR, Child, Stopped

COMPARE_S = 30.0
PREPARE_S = 30.0  # for a long value that a call returned to be digested or encoded
TRUTH_S = 600.0
DIGEST_ABOVE = 1 << 18
TRUTH_FRAME = 1 << 30
KEPT = 4
"""How many suites stay in memory."""

STATUS = {"PASSED": "pass", "FAILED": "fail", "COMPILE": "fail", "EXITED": "timeout", "MEMORY": "timeout",
          "CRASHED": "timeout", "TIMEOUT": "timeout"}  # fmt: skip
"""What EvalPlus calls an outcome when its child said nothing; a failure that was reported is always "fail" there."""


def write(path: str, suite: Mapping[str, Any]) -> None:
    """Write a suite's file, whole or not at all."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(zlib.compress(json.dumps(suite, separators=(",", ":")).encode(), 1))
    os.replace(temporary, path)


def read(path: str) -> dict[str, Any]:
    """A suite: {"inputs"}, and once its truth is known {"expected", "seconds", "floats", "digest_above"}.

    `floats[i]`: the expected value is a float, or a list or tuple of floats only. Values of over `digest_above` bytes
    are kept as digests.
    """
    with open(path, "rb") as file:
        suite: dict[str, Any] = json.loads(zlib.decompress(file.read()), parse_constant=float)
    return suite


class Slow(BaseException):
    """The comparison itself used COMPARE_S of CPU time: only values made for that do."""


class SuiteJudge:
    """Judges programs on suites with one zygote, whose referee owns it."""

    def __init__(self, limits: Mapping[str, Any], why_gone: Any) -> None:
        self.limits, self.why_gone = limits, why_gone
        self.suites: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def judge(self, zygote: Zygote, job: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict on one program: each suite on its own, in one child as long as that child lives."""
        start = time.monotonic()
        run = _Run(self, zygote, job)
        signal.signal(signal.SIGPROF, _too_slow)
        results = []
        for each in job["suites"]:
            signal.setitimer(signal.ITIMER_PROF, COMPARE_S)
            try:
                results.append(run.suite(each["name"], self._suite(each["file"])))
            except Slow:
                slow = f"its answers took more than {COMPARE_S:.0f} s to compare"
                results.append({"name": each["name"], "outcome": "TIMEOUT", "detail": slow, "status": "timeout",
                                "checks": 0, "failed": []})  # fmt: skip
                run.close()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        run.close()
        bad = next((result for result in results if result["outcome"] != "PASSED"), results[-1])
        seconds = time.monotonic() - start
        return {
            "outcome": bad["outcome"], "detail": bad["detail"], "checks": sum(each["checks"] for each in results),
            "suites": results, "seconds": round(seconds, 4), "cpu_s": run.cpu_s, "memory_mb": run.memory_mb,
            "contended": run.contended,
        }  # fmt: skip

    def _suite(self, path: str) -> dict[str, Any]:
        if path not in self.suites:
            try:
                self.suites[path] = read(path)
            except (OSError, ValueError, zlib.error) as error:
                raise SandboxBroken(f"the expected values in {path} are damaged ({error}); remove this file") from None
            while len(self.suites) > KEPT:
                self.suites.popitem(last=False)
        self.suites.move_to_end(path)
        return self.suites[path]

    def truth(self, zygote: Zygote, job: Mapping[str, Any]) -> dict[str, Any]:
        """Run the benchmark's own program and complete the suite's file with what it returned."""
        (asked,) = job["suites"]
        suite = read(asked["file"])
        answers: list[Any] | None = None
        for digest_above in (DIGEST_ABOVE, None):
            run = _Run(self, zygote, job)
            answers = run.truth(suite, digest_above)
            run.close()
            if answers is None:
                return {"outcome": "FAILED", "detail": run.why, "checks": 0, "seconds": 0.0}
            expected = [{"large": answer[1:-1]} if answer[0] == "D" else answer[1] for answer in answers]
            if job["not_none"]:
                expected = [value is not None for value in expected]
            floats = [_is_floats(value) for value in expected]
            large = [value["large"] for value in expected if isinstance(value, dict) and "large" in value]
            if not large or not (any(floats) or job["task"]["atol"] or not all(each[-1] for each in large)):
                break  # otherwise a tolerance may be asked for, or a value does not equal itself: no digests then
        assert answers is not None
        seconds = [answer[-1] for answer in answers]
        done = {"expected": expected, "seconds": seconds, "floats": floats, "digest_above": digest_above}
        try:
            write(asked["file"], {**suite, **done})
        except OSError as error:
            raise SandboxBroken(f"{asked['file']} cannot be written ({error.strerror})") from None
        return {"outcome": "PASSED", "detail": "", "checks": len(answers), "seconds": sum(seconds)}


def _too_slow(number: int, frame: Any) -> None:
    raise Slow


def _is_floats(value: Any) -> bool:
    """EvalPlus's `is_floats` on an encoded value: a float, a non-empty list or tuple of floats, a float array."""
    if isinstance(value, dict):
        ((tag, body),) = value.items()
        if tag == "numpy":
            return body[0] == "<f8" or (body[0] == "<f4" and body[1] is not None)
        return tag in ("tuple", "sub") and _is_floats(body)
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float)


class _Run:
    """One program's way through its suites."""

    def __init__(self, judge: SuiteJudge, zygote: Zygote, job: Mapping[str, Any]) -> None:
        self.judge, self.zygote, self.job = judge, zygote, job
        self.child: Child | None = None
        self.cpu_s, self.memory_mb, self.contended, self.why = 0.0, 0, False, ""
        self.hung = False  # while loading
        self.in_step = False  # the child waits for the next suite

    def close(self, *, gone: bool = False) -> dict[str, Any]:
        """End the child, if there is one."""
        if self.child is None:
            return {}
        usage = self.child.end(gone=gone)
        self.cpu_s = round(self.cpu_s + usage["cpu_s"], 4)
        self.memory_mb = max(self.memory_mb, usage["memory_mb"])
        self.child = None
        return usage

    def _note_load(self, stop: Stopped) -> None:
        """Whether a program that ran out of time computed and had no processor to itself: it is judged again, alone."""
        if stop.outcome == "TIMEOUT" and self.child is not None:
            had = self.zygote.cpu_s() - self.began_cpu_s
            passed = time.monotonic() - self.began
            self.contended = self.contended or LEAST_SHARE * passed <= had < HAD_A_CORE * passed

    def suite(self, name: str, suite: Mapping[str, Any]) -> dict[str, Any]:
        """Status, outcome, and which inputs failed. `checks` is how many results there are, failed ones included."""
        if self.hung and not self.job["all_inputs"]:
            again = "not run: the program did not finish loading for the suite before"
            return {"name": name, "outcome": "TIMEOUT", "detail": again, "status": "timeout", "checks": 0, "failed": []}
        module, _, function = self.job["comparison"].partition(":")
        comparison = getattr(importlib.import_module(module), function)(**self.job["task"])
        rules = self.job["rules"]
        limits = [max(rules["least_s"], rules["factor"] * seconds) for seconds in suite["seconds"]]
        total_s = min(rules["total_s"], sum(limits)) + 1
        right: list[bool] = []
        result = {"name": name, "outcome": "PASSED", "detail": "", "status": "pass"}
        try:
            self._begin(suite["inputs"], limits, total_s, comparison, digest_above=suite["digest_above"], truth=False)
            self._answers(suite, limits, total_s, comparison, right)
        except Stopped as stop:
            status = "fail" if stop.reported else STATUS[stop.outcome]
            result |= {"outcome": stop.outcome, "detail": stop.detail[:600], "status": status}
            self._note_load(stop)
        if not self.in_step:
            self.close()
        if not comparison.records and result["status"] == "pass":
            result |= {"outcome": "FAILED", "status": "fail", "detail": comparison.why}
            right = []
        failed = [place for place, good in enumerate(right) if not good]
        return {**result, "checks": len(right), "failed": failed}

    def _begin(
        self, inputs: list[Any], limits: list[float], total_s: float, comparison: Any, *, digest_above: int | None,
        truth: bool,
    ) -> None:  # fmt: skip
        """Send the program and its inputs to the child; raises Stopped unless it loads."""
        if self.child is None:
            self.child = Child(self.zygote)
        self.in_step = False
        self.began, self.began_cpu_s = time.monotonic(), self.zygote.cpu_s()
        plain = comparison is None or comparison.plain
        asked = {
            "program": self.job["program"], "entry_point": self.job["entry_point"], "limits": limits, "truth": truth,
            "wall_factor": WALL_FACTOR, "digest_above": digest_above if plain else None,
            "mutated": comparison is not None and comparison.mutated, "guard": self.job["guard"],
            "all_inputs": self.job["all_inputs"], "deepen": self.job["deepen"], "each": self.job["each"],
        }  # fmt: skip
        self.child.allow(total_s, self.began_cpu_s + total_s)
        self._exchange("send", {"suite": asked})
        self._exchange("send", inputs)
        try:
            reply = self._exchange("receive", 1 << 20)
        except Stopped as stop:
            self.hung = stop.outcome == "TIMEOUT"
            raise
        kind, *words = reply if isinstance(reply, list) and reply else [""]
        words = [str(word)[:400] for word in words]
        if kind != "ready":
            self.in_step = True
            outcome = {"compile": "COMPILE", "exited": "EXITED"}.get(kind, "FAILED")
            if words[:1] == ["MemoryError"]:
                outcome = "MEMORY"
            raise Stopped(outcome, ": ".join(words) or "the program spoke out of turn", reported=True)

    def _exchange(self, what: str, argument: Any) -> Any:
        """Send or receive one frame; a child that is gone or talks nonsense ends the suite."""
        assert self.child is not None
        try:
            return getattr(self.child, what)(argument)
        except wire.Closed:
            usage = self.close(gone=True)
            if usage["overflow"]:
                raise Stopped("FAILED", "wrote more files than allowed", reported=False) from None
            raise Stopped(*self.judge.why_gone(usage, "the program"), reported=False) from None
        except wire.TooLarge:
            raise Stopped("MEMORY", f"answered with more than {argument >> 20} MB", reported=True) from None
        except (ValueError, RecursionError) as error:
            raise Stopped("FAILED", f"sent what is not an answer: {values.short(error)}", reported=True) from None

    def _answers(
        self, suite: Mapping[str, Any], limits: list[float], total_s: float, comparison: Any, right: list[bool]
    ) -> None:
        """Compare answers as they come, into `right`; raises Stopped at the first wrong one unless all are wanted."""
        assert self.child is not None
        first: Stopped | None = None
        for answer in self._stream(limits, right, total_s, suite["expected"]):
            place = len(right)
            wrong = self._check(answer, place, suite, comparison)
            right.append(wrong is None)
            if wrong is not None:
                first = first or wrong
                self._note_load(wrong)
                if not self.job["all_inputs"]:
                    if answer[0] in ("r", "t"):  # after an exception it has stopped; otherwise it computes on
                        self._finish()
                    raise first
        if first is not None:
            raise first
        if len(right) != len(limits):
            raise Stopped("FAILED", "the program spoke out of turn", reported=True)

    def _finish(self) -> None:
        """The child has stopped at an exception and says so; one that does not is ended."""
        try:
            assert self.child is not None
            self.child.allow(1.0, self.began_cpu_s + 1e6)
            self.in_step = self._exchange("receive", 1 << 10) == ["done"]
        except Stopped:
            pass

    def _stream(self, limits: list[float], right: list[bool], total_s: float, expected: list[Any]) -> Any:
        """The answers one by one, until the child is done or has given as many as there are inputs."""
        assert self.child is not None
        most, frame = self.judge.limits["answer_mb"] << 20, None
        while True:
            limit = limits[len(right)] if len(right) < len(limits) else 1.0
            limit = max(limit, PREPARE_S) if frame == ["returned"] else limit
            self.child.allow(limit, self.began_cpu_s + total_s)
            frame = self._exchange("receive", most)
            if frame == ["done"]:
                self.in_step = True
                return
            if frame == ["returned"]:
                continue
            if not isinstance(frame, list) or not frame or len(right) >= len(limits):
                raise Stopped("FAILED", "the program spoke out of turn", reported=True)
            if frame[0] == "large" and len(frame) == 5:
                yield self._large(frame[1:], expected[len(right)], most)
                continue
            if frame[0] != "answers" or len(frame) != 2 or not isinstance(frame[1], list):
                raise Stopped("FAILED", "the program spoke out of turn", reported=True)
            for answer in frame[1]:
                if len(right) >= len(limits) or not isinstance(answer, list) or answer[:1] not in (["v"], ["r"], ["t"]):
                    raise Stopped("FAILED", "the program spoke out of turn", reported=True)
                yield answer

    def _large(self, announced: list[Any], expected: Any, most: int) -> list[Any]:
        """Settle a large value by its digest, or ask for more; an answer ["same"], ["other"] or ["v", value]."""
        digest, kind, length, rigid = announced
        large = expected["large"] if isinstance(expected, dict) and "large" in expected else ["", "", 0, False, ""]
        wanted = "digest"
        if not large[0]:
            wanted = "value"
        elif digest != large[0] and kind == large[1] and length == large[2] and not (rigid and large[3]):
            wanted = "normal"
        self._exchange("send", wanted)
        if wanted == "digest":
            return ["same"] if digest == large[0] else ["other"]
        frame = self._exchange("receive", most)
        answer = frame[1][0] if isinstance(frame, list) and len(frame) == 2 and frame[0] == "answers" else None
        if isinstance(answer, list) and len(answer) == 2 and answer[0] == {"value": "v", "normal": "n"}[wanted]:
            return answer if wanted == "value" else ["same"] if answer[1] == large[4] else ["other"]
        raise Stopped("FAILED", "the program spoke out of turn", reported=True)

    def _check(self, answer: list[Any], place: int, suite: Mapping[str, Any], comparison: Any) -> Stopped | None:
        """None for a right answer, otherwise why it is not."""
        expected, kind = suite["expected"][place], answer[0]
        if kind == "same" or (comparison.plain and kind == "v" and answer[1] == expected):
            comparison.saw(suite["floats"][place])
            return None
        called = (
            f"{self.job['entry_point']}({', '.join(values.short(_decoded(part)) for part in suite['inputs'][place])})"
        )
        if kind == "r":
            outcome = "MEMORY" if answer[1:2] == ["MemoryError"] else "FAILED"
            return Stopped(
                outcome, f"{called} raised {': '.join(str(word)[:300] for word in answer[1:])}", reported=True
            )
        if kind == "t":
            return Stopped("TIMEOUT", f"{called} did not finish in its CPU time", reported=True)
        if kind == "other" or (kind == "v" and isinstance(expected, dict) and "large" in expected):
            comparison.saw(suite["floats"][place])
            if kind == "v" and digests.normal(_decoded(answer[1])) == expected["large"][4]:
                return None
            return Stopped("FAILED", f"{called} returned another value than expected", reported=True)
        if len(answer) < 2:
            return Stopped("FAILED", "the program spoke out of turn", reported=True)
        return self._compare(answer, called, place, suite, comparison)

    @staticmethod
    def _compare(
        answer: list[Any], called: str, place: int, suite: Mapping[str, Any], comparison: Any
    ) -> Stopped | None:
        try:
            output, expected = values.decode(answer[1]), values.decode(suite["expected"][place])
            sent = answer[2] if comparison.mutated and len(answer) == 3 else suite["inputs"][place]
            arguments = [values.decode(part, -values.MAX_DEPTH) for part in sent]
        except (ValueError, RecursionError, TypeError, OverflowError) as error:
            return Stopped("FAILED", f"{called} sent what is not an answer: {values.short(error)}", reported=True)
        why = f"{called} returned {values.short(output)}, expected {values.short(expected)}"
        try:
            if comparison.same(output, expected, arguments, suite["floats"][place]):
                return None
        except Exception as error:
            why += f" ({type(error).__name__})"
        return Stopped("FAILED", why, reported=True)

    def truth(self, suite: Mapping[str, Any], digest_above: int | None) -> list[Any] | None:
        """What the benchmark's own program returns for every input; None if it fails."""
        limits = [TRUTH_S] * len(suite["inputs"])
        answers: list[Any] = []
        try:
            self._begin(suite["inputs"], limits, TRUTH_S, None, digest_above=digest_above, truth=True)
            assert self.child is not None
            while len(answers) < len(limits):
                self.child.allow(TRUTH_S, self.began_cpu_s + TRUTH_S)
                frame = self._exchange("receive", TRUTH_FRAME)
                answers += frame[1] if frame[0] == "answers" else []
                wrong = next((answer for answer in answers if answer[0] not in ("v", "D")), None)
                if wrong is not None or frame == ["done"]:
                    self.why = f"input {len(answers)} of {len(limits)}: {wrong}"
                    return None
        except Stopped as stop:
            self.why = stop.detail
            return None
        return answers


def _decoded(value: Any) -> Any:
    try:
        return values.decode(value, -values.MAX_DEPTH)
    except (ValueError, RecursionError):
        return None
