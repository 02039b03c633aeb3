"""Generation by any OpenAI-compatible server, from token ids: the same prompts as here, answered elsewhere.

    prompt ids -> POST /v1/completions {"prompt": [0, 5, 9], "seed": …} -> text -> cut at the stop strings

The prompt goes out as token ids, so that no server's template or BOS rule changes it; the server must accept ids in
`prompt` (ours, vLLM and llama.cpp's do). Stop strings are cut here too, since servers take only a few. A server does
not say its own token ids: `Completion.ids` are those of the text as our tokenizer reads it.
Not covered: endpoints that take messages only; a server whose end token is not the template's end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from codeup.engines._endpoint import Endpoint
from codeup.engines._interface import Completion
from codeup.errors import UserError, WorkFailed

MOST_STOPS = 4
"""How many stop strings are sent; OpenAI's own limit."""


class Engine:
    """`url` of the server (…/v1), `tokenizer` a model folder or Hub id, `model` one of the server's names or ""."""

    def __init__(
        self, url: str, *, tokenizer: str | Path, model: str = "", key: str | None = None, seed: int = 0
    ) -> None:
        from codeup.engines.hf import _load_tokenizer

        self._endpoint = Endpoint(url, key=key)
        self.tokenizer = _load_tokenizer(tokenizer, None)
        self.model, self.seed = model or self._endpoint.only_model(), seed
        self.description = f"endpoint {url}, model {self.model}"

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        end_ids: Sequence[int],
        stop_strings: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        batch_size: int = 32,
        seed: int | None = None,
        keys: Sequence[int] | None = None,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Continue each prompt, `batch_size` requests at a time; as `hf.Engine.generate`, in the order of the prompts.

        Raises UserError where the server refuses, WorkFailed where it fails; what `on_done` was told is not lost.
        """
        stops = [stop for stop in stop_strings if stop]
        names = [self.tokenizer.decode([id], skip_special_tokens=False) for id in end_ids]
        answers: dict[int, Completion] = {}

        def one(index: int) -> Completion:
            drawn = f"{self.seed if seed is None else seed} {index if keys is None else keys[index]}"
            body: dict[str, Any] = {
                "model": self.model, "prompt": list(prompts[index]), "max_tokens": max_new_tokens,
                "temperature": temperature, "top_p": top_p, "stop": stops[:MOST_STOPS] or None,
                "seed": int.from_bytes(hashlib.blake2b(drawn.encode(), digest_size=4).digest(), "big"),
            }  # fmt: skip
            return self._completion(self._endpoint.post("/completions", body), [*stops, *names])

        with ThreadPoolExecutor(max(1, batch_size)) as pool:
            asked = {pool.submit(one, index): index for index in range(len(prompts))}
            try:
                for done in as_completed(asked):
                    index = asked[done]
                    answers[index] = done.result()
                    if on_done is not None:
                        on_done(index, answers[index])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [answers[index] for index in range(len(prompts))]

    def _completion(self, reply: dict[str, Any], stops: Sequence[str]) -> Completion:
        try:
            choice = reply["choices"][0]
            text, finish = str(choice["text"]), str(choice["finish_reason"])
        except (KeyError, IndexError, TypeError) as error:
            raise WorkFailed(f"{self._endpoint.url} answered without a choice: {str(reply)[:200]}") from error
        if finish not in ("stop", "length"):
            raise UserError(f"the endpoint ended an answer for {finish!r}", where=self._endpoint.url)
        cuts = [cut for stop in stops if stop and (cut := text.find(stop)) >= 0]
        if cuts:
            text, finish = text[: min(cuts)], "stop"
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return Completion(tuple(ids), text, "stop" if finish == "stop" else "length")
