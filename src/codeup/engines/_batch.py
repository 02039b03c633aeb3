"""The rows that run together: new ones join between two steps, those that ended leave, the rest is not copied.

    join    prompts of the new rows (n, T), left-padded -> their keys stand right-aligned beside the others'
    step    the newest token of every row (n, 1) -> logits (n, V) -> a token per row, chosen by the row's own rules
    drop    the last rows fill the holes of those that ended, and the window narrows to the longest that stays

Each row sees only itself and draws from its own random stream: its tokens do not depend on its company beyond float
rounding. Where a model's cache cannot take new rows (sliding windows, recurrent layers), they join only an empty batch.
Not covered: who joins when (_worklist.py for a list of prompts, _continuous.py for requests that come and go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from codeup.engines._choose import choose_each, draws
from codeup.engines._interface import Piece, Request, Token
from codeup.engines._slots import SlotCache
from codeup.engines._writing import Writer, Writing


@dataclass(slots=True, eq=False)
class Row:
    """A request on its way. `length` counts the tokens whose keys are cached, `last` is the newest, not cached yet."""

    request: Request
    writing: Writing
    draws: torch.Tensor
    length: int = 0
    last: int = -1
    cancelled: bool = False


def new_row(writer: Writer, request: Request) -> Row:
    """A request before its first step."""
    return Row(
        request, Writing(writer, request), draws(request.seed, request.key, request.max_new_tokens, request.temperature)
    )


Told = list[tuple[Row, Piece]]


class Batch:
    """The running requests of one adapter and their cache."""

    def __init__(self, config: Any) -> None:
        self.rows: list[Row] = []
        self._config = config
        self.joinable = SlotCache.fits(config)
        self._cache = self._new_cache()

    def _new_cache(self) -> Any:
        return SlotCache(self._config) if self.joinable else DynamicCache(config=self._config)

    def join(self, model: Any, rows: Sequence[Row]) -> Told:
        """Read the prompts of new rows and choose their first tokens."""
        lengths = [len(row.request.prompt) for row in rows]
        width = max(lengths)
        ids = torch.tensor([[0] * (width - len(row.request.prompt)) + list(row.request.prompt) for row in rows])
        cache = self._new_cache()
        logits = _forward(model, ids, lengths, width, cache)
        if self.rows:
            self._cache.join(cache)
        else:
            self._cache = cache
        self.rows += rows
        for row, length in zip(rows, lengths, strict=True):
            row.length = length
        return self._told(rows, logits)

    def step(self, model: Any) -> Told:
        """One token for every row, (n, 1) -> (n, V)."""
        ids = torch.tensor([[row.last] for row in self.rows])
        for row in self.rows:
            row.length += 1
        lengths, width = [row.length for row in self.rows], self._cache.get_seq_length() + 1
        return self._told(list(self.rows), _forward(model, ids, lengths, width, self._cache))

    def drop(self, gone: Sequence[Row]) -> None:
        """Free the rows of requests that ended."""
        if not gone:
            return
        if len(gone) == len(self.rows):
            self.clear()
            return
        places = [place for place, row in enumerate(self.rows) if row in gone]
        if self.joinable:
            staying = self._cache.drop(places, [row.length for row in self.rows])
        else:
            staying = [place for place in range(len(self.rows)) if place not in places]
            self._cache.batch_select_indices(torch.tensor(staying))
        self.rows = [self.rows[place] for place in staying]

    def clear(self) -> list[Row]:
        """Let go of everything; returns the rows there were."""
        rows, self.rows, self._cache = self.rows, [], self._new_cache()
        return rows

    def _told(self, rows: Sequence[Row], logits: torch.Tensor) -> Told:
        """Choose a token per row, tell what it brings, free the rows that ended."""
        tokens = _choose(rows, logits.float())
        told: Told = []
        for row, token in zip(rows, tokens, strict=True):
            row.last = token.id
            if row.request.constraint is not None and token.id not in row.request.end_ids:
                row.request.constraint.accept(token.id)
            told.append((row, row.writing.push(token)))
        self.drop([row for row, piece in told if piece.finish is not None])
        return told


def _forward(model: Any, ids: torch.Tensor, lengths: Sequence[int], width: int, cache: Any) -> torch.Tensor:
    """Logits of the last position, (n, V). `ids` (n, T) stand in the last of `width` columns; `lengths` count a row's
    tokens, these too."""
    given = torch.cat([ids, torch.tensor(lengths)[:, None]], 1).to(model.device)  # one copy to a GPU, not three
    ids, length = given[:, :-1], given[:, -1:]
    mask = (torch.arange(width, device=given.device) >= width - length).long()  # (n, width)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def _choose(rows: Sequence[Row], logits: torch.Tensor) -> list[Token]:
    """A token per row with the log-probabilities it was asked to report; (n, V) logits."""
    allowed = logits
    for place, row in enumerate(rows):
        if row.request.constraint is not None:
            if allowed is logits:
                allowed = logits.clone()
            allowed[place, ~row.request.constraint.mask().to(logits.device)] = float("-inf")
    ids = choose_each(
        allowed,
        [float(row.draws[len(row.writing.ids)]) if row.request.temperature > 0 else 0.0 for row in rows],
        [row.request.temperature for row in rows],
        [row.request.top_p for row in rows],
    )
    tokens = [Token(id) for id in ids]
    for place, row in enumerate(rows):
        wanted = row.request.logprobs
        if wanted is not None:
            scores = logits[place].log_softmax(-1)
            best = scores.topk(wanted) if wanted else None
            top = zip(best.indices.tolist(), best.values.tolist(), strict=True) if best else ()
            tokens[place] = Token(ids[place], float(scores[ids[place]]), tuple(top))
    return tokens
