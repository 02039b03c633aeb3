"""The sizes of a decoder, from its config.json alone: which matrices it has, and how many parameters.

    config.json -> Shape -> parameters, linears        Llama-3-8B: 32 layers of 7 matrices, 8,030,261,248 parameters

Not covered: decoders other than `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeup.errors import UserError

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


def chosen(names: Sequence[str], targets: str | Sequence[str], *, where: str = "lora.targets") -> list[str]:
    """The names that `targets` ("all-linear", one or several) asks for. UserError lists them when one is unknown.

    chosen(["q_proj", "v_proj"], "all-linear")  ->  ["q_proj", "v_proj"]
    """
    wanted = list(names) if targets == "all-linear" else [targets] if isinstance(targets, str) else list(targets)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError(
            f"the model has no linear layer called {', '.join(map(repr, unknown))}",
            where=where,
            mend=f"choose from: all-linear, {', '.join(names)}",
        )
    return wanted


def check_targets(config: Mapping[str, Any], targets: str | Sequence[str], *, where: str = "lora.targets") -> None:
    """Raise UserError for a target that a model of this config.json has not, before its weights are read.

    Says nothing of decoders other than FAMILIES: their layers are seen when they are loaded.
    """
    if targets == "all-linear" or config.get("model_type") not in FAMILIES:
        return
    chosen([linear.name for linear in shape_of(config).linears], targets, where=where)


def targeted(shape: Shape, targets: str | Sequence[str]) -> tuple[Linear, ...]:
    """The linear layers that get adapters. UserError lists the layers when a target is unknown."""
    wanted = chosen([linear.name for linear in shape.linears], targets)
    return tuple(linear for linear in shape.linears if linear.name in wanted)
