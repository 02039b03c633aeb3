"""A client of `codeup judge-server` in one file that needs only Python's library: copy it into a trainer.

    judge = Judge("http://127.0.0.1:8010", benchmark="humaneval", token=os.environ.get("JUDGE_TOKEN"))
    judge.judge(task_id="HumanEval/0", answer=text)["reward"]                     1.0 or 0.0
    trainer = GRPOTrainer(model, reward_funcs=judge.reward, train_dataset=rows)   rows with a column `task_id`

A server that is busy or loading is waited for, a connection that broke is made again, and only what has no verdict yet
is sent again: every item comes back with its own verdict, once. Where the sandbox failed, the reward is None, which TRL
takes for "not applicable"; never 0.0. Raises JudgeError when the server refuses a request or stays away.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

FORMS = ("answer", "completion", "solution")


class JudgeError(Exception):
    """The server refused (`status`, its message), or could not be reached in all attempts (`status` 0)."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class Judge:
    """A server and how it is asked.

    form        what a completion is: "answer" (a chat model's, code is taken out of it), "completion" (continues the
                prompt of the problem) or "solution" (a whole program)
    batch       programs in one request, at most the server's --max-batch
    attempts    how often a request is tried when the server is away or hangs up
    patience_s  how long a server that is busy or loading is waited for
    timeout_s   longest silence of the server; it says something every 15 s
    """

    __name__ = "codeup_judge"

    def __init__(
        self, url: str, *, token: str | None = None, benchmark: str | None = None, form: str = "answer",
        batch: int = 256, attempts: int = 8, timeout_s: float = 60.0, patience_s: float = 600.0,
    ) -> None:  # fmt: skip
        if form not in FORMS:
            raise ValueError(f"form is one of {', '.join(FORMS)}, not {form!r}")
        self.form, self.batch, self.attempts, self.timeout_s = form, batch, attempts, timeout_s
        self.benchmark, self.patience_s = benchmark, patience_s
        parts = urlsplit(url if "//" in url else f"http://{url}")
        self._make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._path = parts.netloc, parts.path.rstrip("/").removesuffix("/v1")
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def health(self) -> dict[str, Any]:
        """The server's /health: its state and the level of its sandbox. Raises JudgeError where it is away."""
        try:
            return dict(json.loads(b"".join(self._lines("GET", "/health", None))))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise JudgeError(f"{type(error).__name__}: {error}") from None

    def judge(self, **item: Any) -> dict[str, Any]:
        """The verdict on one item: `task_id` and `answer`, or a program with its own checks (`language`, ...)."""
        return self.judge_many([item])[0]

    def judge_many(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The verdicts on items, in their order."""
        done: list[dict[str, Any]] = []
        for start in range(0, len(items), self.batch):
            done += self._batch([self._item(item) for item in items[start : start + self.batch]])
        return done

    def reward(
        self, prompts: Sequence[Any], completions: Sequence[Any], task_id: Sequence[str] = (),
        benchmark: Sequence[str | None] | None = None, **columns: Any,
    ) -> list[float | None]:  # fmt: skip
        """One reward for each completion, as TRL's GRPOTrainer asks a reward function.

        `completions` are texts, or conversations whose last message is the answer; `task_id` and `benchmark` are
        columns of the dataset. Other columns, and what the trainer adds, are not used.
        """
        names = [self.benchmark] * len(completions) if benchmark is None else benchmark
        if not len(prompts) == len(completions) == len(task_id) == len(names):
            raise ValueError(f"{len(completions)} completions, {len(task_id)} task_id: the dataset needs that column")
        items = [
            {"task_id": task, self.form: _text(completion), **({"benchmark": name} if name else {})}
            for task, completion, name in zip(task_id, completions, names, strict=True)
        ]
        return [result["reward"] for result in self.judge_many(items)]

    def _item(self, item: Mapping[str, Any]) -> dict[str, Any]:
        named = {} if self.benchmark is None or "language" in item else {"benchmark": self.benchmark}
        return {**named, **_unicode(item)}

    def _batch(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send items until each has its verdict; what came before a connection broke is kept."""
        results: dict[int, dict[str, Any]] = {}
        why, attempt, waited_s = "", 0, 0.0
        while attempt < self.attempts:
            left = [{**item, "id": place} for place, item in enumerate(items) if place not in results]
            try:
                for line in self._lines("POST", "/v1/judge/batch", {"items": left}):
                    if line.strip() and "done" not in (result := json.loads(line)):
                        results[result["id"]] = result
                if len(results) == len(items):
                    return [{**results[place], "id": items[place].get("id", place)} for place in range(len(items))]
                why = f"the server ended after {len(results)} of {len(items)} verdicts"
            except _Busy as busy:
                if waited_s + busy.wait_s > self.patience_s:
                    raise JudgeError(f"no verdict after {waited_s:g} s of waiting: {busy}") from None
                waited_s += busy.wait_s
                time.sleep(busy.wait_s)
                continue
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = f"{type(error).__name__}: {error}"
            time.sleep(min(10.0, 0.2 * 2**attempt))
            attempt += 1
        raise JudgeError(f"no verdict after {self.attempts} attempts: {why}")

    def _lines(self, method: str, path: str, value: Any) -> Iterator[bytes]:
        """The lines of a reply as they come. Raises JudgeError for a refusal, _Busy, or what the connection raises."""
        connection = self._make(self._host, timeout=self.timeout_s)
        try:
            body = None if value is None else json.dumps(value).encode()
            connection.request(method, self._path + path, body, self._headers)
            reply = connection.getresponse()
            if reply.status in (429, 503) and method == "POST":
                raise _Busy(reply.status, reply.headers.get("Retry-After"))
            if reply.status != 200 and method == "POST":
                raise JudgeError(_message(reply.read()), reply.status)
            yield from reply
        finally:
            connection.close()


class _Busy(Exception):
    def __init__(self, status: int, retry_after: str | None) -> None:
        self.wait_s = max(1.0, float(retry_after)) if retry_after and retry_after.isdigit() else 1.0
        super().__init__(f"the server is busy ({status})")


def _text(completion: Any) -> str:
    """The text of a completion: itself, or what the last message of a conversation says."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else ""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")


def _unicode(value: Any) -> Any:
    """Half of a character, which JSON cannot carry, becomes a question mark, wherever it stands."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_unicode(key): _unicode(each) for key, each in value.items()}
    return [_unicode(each) for each in value] if isinstance(value, list | tuple) else value


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace") or "an empty reply"
