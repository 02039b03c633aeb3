"""The JSON of a request as typed values: strict types, limits, and no field that would be ignored.

    {"model": "nano-base", "messages": [{"role": "user", "content": "hi"}], "top_k": 3}
      -> 400, param "top_k": this server does not support the field 'top_k'
    {..., "frequency_penalty": 0}   -> accepted: 0 asks for nothing

A field of the protocol that is not supported may be sent with the value that asks for nothing (NEUTRAL), as many
clients do. `user` is accepted and not used: it says who asks, not what for. Not covered: tools, images and audio.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from codeup.serve.refusal import Refusal

MAX_BODY_BYTES = 4 << 20
MAX_MESSAGES = 1024
MAX_STOPS, MAX_STOP_CHARS = 16, 256
MAX_CHOICES = 16
MAX_TOP_LOGPROBS = 20

NEUTRAL: dict[str, Any] = {
    "frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}, "best_of": 1, "echo": False, "store": False,
    "tools": [], "tool_choice": "none", "functions": [], "function_call": "none", "metadata": {},
    "modalities": ["text"], "service_tier": "auto",
}  # fmt: skip
"""Fields of the protocol that are not supported, and the value with which they ask for nothing."""

INSTEAD = {
    "name": ": no prompt template here says who speaks; leave it out, or write the name into the content",
    "tool_calls": ": models here call no tools; leave it out, or write what was called into the content",
}
"""What to do about fields inside others that clients are known to send."""


def _as_text(content: Any) -> Any:
    """A list of text parts is their text: [{"type": "text", "text": "a"}, ...]."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError("only text parts are supported: {'type': 'text', 'text': ...}")
        if extra := sorted(set(part) - {"type", "text"}):
            raise ValueError(f"a text part has no field {extra[0]!r}")
        texts.append(part["text"])
    return "".join(texts)


def _as_list(stop: Any) -> Any:
    stops = [stop] if isinstance(stop, str) else stop
    if isinstance(stops, list) and any(stop == "" for stop in stops):
        raise ValueError("an empty stop string would stop everything")
    return stops


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ChatMessage(_Strict):
    """One turn; `input` is the second field of an Alpaca instruction and an addition of this server."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_as_text)]
    input: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, given: Any) -> Any:
        """Clients send answers back with all fields of the protocol, most of them null or empty lists."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if name in cls.model_fields or value not in (None, [])}


class StreamOptions(_Strict):
    include_usage: bool = False


Stop = Annotated[str, Field(max_length=MAX_STOP_CHARS)]


class _Asked(_Strict):
    model: str = Field(max_length=256)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    stop: Annotated[list[Stop], BeforeValidator(_as_list), Field(max_length=MAX_STOPS)] = []
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    user: str = ""


class ChatRequest(_Asked):
    """POST /v1/chat/completions"""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    response_format: dict[str, Any] = {"type": "text"}


class CompletionRequest(_Asked):
    """POST /v1/completions; `prompt` is text, token ids, or a list of either."""

    prompt: Any
    suffix: str | None = None
    logprobs: int | None = Field(None, ge=0, le=5)


Kind = TypeVar("Kind", ChatRequest, CompletionRequest)


def parse(body: bytes, kind: type[Kind]) -> Kind:
    """The request in a body. Raises Refusal (400) naming the first field that is wrong."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body is not a JSON object", code="invalid_json")
    known = kind.model_fields
    fields = {name: item for name, item in value.items() if item is not None}
    for name in [name for name in fields if name not in known]:
        if not _asks_for_nothing(name, fields.pop(name)):
            other = f" (other than as {NEUTRAL[name]!r})" if name in NEUTRAL else ""
            text = f"this server does not support the field {name[:80]!r}{other}"
            raise Refusal(400, text, param=name[:80], code="unsupported_field")
    try:
        asked = kind.model_validate(fields)
    except ValidationError as error:
        raise refusal_of(error) from None
    _consistent(asked)
    return asked


def _asks_for_nothing(name: str, value: Any) -> bool:
    nothing = NEUTRAL.get(name)
    return nothing is not None and value == nothing and isinstance(value, bool) == isinstance(nothing, bool)


def refusal_of(error: ValidationError, inside: str = "") -> Refusal:
    """The first mistake, or a field too many, as a 400 that names it; `inside` is where the object stands."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    param = f"{inside}{param}".lstrip(".")[:200]
    if first["type"] == "extra_forbidden":
        text = f"this server does not support the field {param!r}{INSTEAD.get(str(first['loc'][-1]), '')}"
        return Refusal(400, text, param=param, code="unsupported_field")
    message = first["msg"].removeprefix("Value error, ")
    return Refusal(400, f"{param}: {message}", param=param, code=first["type"])


def _consistent(asked: _Asked) -> None:
    if asked.stream_options is not None and not asked.stream:
        raise Refusal(400, "stream_options needs stream: true", param="stream_options")
    if isinstance(asked, ChatRequest):
        if asked.top_logprobs is not None and not asked.logprobs:
            raise Refusal(400, "top_logprobs needs logprobs: true", param="top_logprobs")
        if asked.max_tokens and asked.max_completion_tokens and asked.max_tokens != asked.max_completion_tokens:
            raise Refusal(400, "max_tokens and max_completion_tokens differ", param="max_tokens")


def response_schema(response_format: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """("text" | "json_object" | "json_schema", the schema of the last). Raises Refusal naming what is wrong."""

    def wrong(what: str) -> Refusal:
        return Refusal(400, f"response_format: {what}", param="response_format", code="invalid_format")

    kind = response_format.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise wrong(f"type {str(kind)[:80]!r} is none of text, json_object, json_schema")
    extra = set(response_format) - {"type"} - ({"json_schema"} if kind == "json_schema" else set())
    if extra:
        raise wrong(f"{sorted(extra)[0][:80]!r} is not a field of {kind}")
    if kind != "json_schema":
        return kind, None
    given = response_format.get("json_schema")
    if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
        raise wrong("json_schema needs an object with a schema")
    if extra := set(given) - {"name", "description", "schema", "strict"}:
        raise wrong(f"{sorted(extra)[0][:80]!r} is not a field of json_schema")
    return kind, given["schema"]
