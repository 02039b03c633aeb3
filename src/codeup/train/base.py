"""Loading the base model: where it runs, in which precision, and whether its weight files are whole."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from codeup.artifacts import weight_files
from codeup.errors import UserError, installs

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
QUANTIZATIONS = ("nf4", "int8")
WIDE = 1024
"""From this hidden size on, a CPU with bf16 matrix units (AMX) trains in bf16. Narrower models stay in fp32 everywhere:
their products are small, the casts are not, and the result is then the same on every kind of machine."""


def pick_device(device: str) -> torch.device:
    """`auto`: CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {device!r} was asked for and PyTorch sees no CUDA device", mend="use device: auto")
    return torch.device(device)


def pick_dtype(dtype: str, device: torch.device, hidden_size: int) -> torch.dtype:
    """`auto`: bf16 where the machine is good at it (a CPU: `_cpu_has_bf16`)."""
    if dtype != "auto":
        if dtype not in DTYPES:
            raise UserError(f"unknown dtype {dtype!r}", mend=f"choose from: auto, {', '.join(DTYPES)}")
        return DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if hidden_size >= WIDE and _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    """Whether bf16 products are faster than fp32 ones: with matrix units (AMX).

    Vector instructions alone do not make them so: a Xeon with avx512_bf16 and no AMX did 150 GFLOP/s in bf16 and 240 in
    fp32, and on AVX2 without either fp32 was 9 times faster.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "amx_bf16" in flags


def check_weights(file: Path) -> None:
    """UserError naming the file if its header or its length is wrong (an interrupted download or copy)."""
    try:
        with safe_open(file, framework="pt") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise UserError(f"damaged weight file ({error})", where=str(file), mend="fetch or make it again") from None


def training_dtype(model: Path, dtype: str, device: torch.device) -> torch.dtype:
    """The dtype that a model folder's products are computed in."""
    return pick_dtype(dtype, device, getattr(read_config(model), "hidden_size", WIDE))


def load_base(
    model: Path,
    *,
    dtype: str,
    device: torch.device,
    quantization: str = "none",
    activation_checkpointing: bool = False,
    whole: bool = False,
) -> PreTrainedModel:
    """A causal language model in training mode, with its own attention (sft.py switches it).

    Frozen; or `whole`, to be trained itself: then in fp32, because 16-bit weights lose small updates.
    """
    quiet_progress_bars()
    for file in weight_files(model):
        check_weights(file)
    chosen = torch.float32 if whole else training_dtype(model, dtype, device)
    options: dict[str, Any] = {"dtype": chosen, "local_files_only": True, "use_safetensors": True}
    if quantization != "none":
        options |= {"quantization_config": _quantized(quantization, chosen), "device_map": {"": device}}
    loaded = _all_weights(model, attn_implementation="sdpa", **options)
    if quantization == "none":
        loaded.to(device)
    keep_unpacked(loaded)
    loaded.requires_grad_(whole)
    if activation_checkpointing:
        with renamed_in_transformers_6():
            loaded.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return loaded.train()


def read_config(model: Path) -> PreTrainedConfig:
    """config.json of a model folder. UserError where it is damaged or of a kind that transformers does not know."""
    try:
        return AutoConfig.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise _not_supported(model, error) from None


def _all_weights(model: Path, **options: Any) -> PreTrainedModel:
    """The model, every weight of it from the files: transformers fills in what is missing with random numbers."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # its table of missing weights; they are refused here
    try:
        loaded, report = AutoModelForCausalLM.from_pretrained(
            model, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except (ValueError, KeyError) as error:
        raise _not_supported(model, error) from None
    finally:
        logging.set_verbosity(before)
    strange = [name for name, *_ in sorted(report["mismatched_keys"])] + sorted(report["missing_keys"])
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise UserError(
            f"{strange[0]}{more}: in the weight files missing, or of another shape than config.json says",
            where=str(model),
            mend="fetch the model again; config.json and weights must belong together",
        )
    return loaded


def _not_supported(model: Path, error: Exception) -> UserError:
    return UserError(
        f"cannot be loaded as a causal language model ({str(error).strip().partition(chr(10))[0]})",
        where=str(model),
        mend="use a decoder such as Llama, Mistral, Qwen2 or Qwen3, with a config.json that names it",
    )


@contextlib.contextmanager
def renamed_in_transformers_6() -> Iterator[None]:
    """Quiet about gradient_checkpointing_*, which PEFT and older 5.x releases still know by this name only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
        yield


def quiet_progress_bars() -> None:
    """Progress leaves through events; transformers would draw its own bars on stderr."""
    logging.disable_progress_bar()


def keep_unpacked(model: PreTrainedModel) -> None:
    """Forbid bitsandbytes (0.50) to reorder the 4-bit weights of `model` for processors with AVX-512 BF16.

    It does so at the first pass without gradients, for good. From then on no gradient goes through these layers, and
    PEFT's DoRA reads the reordered weights as if they were not.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _quantized(name: str, compute: torch.dtype) -> Any:
    """QLoRA's 4 bits (arXiv 2305.14314) or LLM.int8 (arXiv 2208.07339), for the linear layers but the head."""
    if name not in QUANTIZATIONS:
        raise UserError(f"unknown quantization {name!r}", mend=f"choose from: none, {', '.join(QUANTIZATIONS)}")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise UserError(f"quantization {name} needs the package bitsandbytes", mend=installs("qlora")) from None
    from transformers import BitsAndBytesConfig

    if name == "int8":
        getLogger("bitsandbytes.autograd._functions").setLevel(ERROR)  # a line per call about its cast to fp16
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )
