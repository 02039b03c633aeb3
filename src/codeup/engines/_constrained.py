"""Answers that are JSON of a given schema: before each token, what would leave the schema is forbidden.

    schema {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    said   {"n": 4           allowed next: digits, }, whitespace; not: letters, the end token

llguidance (Rust) keeps the automaton and computes the mask, about 50 µs a token. llama.cpp has the same library inside
and is given the schema as text. An answer that reaches its limit of tokens is cut off in the middle, as everywhere
else. Not covered: schemas with remote references (nothing is fetched).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from codeup.errors import UserError, installs

WHITESPACE = r"[ \n\t]{0,12}"
"""Between JSON's own signs: a model that has nothing to say would otherwise say spaces up to its limit."""
OPTIONS = {"whitespace_flexible": True, "whitespace_pattern": WHITESPACE}
COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""The same for llama.cpp, whose llguidance (xllamacpp 2026.10) does not know the pattern: as json.dumps writes."""
LARK = "%llguidance {{}}\nstart: %json {schema}"
"""llguidance's own language of grammars (its docs/syntax.md); llama.cpp knows it by the first word."""


class JsonAnswer:
    """One answer under a grammar; a Constraint of the engine's interface."""

    def __init__(self, matcher: Any, vocabulary: int, end_ids: frozenset[int], grammar: str) -> None:
        self._matcher, self._vocabulary, self._end_ids, self.grammar = matcher, vocabulary, end_ids, grammar

    def mask(self) -> Any:
        """Which tokens may come, boolean (V,). Only the end where the grammar is finished or gave up."""
        import numpy as np
        import torch

        if self._matcher.is_error() or self._matcher.is_stopped():
            allowed = torch.zeros(self._vocabulary, dtype=torch.bool)
        else:
            bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
            allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool))
        if not allowed.any():
            allowed[list(self._end_ids)] = True
        return allowed

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)


class JsonGrammars:
    """Grammars for one tokenizer; `vocabulary` is the width of the model's logits.

    Raises UserError where llguidance is not installed.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        try:
            import llguidance.hf
        except ImportError:
            raise UserError("JSON answers need the package llguidance", mend=installs("json")) from None
        self._matcher = llguidance.LLMatcher
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._wrap = llguidance.hf.from_tokenizer
        self._wrapped: dict[frozenset[int], Any] = {}

    def prepare(self, schema: Mapping[str, Any] | None, end_ids: frozenset[int]) -> Callable[[], JsonAnswer]:
        """A maker of constraints, one for each answer; `schema` None is any JSON object.

        Raises UserError for a schema that is none, or that cannot be enforced.
        """
        if end_ids not in self._wrapped:
            self._wrapped[end_ids] = self._wrap(self._tokenizer, self._vocabulary, sorted(end_ids))
        wrapped = self._wrapped[end_ids]
        schema = {"type": "object"} if schema is None else schema
        try:
            grammar = self._matcher.grammar_from_json_schema(json.dumps(schema), overrides=OPTIONS)
        except ValueError as error:
            raise UserError(f"the schema cannot be used: {_first_line(error)}") from None
        if problem := self._matcher.validate_grammar(grammar, wrapped):
            raise UserError(f"the schema cannot be enforced: {_first_line(problem)}")
        text = LARK.format(schema=json.dumps({**schema, "x-guidance": COMPACT}))
        return lambda: JsonAnswer(self._matcher(wrapped, grammar, log_level=0), self._vocabulary, end_ids, text)


def _first_line(text: Any) -> str:
    return str(text).strip().split("\n")[0][:300]
