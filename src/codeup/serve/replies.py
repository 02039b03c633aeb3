"""Pieces of answers become the JSON of the protocol, whole or as server-sent events.

    data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "ret"}, ...}]}

    data: [DONE]

Both endpoints share everything but the form of a choice: `ChatForm` and `TextForm`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from codeup.engines._interface import Piece, Token

TokenText = Callable[[int], str]
DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Usage:
    """Tokens of the prompts, and of all answers (end tokens and what a stop string cut off included)."""

    prompt: int
    answers: dict[int, int] = field(default_factory=dict)

    def body(self) -> dict[str, int]:
        made = sum(self.answers.values())
        return {"prompt_tokens": self.prompt, "completion_tokens": made, "total_tokens": self.prompt + made}


@dataclass(slots=True)
class Reply:
    """What all chunks of one reply have in common. `form` makes the choices."""

    model: str
    form: ChatForm | TextForm
    usage: Usage
    include_usage: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answers: Sequence[Sequence[Piece]]) -> bytes:
        """The body of a reply that is not streamed; `answers[i]` are the pieces of choice i."""
        choices = [self.form.choice(index, pieces) for index, pieces in enumerate(answers)]
        return orjson.dumps({**self._head(self.form.whole), "choices": choices, "usage": self.usage.body()})

    def opening(self, count: int) -> list[bytes]:
        """Events before the first token."""
        return [self._event([choice]) for choice in self.form.openings(count)]

    def event(self, index: int, piece: Piece) -> bytes:
        """The event of one piece."""
        return self._event([self.form.delta(index, piece)])

    def closing(self) -> bytes:
        """What ends a stream: the usage if it was asked for, and [DONE]."""
        if not self.include_usage:
            return DONE
        value = {**self._head(self.form.chunk), "choices": [], "usage": self.usage.body()}
        return b"data: " + orjson.dumps(value) + b"\n\n" + DONE

    def _event(self, choices: list[dict[str, Any]]) -> bytes:
        value = {**self._head(self.form.chunk), "choices": choices}
        if self.include_usage:
            value["usage"] = None
        return b"data: " + orjson.dumps(value) + b"\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{self.form.prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model,
        }  # fmt: skip


@dataclass(slots=True)
class ChatForm:
    """Choices of /v1/chat/completions. `token_text` is None where no log-probabilities were asked for."""

    token_text: TokenText | None
    prefix = "chatcmpl"
    whole = "chat.completion"
    chunk = "chat.completion.chunk"

    def choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        tokens = [token for piece in pieces for token in piece.tokens]
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(tokens),
            "finish_reason": pieces[-1].finish,
        }

    def openings(self, count: int) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [{"index": i, "delta": delta, "logprobs": None, "finish_reason": None} for i in range(count)]

    def delta(self, index: int, piece: Piece) -> dict[str, Any]:
        delta = {"content": piece.text} if piece.text or piece.tokens else {}
        logprobs = self._logprobs(piece.tokens) if piece.tokens else None
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": piece.finish}

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.token_text is None:
            return None
        content = [
            {**self._entry(token.id, token.logprob or 0.0), "top_logprobs": [self._entry(*one) for one in token.top]}
            for token in tokens
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        """`bytes` is null for a token that is part of a character."""
        assert self.token_text is not None
        text = self.token_text(token)
        return {"token": text, "logprob": finite(logprob), "bytes": None if "\ufffd" in text else list(text.encode())}


@dataclass(slots=True)
class TextForm:
    """Choices of /v1/completions. The offsets of tokens count characters of the answer."""

    token_text: TokenText | None
    offsets: dict[int, int] = field(default_factory=dict)
    prefix = "cmpl"
    whole = "text_completion"
    chunk = "text_completion"

    def choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        tokens = [token for piece in pieces for token in piece.tokens]
        text = "".join(piece.text for piece in pieces)
        return {
            "index": index,
            "text": text,
            "logprobs": self._logprobs(index, tokens),
            "finish_reason": pieces[-1].finish,
        }

    def openings(self, count: int) -> list[dict[str, Any]]:
        return []

    def delta(self, index: int, piece: Piece) -> dict[str, Any]:
        logprobs = self._logprobs(index, piece.tokens) if piece.tokens else None
        return {"index": index, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish}

    def _logprobs(self, index: int, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.token_text is None:
            return None
        texts, offsets = [self.token_text(token.id) for token in tokens], []
        for text in texts:
            offsets.append(self.offsets.get(index, 0))
            self.offsets[index] = offsets[-1] + len(text)
        top = [{self.token_text(id): finite(logprob) for id, logprob in token.top} for token in tokens]
        scores = [finite(token.logprob or 0.0) for token in tokens]
        return {"tokens": texts, "token_logprobs": scores, "top_logprobs": top, "text_offset": offsets}


def finite(logprob: float) -> float:
    """JSON has no infinity; the protocol uses -9999 for a token that cannot come."""
    return max(logprob, -9999.0)
