"""The routes: /v1/models, /v1/chat/completions, /v1/completions, /health and /metrics.

    POST /v1/chat/completions   messages -> ids (voices.py) -> one engine request per choice -> reply
    GET  /health                {"status": "loading"} with 503, {"status": "ok"} with 200; never waits for the engine

Prompts are tokenised in a thread of their own, one at a time. Every reply that is an error has OpenAI's shape.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import psutil
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from codeup.engines._interface import Request
from codeup.errors import UserError
from codeup.serve import login
from codeup.serve.answering import Answering, fresh_seed
from codeup.serve.desk import Desk, Loaded
from codeup.serve.guard import Guard
from codeup.serve.metrics import CONTENT_TYPE
from codeup.serve.refusal import Refusal
from codeup.serve.replies import ChatForm, Reply, TextForm, Usage
from codeup.serve.requests import MAX_BODY_BYTES, ChatRequest, CompletionRequest, parse, response_schema
from codeup.serve.voices import Voice
from codeup.types import Message

BODY_S = 30.0
"""Seconds a client may take to send its body."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for at most. `max_tokens` None is what the model's context allows."""

    deadline_s: float = 600.0
    max_tokens: int | None = None
    max_batch: int = 16
    max_queue: int = 64


class Api:
    """The handlers, around a desk."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self.desk, self.limits = desk, limits
        self._tokenising = ThreadPoolExecutor(1, thread_name_prefix="tokenise")

    async def health(self, request: HttpRequest) -> Response:
        ready = self.desk.state == "ready"
        return json_reply({"status": "ok" if ready else self.desk.state}, 200 if ready else 503)

    async def metrics(self, request: HttpRequest) -> Response:
        running, waiting = self.desk.loaded.server.load() if self.desk.state == "ready" else (0, 0)
        gauges = {
            "codeup_requests_running": running, "codeup_requests_waiting": waiting,
            "codeup_model_ready": float(self.desk.state == "ready"),
            "process_resident_memory_bytes": psutil.Process().memory_info().rss,
        }  # fmt: skip
        return Response(self.desk.metrics.text(gauges), media_type=CONTENT_TYPE)

    async def models(self, request: HttpRequest) -> Response:
        return json_reply({"object": "list", "data": [self._model(name) for name in self.desk.loaded.voices]})

    async def model(self, request: HttpRequest) -> Response:
        return json_reply(self._model(self._voice(request.path_params["name"]).name))

    async def chat(self, request: HttpRequest) -> Answering:
        asked = parse(await read_body(request), ChatRequest)
        loaded, voice = self.desk.loaded, self._voice(asked.model)
        messages = [Message(_role(m.role), m.content, m.input) for m in asked.messages]
        try:
            ids = await self._off_loop(voice.chat_ids, messages)
        except UserError as error:
            raise Refusal(400, error.what, param="messages", code="invalid_messages") from None
        new = self._room(len(ids), asked.max_completion_tokens or asked.max_tokens, "messages")
        wanted = (asked.top_logprobs or 0) if asked.logprobs else None
        constraint = await self._constraint(asked.response_format, voice)
        one = Request(
            tuple(ids), new, frozenset(voice.prompter.end_ids), tuple(asked.stop), asked.temperature, asked.top_p,
            fresh_seed() if asked.seed is None else asked.seed, 0, wanted, voice.adapter, stream=asked.stream,
        )  # fmt: skip
        form = ChatForm(loaded.token_text if asked.logprobs else None)
        requests = [dataclasses.replace(one, key=key, constraint=constraint()) for key in range(asked.n)]
        return self._answering(asked, voice, form, requests, len(ids), "/v1/chat/completions")

    async def complete(self, request: HttpRequest) -> Answering:
        asked = parse(await read_body(request), CompletionRequest)
        loaded, voice = self.desk.loaded, self._voice(asked.model)
        prompts = await self._off_loop(_prompt_ids, asked.prompt, asked.suffix, voice)
        limit = 16 if asked.max_tokens is None else asked.max_tokens  # the protocol's default
        seed = fresh_seed() if asked.seed is None else asked.seed
        ends = voice.text_end_ids if asked.suffix is None else voice.infill_end_ids
        requests: list[Request] = []
        for ids in prompts:
            new = self._room(len(ids), limit, "prompt")
            one = Request(
                tuple(ids), new, ends, tuple(asked.stop), asked.temperature, asked.top_p, seed, 0,
                asked.logprobs, voice.adapter, stream=asked.stream,
            )  # fmt: skip
            requests += [dataclasses.replace(one, key=len(requests) + choice) for choice in range(asked.n)]
        form = TextForm(None if asked.logprobs is None else loaded.token_text)
        return self._answering(asked, voice, form, requests, sum(map(len, prompts)), "/v1/completions")

    def _answering(
        self, asked: Any, voice: Voice, form: Any, requests: Sequence[Request], prompt_tokens: int, route: str
    ) -> Answering:
        if len(requests) > self.limits.max_batch + self.limits.max_queue:
            raise Refusal(400, f"{len(requests)} answers in one request are more than this server can hold "
                          f"({self.limits.max_batch + self.limits.max_queue})", param="n", code="too_many")  # fmt: skip
        self.desk.metrics.count("codeup_prompt_tokens_total", prompt_tokens)
        options = asked.stream_options
        reply = Reply(voice.name, form, Usage(prompt_tokens), bool(options and options.include_usage))
        return Answering(self.desk, requests, reply, asked.stream, self.limits.deadline_s, route)

    def _voice(self, name: str) -> Voice:
        voices = self.desk.loaded.voices
        if name not in voices:
            raise Refusal(404, f"there is no model {name[:80]!r}; this server has {', '.join(voices)}", param="model",
                          code="model_not_found")  # fmt: skip
        return voices[name]

    def _model(self, name: str) -> dict[str, Any]:
        base = next(iter(self.desk.loaded.voices))
        return {
            "id": name, "object": "model", "created": self.desk.started, "owned_by": "codeup",
            "max_model_len": self.desk.loaded.context, "parent": None if name == base else base,
        }  # fmt: skip

    def _room(self, prompt: int, asked: int | None, param: str) -> int:
        """How many tokens an answer may have. Raises Refusal where prompt and answer do not fit the context."""
        context, most = self.desk.loaded.context, self.limits.max_tokens
        if most is not None and asked is not None and asked > most:
            raise Refusal(400, f"max_tokens is {asked}, at most {most} here", param="max_tokens", code="too_long")
        left = None if context is None else context - prompt
        if left is not None and left < (asked or 1):
            raise Refusal(400, f"the prompt has {prompt} tokens and {asked or 1} new ones were asked for, that is "
                          f"{prompt + (asked or 1)} in a context of {context}",
                          param=param if left < 1 else "max_tokens", code="context_length_exceeded")  # fmt: skip
        return asked or min(value for value in (left, most, 4096 if left is None else None) if value is not None)

    async def _constraint(self, response_format: dict[str, Any], voice: Voice) -> Callable[[], Any]:
        """A maker of constraints, one for each choice."""
        kind, schema = response_schema(response_format)
        if kind == "text":
            return lambda: None
        if self.desk.loaded.constrain is None:
            raise Refusal(400, f"response_format {kind!r} is not supported by this engine", param="response_format",
                          code="unsupported_field")  # fmt: skip
        try:
            ends = frozenset(voice.prompter.end_ids)
            maker: Callable[[], Any] = await self._off_loop(self.desk.loaded.constrain, schema, ends)
        except UserError as error:
            raise Refusal(400, f"response_format: {error.what}"
                          + (f" ({error.mend})" if error.mend else ""), param="response_format",
                          code="unsupported_field") from None  # fmt: skip
        return maker

    async def _off_loop(self, what: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._tokenising, what, *values)


def build(desk: Desk, limits: Limits, *, loopback: bool, token: str | None, allow: Sequence[str] = (),
          more_routes: Sequence[BaseRoute] = ()) -> Guard:  # fmt: skip
    """The whole server as an ASGI app; its lifespan starts and stops the desk. `more_routes` are guarded too."""
    api = Api(desk, limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        desk.start()
        yield
        await desk.stop()

    routes = [
        Route("/health", api.health, methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
        Route("/v1/models", api.models, methods=["GET"]),
        Route("/v1/models/{name:path}", api.model, methods=["GET"]),
        Route("/v1/chat/completions", api.chat, methods=["POST"]),
        Route("/v1/completions", api.complete, methods=["POST"]),
    ]

    async def refused(request: HttpRequest, error: Exception) -> Response:
        refusal = error if isinstance(error, Refusal) else as_refusal(error)
        desk.metrics.count("codeup_requests_total", route="refused", status=str(refusal.status))
        return json_reply(refusal.body(), refusal.status, refusal.headers)

    handlers: Any = {Refusal: refused, HTTPException: refused}
    app = Starlette(routes=[*routes, *more_routes], lifespan=lifespan, exception_handlers=handlers)
    has_page = any(isinstance(route, Route) and route.path == "/login" for route in more_routes)
    return Guard(app, loopback=loopback, token=token, allow=allow, ask=login.ask if has_page else None)


async def read_body(request: HttpRequest, most: int = MAX_BODY_BYTES) -> bytes:
    """The body, up to `most` bytes and within BODY_S. Raises Refusal (413, 408)."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise Refusal(413, f"the body is larger than {most} bytes", code="too_large",
                                  headers={"Connection": "close"})  # fmt: skip
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {BODY_S:g} s", code="too_slow",
                      headers={"Connection": "close"}) from None  # fmt: skip
    return bytes(body)


def _prompt_ids(prompt: Any, suffix: str | None, voice: Voice) -> list[list[int]]:
    """Token ids of each prompt: text, ids, or a list of either; with a suffix, text to fill in. Raises Refusal."""
    if suffix is not None:
        if voice.infill is None:
            raise Refusal(400, f"the tokenizer of {voice.name} has no tokens for infilling", param="suffix",
                          code="unsupported_field")  # fmt: skip
        texts = [prompt] if isinstance(prompt, str) else prompt
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise Refusal(400, "prompt: with a suffix, text or a list of texts", param="prompt", code="invalid_prompt")
        return [voice.infill_ids(text, suffix) for text in texts]
    prompts = (
        [prompt]
        if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and type(prompt[0]) is int)
        else prompt
    )
    if not isinstance(prompts, list) or not prompts:
        raise Refusal(400, "prompt: text, token ids, or a list of either", param="prompt", code="invalid_prompt")
    vocabulary, found = len(voice.tokenizer), []
    for number, one in enumerate(prompts):
        if isinstance(one, str):
            try:
                ids = voice.text_ids(one)
            except UnicodeError:
                raise Refusal(
                    400, f"prompt[{number}] is not Unicode text", param="prompt", code="invalid_prompt"
                ) from None
        elif isinstance(one, list) and all(type(id) is int and 0 <= id < vocabulary for id in one):
            ids = one
        else:
            raise Refusal(400, f"prompt[{number}] is neither text nor ids below {vocabulary}", param="prompt",
                          code="invalid_prompt")  # fmt: skip
        if not ids:
            raise Refusal(400, f"prompt[{number}] is empty", param="prompt", code="invalid_prompt")
        found.append(ids)
    return found


def _role(role: str) -> Any:
    return "system" if role == "developer" else role


def as_refusal(error: Exception) -> Refusal:
    """What Starlette refused, as we say it."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: "there is nothing at this address", 405: "this address does not answer this method"}
    headers = getattr(error, "headers", None)
    return Refusal(status, words.get(status, "the request was refused"), code=f"http_{status}", headers=headers)


def json_reply(value: Any, status: int = 200, headers: Any = None) -> Response:
    """A JSON reply that nobody keeps."""
    return Response(orjson.dumps(value), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


__all__ = ["Api", "Limits", "Loaded", "build"]
