"""Trains the nano base model from nothing: `python -m codeup.nano.pretrain --out DIR --seed 0`.

Documents of corpus.py are tokenised with a byte-level BPE trained on the same corpus and packed without padding into
rows of `--length` tokens in which no document sees another (positions restart, attention is block-diagonal); each row
is seen once. Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) on the matrices inside the layers, AdamW on
the rest.
The number of steps is fixed, never the time, so that the same machine gives the same weights.
Does not resume, does not use more than one device; it needs about half an hour on two CPU cores.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from codeup.nano.corpus import documents

SPECIAL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
    "<|reserved_0|>", "<|reserved_1|>", "<|reserved_2|>", "<|reserved_3|>", "<|reserved_4|>",
)  # fmt: skip
BOS, EOS, PAD = 0, 1, 2
# The split of Llama 3 (its tokenizer.json), with digits taken one by one.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(seed: int, vocabulary: int, sample: int) -> Tokenizer:
    """Byte-level BPE over the first `sample` documents of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(itertools.islice(documents(f"{seed} tokenizer"), sample), trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{SPECIAL[BOS]} $A",
                pair=f"{SPECIAL[BOS]} $A {SPECIAL[BOS]} $B",
                special_tokens=[(SPECIAL[BOS], BOS)],
            ),
        ]
    )
    return tokenizer


def rows(tokenizer: Tokenizer, seed: int, length: int) -> Iterator[tuple[list[int], list[int]]]:
    """Endless (ids, document numbers), each of `length` tokens; one that does not fit goes on in the next row."""
    stream = documents(f"{seed} train")
    ids: list[int] = []
    owners: list[int] = []
    number = 0
    while True:
        batch = list(itertools.islice(stream, 512))
        for encoding in tokenizer.encode_batch(batch):
            ids.extend([*encoding.ids, EOS])
            owners.extend([number] * (len(encoding.ids) + 1))
            number += 1
        while len(ids) >= length:
            yield ids[:length], owners[:length]
            del ids[:length], owners[:length]


def build_model(vocabulary: int, hidden: int, layers: int, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return LlamaForCausalLM(config)


class Muon:
    """Momentum whose matrix is made orthogonal by five Newton-Schulz steps; coefficients of the post cited above."""

    def __init__(self, matrices: list[torch.nn.Parameter], momentum: float = 0.95) -> None:
        self.matrices, self.momentum = matrices, momentum
        self.buffers = [torch.zeros_like(p) for p in matrices]

    @torch.no_grad()
    def step(self, rate: float, decay: float) -> None:
        for parameter, buffer in zip(self.matrices, self.buffers, strict=True):
            assert parameter.grad is not None
            buffer.mul_(self.momentum).add_(parameter.grad)
            update = orthogonal(parameter.grad + self.momentum * buffer)
            scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
            parameter.mul_(1 - rate * decay).add_(update, alpha=-rate * scale)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About U V^T of `matrix` = U S V^T, without computing the decomposition."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def isolation(owners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention mask (B, 1, T, T), True where a token may look; positions (B, T) restart with each document."""
    length = owners.shape[1]
    same = owners[:, :, None] == owners[:, None, :]
    mask = same & torch.ones(length, length, dtype=torch.bool).tril()
    starts = torch.zeros_like(owners)
    changed = owners[:, 1:] != owners[:, :-1]
    starts[:, 1:] = torch.where(changed, torch.arange(1, length), 0)
    return mask[:, None], torch.arange(length) - starts.cummax(dim=1).values


def learning_rate(step: int, steps: int, warmup: int = 40) -> float:
    """1 at its highest: linear warm-up, then a cosine to 0.02."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def train(model: LlamaForCausalLM, tokenizer: Tokenizer, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs `args.steps` steps over the stream of rows; the loss curve."""
    stream = rows(tokenizer, args.seed, args.length)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    others = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers" in n)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=args.rate, betas=(0.9, 0.95), weight_decay=0.0, foreach=True)
    runner = torch.compile(model) if args.compile else model
    curve: list[dict[str, Any]] = []
    began, total = time.monotonic(), 0.0
    for step in range(args.steps):
        batch = list(itertools.islice(stream, args.batch))
        ids = torch.tensor([row[0] for row in batch])
        owners = torch.tensor([row[1] for row in batch])
        mask, positions = isolation(owners)
        logits = runner(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        target = ids[:, 1:].masked_fill(owners[:, 1:] != owners[:, :-1], -100)
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), target.flatten())
        loss.backward()
        factor = learning_rate(step, args.steps)
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(args.muon_rate * factor, 0.01)
        for group in adam.param_groups:
            group["lr"] = args.rate * factor
        adam.step()
        model.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % args.log_every == 0 or step + 1 == args.steps:
            since = (step % args.log_every) + 1
            seconds = time.monotonic() - began
            tokens = (step + 1) * args.batch * args.length
            curve.append({"step": step + 1, "tokens": tokens, "loss": round(total / since, 4)})
            print(f"{curve[-1]} {tokens / seconds:.0f} tokens/s", flush=True)
            total = 0.0
        if args.save_every and (step + 1) % args.save_every == 0:
            save(args.out, model, tokenizer, curve)
    return curve


def save(folder: Path, model: LlamaForCausalLM, tokenizer: Tokenizer, curve: list[dict[str, Any]]) -> None:
    """The model folder: bf16 safetensors, config, tokenizer, generation config and loss.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.dtype = torch.bfloat16
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[BOS],
        eos_token=SPECIAL[EOS],
        pad_token=SPECIAL[PAD],
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    with (folder / "loss.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", "tokens", "loss"])
        writer.writeheader()
        writer.writerows(curve)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pre-train the nano base model.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=850)
    parser.add_argument("--batch", type=int, default=16, help="rows per step")
    parser.add_argument("--length", type=int, default=256, help="tokens per row")
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rate", type=float, default=3e-3, help="AdamW, embeddings and norms")
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--save-every", type=int, default=100, help="steps between saves of the model so far; 0: end only"
    )
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--compile", action="store_true", help="torch.compile the model (about 1.4 times as fast)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    tokenizer = train_tokenizer(args.seed, args.vocabulary, sample=40_000)
    model = build_model(args.vocabulary, args.hidden, args.layers, args.seed)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    curve = train(model, tokenizer, args)
    save(args.out, model, tokenizer, curve)


if __name__ == "__main__":
    main()
