"""Steady training speed and memory of Llama-3-8B's shape on this machine's GPU, weights random, nothing on disk.

    python tests/measure_gpu.py [--tiny]           --tiny: a toy shape, to see that the script works without a GPU

Each line: rows of so many tokens, tokens/s of the last steps, useful work (4 N + 6 N_lora + attention) as a share of
an H100's and H200's 989 TFLOP/s, the most that PyTorch had allocated, and what `codeup plan` expects of it without the
driver's share. Documents have 350 tokens on average (log-normal), or are as long as a row; 60 % of the tokens are
trained. One process, `loop.train_step` as training calls it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights

from codeup.train import counts, elementwise, gpus, loop, lora, needs, operations, shapes
from codeup.train.attention import use_segment_attention
from codeup.train.loss import library_forward
from codeup.train.plan import make_plan
from codeup.train.tokens import TokenStore, write_tokens
from codeup.types import Tokens

TINY = "--tiny" in sys.argv
RANK, STEPS, WARM = 32, 5, 2
CUDA = torch.cuda.is_available()
DEVICE, DTYPE = torch.device("cuda" if CUDA else "cpu"), torch.bfloat16 if CUDA else torch.float32
ROW = 128 if TINY else 4096
SHAPE = shapes.PUBLISHED["meta-llama/Meta-Llama-3-8B"]
if TINY:
    SHAPE = replace(SHAPE, vocabulary=512, hidden=64, intermediate=128, layers=2, heads=4, kv_heads=2, head_dim=16)


def random_model() -> LlamaForCausalLM:
    """Made where it is trained: 8 billion random numbers take a CPU minutes."""
    config = LlamaConfig(
        vocab_size=SHAPE.vocabulary, hidden_size=SHAPE.hidden, intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers, num_attention_heads=SHAPE.heads, num_key_value_heads=SHAPE.kv_heads,
        max_position_embeddings=8192, tie_word_embeddings=False, dtype=DTYPE,
    )  # fmt: skip
    with DEVICE, no_init_weights():
        model = LlamaForCausalLM._from_config(config, dtype=DTYPE)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.normal_(0, 0.02)
    use_segment_attention(model.requires_grad_(False))
    return model


def random_tokens(folder: Path, count: int, *, whole_rows: bool) -> TokenStore:
    draw, documents, total = np.random.default_rng(0), [], 0
    while total < count:
        length = ROW if whole_rows else int(np.clip(draw.lognormal(5.6, 0.7), 8, ROW))
        ids = tuple(draw.integers(0, SHAPE.vocabulary, length).tolist())
        documents.append(Tokens(ids, tuple(at >= 0.4 * length for at in range(length))))
        total += length
    return write_tokens(folder, documents)


def measured(name: str, model: Any, adapter: Any, store: TokenStore, row: int, **how: Any) -> None:
    dropout, library = how.get("dropout", 0.0), how.get("library", False)
    for module in model.modules():
        if hasattr(module, "lora_dropout"):
            for key in module.lora_dropout:
                module.lora_dropout[key] = torch.nn.Dropout(dropout) if dropout else torch.nn.Identity()
    adapter.train()
    plan = make_plan(store, capacity=ROW, tokens_per_batch=8 * ROW, epochs=1, seed=0)
    run = loop.Run(
        model, adapter, store, plan, Path(), learning_rate=1e-4, warmup_ratio=0.0, schedule="constant",
        weight_decay=0.0, max_grad_norm=1.0, micro_batch_tokens=row, seed=0,
    )  # fmt: skip
    if library:
        run.forward = library_forward(model)
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    tokens = seconds = 0.0
    for step in range(STEPS):
        started = time.perf_counter()
        done = loop.train_step(run)
        if step >= WARM:
            tokens, seconds = tokens + done.tokens, seconds + time.perf_counter() - started
    lengths = store.lengths.astype(float)
    share = float(store.targets_per_document().sum() / lengths.sum())
    parameters = counts.lora_parameters(SHAPE, RANK)
    work = operations.work(SHAPE, parameters, attended=(lengths**2).sum() / lengths.sum(), trained_share=share).useful
    planned = needs.memory(
        SHAPE, r=RANK, dropout=dropout, tokens=row, trained=round(row * share), bytes_per_weight=DTYPE.itemsize
    )
    peak = torch.cuda.max_memory_allocated() / gpus.GIB if CUDA else float("nan")
    of_peak = work * tokens / seconds / gpus.GPUS["h200"].flops
    print(
        f"{name:<44}{tokens / seconds:>9,.0f} tokens/s  MFU {of_peak:6.1%}  {peak:6.1f} GiB, "
        f"planned {(planned.total - planned.context) / gpus.GIB:6.1f}",
        flush=True,
    )
    run.optimizer.zero_grad(set_to_none=True)


def main() -> None:
    print(torch.__version__, torch.cuda.get_device_name() if CUDA else "CPU", "kernels:", elementwise.fused("cuda"))
    model = random_model()
    adapter = lora.attach(model, r=RANK, alpha=2 * RANK)
    with tempfile.TemporaryDirectory() as folder:
        short = random_tokens(Path(folder, "short"), (STEPS + 1) * 8 * ROW, whole_rows=False)
        long = random_tokens(Path(folder, "long"), (STEPS + 1) * 8 * ROW, whole_rows=True)
        measured(f"rows of {ROW}", model, adapter, short, ROW)
        measured(f"rows of {ROW}, one document each", model, adapter, long, ROW)
        measured(f"rows of {2 * ROW}", model, adapter, short, 2 * ROW)
        measured(f"rows of {ROW}, dropout 0.05", model, adapter, short, ROW, dropout=0.05)
        measured(f"rows of {2 * ROW}, dropout 0.05", model, adapter, short, 2 * ROW, dropout=0.05)
        measured(f"rows of {ROW}, the library's layers", model, adapter, short, ROW, library=True)


if __name__ == "__main__":
    main()
