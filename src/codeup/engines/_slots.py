"""A key-value cache whose rows come and go between steps, for models with plain attention in every layer.

Every row is aligned at the right edge, where the next token of each is written; what lies left of a row is masked:

    columns     left              right            row c ends: the last row takes its place, the window narrows
    row a         . . a a a a a a |                row a     a a a a a a |
    row b         . . . . . b b b |                row b     . . . b b b |
    row c         c c c c c c c c |

Room is kept in both directions, so that a step writes one column and copies nothing; a row that joins is written once.
Keys are cached with their rotary position, so that moving a row to another column does not change what it says.

Not covered: sliding windows and recurrent layers (`SlotCache.fits` is false), sharing of equal prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class SlotLayer(DynamicLayer):
    """Keys and values of one layer, (rows, heads, columns, head_dim), of which a window is in use."""

    SPARE = 128  # columns
    count = left = right = 0
    rooms: tuple[torch.Tensor, ...] = ()
    dtype: torch.dtype
    device: torch.device

    @property
    def width(self) -> int:
        return self.right - self.left

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.rooms = tuple(new.new_empty(0, new.shape[1], 0, new.shape[3]) for new in (key_states, value_states))
            self.count = key_states.shape[0]
        more = key_states.shape[2]
        self._fit(self.count, self.width, more)
        for room, new in zip(self.rooms, (key_states, value_states), strict=True):
            room[: self.count, :, self.right : self.right + more] = new
        self.right += more
        return self._view()

    def join(self, other: SlotLayer) -> None:
        """Take in the rows of another cache, after our own."""
        if not self.count:
            self.count, self.left, self.right, self.rooms = other.count, other.left, other.right, other.rooms
            self.is_initialized, self.dtype, self.device = True, other.dtype, other.device
            self._view()
            return
        rows, width = self.count + other.count, max(self.width, other.width)
        self._fit(rows, width, 0)
        for room, new in zip(self.rooms, (other.keys, other.values), strict=True):
            room[: self.count, :, self.right - width : self.left] = 0  # masked, yet 0 * NaN would be NaN
            room[self.count : rows, :, self.right - width : self.right - other.width] = 0
            room[self.count : rows, :, self.right - other.width : self.right] = new
        self.count, self.left = rows, self.right - width
        self._view()

    def keep(self, moves: Sequence[tuple[int, int]], count: int, width: int) -> None:
        """Only the first `count` rows stay, after row `source` was copied over row `place` for each of `moves`."""
        for room in self.rooms:
            for place, source in moves:
                room[place, :, self.left : self.right] = room[source, :, self.left : self.right]
        self.count, self.left = count, self.right - width
        self._view()

    def _fit(self, rows: int, width: int, more: int) -> None:
        """Room for `rows` rows, a window of `width` columns ending at `right`, and `more` columns after it."""
        have, _, columns, _ = self.rooms[0].shape
        if rows <= have and width <= self.right and self.right + more <= columns:
            return
        rows = have if rows <= have else max(rows, min(2 * have, have + 16))
        moved = []
        for room in self.rooms:
            new = room.new_zeros(rows, room.shape[1], width + more + max(self.SPARE, width // 4), room.shape[3])
            window = room[: self.count, :, self.left : self.right]
            new[: window.shape[0], :, width - window.shape[2] : width] = window
            moved.append(new)
        self.left, self.right, self.rooms = width - self.width, width, tuple(moved)

    def _view(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (room[: self.count, :, self.left : self.right] for room in self.rooms)
        return self.keys, self.values


class SlotCache(DynamicCache):
    """A SlotLayer per layer of the model. Raises AssertionError for a model that it does not fit."""

    layers: list[Any]

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        assert all(type(layer) is DynamicLayer for layer in self.layers)
        self.layers = [SlotLayer() for _ in self.layers]

    @staticmethod
    def fits(config: Any) -> bool:
        """Whether every layer of the model keeps plain keys and values."""
        layers = DynamicCache(config=config).layers
        return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    def join(self, other: SlotCache) -> None:
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.join(theirs)

    def drop(self, places: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Let go of the rows at `places`; returns which old row is at each place now.

        `lengths` are the tokens in each row; what is left of the longest that stays is let go of too.

        >>> order([1], 4)
        [0, 3, 2]
        """
        staying = order(places, len(lengths))
        moves = [(place, source) for place, source in enumerate(staying) if place != source]
        width = max((lengths[source] for source in staying), default=0)
        for layer in self.layers:
            layer.keep(moves, len(staying), width)
        return staying


def order(places: Sequence[int], count: int) -> list[int]:
    """Which of `count` rows stands at each place after those at `places` left: the last ones fill the holes."""
    gone = set(places)
    staying = [place for place in range(count) if place not in gone]
    kept = len(staying)
    movers = [place for place in staying if place >= kept]
    return [place if place not in gone else movers.pop() for place in range(kept)]
