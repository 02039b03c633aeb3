"""A Llama of random weights with the packaged tokenizer, to time: `python tests/random_llama.py FOLDER [--layers N]`.

19 layers of 1536 (24 heads, 8 for keys and values; 4096 inside) are 480 million parameters, 0.96 GB in bfloat16.
Control tokens, and tokens that are part of a character, have a row of zeros in the head and are never the likeliest: a
greedy answer goes on to its limit, and llama.cpp holds none of its tokens back.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def make(folder: Path, layers: int) -> int:
    """Write the model; returns its number of parameters."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from codeup import models

    tokenizer = AutoTokenizer.from_pretrained(models.locate("nano-base"))
    config = LlamaConfig(
        vocab_size=2048, hidden_size=1536, intermediate_size=4096, num_hidden_layers=layers, num_attention_heads=24,
        num_key_value_heads=8, max_position_embeddings=2048, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False, dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM._from_config(config)
    special = set(tokenizer.all_special_ids)
    silent = [id for id in range(config.vocab_size) if id in special or "\ufffd" in tokenizer.decode([id])]
    with torch.no_grad():
        model.lm_head.weight[silent] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.num_parameters()


if __name__ == "__main__":
    words = argparse.ArgumentParser()
    words.add_argument("folder", type=Path)
    words.add_argument("--layers", type=int, default=19)
    asked = words.parse_args()
    print(f"{make(asked.folder, asked.layers):,} parameters in {asked.folder}")
