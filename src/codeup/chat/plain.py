"""Tokenising the text of messages, in which nothing is special."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from codeup.errors import UserError


class PlainEncoder:
    """A copy of the Rust tokenizer in which special tokens are never recognised in text.

    Added tokens that are not special (runs of spaces in some code models) stay tokens, except `control`: those the
    template writes, which some tokenizers forget to mark as special.

    SentencePiece tokenizers put a space before every text. A segment in the middle of a prompt must not get one: there
    it is encoded after a newline, whose ids (the anchor) are then taken off. Decoding does the same:

        "yes" -> ▁yes            "\\nyes" -> ▁ \\n | yes -> yes
    """

    def __init__(self, tokenizer: Any, control: Sequence[str]) -> None:
        from tokenizers import Tokenizer

        state = json.loads(tokenizer.backend_tokenizer.to_str())
        state.update(post_processor=None, truncation=None, padding=None)
        for token in state["added_tokens"]:
            token["special"] = token["special"] or token["content"] in control
        self._rust = Tokenizer.from_str(json.dumps(state))
        self._rust.encode_special_tokens = True
        alone, after_newline, newline = self._ids(["a", "\na", "\n"])
        puts_space = alone != after_newline[-len(alone) :]
        self._anchor = newline if puts_space else []
        self._anchor_text = self._rust.decode(self._anchor) if puts_space else ""
        after_special = tokenizer.encode(f"{control[-1]}a", add_special_tokens=False, split_special_tokens=False)[1:]
        self._space_after_special = after_special == alone
        for text, ids in zip(control, self.encode(control, [True] * len(control)), strict=True):
            if self._rust.token_to_id(text) in ids:
                raise UserError(f"the tokenizer makes its special token {text} from plain text", mend="use another one")

    def encode(self, texts: Sequence[str], opens: Sequence[bool]) -> list[list[int]]:
        """Ids of each text; `opens[i]` says that texts[i] stands directly after a special token."""
        if not self._anchor:
            return self._ids(texts)
        bare = [first and self._space_after_special for first in opens]
        ids = self._ids([text if alone else f"\n{text}" for text, alone in zip(texts, bare, strict=True)])
        return [part if alone else part[len(self._anchor) :] for part, alone in zip(ids, bare, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        return self._rust.decode([*self._anchor, *ids], skip_special_tokens=False)[len(self._anchor_text) :]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            return [encoding.ids for encoding in self._rust.encode_batch_fast(texts, add_special_tokens=False)]
        except (TypeError, UnicodeError):
            for text in texts:
                lone = re.search("[\ud800-\udfff]", text)
                if lone:
                    near = ascii(text[max(0, lone.start() - 20) : lone.end() + 20])
                    raise UserError(f"text that is not Unicode: a lone surrogate in {near}") from None
            raise
