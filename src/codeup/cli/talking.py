"""`codeup chat`: a conversation in the terminal, with a model here or one behind a URL; answers stream.

Not covered: /commands, history, highlighting.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from codeup import models
from codeup.errors import WorkFailed
from codeup.types import Message

Answer = Callable[[list[Message]], Iterator[str]]
"""A conversation that ends with the user's turn -> the answer, piece by piece."""


def chat(model: str, *, name: str, max_new_tokens: int, temperature: float, token_env: str) -> None:
    """Read instructions line by line from stdin and print the model's answers; an empty line starts afresh.

    Ctrl-C ends an answer, and between answers the conversation.
    """
    if model.startswith(("http://", "https://")):
        who, answer = _remote(model, name, token_env, max_new_tokens, temperature)
    else:
        folder = models.locate(model)
        who, answer = folder.name, _local(folder, max_new_tokens, temperature)
    talking_to_a_person = sys.stdin.isatty()
    turns: list[Message] = []
    if talking_to_a_person:
        print(f"{who} — one instruction per line, an empty line starts afresh, Ctrl-D ends", file=sys.stderr)
    while True:
        if talking_to_a_person:
            print("> ", end="", flush=True, file=sys.stderr)
        line = sys.stdin.readline()
        if not line:
            return
        if not line.strip():
            turns = []
            continue
        turns.append(Message("user", line.rstrip("\n")))
        turns.append(Message("assistant", _said(answer(turns), stoppable=talking_to_a_person)))


def _said(pieces: Iterator[str], *, stoppable: bool) -> str:
    """Print an answer while it comes, and return it."""
    said: list[str] = []
    try:
        for piece in pieces:
            said.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        if not stoppable:
            raise
        print("\n(stopped)", end="", file=sys.stderr)
    print(flush=True)
    return "".join(said)


def _local(folder: Path, max_new_tokens: int, temperature: float) -> Answer:
    """The model in this process; the thread that prints takes its steps."""
    from codeup.chat import load_renderer
    from codeup.engines._interface import Request
    from codeup.engines.hf import Engine

    renderer = load_renderer(folder, None if models.is_tuned(folder) else "alpaca")
    scheduler = Engine(folder).live(max_batch=1)

    def answer(turns: list[Message]) -> Iterator[str]:
        request = Request(
            tuple(renderer.prompt(turns)), max_new_tokens, frozenset(renderer.end_ids), temperature=temperature
        )
        ticket = scheduler.submit([request])[0]
        try:
            while scheduler.load() != (0, 0):
                for _, piece in scheduler.step():
                    if piece.finish == "failed":
                        raise WorkFailed(piece.error)
                    yield piece.text
        finally:
            scheduler.cancel(ticket)
            scheduler.step()

    return answer


def _remote(url: str, name: str, token_env: str, max_new_tokens: int, temperature: float) -> tuple[str, Answer]:
    from codeup.cli.serving import read_token
    from codeup.engines._endpoint import Endpoint

    endpoint = Endpoint(url, key=read_token(token_env))
    name = name or endpoint.only_model()

    def answer(turns: list[Message]) -> Iterator[str]:
        body = {
            "model": name, "max_tokens": max_new_tokens, "temperature": temperature,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        }  # fmt: skip
        for event in endpoint.stream("/chat/completions", body):
            for choice in event.get("choices") or []:
                yield choice.get("delta", {}).get("content") or ""

    return f"{name} at {url}", answer
