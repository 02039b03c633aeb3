"""What every engine is given and gives back: token ids in, ids with log-probabilities and text out, piece by piece.

    Request(prompt=(0, 5, 9), max_new_tokens=3, end_ids={1}, stop_strings=("\\ndef ",))
      -> Piece(text="ret", tokens=(Token(71, -0.02),)) -> Piece("urn x", ...) -> Piece("", (), finish="stop")

`generate` answers many prompts and returns when all are done (evaluation); `submit`, `cancel` and `run` serve requests
that come and go (chat, the server). An engine that has `generate` alone can evaluate and cannot be served.
Not covered: how a conversation becomes token ids (chat/), and who may ask (serve/).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

DTYPES = ("float32", "bfloat16", "float16")
"""Names of the types that a model may be loaded in, beside "auto"."""
Finish = Literal["stop", "length", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer. `logprob` is natural and of the model's own distribution, before temperature and top_p;
    `top` are the likeliest (id, logprob), best first. Both are empty where nobody asked."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """`ids` are all tokens the model produced, the end token too; `text` is without it and cut at the stop string."""

    ids: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What an answer has grown by. Joined, the texts are `Completion.text`; `finish` is set on the last one.

    `tokens` are those that the text is made of; neither the end token nor what a stop string cut off is among them.
    `produced` counts all tokens so far, those too. `error` says what went wrong where `finish` is "failed".
    """

    text: str
    tokens: tuple[Token, ...] = ()
    finish: Finish | None = None
    produced: int = 0
    error: str = ""


class Constraint(Protocol):
    """Which tokens may come next. `mask()` is a boolean (V,) tensor; `accept` is told the token that was chosen.

    `grammar` says the same from the answer's beginning, for an engine that chooses tokens out of our sight (llama.cpp).
    """

    grammar: str

    def mask(self) -> Any: ...

    def accept(self, token: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is wanted.

    temperature: 0 is greedy; above, tokens are drawn from the smallest set whose probability reaches `top_p`.
    seed, key: the answer draws from a random stream of its own made of both, whatever else is in its batch.
    logprobs: how many of the likeliest tokens to report beside each chosen one; None reports no log-probabilities.
    adapter: name of a loaded adapter; "" is the model itself.
    stream: False, without log-probabilities, gives the whole text with the last piece and saves decoding it by token.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    end_ids: frozenset[int] = frozenset()
    stop_strings: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    key: int = 0
    logprobs: int | None = None
    adapter: str = ""
    constraint: Constraint | None = None
    stream: bool = True

    @property
    def tail(self) -> int:
        """How many of the newest tokens can hold a stop string: a token is at least a byte, a cut character up to 4."""
        return max((len(stop.encode()) for stop in self.stop_strings), default=0) + 4


class Ticket(Protocol):
    """Names a submitted request."""

    @property
    def request(self) -> Request: ...


Deliver = Callable[[Sequence[tuple[Any, Piece]]], None]
"""Is told, in the engine's thread, what a step brought: (ticket, piece) pairs, each ticket in order."""


class QueueFull(Exception):
    """As many requests wait already as may; `waiting` is their number."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} requests are waiting")


class Server(Protocol):
    """An engine that answers requests which come and go. `run` works in a thread of its own until `stop`."""

    def submit(self, requests: Sequence[Request]) -> Sequence[Any]:
        """All of them or none: raises QueueFull. Returns their tickets, in order."""

    def cancel(self, ticket: Any) -> None:
        """Its work ends at the next step; a last piece says "cancelled" unless it was finished already."""

    def run(self, deliver: Deliver) -> None: ...

    def stop(self) -> None: ...

    def load(self) -> tuple[int, int]:
        """Requests in the batch, and waiting."""
