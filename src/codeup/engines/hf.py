"""Batched generation by transformers: greedy or seeded sampling, end tokens and stop strings, on CPU or one GPU.

A plain decode loop over the model's forward pass and its key-value cache, instead of `model.generate`: a row leaves the
batch at the step at which it ends and another takes its place, stop strings look only at the newest tokens, every
sampled row has its own random numbers, and nothing from the model's generation_config (temperature, top_p,
repetition_penalty) can leak in.

    load      folder or Hub name -> model and tokenizer in memory, an adapter merged in        this file
    generate  a list of prompts  -> all answers, for evaluation                                _worklist.py
    live      requests that come and go, for chat and the server                               _continuous.py
              both on the rows that run together                                               _batch.py, _slots.py

Not covered: several GPUs (_replicas.py). In float32 a result does not depend on the batch it ran in up to rounding
(about 1e-6 in a logit); in bfloat16 a near tie may be decided differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from codeup.engines._adapters import Adapters
from codeup.engines._continuous import Scheduler
from codeup.engines._interface import DTYPES, Completion
from codeup.engines._worklist import answer, check_prompts, check_settings, make_requests, shares
from codeup.engines._writing import Writer
from codeup.errors import UserError


class Engine:
    """A model in memory that continues prompts.

    `dtype` "auto" is float32 on a CPU and bfloat16 on a GPU; `adapter` is a PEFT folder, merged into the weights in
    memory. Raises UserError for a missing, incomplete or damaged model.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        adapter: Path | None = None,
        dtype: str = "auto",
        device: str = "auto",
        seed: int = 0,
        revision: str | None = None,
    ) -> None:
        where = _device(device)
        with _quiet_transformers():
            tokenizer = _load_tokenizer(model, revision)
            loaded = _load_model(model, _dtype(dtype, where), where, revision)
            if adapter is not None:
                loaded = _merge_adapter(loaded, adapter)
        loaded.eval()
        self._hold(loaded, tokenizer, seed)

    @classmethod
    def around(cls, model: Any, folder: str | Path, *, seed: int = 0) -> Engine:
        """An engine for a model that is in memory already (one in training), with the tokenizer of a model folder.

        The model is used as it is and left as it was: evaluation mode, attention and autocast are its owner's business.
        """
        engine = cls.__new__(cls)
        engine._hold(model, _load_tokenizer(folder, None), seed)
        return engine

    def _hold(self, model: Any, tokenizer: Any, seed: int) -> None:
        self.seed, self.model, self.tokenizer = seed, model, tokenizer
        self.device, self.dtype = model.device, model.dtype
        self.context: int | None = getattr(self.model.config, "max_position_embeddings", None)
        self.bos_id = _bos_id(self.tokenizer)
        self.writer = Writer(tokenizer)

    def live(
        self, *, adapters: Mapping[str, Path] | None = None, max_batch: int = 16, max_queue: int = 64
    ) -> Scheduler:
        """Serve requests that come and go, up to `max_batch` at once; a request may name one of `adapters`.

        Raises UserError for an adapter that does not fit the model.
        """
        models = Adapters(self.model, adapters or {})
        return Scheduler(models, self.model.config, self.writer, max_batch=max_batch, max_queue=max_queue)

    @property
    def description(self) -> str:
        """What made the text, for a report: "transformers 5.23.0, torch 2.13.0, cpu, float32"."""
        name = str(self.dtype).removeprefix("torch.")
        return f"transformers {transformers.__version__}, torch {torch.__version__}, {self.device.type}, {name}"

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        end_ids: Sequence[int],
        stop_strings: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        batch_size: int = 32,
        seed: int | None = None,
        keys: Sequence[int] | None = None,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Continue each prompt (token ids); the answers come in the order of the prompts.

        temperature: 0 is greedy; above, tokens are drawn from the smallest set whose probability reaches `top_p`.
        seed, keys: row i draws from a stream of its own, made of `seed` (default: the engine's) and keys[i]
            (default: i), whatever else is in its batch. Who resumes with only the missing prompts passes the keys
            that they had at first.
        on_done(index, completion): called as each row ends, so not in the order of `index` (the longest prompts are
            begun first). What it has been told is final.
        Raises UserError for prompts that do not fit the context together with max_new_tokens.
        """
        check_settings(max_new_tokens, temperature, top_p)
        check_prompts(prompts, max_new_tokens, self.context, self.bos_id)
        requests = make_requests(
            prompts, max_new_tokens=max_new_tokens, end_ids=end_ids, stop_strings=stop_strings, temperature=temperature,
            top_p=top_p, seed=self.seed if seed is None else seed, keys=keys,
        )  # fmt: skip
        number_of = {id(request): number for number, request in enumerate(requests)}
        done: dict[int, Completion] = {}
        for share in shares(requests, batch_size):
            for request, completion in answer(self.model, self.writer, share, batch_size):
                number = number_of[id(request)]
                done[number] = completion
                if on_done is not None:
                    on_done(number, completion)
        return [done[number] for number in range(len(requests))]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"no device is named {name!r}", mend="use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device {name!r} was asked for and this machine has no usable GPU", mend="use device: auto or cpu"
        )
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise UserError(f"no dtype is named {name!r}", mend=f"use auto, {', '.join(DTYPES)}")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _bos_id(tokenizer: Any) -> int | None:
    """The id that opens every prompt; None where "BOS" is the name of an end or a turn marker (GPT-2, SmolLM2)."""
    bos_id: int | None = tokenizer.bos_token_id
    return None if bos_id == tokenizer.eos_token_id or tokenizer.bos_token == "<|im_start|>" else bos_id


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and load reports on the terminal; what matters in them is checked and raised."""
    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _load_tokenizer(model: str | Path, revision: str | None) -> Any:
    _check_folder(model)
    try:
        return AutoTokenizer.from_pretrained(str(model), revision=revision or "main")
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise UserError(f"its tokenizer cannot be loaded: {_first_line(error)}", where=str(model)) from error


def _check_folder(model: str | Path) -> None:
    local = isinstance(model, Path) or model.startswith((".", "/", "~")) or model.count("/") > 1
    if local and not Path(model).is_dir():
        raise UserError("no such model folder", where=str(model))
    if Path(model).is_dir() and not (Path(model) / "config.json").exists():
        raise UserError("the folder has no config.json", where=str(model), mend="name a folder that holds a model")


def _load_model(model: str | Path, dtype: torch.dtype, device: torch.device, revision: str | None) -> Any:
    try:
        loaded, report = AutoModelForCausalLM.from_pretrained(
            str(model), dtype=dtype, revision=revision or "main", output_loading_info=True
        )
    except Exception as error:  # safetensors, json, huggingface_hub and transformers each have their own
        raise UserError(
            f"the model cannot be loaded: {_first_line(error)}",
            where=str(model),
            mend="check that every file of it was written or downloaded completely",
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(f"{len(missing)} weights are missing, for example {missing[0]}", where=str(model))
    return loaded.to(device)


def _merge_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    if not (Path(adapter) / "adapter_config.json").exists():
        raise UserError("the folder has no adapter_config.json", where=str(adapter), mend="name an adapter folder")
    try:
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except Exception as error:
        raise UserError(f"the adapter cannot be loaded: {_first_line(error)}", where=str(adapter)) from error
