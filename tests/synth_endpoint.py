"""A small OpenAI-compatible endpoint on loopback whose model is a script: what it answers depends on the request alone.

    with Scripted() as endpoint:                     a thread of this process, at endpoint.url
        endpoint.faults = [Fault(429, retry_after="0"), …]    the first requests get these instead

    python tests/synth_endpoint.py PORT_FILE LOG     the same in a process of its own; every request is a line of LOG

Its model knows the tasks of BANK. Asked for new tasks it draws some by the request's `seed`; asked to solve one it
finds the function's name in the prompt. BAD names tasks that it gets wrong in a way that the pipeline must notice.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "sk-secret-of-the-test"


@dataclass(frozen=True)
class Known:
    """A task that the scripted model can write and solve."""

    name: str
    task: str
    program: str
    tests: tuple[str, ...]


BANK = [
    Known("double_all", "Write a function double_all(numbers) that returns a list with every number multiplied by two.",
          "def double_all(numbers):\n    return [2 * n for n in numbers]",
          ("double_all([1, 2]) == [2, 4]", "double_all([]) == []", "double_all([-3]) == [-6]")),
    Known("vowels", "Count how many letters of a text are vowels, upper or lower case: vowels(text) gives that count.",
          "def vowels(text):\n    return sum(c in 'aeiou' for c in text.lower())",
          ("vowels('hello') == 2", "vowels('XYZ') == 0", "vowels('AEIOU!') == 5")),
    Known("clamp", "Given three values, clamp(x, low, high) keeps x inside the bounds low and high, both included.",
          "def clamp(x, low, high):\n    if x < low:\n        return low\n"
          "    if x > high:\n        return high\n    return x",
          ("clamp(5, 0, 3) == 3", "clamp(-1, 0, 3) == 0", "clamp(2, 0, 3) == 2", "clamp(3, 0, 3) == 3")),
    Known("words_by_length", "Group the words of a sentence: words_by_length(text) maps each length to a sorted list.",
          "def words_by_length(text):\n    found = {}\n    for word in text.split():\n"
          "        found.setdefault(len(word), []).append(word)\n"
          "    return {size: sorted(found[size]) for size in found}",
          ("words_by_length('b a cd') == {1: ['a', 'b'], 2: ['cd']}", "words_by_length('') == {}",
           "words_by_length('xx') == {2: ['xx']}")),
    Known("transpose", "A matrix is a list of equally long rows. transpose(matrix) swaps its rows with its columns.",
          "def transpose(matrix):\n    return [list(column) for column in zip(*matrix)]",
          ("transpose([[1, 2], [3, 4]]) == [[1, 3], [2, 4]]", "transpose([]) == []",
           "transpose([[7, 8]]) == [[7], [8]]")),
    Known("run_lengths", "Encode runs: run_lengths(text) lists pairs of a sign and how often it stands there in a row.",
          "def run_lengths(text):\n    found = []\n    for sign in text:\n        if found and found[-1][0] == sign:\n"
          "            found[-1][1] += 1\n        else:\n            found.append([sign, 1])\n"
          "    return [tuple(pair) for pair in found]",
          ("run_lengths('aab') == [('a', 2), ('b', 1)]", "run_lengths('') == []", "run_lengths('zz') == [('z', 2)]")),
    Known("minutes_of", "Clock times look like '07:45'. minutes_of(time) tells the minutes that passed since midnight.",
          "def minutes_of(time):\n    hours, minutes = time.split(':')\n    return 60 * int(hours) + int(minutes)",
          ("minutes_of('00:00') == 0", "minutes_of('07:45') == 465", "minutes_of('23:59') == 1439")),
    Known("leaves", "Trees are nested lists. How many entries that are no list does leaves(tree) find, at any depth?",
          "def leaves(tree):\n    return sum(leaves(each) if isinstance(each, list) else 1 for each in tree)",
          ("leaves([1, [2, [3]]]) == 3", "leaves([]) == 0", "leaves([[], [5]]) == 1")),
]  # fmt: skip
BAD = {
    "double_all": "wrong", "vowels": "exits", "clamp": "weak", "transpose": "no tests", "leaves": "refusal",
}  # fmt: skip
"""Only with `bad`: what goes wrong with which task."""


@dataclass
class Fault:
    """What a request gets instead of an answer: a status, a body that is no JSON, or nothing for a while."""

    status: int = 200
    body: str = "{}"
    retry_after: str = ""
    hang_s: float = 0.0


def solution(known: Known, bad: dict[str, str]) -> str:
    """The sections [Solution] and [Tests] for a task."""
    program, tests = known.program, [f"assert {each}" for each in known.tests]
    fault = bad.get(known.name, "")
    if fault == "refusal":
        return "I'm sorry, but I can't help with that request."
    if fault == "wrong":
        program = program.replace("2 * n", "3 * n")
    if fault == "exits":
        program += "\nimport sys\nsys.exit(0)"
    if fault == "weak":
        tests = [f"assert {known.name}({x}, 0, 3) == {x}" for x in (0, 1, 2)]
    if fault == "no tests":
        tests = []
    asserts = "\n".join(tests)
    return f"[Solution]\nThe idea is short.\n```python\n{program}\n```\n\n[Tests]\n```python\n{asserts}\n```"


def model(body: dict[str, Any], bad: dict[str, str]) -> tuple[str, str]:
    """The text and the finish reason that the script gives to a request."""
    prompt, draw = body["messages"][0]["content"], random.Random(f"script {body.get('seed')}")
    if "new exercises" in prompt:
        asked = int(re.findall(r"Write (\d+) new", prompt)[0])
        chosen = draw.sample(BANK, min(asked, len(BANK)))
        parts = [
            f"### Task {n}\n\n[Instruction]\n{each.task}\n\n{solution(each, bad)}" for n, each in enumerate(chosen, 1)
        ]
        text = "\n\n".join(parts)
        return (text[: len(text) - 60], "length") if draw.random() < 0.3 else (text, "stop")
    if "piece of code" in prompt:
        known = draw.choice(BANK)
        return f"[Problem]\n{known.task}\n\n{solution(known, bad)}", "stop"
    if "Rewrite a programming task" in prompt or "Here is a programming task" in prompt:
        return draw.choice(BANK).task + f" Name the result of case {draw.randrange(9)} first.", "stop"
    for known in BANK:
        if known.name in prompt:
            return solution(known, bad), "stop"
    return "What do you mean?", "stop"


@dataclass
class Scripted:
    """The endpoint in a thread of this process."""

    bad: dict[str, str] = field(default_factory=dict)
    answer: Callable[[dict[str, Any]], tuple[str, str]] | None = None
    faults: list[Fault] = field(default_factory=list)
    usage: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    log: Path | None = None

    def __enter__(self) -> Scripted:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def reply(self, body: dict[str, Any]) -> bytes:
        """A chat completion; its id and time depend on the request alone."""
        text, finish = self.answer(body) if self.answer else model(body, self.bad)
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        message = {"role": "assistant", "content": text}
        value: dict[str, Any] = {
            "id": f"chat-{digest[:12]}", "object": "chat.completion", "created": 1_764_000_000, "model": body["model"],
            "system_fingerprint": "script-1", "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        }  # fmt: skip
        if self.usage:
            prompt = body["messages"][0]["content"]
            value["usage"] = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        return json.dumps(value).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    scripted.requests.append(body)
                    scripted.keys.append(self.headers.get("Authorization", ""))
                    if scripted.log is not None:
                        with scripted.log.open("a") as file:
                            file.write(json.dumps(body) + "\n")
                    fault = scripted.faults.pop(0) if scripted.faults else None
                time.sleep(fault.hang_s if fault else scripted.delay_s)
                raw = fault.body.encode() if fault else scripted.reply(body)
                try:
                    self.send_response(fault.status if fault else 200)
                    if fault and fault.retry_after:
                        self.send_header("Retry-After", fault.retry_after)
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


if __name__ == "__main__":
    with Scripted(log=Path(sys.argv[2]), delay_s=0.05) as served:
        Path(sys.argv[1]).write_text(served.url)
        served.thread.join()
