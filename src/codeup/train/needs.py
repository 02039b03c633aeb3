"""What a LoRA stage will need, by arithmetic alone: parameters, memory by part, work, time. Nothing is loaded.

    config.json -> Shape -> parameters, lora_parameters
    Shape + settings -> Memory (bytes, by part)          Shape + Workload -> Work (operations per token) -> seconds

Llama-3-8B, r 32 on all linear layers, dropout, 4,096-token rows with activation checkpointing, bf16, in GiB:

    weights 14.96 + adapter 0.47 + gradients 0.31 + optimizer 0.62
    + activations 1.06 + logits 0.94 + working 0.17 + context 0.69 = 19.23

Sources: LoRA, Hu et al. 2021 (arXiv 2106.09685); 4-bit NormalFloat with double quantisation, Dettmers et al. 2023
(arXiv 2305.14314, section 3); activations are what decoder.py saves or, for 4-bit weights, transformers' decoder layer
and PEFT's LoRA layer, as listed at `_saved_by_layer`; operations, Kaplan et al. 2020 (arXiv 2001.08361, section 2.1)
without the weight gradients of frozen layers; the division by a share of the peak, PaLM (arXiv 2204.02311, appendix B).
Not covered: decoders other than `FAMILIES`, time to send between devices, fragmentation beyond `ALLOCATOR_SHARE`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codeup.errors import UserError
from codeup.train.trained_head import chunk_rows

GIB = 2**30
NF4_BYTES = 4 / 8 + 1 / 64 + 4 / (64 * 256)
"""Per weight: 4 bits, an 8-bit scale per block of 64, a 32-bit scale per 256 blocks (QLoRA, section 3): 4.127 bits."""
QUANTISED_BYTES = {"nf4": NF4_BYTES, "int8": 1.0}
ADAPTER_BYTES = 4
"""Adapters, their gradients and both moments of AdamW are fp32 (lora.attach, loop.Run)."""
CONTEXT_BYTES = 600 * 2**20
"""CUDA context and cuBLAS workspaces: an assumption, not measured here."""
ALLOCATOR_SHARE = 0.05
"""Of everything that comes and goes, lost to rounding in the CUDA allocator: an assumption, not measured here."""
CPU_SHARE = {4: 0.25, 2: 0.65}
"""On a CPU, of activations and working, by bytes of an activation: freed pieces stay in the C library's heap, and
16-bit products have copies of their own. Fitted to nine shapes, see docs/training.md. The logits of a chunk are too
large for the heap and go back at once."""
PASSING = 3
"""Layers of a shared-out base that are whole at a time: the one in use, and the next one, as sent and in its place."""
ZERO_BUCKET = 1 << 25
"""Gradients that ZeRO-2 sends at once, and holds room for: 128 MiB in fp32 (zero.py)."""
PROCESS_BYTES = 600 << 20
"""A Python process with torch, transformers and PEFT loaded, before the model."""
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Decoders whose layer is: norm, q k v o, norm, gate up down."""


@dataclass(frozen=True)
class Linear:
    """One linear layer of a decoder layer. Layers with the same `reads` have the same input."""

    name: str
    inputs: int
    outputs: int
    reads: str
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs

    @property
    def block(self) -> str:
        """The part of a decoder layer that it belongs to, as its full name has it."""
        return "self_attn" if self.reads in ("attention", "heads") else "mlp"


@dataclass(frozen=True)
class Shape:
    """The sizes in a config.json that everything here follows from."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The seven linear layers of one decoder layer."""
        h, i, q, kv = self.hidden, self.intermediate, self.heads * self.head_dim, self.kv_heads * self.head_dim
        return (
            Linear("q_proj", h, q, "attention", self.qkv_bias),
            Linear("k_proj", h, kv, "attention", self.qkv_bias),
            Linear("v_proj", h, kv, "attention", self.qkv_bias),
            Linear("o_proj", q, h, "heads", self.o_bias),
            Linear("gate_proj", h, i, "mlp", self.mlp_bias),
            Linear("up_proj", h, i, "mlp", self.mlp_bias),
            Linear("down_proj", i, h, "product", self.mlp_bias),
        )

    @property
    def linear_weights(self) -> int:
        """Weights of all decoder layers' matrices: what a token is multiplied with, and what nf4 holds in 4 bits."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def head_weights(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def in_layers(self) -> int:
        """Parameters of all decoder layers: of a shared-out base, what is divided and travels."""
        biases = sum(linear.outputs for linear in self.linears if linear.bias)
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        return self.linear_weights + self.layers * (biases + norms)

    @property
    def parameters(self) -> int:
        """All parameters, as the published counts have them (tied embeddings once)."""
        return self.in_layers + self.head_weights * (1 if self.tied else 2) + self.hidden


PUBLISHED = {
    "meta-llama/Meta-Llama-3-8B": Shape(128256, 4096, 14336, 32, 32, 8, 128),
    "meta-llama/Meta-Llama-3-8B-Instruct": Shape(128256, 4096, 14336, 32, 32, 8, 128),
    "meta-llama/Llama-3.1-8B": Shape(128256, 4096, 14336, 32, 32, 8, 128),
    "meta-llama/Meta-Llama-3-70B": Shape(128256, 8192, 28672, 80, 64, 8, 128),
    "meta-llama/Llama-3.2-1B": Shape(128256, 2048, 8192, 16, 32, 8, 64, tied=True),
    "meta-llama/Llama-3.2-3B": Shape(128256, 3072, 8192, 28, 24, 8, 128, tied=True),
}
"""Gated bases, whose config.json cannot be fetched by everyone. 8B and 70B: "The Llama 3 Herd of Models" (arXiv
2407.21783), table 3; vocabulary and the 3.2 models: the config.json files of their Hub pages."""


def shape_of(config: Mapping[str, Any], *, where: str = "config.json") -> Shape:
    """The shape of a config.json. UserError for a decoder that this arithmetic does not describe or a missing size."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UserError(
            f"needs of a {family!r} model cannot be computed", where=where, mend=f"known: {', '.join(FAMILIES)}"
        )
    try:
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        bias = bool(config.get("attention_bias", False))
        return Shape(
            vocabulary=config["vocab_size"],
            hidden=hidden,
            intermediate=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=bias or family == "qwen2",
            o_bias=bias,
            mlp_bias=bool(config.get("mlp_bias", False)),
            qk_norm=family == "qwen3",
        )
    except KeyError as missing:
        raise UserError(f"no {missing.args[0]} in it", where=where, mend="fetch the model again") from None


def targeted(shape: Shape, targets: str | Sequence[str]) -> tuple[Linear, ...]:
    """The linear layers that get adapters. UserError lists the layers when a target is unknown."""
    names = [linear.name for linear in shape.linears]
    wanted = names if targets == "all-linear" else [targets] if isinstance(targets, str) else list(targets)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError(
            f"the model has no linear layer called {', '.join(map(repr, unknown))}",
            where="lora.targets",
            mend=f"choose from: all-linear, {', '.join(names)}",
        )
    return tuple(linear for linear in shape.linears if linear.name in wanted)


def adapter_ranks(
    shape: Shape, r: int, targets: str | Sequence[str] = "all-linear", rank_pattern: Mapping[str, int] | None = None
) -> tuple[dict[Linear, int], ...]:
    """Of each decoder layer, which linear layers have adapters, and of what rank. Patterns are found as PEFT does: each
    is the end of a layer's name or a regular expression for it, and the first that matches counts.

    r 2, {layers.0.self_attn.q_proj: 8} -> ({q_proj: 8, k_proj: 2, ...}, {q_proj: 2, k_proj: 2, ...}, ...)
    """
    patterns = {re.compile(rf"(.*\.)?({pattern})"): rank for pattern, rank in (rank_pattern or {}).items()}

    def rank_of(layer: int, linear: Linear) -> int:
        name = f"model.layers.{layer}.{linear.block}.{linear.name}"
        return next((rank for pattern, rank in patterns.items() if pattern.fullmatch(name)), r)

    adapted = targeted(shape, targets)
    return tuple({linear: rank_of(layer, linear) for linear in adapted} for layer in range(shape.layers))


def lora_parameters(
    shape: Shape, r: int, targets: str | Sequence[str] = "all-linear", rank_pattern: Mapping[str, int] | None = None
) -> int:
    """A (r, in) and B (out, r) for each target: r (in + out)."""
    by_layer = adapter_ranks(shape, r, targets, rank_pattern)
    return sum(rank * (linear.inputs + linear.outputs) for ranks in by_layer for linear, rank in ranks.items())


def token_row_parameters(shape: Shape, rows: int) -> int:
    """So many trained rows of the embedding, and of a head that is not tied to it."""
    return rows * shape.hidden * (1 if shape.tied else 2)


# --- memory ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """Bytes by part, at the moment of the highest total.

    Logits and the backward pass of a layer are never held at once: `working` is what the backward pass needs beyond the
    room that the logits have left.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    working: int
    context: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def memory(
    shape: Shape,
    *,
    r: int,
    targets: str | Sequence[str] = "all-linear",
    rank_pattern: Mapping[str, int] | None = None,
    token_rows: int = 0,
    dropout: float = 0.0,
    tokens: int,
    trained: int | None = None,
    bytes_per_weight: int,
    quantization: str = "none",
    checkpointing: bool = False,
    cuda: bool = True,
    shards: int = 1,
    divided: int = 1,
) -> Memory:
    """The peak of training with micro-batches of `tokens`, of which `trained` (default: all) predict a trained token.

    `bytes_per_weight` is 2 for bf16 and 4 for fp32. Without `cuda`, `context` is what the heap does not give back, and
    the memory of the Python process before the model is loaded comes on top. With `shards`, so many devices share out
    the base (sharded.py), and this is what each of them needs; the layers are then the library's. With `divided`, so
    many share out what AdamW has of the adapter (zero.py). `token_rows` are trained with the adapter (trained_head.py).
    """
    e, predicted = bytes_per_weight, tokens if trained is None else trained
    library = quantization != "none" or shards > 1
    adapter = lora_parameters(shape, r, targets, rank_pattern) + token_row_parameters(shape, token_rows)
    layers = [
        tokens * _saved_by_layer(shape, ranks, dropout=dropout > 0, e=e, library=library, cuda=cuda)
        for ranks in adapter_ranks(shape, r, targets, rank_pattern)
    ]
    row = tokens * shape.hidden
    held = shape.layers * row * e if checkpointing else sum(layers)
    activations = held + row * 4 + tokens * 2 * shape.head_dim * e  # + final norm, cos and sin
    logits = _head(shape, predicted, e, cuda=cuda, trained=token_rows > 0)
    backward = (
        predicted * shape.hidden * e
        + (max(layers) if checkpointing else 0)
        + _backward(shape, tokens, e, dropout=dropout > 0, library=library)
    )
    working = max(0, backward - logits)
    coming_and_going = activations + logits + working
    return Memory(
        weights=weight_bytes(shape, e, quantization) if shards == 1 else sharded_bytes(shape, e, shards),
        adapter=adapter * (ADAPTER_BYTES + (e if e < 4 else 0)),  # autocast keeps a cast copy for the backward pass
        gradients=adapter * ADAPTER_BYTES
        if divided == 1
        else divided_bytes(adapter, divided, copies=1, whole=ZERO_BUCKET),
        optimizer=2 * adapter * ADAPTER_BYTES if divided == 1 else divided_bytes(adapter, divided, copies=3),
        activations=activations,
        logits=logits,
        working=working,
        context=round(CONTEXT_BYTES + ALLOCATOR_SHARE * coming_and_going)
        if cuda
        else round(CPU_SHARE[e] * (activations + working)),
    )


def weight_bytes(shape: Shape, bytes_per_weight: int, quantization: str = "none") -> int:
    """The frozen base. nf4 and int8 hold the decoder's matrices in 4 and 8 bits, the rest keeps its precision."""
    if quantization == "none":
        return shape.parameters * bytes_per_weight
    rest = shape.parameters - shape.linear_weights
    return round(shape.linear_weights * QUANTISED_BYTES[quantization]) + rest * bytes_per_weight


def divided_bytes(numbers: int, ranks: int, *, copies: int, whole: int = 0) -> int:
    """`copies` of each number in fp32, in equal parts, and room for `whole` of them at most.

    84 M of an adapter on 8, ZeRO-2: 42 MB and 134 MB of room for gradients, 126 MB of moments and master weights
    """
    return ADAPTER_BYTES * (copies * -(-numbers // ranks) + min(whole, numbers))


def sharded_bytes(shape: Shape, bytes_per_weight: int, shards: int) -> int:
    """The most of a shared-out base that a device holds: its share of the layers, what all hold, and layers in passing.

    Llama-3-70B in bf16 on 8: 136.9 GB of layers / 8 + 4.2 GB embedding and head + 3 layers of 1.7 GB = 26.4 GB
    """
    whole = shape.parameters - shape.in_layers
    passing = min(PASSING, shape.layers) * shape.in_layers // shape.layers
    return (-(-shape.in_layers // shards) + whole + passing) * bytes_per_weight


def _saved_by_layer(
    shape: Shape, ranks: Mapping[Linear, int], *, dropout: bool, e: int, library: bool, cuda: bool
) -> int:
    """Bytes per token that one decoder layer keeps for its backward pass. e: bytes of an activation.

                              written out (decoder.py)              the library's layers, for quantised weights
        before each norm      e H + 4                               4 H + 4, in fp32
        attention             e (2 Q + 2 KV) + 4 heads              the same
          on a CPU            e Q more: documents end to end        e Q more
        MLP                   2 e I: gate, up                       3 e I: silu(gate) too
        an adapter            e r; fp32 without dropout: nothing    e r and its input; dropped, and a mask, with dropout
        dropout               1 for each different input            (1, on a CPU 4) for each input

    Frozen matrices keep nothing.
    """
    h, q, kv, i = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.intermediate
    attention = e * (2 * q + 2 * kv) + 4 * shape.heads + (0 if cuda else e * q)
    inputs = [linear.inputs for linear in ranks]
    different = list({linear.reads: linear.inputs for linear in ranks}.values())
    low = e * sum(ranks.values())
    if not library:
        adapters = 0 if e == 4 and not dropout else low + (sum(different) if dropout else 0)
        return 2 * (e * h + 4) + attention + 2 * e * i + adapters
    mask = 1 if cuda else 4
    adapters = low + (sum(inputs) * (e + mask) if dropout else e * sum(different))
    return 2 * (4 * h + 4) + attention + 3 * e * i + adapters


def _head(shape: Shape, predicted: int, e: int, *, cuda: bool, trained: bool) -> int:
    """loss.py: gathered hidden states and their gradient (in fp32 where rows of the head are trained: trained_head.py),
    and the logits of a chunk with what is made of them.

    Per logit: itself and its log-probability in fp32, 8 bytes, and a 16-bit copy where the head is 16-bit. While the
    second chunk is made, the first is still held: its 8 bytes, and the new logits.
    """
    rows = chunk_rows(shape.vocabulary, cuda=cuda)
    per_logit = 8 + (0 if e == 4 else 2) if predicted <= rows else 8 + 4 + (0 if e == 4 else 2)
    gradient = 4 if trained else e
    return predicted * shape.hidden * (e + gradient) + min(rows, predicted) * shape.vocabulary * per_logit


def _backward(shape: Shape, tokens: int, e: int, *, dropout: bool, library: bool) -> int:
    """Gradients in flight in one layer, and one matrix rebuilt.

    Written out: at the end of `down_proj`, four of the MLP's width (its gradient, silu(gate), those of gate and up;
    five with dropout) and two of the model's; the matrix is W + s B A of gate and up, in fp32 without dropout. 4-bit
    weights: three and two, and the 16-bit form of a matrix.
    """
    wide = 3 if library else 5 if dropout else 4
    largest = max(linear.weights for linear in shape.linears)
    rebuilt = largest if library else 2 * largest if e == 4 and not dropout else 0
    return tokens * e * (wide * shape.intermediate + 2 * shape.hidden) + rebuilt * e


# --- work ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """Floating-point operations per token. `executed` adds the second forward pass of activation checkpointing."""

    forward: float
    useful: float
    executed: float


def work(
    shape: Shape,
    adapter_parameters: int,
    *,
    attended: float,
    trained_share: float = 1.0,
    checkpointing: bool = False,
) -> Work:
    """4 N + 6 N_lora + attention, not 6 N: no gradient is made for frozen weights.

    N counts the decoder's matrices for every token and the head for trained tokens only. A token in a document of n
    tokens attends to n / 2 on average, with 2 products of 2 operations in each of `heads * head_dim` columns:
    2 n Q forward, twice that backward. `attended` is n averaged over tokens, so long documents count more.
    """
    body, head = shape.linear_weights, shape.head_weights * trained_share
    attention = 2.0 * attended * shape.heads * shape.head_dim * shape.layers
    forward = 2.0 * (body + head + adapter_parameters) + attention
    useful = 4.0 * (body + head) + 6.0 * adapter_parameters + 3 * attention
    again = 2.0 * (body + adapter_parameters) + attention if checkpointing else 0.0
    return Work(forward, useful, useful + again)


@dataclass(frozen=True)
class Gpu:
    """`memory`: bytes that the driver reports; `flops`: dense bf16 operations per second with fp32 sums."""

    label: str
    memory: int
    flops: float


MIB = 2**20
GPUS = {
    "rtx3090": Gpu("RTX 3090 24 GB", 24576 * MIB, 71e12),
    "rtx4090": Gpu("RTX 4090 24 GB", 24564 * MIB, 165.2e12),
    "a100-40": Gpu("A100 40 GB", 40960 * MIB, 312e12),
    "a100-80": Gpu("A100 80 GB", 81920 * MIB, 312e12),
    "h100": Gpu("H100 80 GB", 81559 * MIB, 989.4e12),
    "h200": Gpu("H200 141 GB", 143771 * MIB, 989.4e12),
}
"""Peaks without sparsity: NVIDIA's GA102 and Ada whitepapers (appendix tables, fp16 with fp32 accumulate) and the data
sheets of A100, H100 SXM and H200 SXM."""
ROOM = 0.95
"""A stage fits when it needs at most this share of the memory, and is tight up to all of it."""


def find_gpu(name: str) -> str:
    """The key in GPUS that a person means: `H100`, `RTX 4090`, `a100-80`. UserError lists the names."""
    plain = "".join(c for c in name.lower().removesuffix("gb") if c.isalnum())
    for key in GPUS:
        if plain in (key.replace("-", ""), key.removeprefix("rtx")):
            return key
    raise UserError(f"no GPU {name!r} is known", where="--gpu", mend=f"use one of {', '.join(GPUS)}")


def find_gpus(text: str) -> tuple[str, int]:
    """The key in GPUS and how many of them: `8xA100-80` and `a100-80x8` are eight, `rtx4090` is one.

    >>> find_gpus("8xA100-80"), find_gpus("rtx4090")
    (('a100-80', 8), ('rtx4090', 1))
    """
    before = re.fullmatch(r"(\d{1,4})\s*[xX×*]\s*(\D.*)", text.strip())
    after = re.fullmatch(r"(.*\w)\s*[xX×*]\s*(\d{1,4})", text.strip())
    name, count = text, 1
    if before:
        name, count = before[2], int(before[1])
    elif after and not text.lower().replace(" ", "").startswith("rtx" + after[2]):
        name, count = after[1], int(after[2])
    if count < 1:
        raise UserError(f"{text!r} is no number of cards", where="--gpu", mend="give for example 8xa100-80")
    return find_gpu(name), count


def verdict(needed: float, there: float) -> str:
    """fits, tight or no."""
    return "fits" if needed <= ROOM * there else "tight" if needed <= there else "no"
