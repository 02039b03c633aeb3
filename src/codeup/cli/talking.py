"""`codeup chat`: which model answers, one in this process or one behind a URL. The conversation itself: terminal.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codeup import models
from codeup.cli.command import INTERRUPTED
from codeup.cli.terminal import Answer, Sampling, Terminal
from codeup.errors import WorkFailed
from codeup.types import Message


def chat(
    model: str, *, name: str, max_new_tokens: int, temperature: float, token_env: str, tokenizer: str = ""
) -> None:
    """Talk until the input ends. Ctrl-C ends an answer, and between answers the conversation."""
    if model.startswith(("http://", "https://")):
        who, answer = _remote(model, name, token_env)
    elif models.is_gguf(model):
        from codeup.cli.scoring import tokenizer_of
        from codeup.engines import llamacpp

        folder = tokenizer_of(model, tokenizer)
        who, answer = Path(model).stem, _local(folder, llamacpp.Engine(model, tokenizer=folder, slots=1))
    else:
        folder = models.locate(model)
        from codeup.engines import hf

        who, answer = folder.name, _local(folder, hf.Engine(folder))
    try:
        Terminal(who, answer, Sampling(temperature=temperature, max_tokens=max_new_tokens)).talk()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None  # a conversation is not continued by the same command


def _local(folder: Path, engine: Any) -> Answer:
    """The model in this process, asked as `codeup serve` asks it; the thread that prints takes its steps."""
    from codeup.engines._interface import Request
    from codeup.serve.voices import end_ids, load_prompter

    prompter = load_prompter(folder, None, engine.tokenizer, end_ids(folder))
    scheduler = engine.live(max_batch=1)

    def answer(turns: list[Message], how: Sampling) -> Iterator[str]:
        request = Request(
            tuple(prompter.prompt(turns)), how.max_tokens, frozenset(prompter.end_ids), temperature=how.temperature,
            top_p=how.top_p, seed=how.seed,
        )  # fmt: skip
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


def _remote(url: str, name: str, token_env: str) -> tuple[str, Answer]:
    from codeup.cli.serving import read_token
    from codeup.engines._endpoint import Endpoint

    endpoint = Endpoint(url, key=read_token(token_env))
    name = name or endpoint.only_model()

    def answer(turns: list[Message], how: Sampling) -> Iterator[str]:
        body = {
            "model": name, "max_tokens": how.max_tokens, "temperature": how.temperature, "top_p": how.top_p,
            "seed": how.seed,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        }  # fmt: skip
        for event in endpoint.stream("/chat/completions", body):
            for choice in event.get("choices") or []:
                yield choice.get("delta", {}).get("content") or ""

    return f"{name} at {url}", answer
