"""What a stage will need of memory, by arithmetic alone. Nothing is loaded.

    shapes.py     config.json -> Shape                     counts.py   Shape + settings -> trained parameters
    needs.py      both -> Memory (bytes, by part)          operations.py  per token;  gpus.py  who has them

Llama-3-8B, r 32 on all linear layers, dropout, 4,096-token rows with activation checkpointing, bf16, in GiB:

    weights 14.96 + adapter 0.47 + gradients 0.31 + optimizer 0.62
    + activations 1.06 + logits 0.94 + working 0.17 + context 0.69 = 19.23

Sources: LoRA, Hu et al. 2021 (arXiv 2106.09685); 4-bit NormalFloat with double quantisation, Dettmers et al. 2023
(arXiv 2305.14314, section 3); activations are what decoder.py saves or, for 4-bit weights, transformers' decoder layer
and PEFT's LoRA layer, as listed at `_saved_by_layer`.
Not covered: time to send between devices, fragmentation beyond `ALLOCATOR_SHARE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from codeup.train.counts import adapter_ranks, lora_parameters, token_row_parameters
from codeup.train.shapes import Linear, Shape

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
DORA_SHARE = {4: 0.4, 2: 0.9}
DORA_HOLES = 4
"""The same with DoRA, of activations and working; and in each layer as many of its largest matrix: a forward pass makes
a unit matrix, B A, s B A and W + s B A and frees them, and what is kept for the backward pass lies between the holes.
Fitted to seven shapes (docs/training.md)."""
PASSING = 3
"""Layers of a shared-out base that are whole at a time: the one in use, and the next one, as sent and in its place."""
ZERO_BUCKET = 1 << 25
"""Gradients that ZeRO-2 sends at once, and holds room for: 128 MiB in fp32 (zero.py)."""
PROCESS_BYTES = 600 << 20
"""A Python process with torch, transformers and PEFT loaded, before the model."""


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
    dora: bool = False,
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
    With `dora` the layers are the library's too.
    """
    e, predicted = bytes_per_weight, tokens if trained is None else trained
    library = quantization != "none" or shards > 1 or dora
    adapter = lora_parameters(shape, r, targets, rank_pattern, dora=dora) + token_row_parameters(shape, token_rows)
    layers = [
        tokens * _saved_by_layer(shape, ranks, dropout=dropout > 0, dora=dora, e=e, library=library, cuda=cuda)
        for ranks in adapter_ranks(shape, r, targets, rank_pattern)
    ]
    row = tokens * shape.hidden
    held = shape.layers * row * e if checkpointing else sum(layers)
    activations = held + row * 4 + tokens * 2 * shape.head_dim * e  # + final norm, cos and sin
    logits = _head(shape, predicted, e, cuda=cuda, trained=token_rows > 0)
    backward = (
        predicted * shape.hidden * e
        + (max(layers) if checkpointing else 0)
        + _backward(shape, tokens, e, dropout=dropout > 0, dora=dora, library=library)
    )
    working = max(0, backward - logits)
    coming_and_going = activations + logits + working
    heap = _heap(shape, activations + working, e, dora=dora, layers=1 if checkpointing else shape.layers)
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
        context=round(CONTEXT_BYTES + ALLOCATOR_SHARE * coming_and_going) if cuda else heap,
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
    shape: Shape, ranks: Mapping[Linear, int], *, dropout: bool, dora: bool, e: int, library: bool, cuda: bool
) -> int:
    """Bytes per token that one decoder layer keeps for its backward pass. e: bytes of an activation.

                              written out (decoder.py)              the library's layers, for quantised weights
        before each norm      e H + 4                               4 H + 4, in fp32
        attention             e (2 Q + 2 KV) + 4 heads              the same
          on a CPU            e Q more: documents end to end        e Q more
        MLP                   2 e I: gate, up                       3 e I: silu(gate) too
        an adapter            e r; fp32 without dropout: nothing    e r and its input; dropped, and a mask, with dropout
        dropout               1 for each different input            (1, on a CPU 4) for each input
        DoRA                                                        2 e out for each: W x and B A x

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
    adapters += 2 * e * sum(linear.outputs for linear in ranks) if dora else 0
    return 2 * (4 * h + 4) + attention + 3 * e * i + adapters


def _head(shape: Shape, predicted: int, e: int, *, cuda: bool, trained: bool) -> int:
    """loss.py: gathered hidden states and their gradient (in fp32 where rows of the head are trained: trained_head.py),
    and the logits of a chunk with what is made of them.

    Per logit: itself and its log-probability in fp32, 8 bytes, and a 16-bit copy where the head is 16-bit. While the
    second chunk is made, the first is still held: its 8 bytes, and the new logits.
    """
    from codeup.train.trained_head import chunk_rows  # torch, which a plan's mistakes need not wait for

    rows = chunk_rows(shape.vocabulary, cuda=cuda)
    per_logit = 8 + (0 if e == 4 else 2) if predicted <= rows else 8 + 4 + (0 if e == 4 else 2)
    gradient = 4 if trained else e
    return predicted * shape.hidden * (e + gradient) + min(rows, predicted) * shape.vocabulary * per_logit


def _heap(shape: Shape, changing: int, e: int, *, dora: bool, layers: int) -> int:
    """What the C library's heap keeps of `changing` bytes, and of what DoRA makes and frees in so many layers.

    hidden 1024, MLP 2816, 4 layers, fp32, 612 MiB changing: 153 MiB; with DoRA 0.4 of 612 and 4 x 4 of 11 MiB, 421 MiB
    """
    if not dora:
        return round(CPU_SHARE[e] * changing)
    largest = max(linear.weights for linear in shape.linears)
    return round(DORA_SHARE[e] * changing) + layers * DORA_HOLES * largest * e


def _backward(shape: Shape, tokens: int, e: int, *, dropout: bool, dora: bool, library: bool) -> int:
    """Gradients in flight in one layer, and one matrix rebuilt.

    Written out: at the end of `down_proj`, four of the MLP's width (its gradient, silu(gate), those of gate and up;
    five with dropout) and two of the model's; the matrix is W + s B A of gate and up, in fp32 without dropout. The
    library's layers: three and two, and the 16-bit form of a 4-bit matrix; with DoRA B A and W + s B A beside it.
    """
    wide = 3 if library else 5 if dropout else 4
    largest = max(linear.weights for linear in shape.linears)
    rebuilt = (3 if dora else 1) * largest if library else 2 * largest if e == 4 and not dropout else 0
    return tokens * e * (wide * shape.intermediate + 2 * shape.hidden) + rebuilt * e
