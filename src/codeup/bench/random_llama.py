"""A Llama of random weights with the packaged tokenizer, as a folder and as GGUF files: something of a size, to time.

    480m    19 layers of 1536 (24 heads, 8 for keys and values; 4096 inside): 484,502,016 parameters

Control tokens, and tokens that are part of a character, have a row of zeros in the head and are never the likeliest: a
greedy answer goes on to its limit, and llama.cpp holds none of its tokens back.
Not covered: answers that mean anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeup import models
from codeup.errors import UserError

LAYERS = {"30m": 1, "130m": 5, "480m": 19, "1b": 40}
"""Name of a size -> layers of 25 million parameters each; embedding and head are 3 million each."""
WIDTH, INSIDE, HEADS, KV_HEADS, CONTEXT = 1536, 4096, 24, 8, 2048


@contextmanager
def made(size: str, quants: Sequence[str]) -> Iterator[list[str]]:
    """[the folder, a GGUF file of each quantisation], in a temporary folder that goes when the block ends.

    Raises UserError for an unknown size or quantisation, and where no GGUF file can be made here.
    """
    from codeup.export.gguf_quants import check

    if size not in LAYERS:
        raise UserError(f"no size is named {size!r}", where="--size", mend=f"use {', '.join(LAYERS)}")
    for quant in quants:
        check(quant)
    with tempfile.TemporaryDirectory(prefix="codeup-bench-") as held:
        folder = Path(held) / size
        write(folder, LAYERS[size])
        from codeup.export.gguf_model import write_model

        files = [folder / f"{size}-{quant}.gguf" for quant in quants]
        for file, quant in zip(files, quants, strict=True):
            write_model(folder, file, quant=quant)
        yield [str(folder), *map(str, files)]


def write(folder: Path, layers: int) -> None:
    """Write the model in bfloat16, with the tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer: Any = AutoTokenizer.from_pretrained(models.locate("nano-base"))
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=INSIDE, num_hidden_layers=layers,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
        dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM._from_config(config)
    special = set(tokenizer.all_special_ids)
    silent = [id for id in range(config.vocab_size) if id in special or "\ufffd" in tokenizer.decode([id])]
    with torch.no_grad():
        model.lm_head.weight[silent] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
