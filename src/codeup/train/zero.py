"""What DeepSpeed shares out (ZeRO, Rajbhandari et al. 2020, arXiv 1910.02054): stage 2 and, of a frozen base, stage 3.

    strategy          base              trained weights    gradients        moments
    ddp               whole             whole              whole            whole
    deepspeed-zero2   whole             whole              1/n, a piece     1/n, and a copy of the weights in fp32
    deepspeed-zero3   1/n of layers     whole              whole            whole

A frozen base has no gradients and no moments, so stage 3 is about its weights only; the adapter stays as under ddp.
Stage 2 pays where all weights are trained. What a step is (packs, loss, schedule) is ours: DeepSpeed averages over
ranks, so a loss is multiplied by their number first, and it clips by the norm of all ranks' gradients as PyTorch does.

Nothing is compiled: AdamW is PyTorch's, and the one operation that DeepSpeed would build when it starts on a CPU (a sum
through shared memory, for inference) is left out. Not covered: offloading to CPU or NVMe, ZeRO++, its own checkpoints.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from codeup.errors import UserError
from codeup.train import strategies
from codeup.train.gradients import MOMENTS
from codeup.train.needs import ZERO_BUCKET


def library(device: torch.device) -> Any:
    """DeepSpeed, for this kind of device, with nothing to compile and nothing to say on stdout."""
    strategies.require(strategies.ZERO3)
    os.environ["DS_ACCELERATOR"] = device.type  # where a GPU is there and not wanted, it would take that
    import deepspeed
    import deepspeed.ops
    from deepspeed.accelerator import get_accelerator

    if (chosen := get_accelerator().device_name()) != device.type:
        raise UserError(
            f"DeepSpeed was loaded for {chosen} before, and training is on {device.type}",
            where="DS_ACCELERATOR",
            mend=f"set the environment variable DS_ACCELERATOR={device.type}",
        )
    for handler in logging.getLogger("DeepSpeed").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _config(stage: int, *, clip: float = 0.0, **zero: int | bool) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 1,  # it wants one, and never sees a batch
        "gradient_accumulation_steps": 1,
        "gradient_clipping": clip,
        "zero_optimization": {"stage": stage, "overlap_comm": False, **zero},
    }


class Divided:
    """Gradients, moments and fp32 weights of the trained parameters, of which each rank keeps 1/n (stage 2).

    The parameters themselves stay whole everywhere; the frozen base is never touched. `optimizer` may have moments of
    whole parameters, from a checkpoint; they are divided too, and `optimizer` then holds this rank's only.
    """

    by_all = True

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        optimizer: torch.optim.AdamW,
        *,
        ranks: int,
        clip: float,
        step: int,
    ) -> None:
        whole = {p: optimizer.state.pop(p) for p in parameters if p in optimizer.state}
        numbers = sum(p.numel() for p in parameters)
        size = min(ZERO_BUCKET, numbers + numbers % 2)  # it must be even
        config = _config(2, clip=clip, reduce_bucket_size=size, allgather_bucket_size=size)
        deepspeed = library(parameters[0].device)
        self.engine, *_ = deepspeed.initialize(
            model=torch.nn.ParameterList(parameters), optimizer=optimizer, config=config, dist_init_required=False
        )
        self.ranks, self.tools = ranks, deepspeed.utils
        self._make_moments(optimizer, step)
        for p, state in whole.items():
            for moment in MOMENTS:
                self.tools.safe_set_full_optimizer_state(p, state[moment], moment)

    def _make_moments(self, optimizer: torch.optim.AdamW, step: int) -> None:
        """Zeros, as AdamW begins with: DeepSpeed finds the moments of the first group only if it makes them itself."""
        for group in optimizer.param_groups:
            for piece in group["params"]:
                zeros = {moment: torch.zeros_like(piece) for moment in MOMENTS}
                optimizer.state[piece] = {"step": torch.tensor(float(step), device=piece.device), **zeros}
        self.engine.optimizer._lazy_init_hp_params_optimizer_state()

    def begin(self) -> None:
        """Nothing to prepare."""

    def add(self, loss: torch.Tensor, *, last: bool) -> None:
        """Backward; the gradients are summed and divided in it, so all ranks make as many of these."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.ranks)

    def sum(self) -> None:
        """Done in `add`."""

    def norm(self) -> torch.Tensor:
        """Of all gradients; they are clipped in `step`."""
        norm = torch.as_tensor(self.engine.optimizer.scaled_global_norm())
        return norm if norm >= 0 else torch.tensor(math.inf)  # -1: not a number

    def step(self) -> None:
        self.engine.step()

    def moment(self, parameter: torch.nn.Parameter, name: str) -> torch.Tensor:
        """The whole of it; all ranks ask together."""
        found: torch.Tensor = self.tools.safe_get_full_optimizer_state(parameter, name)
        return found


def numbers_of(parameter: torch.Tensor) -> int:
    """How many numbers a parameter has, also where this rank has only some of them."""
    count: int = getattr(parameter, "ds_numel", parameter.numel())
    return count


def share_out(
    decoder: torch.nn.Module, device: torch.device, fill: Callable[[int, torch.nn.Module], None] | None
) -> None:
    """Stage 3 for the layers of a decoder without storage: each is made whole once, sent by rank 0, and cut up.

    `fill` gives a layer its values, on the first rank. In a forward and a backward pass DeepSpeed's hooks fetch a
    layer's matrices from all and drop them again. What is not in the layers stays out of it, and whole.
    """
    deepspeed = library(device)
    layers: Any = decoder.layers
    size = sum(p.numel() for p in layers[0].parameters())
    config = _config(
        3, stage3_prefetch_bucket_size=size, stage3_max_live_parameters=2 * size, stage3_max_reuse_distance=0,
        stage3_param_persistence_threshold=max(p.numel() for p in layers[0].parameters() if p.ndim == 1),
    )  # fmt: skip
    for at, layer in enumerate(layers):
        layer.to_empty(device=device)
        if fill is not None:
            fill(at, layer)
        deepspeed.zero.Init(module=layer, config_dict_or_path=config, dtype=layers[0].mlp.down_proj.weight.dtype)
    others = {name: module for name, module in decoder.named_children() if module is not layers}
    for name in others:
        setattr(decoder, name, torch.nn.Identity())
    engine, *_ = deepspeed.initialize(model=decoder, config=config, dist_init_required=False)
    for name, module in others.items():
        setattr(decoder, name, module)
    decoder.__dict__["deepspeed"] = engine  # no submodule: it holds this one, and its hooks end with it
