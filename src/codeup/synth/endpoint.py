"""Any OpenAI-compatible endpoint, asked for many answers at once; what was asked before costs nothing.

    POST BASE_URL/chat/completions {"model": "m", "messages": [{"role": "user", "content": …}], "seed": 7, …}

    status                   what is done
    200 with an answer       kept in the cache, whatever it says
    200 without one          asked again
    408 409 425 429 5xx      asked again after the endpoint's Retry-After, or 1, 2, 4, … s (a 429 holds up everybody)
    no reply, hung up        asked again; TIMEOUT_S for one attempt
    other 4xx                given up: this request is wrong, others may not be
    401 402 403 404 3xx      the run ends: nothing could be answered

A request is given up on after ATTEMPTS. If at least four of five are answered (of a few, all but two, but not none),
those given up are recorded as lost and the run goes on; otherwise it ends, recording none. Redirects are not followed,
so that the key goes nowhere else; it is sent in one header and appears in no message, file or event. Not covered:
streaming, n > 1, tools.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.synth.budget import worst_case
from codeup.synth.cache import Cache, key_of

ATTEMPTS = 6
TIMEOUT_S = 300.0
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 60.0
MOST_RETRY_AFTER_S = 600.0
"""An endpoint that wants to be left alone for longer ends the run instead."""
LOST_SHARE = 0.2
LARGEST = 16 << 20
"""Bytes of a response."""
AGAIN = frozenset({408, 409, 425, 429})
ENDS = {
    401: "refuses the key",
    403: "refuses the key",
    402: "wants to be paid first",
    404: "knows no such model or path",
}

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request. `failure` says why nothing did; `about` is what the endpoint says of itself."""

    key: str
    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    counted: bool
    about: Mapping[str, Any]
    failure: str = ""


@dataclass(slots=True)
class Traffic:
    """What this invocation sent: for the progress line and the log, never for the rows."""

    sent: int = 0
    answered: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    replayed: int = 0
    repeated: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)


class _GivenUp(Exception):
    """One request has no answer. `status` is 0 where there was no reply."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.why, self.status = why, status


class Endpoint:
    """`ask` gives the answers to request bodies, in order. Raises UserError and WorkFailed as the module says."""

    def __init__(
        self, base_url: str, cache: Cache, *, key: str = "", concurrency: int = 8, timeout_s: float = TIMEOUT_S,
        attempts: int = ATTEMPTS, sleep: Sleep = asyncio.sleep, transport: Any = None,
    ) -> None:  # fmt: skip
        self.url, self.cache, self._key = f"{checked_url(base_url)}/chat/completions", cache, key
        self.concurrency, self.timeout_s, self.attempts = concurrency, timeout_s, attempts
        self.sleep, self.transport = sleep, transport
        self.traffic = Traffic()
        self._not_before = 0.0

    def ask(self, bodies: Sequence[Mapping[str, Any]], heard: Callable[[], None] = lambda: None) -> list[Answer]:
        """Answers to all bodies, from the cache or the endpoint; `heard` is called after each one that arrives."""
        keys = [key_of(body) for body in bodies]
        known = [self.cache.answer(key) for key in keys]
        missing = {key: body for key, body, each in zip(keys, bodies, known, strict=True) if each is None}
        self.traffic.replayed += len(bodies) - len(missing)
        if missing:
            asyncio.run(self._all(missing, heard))
        answers = []
        for key, body in zip(keys, bodies, strict=True):
            found = self.cache.answer(key)
            assert found is not None
            answers.append(_answer(key, body, *found))
        return answers

    async def _all(self, missing: Mapping[str, Mapping[str, Any]], heard: Callable[[], None]) -> None:
        """Ask with `concurrency` at a time. The first error that ends the run lets those on their way arrive."""
        import httpx2

        waiting = iter(missing.items())
        lost: dict[str, _GivenUp] = {}
        ended: list[CodeUpError] = []
        answered = 0

        async def worker(client: Any) -> None:
            nonlocal answered
            for key, body in waiting:
                try:
                    response = await self._one(client, body)
                except _GivenUp as error:
                    lost[key] = error
                    if len(lost) > max(2, LOST_SHARE * len(missing)) and len(lost) > LOST_SHARE * answered:
                        ended.append(self._too_many(lost, answered))
                except CodeUpError as error:
                    ended.append(error)
                else:
                    self.cache.keep_answer(key, body, response)
                    answered += 1
                    self.traffic.answered += 1
                    used_in, used_out = _used(response) or (0, 0)
                    self.traffic.tokens_in += used_in
                    self.traffic.tokens_out += used_out
                    heard()
                if ended:
                    return

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with httpx2.AsyncClient(headers=headers, timeout=None, transport=self.transport) as client:
            await asyncio.gather(*(worker(client) for _ in range(min(self.concurrency, len(missing)))))
        if ended:
            raise ended[0]
        if lost and not answered and not self._proven(lost):
            raise self._too_many(lost, answered)
        for key, error in lost.items():
            self.cache.keep_answer(key, missing[key], {"status": error.status}, error.why)

    def _proven(self, lost: Mapping[str, _GivenUp]) -> bool:
        """Whether it is the requests that are wrong: the endpoint refused these, and has answered others before."""
        return all(400 <= error.status < 500 for error in lost.values()) and self.cache.answered() > 0

    def _too_many(self, lost: Mapping[str, _GivenUp], answered: int) -> CodeUpError:
        """What to say when most requests fail."""
        last = list(lost.values())[-1]
        what = f"{len(lost)} requests given up, {answered} answered; the last one: {last.why}"
        if 400 <= last.status < 500 and last.status not in AGAIN:
            return UserError(what, where=self.url, mend="change the settings that it names, e.g. with --param")
        return WorkFailed(f"{self.url}: {what}\n  the same command continues; nothing is asked twice")

    async def _one(self, client: Any, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request, repeated as long as that may help; the response."""
        import httpx2

        why, status = "", 0
        for attempt in range(self.attempts):
            await self._hold()
            wait = min(MOST_WAIT_S, FIRST_WAIT_S * 2**attempt) * random.uniform(0.75, 1.25)
            self.traffic.sent += 1
            try:
                async with asyncio.timeout(self.timeout_s):
                    status, headers, raw = await self._post(client, body)
            except TimeoutError:
                why, status = f"no answer in {self.timeout_s:g} s", 0
            except httpx2.TransportError as error:
                why, status = f"{type(error).__name__}: {self._clean(str(error))}", 0
            else:
                if status == 200:
                    response = _response(raw)
                    if response is not None:
                        return response
                    why = "status 200 with a body that holds no answer"
                else:
                    why = f"status {status}: {self._clean(_said(raw))}"
                    self._judge(status, why)
                    wait = self._retry_after(headers, wait) if status in AGAIN or status >= 500 else wait
            name = f"status {status}" if status else why.split(":")[0]
            self.traffic.repeated[name] = self.traffic.repeated.get(name, 0) + 1
            if attempt + 1 < self.attempts:
                if status == 429:
                    self._not_before = max(self._not_before, time.monotonic() + wait)
                else:
                    await self.sleep(wait)
        raise _GivenUp(why, status)

    async def _hold(self) -> None:
        """Wait until nobody is held up any more; a fast test clock need not agree with the real one."""
        wait = self._not_before - time.monotonic()
        if wait > 0:
            await self.sleep(wait)

    async def _post(self, client: Any, body: Mapping[str, Any]) -> tuple[int, Any, bytes]:
        raw = bytearray()
        async with client.stream("POST", self.url, json=dict(body)) as response:
            async for piece in response.aiter_bytes():
                raw += piece
                if len(raw) > LARGEST:
                    break
            return response.status_code, response.headers, bytes(raw)

    def _judge(self, status: int, why: str) -> None:
        """Raise unless it makes sense to try again."""
        if status in ENDS:
            mend = "check --api-key-env" if status in (401, 403) else "check --base-url and --model"
            raise UserError(f"{ENDS[status]} ({why})", where=self.url, mend=mend)
        if 300 <= status < 400:
            raise UserError(f"wants to send us elsewhere ({why})", where=self.url, mend="give the final --base-url")
        if 400 <= status < 500 and status not in AGAIN:
            raise _GivenUp(why, status)

    def _retry_after(self, headers: Mapping[str, str], wait: float) -> float:
        """Seconds the endpoint asks for, as a number or a date; ours where it says nothing readable."""
        text = headers.get("retry-after", "").strip()
        try:
            asked = float(text)
        except ValueError:
            try:
                asked = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, TypeError):
                return wait
        if not 0 <= asked <= MOST_RETRY_AFTER_S:
            if asked < 0:
                return wait
            raise WorkFailed(f"{self.url}: asks to come back in {asked:,.0f} s; the same command continues then")
        return asked

    def _clean(self, text: str) -> str:
        """Some endpoints repeat the key in their error message."""
        return text.replace(self._key, "***") if self._key else text


def checked_url(url: str) -> str:
    """The base of all paths, without a slash at its end. Raises UserError for what is no such URL."""
    import httpx2

    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL:
        parts = httpx2.URL("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise UserError(
            f"{url!r} is not the URL of an endpoint", where="--base-url", mend="e.g. http://127.0.0.1:8000/v1"
        )
    if parts.userinfo or parts.query or parts.fragment:
        raise UserError("holds more than scheme, host and path", where="--base-url", mend="keep keys in --api-key-env")
    return url.rstrip("/").removesuffix("/chat/completions")


def _response(raw: bytes) -> dict[str, Any] | None:
    """The response, if it holds an answer as text."""
    try:
        value = json.loads(raw)
        content = value["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    filtered = content is None  # some say so for a filtered answer
    return value if isinstance(content, str) or filtered else None


def _said(raw: bytes) -> str:
    """What an error body says, in one line."""
    text = raw[:4000].decode(errors="replace")
    try:
        value = json.loads(text)
        error = value.get("error", value)
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text.split())[:300] or "nothing"


def _answer(key: str, body: Mapping[str, Any], response: Mapping[str, Any], failure: str) -> Answer:
    prompt = "".join(str(message["content"]) for message in body["messages"])
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 0
    most_in, most_out = worst_case(prompt, int(limit))
    if failure:
        silent = not response.get("status")
        return Answer(key, "", "", most_in if silent else 0, most_out if silent else 0, False, {}, failure)
    choice = response["choices"][0]
    used = _used(response)
    about = {name: response.get(name) for name in ("id", "created", "model", "system_fingerprint")}
    text = choice["message"]["content"] or ""
    prompt_tokens, completion_tokens = used or (most_in, min(most_out, len(text.encode("utf-8", "replace"))))
    finish = str(choice.get("finish_reason") or "")
    return Answer(key, text, finish, prompt_tokens, completion_tokens, used is not None, about)


def _used(response: Mapping[str, Any]) -> tuple[int, int] | None:
    """Tokens in and out as the endpoint reports them, if it does."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (type(prompt) is int and type(completion) is int and prompt >= 0 and completion >= 0):
        return None
    return prompt, completion
