"""A list of prompts, answered share by share in a running batch: who waits joins as others end.

    waiting        batch of at most 8 rows
    i j k l m      [a b c d e f g h]    the eight longest prompts are read together
    i j k l m      [a b   d e f g h]    c ended; its row is gone, the batch is smaller
    k l m          [a b i d j f g h]    e ended too: i and j join

Reading a few prompts takes about as long as a step of the whole batch, so they join when a quarter of it is free.
Where the GPU's memory does not hold a batch, the rows that have not ended start again in one of half the size; because
the longest come first, that happens at once or hardly ever.
Not covered: requests of different adapters (_continuous.py), prefix sharing, speculative decoding.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from codeup.engines._batch import Batch, new_row
from codeup.engines._interface import Completion, Request
from codeup.engines._writing import Writer
from codeup.errors import UserError, WorkFailed

MOST_SHARES = 64
"""Enough for many machines to finish at about the same time."""


def make_requests(
    prompts: Sequence[Sequence[int]], *, max_new_tokens: int, end_ids: Sequence[int], stop_strings: Sequence[str],
    temperature: float, top_p: float, seed: int, keys: Sequence[int] | None, adapter: str = "",
) -> list[Request]:  # fmt: skip
    """One request per prompt, all by the same rules; `keys` default to the prompts' numbers."""
    ends, stops = frozenset(end_ids), tuple(filter(None, stop_strings))
    numbers = range(len(prompts)) if keys is None else keys
    return [
        Request(
            tuple(prompt), max_new_tokens, ends, stops, temperature, top_p, seed, key, adapter=adapter, stream=False
        )
        for prompt, key in zip(prompts, numbers, strict=True)
    ]  # fmt: skip


def check_settings(max_new_tokens: int, temperature: float, top_p: float) -> None:
    """Raise UserError for settings out of their range."""
    if max_new_tokens < 1 or temperature < 0 or not 0 < top_p <= 1:
        raise UserError(
            f"cannot generate with max_new_tokens={max_new_tokens}, temperature={temperature}, top_p={top_p}",
            mend="max_new_tokens is at least 1, temperature at least 0, top_p above 0 and at most 1",
        )


def check_prompts(prompts: Sequence[Sequence[int]], new: int, context: int | None, bos_id: int | None) -> None:
    """Raise UserError for prompts that are empty or leave no room for `new` tokens (context None is no bound).

    AssertionError unless every prompt begins with its only BOS: a second one makes the answers worse.
    """
    empty = [number for number, prompt in enumerate(prompts) if len(prompt) == 0]
    if empty:
        raise UserError(f"{len(empty)} of {len(prompts)} prompts are empty, the first is number {empty[0]}")
    long = [len(prompt) for prompt in prompts if context is not None and len(prompt) + new > context]
    if context is not None and long:
        longest = max(long)
        raise UserError(
            f"{len(long)} of {len(prompts)} prompts do not fit: the longest has {longest} tokens, and with {new} new "
            f"ones that is {longest + new} in a context of {context}",
            mend=f"set max_new_tokens to {context - longest} or less" if longest < context else "shorten the prompts",
        )
    for number, prompt in enumerate(prompts if bos_id is not None else ()):
        count = sum(token == bos_id for token in prompt)
        if prompt[0] != bos_id or count != 1:
            raise AssertionError(f"prompt {number} has {count} BOS tokens, expected one at its start")


def shares(requests: Sequence[Request], batch_size: int) -> list[list[Request]]:
    """The requests in runs of like size, longest prompts first, each worked off on its own: here or on any machine.

    Nobody joins a batch of another share, so that an answer is made of the same numbers wherever its share is.

    >>> [len(share) for share in shares([Request((0,), 1)] * 164, batch_size=32)]
    [55, 55, 54]
    """
    if not requests:
        return []
    count = min(math.ceil(len(requests) / (2 * batch_size)), MOST_SHARES)
    size, larger = divmod(len(requests), count)
    ordered = iter(sorted(requests, key=lambda each: -len(each.prompt)))
    return [list(islice(ordered, size + (number < larger))) for number in range(count)]


def answer(
    model: Any, writer: Writer, requests: Sequence[Request], batch_size: int
) -> Iterator[tuple[Request, Completion]]:
    """Every request of a share with what became of it, in the order of ending.

    Raises WorkFailed where not even one row fits in memory.
    """
    waiting = deque(new_row(writer, request) for request in requests)
    batch = Batch(model.config)
    while waiting or batch.rows:
        joining = [waiting.popleft() for _ in range(how_many_join(batch, len(waiting), batch_size))]
        told, failure = [], ""
        try:
            with torch.inference_mode():
                told = batch.join(model, joining) if joining else batch.step(model)
        except torch.OutOfMemoryError as error:
            failure = str(error)  # not the error itself: its frames hold the tensors
        if failure:
            again = list(dict.fromkeys([*batch.clear(), *joining]))
            if len(again) == 1:
                raise WorkFailed(f"out of memory for one prompt of {len(again[0].request.prompt)} tokens: {failure}")
            waiting.extendleft(new_row(writer, row.request) for row in reversed(again))
            batch_size = len(again) // 2
            torch.cuda.empty_cache()
        for row, piece in told:
            if piece.finish is not None:
                yield row.request, row.writing.completion(piece)


def how_many_join(batch: Batch, waiting: int, batch_size: int) -> int:
    """How many of those who wait join now: all that there is room for, if they are worth a pause of the others.

    >>> [how_many_join(Batch(LlamaConfig()), waiting, batch_size=32) for waiting in (0, 5, 50)]
    [0, 5, 32]
    """
    if not batch.rows:
        return min(waiting, batch_size)
    free = batch_size - len(batch.rows)
    worth = batch.joinable and free >= max(1, min(waiting, batch_size // 4))
    return min(waiting, free) if worth else 0
