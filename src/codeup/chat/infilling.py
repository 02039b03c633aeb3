"""Prompts for what stands between two texts: prefix, suffix, then the middle is written (fill in the middle, FIM).

    before "def f():\\n    return ", after "\\n"
    BOS <|fim_prefix|> def f(): return <|fim_suffix|> \\n <|fim_middle|>     -> the model writes "1" and an end token

The order is Bavarian et al.'s "PSM" (2022, arXiv 2207.14255). The tokens are found by their names in the tokenizer;
both texts are only ever text, so that "<|fim_middle|>" typed in a file does not end it. Not covered: the order
suffix-prefix-middle, and whether a model was ever trained with the tokens that its tokenizer has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codeup.chat.renderer import base_prompt_ids
from codeup.errors import UserError


@dataclass(frozen=True, slots=True)
class Infill:
    """The tokens of a tokenizer that mark a gap, as ids, and those that may end what fills it."""

    prefix: int
    suffix: int
    middle: int
    ends: frozenset[int]


INFILL_TOKENS: tuple[tuple[str, str, str], ...] = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, Granite, StarCoder's heirs
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, StarCoder2
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder: the same order under other names
)
INFILL_ENDS = ("<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<file_sep>", "▁<EOT>", "<|endoftext|>")


def find_infill(tokenizer: Any) -> Infill | None:
    """How a tokenizer marks a gap; None where it has no such tokens."""
    known = tokenizer.get_vocab()
    for prefix, suffix, middle in INFILL_TOKENS:
        if prefix in known and suffix in known and middle in known:
            ends = frozenset(known[token] for token in INFILL_ENDS if token in known)
            return Infill(known[prefix], known[suffix], known[middle], ends)
    return None


def needed_infill(tokenizer: Any) -> Infill:
    """As `find_infill`; raises UserError where the tokenizer has no such tokens."""
    found = find_infill(tokenizer)
    if found is None:
        names = "; ".join(" ".join(names) for names in INFILL_TOKENS)
        raise UserError(
            "the model's tokenizer has no tokens that mark a gap, so it cannot be asked to fill one",
            mend=f"use a model that was trained to fill gaps (its tokenizer has one of: {names})",
        )
    return found


def infill_ids(tokenizer: Any, infill: Infill, before: str, after: str) -> list[int]:
    """The prompt: one BOS if the tokenizer has one, the prefix, the suffix, and where the middle begins."""
    begin = base_prompt_ids(tokenizer, "")
    first, second = (
        tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) for text in (before, after)
    )
    return [*begin, infill.prefix, *first, infill.suffix, *second, infill.middle]
