"""Rows of embedding and head that nothing was learned for, and training just those rows.

A base model has tokens that its pre-training never showed. Their rows stay near zero, adapters on linear layers cannot
move them, and a template made of such tokens trains badly: Llama-3's base has them for the turn markers of `llama3`
(unslothai/unsloth issue 658, huggingface/trl issue 1668). Rows are compared by the spread of their entries:

    spread of a row       its standard deviation
    ordinary              at least half the 5 % quantile of all rows
    Llama-3 base          <|eot_id|> about 0 where ordinary rows have 0.01            -> found
    nano-base             <|eot_id|> 0.017, 5 % quantile 0.019, all in use            -> not found

Rows that keep their random start look like ordinary ones and are not found. PEFT's trainable tokens hold the trained
rows as values, not differences, so whatever they begin with they merge exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from peft import PeftModel
from peft.utils.other import TrainableTokensWrapper
from transformers import PreTrainedModel

from codeup.chat import Renderer
from codeup.errors import UserError

QUANTILE = 0.05
SHARE = 0.5
ROWS = 8192
"""Rows looked at together: 8,192 of Llama-3 are 128 MB in fp32."""

REMEDIES = (
    "Remedies: (1) template: alpaca, which is plain text; (2) lora.trainable_tokens: template with token_init: mean, "
    "which trains these rows from the mean of the others; (3) method: full, which trains embedding and head whole."
)


def token_ids(wanted: str | Sequence[str | int], renderer: Renderer) -> list[int]:
    """Ids of the rows to train. UserError for a token the tokenizer has not as one."""
    if isinstance(wanted, str):
        return sorted(renderer.special_tokens.values()) if wanted == "template" else []
    known = renderer.tokenizer.get_vocab()
    unknown = [token for token in wanted if isinstance(token, str) and token not in known]
    if unknown:
        raise UserError(f"the tokenizer has no token {unknown[0]!r}", where="lora.trainable_tokens")
    return sorted({known[token] if isinstance(token, str) else token for token in wanted})


def spreads(weight: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each row's entries, (V,)."""
    return torch.cat([piece.float().std(1, correction=0) for piece in weight.detach().split(ROWS)])


def ordinary_rows(weight: torch.Tensor) -> torch.Tensor:
    """(V,) True for rows that look learned."""
    spread = spreads(weight)
    return spread >= SHARE * torch.quantile(spread, QUANTILE)


def find_untrained(model: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]]:
    """Those of `ids` whose rows look untrained, by matrix: embedding, and head where it is another one."""
    matrices = {"embedding": model.get_input_embeddings().weight}
    if not model.config.tie_word_embeddings:
        matrices["head"] = model.get_output_embeddings().weight
    found = {}
    for where, weight in matrices.items():
        ordinary = ordinary_rows(weight)
        found[where] = [token for token in ids if not ordinary[token]]
    return {where: tokens for where, tokens in found.items() if tokens}


def warning(found: Mapping[str, Sequence[int]], names: Mapping[str, int]) -> str:
    """What `find_untrained` found, in words, with the remedies."""
    name_of = {token: name for name, token in names.items()}
    parts = [f"{where}: {', '.join(name_of[token] for token in tokens)}" for where, tokens in found.items()]
    return f"the base model was hardly trained on tokens that the template writes ({'; '.join(parts)}). {REMEDIES}"


@torch.no_grad()
def begin_with_mean(model: PeftModel) -> int:
    """Set trained rows that look untrained to the mean of the ordinary rows. Returns how many were set."""
    count = 0
    for wrapper in model.modules():
        if not isinstance(wrapper, TrainableTokensWrapper) or wrapper.token_adapter.tied_adapter:
            continue
        layer = wrapper.token_adapter
        weight, rows = layer.base_layer.weight, layer.trainable_tokens_delta["default"]
        ordinary = ordinary_rows(weight)
        pieces = zip(weight.split(ROWS), ordinary.split(ROWS), strict=True)
        mean = sum(piece[good].double().sum(0) for piece, good in pieces) / int(ordinary.sum())
        untrained = [at for at, token in enumerate(layer.token_indices["default"]) if not ordinary[token]]
        rows[untrained] = mean.to(rows.dtype)
        count += len(untrained)
    return count
