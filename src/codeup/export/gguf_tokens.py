"""A byte-level BPE tokenizer as the fields of a GGUF file.

    tokenizer.json   "vocab": {"Ġdef": 283, ...}, "merges": ["Ġ d", ...], pre_tokenizer: Split "(?i:'s|..." + ByteLevel
    GGUF             tokens [..., "Ġdef", ...], types [..., NORMAL, ...], merges, model "gpt2", pre "llama-bpe"

llama.cpp has its own code for each way of splitting text before BPE, chosen by name. Its converter finds the name by
hashing what a tokenizer makes of one long string, which fails for every tokenizer that it has not met. Here the name
follows from the split rule itself, which is what the name stands for; whether the runtime then makes the same ids is
checked with the runtime (gguf_verify.py). Not covered: SentencePiece tokenizers (Llama 2), WordPiece.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup.errors import UserError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Token types (gguf.TokenType): control tokens are those that a tokenizer calls special."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    _WORDS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _WORDS + r"\p{N}" + _REST: "qwen2",
}
"""The split rules of Llama 3 and Qwen 2, as their tokenizer.json has them, and llama.cpp's names for them
(src/llama-vocab.cpp). GPT-2's rule is ByteLevel's own, "gpt-2"; with digits apart it is "starcoder"."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`tokens` by id as GGUF writes them, `types` alongside; `merges` as "left right"; `pre`: the split rule's name."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str


def read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The tokenizer of a model folder. `rows` of the embedding beyond the vocabulary become unused tokens.

    Raises UserError for a tokenizer of another kind, or one with more tokens than the model has rows.
    """
    path = folder / "tokenizer.json"
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        model, added = spec["model"], spec.get("added_tokens") or []
        vocabulary: dict[str, int] = model["vocab"]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), mend="export a model folder") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"damaged file ({error})", where=str(path), mend="fetch or make the model again") from None
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece-like BPE with byte fallback" if model.get("byte_fallback") else model.get("type")
        raise UserError(
            f"a tokenizer of another kind: {kind}", where=str(path), mend="only byte-level BPE can be exported to GGUF"
        )
    tokens = {number: token for token, number in vocabulary.items()}
    types = dict.fromkeys(tokens, NORMAL)
    for entry in added:
        tokens[entry["id"]] = entry["content"]
        types[entry["id"]] = CONTROL if entry["special"] else USER_DEFINED
    if max(tokens) >= rows:
        raise UserError(
            f"has {max(tokens) + 1} tokens, and the model {rows} rows", where=str(path),
            mend="give the model its own tokenizer, or more rows (resize_token_embeddings)",
        )  # fmt: skip
    return Vocabulary(
        [tokens.get(number, f"[PAD{number}]") for number in range(rows)],
        [types.get(number, UNUSED) for number in range(rows)],
        [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", [])],
        pre_tokenizer_name(spec, where=str(path)),
    )


def pre_tokenizer_name(spec: Mapping[str, Any], where: str = "tokenizer.json") -> str:
    """llama.cpp's name for the way a tokenizer.json splits text before BPE. Raises UserError for one without a name.

    >>> pre_tokenizer_name({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}})
    'gpt-2'
    """
    given = spec.get("pre_tokenizer") or {}
    parts = given.get("pretokenizers", [given]) if given.get("type") == "Sequence" else [given]
    kinds = [part.get("type") for part in parts]
    last = parts[-1]
    normalizer = spec.get("normalizer")
    plain = normalizer is None or normalizer.get("type") == "NFC"
    if plain and kinds[-1] == "ByteLevel" and not last.get("add_prefix_space"):
        own_rule = last.get("use_regex", True)
        if kinds == ["ByteLevel"] and own_rule:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits") and own_rule:
            return "starcoder"
        if kinds == ["Split", "ByteLevel"] and not own_rule and parts[0].get("behavior") == "Isolated":
            name = SPLITS.get(parts[0].get("pattern", {}).get("Regex", ""))
            if name is not None and not parts[0].get("invert"):
                return name
    raise UserError(
        f"llama.cpp has no name for this way of splitting text: {json.dumps(given)[:300]}", where=where,
        mend="tokenizers that split like GPT-2, StarCoder, Llama 3 or Qwen 2 can be exported",
    )  # fmt: skip
