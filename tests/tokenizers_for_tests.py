"""Small tokenizers built in memory, so that tests of prompts and of generation need no download.

`byte_level()` has the shape of Llama 3's: byte-level BPE, split pattern, special tokens,
BOS put by a post-processor.
`sentence_piece()` has the shape of Llama 2's: a space before every text, byte fallback, <s> </s> <unk>.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

# The pattern of the Llama 3 tokenizer: note that punctuation takes the newlines after it along (".\n\n" is one piece).
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|pad|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|reserved_0|>",
)
TEXT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\nWrite a function.\n\n"
    "### Input:\n[1, 2, 3]\n\n### Response:\n```python\ndef add(a, b):\n    return a + b\n```\n",
    "def main():\n\n\n    print('hello, world')\n\n\nif __name__ == '__main__':\n    main()\n",
    "user\n\nassistant\n\nsystem\n\nYou are a careful programmer.\n",
)


@cache
def _byte_level_backend(special: tuple[str, ...]) -> str:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(TEXT * 4, trainer)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if "<|begin_of_text|>" in special:
        bos = ("<|begin_of_text|>", backend.token_to_id("<|begin_of_text|>"))
        backend.post_processor = processors.TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    return backend.to_str()


def byte_level(special: tuple[str, ...] = SPECIAL, **names: str | None) -> Any:
    """A Llama-3-shaped tokenizer of about 430 tokens. `names` overrides bos_token, eos_token, pad_token."""
    default = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "pad_token": None}
    chosen = {name: token for name, token in {**default, **names}.items() if token is not None}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_byte_level_backend(special)), **chosen)


@cache
def _sentence_piece_backend() -> str:
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False, limit_alphabet=60)
    words = [line.replace(" ", "▁") for text in TEXT for line in text.split("\n")]
    backend.train_from_iterator(words * 4, trainer)
    state = json.loads(backend.to_str())  # the byte tokens were reserved as special, but are ordinary vocabulary
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in ("<unk>", "<s>", "</s>")]
    return json.dumps(state)


def sentence_piece() -> Any:
    """A Llama-2-shaped tokenizer: a space is put before every text, newlines are byte tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_sentence_piece_backend()),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
