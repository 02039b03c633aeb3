"""Caps that hold before the money is spent, and that stop a run at the same place every time.

    max_tokens 10,000    spent 7,800    next request: 900 bytes of prompt + 16, at most 1,000 tokens of answer
                                        worst case 1,916 more -> fits (9,716); the one after it does not -> stop

A request is sent only if it fits in its worst case: a token is at least one byte of the prompt, and the answer is as
long as it may be. What an answer really used counts from then on. Everything in the folder's cache counts, in this run
or an earlier one: a cap is for the rows, not for one invocation. Attempts that failed and were repeated are not
counted, whatever the endpoint charges for them; a request given up on without any reply counts in its worst case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OVERHEAD = 16
"""Tokens that a chat template may add to a message."""


@dataclass(slots=True)
class Budget:
    """Caps (None: no cap), prices per million tokens, and what has been spent."""

    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    stopped_by: str = field(default="", init=False)

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> float:
        """In the currency of the prices."""
        return self._cost(self.prompt_tokens, self.completion_tokens)

    def _cost(self, prompt: int, completion: int) -> float:
        return (prompt * self.price_in + completion * self.price_out) / 1e6

    def fitting(self, worst: list[tuple[int, int]]) -> int:
        """How many of the next requests, given as worst case (prompt tokens, answer tokens), fit one after another.

        Where the first one does not fit, `stopped_by` says which cap it is.
        """
        requests, prompt, completion = self.requests, self.prompt_tokens, self.completion_tokens
        for number, (more_in, more_out) in enumerate(worst):
            requests, prompt, completion = requests + 1, prompt + more_in, completion + more_out
            broken = self._broken(requests, prompt, completion)
            if broken:
                self.stopped_by = broken if number == 0 else ""
                return number
        return len(worst)

    def _broken(self, requests: int, prompt: int, completion: int) -> str:
        if self.max_requests is not None and requests > self.max_requests:
            return "max-requests"
        if self.max_tokens is not None and prompt + completion > self.max_tokens:
            return "max-tokens-total"
        if self.max_cost is not None and self._cost(prompt, completion) > self.max_cost:
            return "max-cost"
        return ""

    def charge(self, prompt: int, completion: int, *, counted: bool = True) -> None:
        """Count one request. `counted` is False where the endpoint did not say what it used."""
        self.requests += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.uncounted += not counted

    def caps(self) -> dict[str, Any]:
        """For the manifest; None where there is no cap."""
        return {"requests": self.max_requests, "tokens": self.max_tokens, "cost": self.max_cost}

    def to_dict(self) -> dict[str, Any]:
        """Totals for the manifest."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "requests_without_usage": self.uncounted,
            "cost": round(self.cost, 6),
            "price_in": self.price_in,
            "price_out": self.price_out,
        }


def worst_case(prompt: str, max_tokens: int) -> tuple[int, int]:
    """The most tokens that a prompt and its answer can be.

    >>> worst_case("Grüße", 100)
    (23, 100)
    """
    return len(prompt.encode("utf-8", "replace")) + OVERHEAD, max_tokens
