"""`codeup chat`: a conversation in the terminal. Answers come whole; streaming, /commands and servers are elsewhere."""

from __future__ import annotations

import sys

from codeup import models
from codeup.types import Message


def chat(model: str, *, max_new_tokens: int, temperature: float) -> None:
    """Read instructions line by line from stdin and print the model's answers; an empty line starts afresh."""
    from codeup.chat import load_renderer
    from codeup.engines.hf import Engine

    folder = models.locate(model)
    renderer, engine = load_renderer(folder, None if models.is_tuned(folder) else "alpaca"), Engine(folder)
    talking_to_a_person = sys.stdin.isatty()
    turns: list[Message] = []
    if talking_to_a_person:
        print(f"{folder.name} — one instruction per line, an empty line starts afresh, Ctrl-D ends", file=sys.stderr)
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
        answer = engine.generate(
            [renderer.prompt(turns)],
            max_new_tokens=max_new_tokens,
            end_ids=renderer.end_ids,
            temperature=temperature,
        )[0]
        turns.append(Message("assistant", answer.text))
        print(answer.text, flush=True)
