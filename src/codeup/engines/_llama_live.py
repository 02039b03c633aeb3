"""Requests that come and go, answered by llama.cpp: a thread reads each one's stream, one thread turns ids into pieces.

    threads, one per running request          the thread that calls `run` or `step`
      413 829 469 ...  ----- tokens ----->      Writing: text, end tokens, stop strings -> (ticket, piece)
      socket is shut  <---- hang up -------     the answer ended, or was cancelled

llama.cpp keeps back a token that ends within a character, and then streams only the token that completes it: of
"数" = [144, 252, 96] it streams 96, with a count that went up by three. `exact_tokens` sees the count, asks for the
same tokens once more in one piece, which has all of them, and streams on from there.
Under a constraint (JSON) an answer comes in one piece: asked again, llama.cpp may choose others beside other requests.
Not covered: batching across adapters (llama.cpp takes turns), reading prompts in parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeup.engines._interface import Deliver, Finish, Piece, QueueFull, Request, Token
from codeup.engines._llama_server import LlamaServer
from codeup.engines._writing import Writer, Writing

TRIES = 3
EVERY = 1 << 20
"""More tokens than any vocabulary has."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way. `line` is the socket its tokens come through."""

    request: Request
    writing: Writing
    done: bool = False
    line: socket.socket | None = None

    def hang_up(self) -> None:
        """Nobody wants more of it: llama.cpp notices, and frees its place."""
        self.done = True
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.shutdown(socket.SHUT_RDWR)

    def opened(self, line: socket.socket) -> None:
        self.line = line
        if self.done:
            self.hang_up()


Told = list[tuple[Ticket, Piece]]
_News = tuple[Ticket, Token | Finish, str]


class Live:
    """A Server (_interface.py) of a loaded GGUF file. `adapters`: the number of each LoRA by its name."""

    def __init__(
        self, server: LlamaServer, writer: Writer, adapters: Mapping[str, int], *, max_batch: int, max_queue: int
    ) -> None:
        self._server, self._writer, self._adapters = server, writer, adapters
        self.max_batch, self.max_queue = max_batch, max_queue
        self._lock = threading.Lock()
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._news: queue.SimpleQueue[_News | None] = queue.SimpleQueue()
        self._stopped = False

    def submit(self, requests: Sequence[Request]) -> list[Ticket]:
        """Let requests wait for their turn, all or none. Raises QueueFull."""
        tickets = [Ticket(request, Writing(self._writer, request)) for request in requests]
        with self._lock:
            waiting = len(self._waiting)
            if waiting + len(tickets) > self.max_queue + max(0, self.max_batch - len(self._running)):
                raise QueueFull(waiting)
            self._waiting.extend(tickets)
        self._admit()
        return tickets

    def cancel(self, ticket: Ticket) -> None:
        """Harmless where it has ended."""
        self._news.put((ticket, "cancelled", ""))

    def load(self) -> tuple[int, int]:
        """Requests that are being answered, and waiting."""
        with self._lock:
            return len(self._running), len(self._waiting)

    def stop(self) -> None:
        """Let `run` return; what is unfinished is told that it was cancelled."""
        self._stopped = True
        self._news.put(None)

    def run(self, deliver: Deliver) -> None:
        """Answer until `stop`."""
        while not self._stopped:
            deliver(self._told())
        deliver(self.give_up())

    def step(self) -> Told:
        """What came since the last call; waits for something to come, unless nothing is on its way."""
        return [] if self._news.empty() and self.load() == (0, 0) else self._told()

    def _told(self) -> Told:
        told: Told = []
        news = [self._news.get()]
        while not self._news.empty():
            news.append(self._news.get())
        for each in news:
            if each is not None and not each[0].done:
                told.append((each[0], self._piece(*each)))
        self._admit()
        return told

    def give_up(self) -> Told:
        """End everything."""
        with self._lock:
            tickets = [*self._running, *self._waiting]
        return [(ticket, self._piece(ticket, "cancelled", "")) for ticket in tickets]

    def _piece(self, ticket: Ticket, what: Token | Finish, why: str) -> Piece:
        piece = ticket.writing.push(what) if isinstance(what, Token) else ticket.writing.end(what, why)
        if piece.finish is not None:
            ticket.hang_up()
            with self._lock:
                for held in (self._running, self._waiting):
                    if ticket in held:
                        held.remove(ticket)
        return piece

    def _admit(self) -> None:
        with self._lock:
            while self._waiting and len(self._running) < self.max_batch and not self._stopped:
                ticket = self._waiting.popleft()
                self._running.append(ticket)
                threading.Thread(target=self._read, args=(ticket,), name="llama.cpp stream", daemon=True).start()

    def _read(self, ticket: Ticket) -> None:
        """Runs in a thread of its own: every token of one answer becomes news."""
        request = ticket.request
        scales = [0.0] * len(self._adapters)
        if request.adapter:
            scales[self._adapters[request.adapter]] = 1.0
        try:
            for token in exact_tokens(self._server, request, scales, ticket.opened):
                self._news.put((ticket, token, ""))
                if ticket.done:
                    return
            self._news.put((ticket, "failed", "llama.cpp ended before the answer did"))
        except Exception as error:  # whatever it is, this request failed and the others go on
            self._news.put((ticket, "failed", f"{type(error).__name__}: {error}"))


def exact_tokens(
    server: LlamaServer, request: Request, scales: Sequence[float], opened: Callable[[socket.socket], None]
) -> Iterator[Token]:
    """All tokens of an answer, up to its limit or an end token of the request. Stop strings are the caller's.

    Each stretch draws from a random stream of its own, made of seed, key and where it begins. Raises WorkFailed.
    """
    ids: list[int] = []
    while len(ids) < request.max_new_tokens:
        begin, got = len(ids), 0
        held = list[Token]()  # of a constrained answer, until it is whole
        for event in server.stream("/completion", _body(request, ids, request.max_new_tokens, scales), opened):
            tokens = _tokens(event, request)
            kept_back = len(tokens) < event["tokens_predicted"] - got
            if kept_back:
                tokens = _again(server, request, ids[:begin], ids[begin:], event["tokens_predicted"], scales)
                held = []
            if request.constraint is not None:
                held += tokens
                got += len(tokens)
                if kept_back:
                    break
                continue
            for token in tokens:
                got += 1
                ids.append(token.id)
                yield token
            if kept_back:
                break
        if request.constraint is not None:  # a grammar is kept from its beginning, so that its answer is one stretch
            yield from held
            return
        if len(ids) == begin or ids[-1] in request.end_ids:
            return


def _again(
    server: LlamaServer, request: Request, before: Sequence[int], known: Sequence[int], count: int,
    scales: Sequence[float],
) -> list[Token]:  # fmt: skip
    """The tokens after `known` of a stretch of `count`, asked for in one piece, with the same random numbers.

    Beside other requests llama.cpp may round otherwise and draw others; then those after `known` are drawn anew. Under
    a constraint, where nothing is known yet, all tokens up to the end of the answer.
    """

    def asked(before: Sequence[int], count: int) -> tuple[list[int], Mapping[str, Any]]:
        reply = server.post("/completion", _body(request, before, len(before) + count, scales))
        return list(reply["tokens"]), reply

    if request.constraint is not None:
        ids, reply = asked(before, request.max_new_tokens)
        return _with_probabilities(server, request, before, ids, reply, scales)
    for _ in range(TRIES if request.temperature > 0 else 0):
        ids, reply = asked(before, count)
        if ids[: len(known)] == list(known) and len(ids) == count:
            return _with_probabilities(server, request, before, ids, reply, scales)[len(known) :]
    before = [*before, *known]
    ids, reply = asked(before, count - len(known))
    return _with_probabilities(server, request, before, ids, reply, scales)


def _with_probabilities(
    server: LlamaServer, request: Request, before: Sequence[int], ids: Sequence[int], reply: Mapping[str, Any],
    scales: Sequence[float],
) -> list[Token]:  # fmt: skip
    """The tokens `ids` of a reply; llama.cpp reports nothing for those that end within a character, so it is asked
    for what else was likely there: made to choose a newline, it reports the model's own distribution all the same."""
    if request.logprobs is None:
        return [Token(id) for id in ids]
    reported, tokens = deque(_tokens(reply, request)), []
    for place, id in enumerate(ids):
        if reported and reported[0].id == id:
            tokens.append(reported.popleft())
            continue
        body = _body(request, [*before, *ids[:place]], len(before) + place + 1, scales)
        body |= {"temperature": 0.0, "grammar": "", "logit_bias": [[server.tokenize("\n")[0], 1e6]], "n_probs": EVERY}
        top = server.post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
        found = next((float(each["logprob"]) for each in top if each["id"] == id), None)
        likeliest = tuple((each["id"], float(each["logprob"])) for each in top[: request.logprobs])
        tokens.append(Token(id, found, likeliest))
    return tokens


def _body(request: Request, ids: Sequence[int], limit: int, scales: Sequence[float]) -> dict[str, Any]:
    drawn = hashlib.blake2b(f"{request.seed} {request.key} {len(ids)}".encode(), digest_size=4).digest()
    return {
        "prompt": [*request.prompt, *ids], "n_predict": limit - len(ids), "temperature": request.temperature,
        "samplers": ["temperature", "top_p"], "top_p": request.top_p, "seed": int.from_bytes(drawn, "big") >> 1,
        "n_probs": 0 if request.logprobs is None else max(1, request.logprobs), "return_tokens": True,
        "cache_prompt": True,
        "grammar": "" if request.constraint is None else request.constraint.grammar,
        "lora": [{"id": at, "scale": scale} for at, scale in enumerate(scales)],
    }  # fmt: skip


def _tokens(event: Mapping[str, Any], request: Request) -> list[Token]:
    """What an event or a whole reply holds, with log-probabilities where they were asked for."""
    if request.logprobs is None:
        return [Token(id) for id in event["tokens"]]
    return [
        Token(
            each["id"], float(each["logprob"]),
            tuple((top["id"], float(top["logprob"])) for top in each["top_logprobs"][: request.logprobs]),
        )
        for each in event.get("completion_probabilities", [])
    ]  # fmt: skip
