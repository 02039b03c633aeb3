"""Token ids become text: where an answer ends, and what of it may be shown while it grows.

    stop string "\\n```"     tokens  "x"  "\\n"  "``"  "y"        shown  "x"  ""  ""  "\\n``y"
    a character of 4 bytes in 3 tokens                            shown  ""   ""  "😀"

Text that may still turn out to begin a stop string, or half a character, is held back; what has been shown is never
taken back. Decoding looks at the newest tokens only, so that a long answer costs no more per token than a short one.
Not covered: tokens that a constraint forbids (they are never chosen).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codeup.engines._interface import Completion, Finish, Piece, Token


class Writer:
    """Decodes with a tokenizer; decoding after a newline keeps a leading space that SentencePiece would drop."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.anchor: list[int] = tokenizer.encode("\n", add_special_tokens=False)
        self._anchor_text = self.decode(self.anchor)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def text(self, ids: Sequence[int]) -> str:
        return self.decode([*self.anchor, *ids])[len(self._anchor_text) :]

    def completion(self, ids: list[int], rules: Any) -> Completion | None:
        """What an answer has become with its newest token, or None while it goes on.

        `rules` has end_ids, stop_strings, tail and max_new_tokens (a Request).
        """
        if ids[-1] in rules.end_ids:
            return Completion(tuple(ids), self.text(ids[:-1]), "stop")
        if rules.stop_strings:
            tail = self.decode(ids[-rules.tail :])
            if any(stop in tail for stop in rules.stop_strings):
                text = self.text(ids)
                cuts = [cut for stop in rules.stop_strings if (cut := text.find(stop)) >= 0]
                if cuts:
                    return Completion(tuple(ids), text[: min(cuts)], "stop")
        if len(ids) == rules.max_new_tokens:
            return Completion(tuple(ids), self.text(ids), "length")
        return None


class Writing:
    """One answer while it grows."""

    def __init__(self, writer: Writer, rules: Any) -> None:
        self._writer, self._rules = writer, rules
        self._whole = not rules.stream and rules.logprobs is None
        self.ids: list[int] = []
        self._context: list[int] = list(writer.anchor)  # tokens whose text is known, for the next ones to be read after
        self._unread: list[int] = []  # tokens that may end within a character
        self._held = ""  # text that may begin a stop string
        self._shown = 0  # characters
        self._tokens: list[tuple[int, Token]] = []  # (where its text begins, token), not given out yet

    def push(self, token: Token) -> Piece:
        """The piece that one more token brings; its text may be empty."""
        self.ids.append(token.id)
        completion = self._writer.completion(self.ids, self._rules)
        if completion is None or token.id not in self._rules.end_ids:
            self._tokens.append((self._shown + len(self._held), token))
        if completion is not None:
            cut = completion.finish == "stop" and token.id not in self._rules.end_ids
            tokens = tuple(token for begin, token in self._tokens if not cut or begin < len(completion.text))
            return Piece(completion.text[self._shown :], tokens, completion.finish, len(self.ids))
        if self._whole:
            return Piece("", produced=len(self.ids))
        self._held += self._read(token.id)
        safe = len(self._held) - self._may_begin_a_stop()
        if safe == 0:
            return Piece("", produced=len(self.ids))
        shown, self._held = self._held[:safe], self._held[safe:]
        self._shown += safe
        tokens, self._tokens = tuple(token for _, token in self._tokens), []
        return Piece(shown, tokens, None, len(self.ids))

    def completion(self, last: Piece) -> Completion:
        """The whole answer, of which `last` is the only piece with text (stream False)."""
        return Completion(tuple(self.ids), last.text, "stop" if last.finish == "stop" else "length")

    def end(self, finish: Finish, error: str = "") -> Piece:
        """The last piece of an answer that is ended from outside; text that was held back stays back."""
        return Piece("", (), finish, len(self.ids), error)

    def _read(self, token: int) -> str:
        self._unread.append(token)
        before = self._writer.decode(self._context)
        after = self._writer.decode([*self._context, *self._unread])
        if after.endswith("\ufffd") and len(self._unread) < 16:
            return ""
        self._context, self._unread = self._unread, []
        return after[len(before) :]

    def _may_begin_a_stop(self) -> int:
        """Length of the longest end of the held text that is the beginning of a stop string."""
        held, longest = self._held, 0
        for stop in self._rules.stop_strings:
            for length in range(min(len(stop) - 1, len(held)), longest, -1):
                if held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
