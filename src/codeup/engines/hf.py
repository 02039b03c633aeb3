"""Batched generation by transformers: greedy or seeded sampling, end tokens and stop strings, on CPU or one GPU.

A plain decode loop over the model's forward pass and its key-value cache, instead of `model.generate`: a row leaves the
batch at the step at which it ends, stop strings look only at the newest tokens, every sampled row has its own random
numbers, and nothing from the model's generation_config (temperature, top_p, repetition_penalty) can leak in.

    prompts, longest first, in batches        left-padded prompt (B, T) -> logits (B, V) -> one token per row
      [. . b c d]                               ends with an end id or a stop string, or at max_new_tokens
      [e f g h i]                               its row is taken out of ids, mask and cache; the batch shrinks

Not covered: prefix sharing between prompts, speculative decoding, several GPUs. In float32 a result does not depend on
the batch it ran in up to rounding (about 1e-6 in a logit); in bfloat16 a near tie may be decided differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as transformers_logging

from codeup.engines._adapters import Adapters
from codeup.engines._choose import choose as _choose
from codeup.engines._choose import draws as _draws
from codeup.engines._continuous import Scheduler
from codeup.engines._interface import DTYPES, Completion
from codeup.engines._writing import Writer
from codeup.errors import UserError, WorkFailed


@dataclass(slots=True)
class _Row:
    """A prompt on its way. `draws` are its uniform random numbers, one per token (empty when greedy)."""

    index: int
    prompt: Sequence[int]
    draws: torch.Tensor
    ids: list[int] = field(default_factory=list)
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class _Rules:
    """When a row ends, and how a token is chosen."""

    max_new_tokens: int
    end_ids: frozenset[int]
    stop_strings: tuple[str, ...]
    temperature: float
    top_p: float

    @property
    def tail(self) -> int:
        """How many of the newest tokens can hold a stop string: a token is at least a byte, a cut character up to 4."""
        return max((len(stop.encode()) for stop in self.stop_strings), default=0) + 4


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
        max_batch_tokens: int | None = None,
        seed: int | None = None,
        keys: Sequence[int] | None = None,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Continue each prompt (token ids); the answers come in the order of the prompts.

        temperature: 0 is greedy; above, tokens are drawn from the smallest set whose probability reaches `top_p`.
        max_batch_tokens: bound on rows * (longest prompt + max_new_tokens), for a small GPU; None is no bound.
        seed, keys: row i draws from a stream of its own, made of `seed` (default: the engine's) and keys[i]
            (default: i), whatever else is in its batch. Who resumes with only the missing prompts passes the keys
            that they had at first.
        on_done(index, completion): called as each row ends: longest prompts first, and within a batch in the order of
            ending, so not in the order of `index`. What it has been told is final.
        Raises UserError for prompts that do not fit the context together with max_new_tokens.
        """
        rules = _Rules(max_new_tokens, frozenset(end_ids), tuple(filter(None, stop_strings)), temperature, top_p)
        _check(prompts, rules, self.context)
        assert_one_bos(prompts, self.bos_id)
        stream = self.seed if seed is None else seed
        numbers = range(len(prompts)) if keys is None else keys
        rows = [
            _Row(index, prompt, _draws(stream, key, max_new_tokens, temperature))
            for index, (prompt, key) in enumerate(zip(prompts, numbers, strict=True))
        ]
        for batch in _batches(rows, batch_size, max_batch_tokens, max_new_tokens):
            self._run(batch, rules, on_done or _nobody)
        return [row.completion for row in rows if row.completion is not None]

    def _run(self, rows: list[_Row], rules: _Rules, on_done: Callable[[int, Completion], None]) -> None:
        """A batch; if the GPU's memory does not hold it, the rows that have not ended start again in two halves."""
        try:
            return self._decode_batch(rows, rules, on_done)
        except torch.OutOfMemoryError as error:
            rows = [row for row in rows if row.completion is None]
            if len(rows) == 1:
                raise WorkFailed(f"out of memory for one prompt of {len(rows[0].prompt)} tokens: {error}") from error
        torch.cuda.empty_cache()
        for row in rows:
            row.ids.clear()
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            self._run(half, rules, on_done)

    @torch.inference_mode()
    def _decode_batch(self, rows: list[_Row], rules: _Rules, on_done: Callable[[int, Completion], None]) -> None:
        ids, mask = _left_padded([row.prompt for row in rows], rules.max_new_tokens)
        ids, mask = ids.to(self.device), mask.to(self.device)  # (B, T), (B, T + max_new_tokens)
        draws = torch.stack([row.draws for row in rows]).to(self.device)  # (B, max_new_tokens or 0)
        length = ids.shape[1]
        positions = (mask[:, :length].cumsum(1) - 1).clamp(min=0)
        cache = _cache(self.model.config)
        for step in range(rules.max_new_tokens):
            output = self.model(
                input_ids=ids,
                attention_mask=mask[:, : length + step],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            chosen = _choose(output.logits[:, -1].float(), draws[:, step : step + 1], rules)  # (B,)
            going = []
            for place, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
                row.ids.append(token)
                row.completion = self.writer.completion(row.ids, rules)
                if row.completion is None:
                    going.append(place)
                else:
                    on_done(row.index, row.completion)
            if not going:
                return
            positions = positions[:, -1:] + 1
            if len(going) < len(rows):
                kept = torch.tensor(going, device=self.device)
                rows = [rows[place] for place in going]
                chosen, mask, positions, draws = chosen[kept], mask[kept], positions[kept], draws[kept]
                cache.batch_select_indices(kept)
            ids = chosen[:, None]  # (B, 1)


def assert_one_bos(prompts: Sequence[Sequence[int]], bos_id: int | None) -> None:
    """Raise AssertionError unless every prompt begins with its only BOS: a second one makes the answers worse."""
    if bos_id is None:
        return
    for number, prompt in enumerate(prompts):
        count = sum(token == bos_id for token in prompt)
        if prompt[0] != bos_id or count != 1:
            raise AssertionError(f"prompt {number} has {count} BOS tokens, expected one at its start")


def _nobody(index: int, completion: Completion) -> None:
    """Listens to nothing."""


def _check(prompts: Sequence[Sequence[int]], rules: _Rules, context: int | None) -> None:
    if rules.max_new_tokens < 1 or rules.temperature < 0 or not 0 < rules.top_p <= 1:
        raise UserError(
            f"cannot generate with max_new_tokens={rules.max_new_tokens}, temperature={rules.temperature}, "
            f"top_p={rules.top_p}",
            mend="max_new_tokens is at least 1, temperature at least 0, top_p above 0 and at most 1",
        )
    empty = [number for number, prompt in enumerate(prompts) if len(prompt) == 0]
    if empty:
        raise UserError(f"{len(empty)} of {len(prompts)} prompts are empty, the first is number {empty[0]}")
    room = (context or 0) - rules.max_new_tokens
    long = [len(prompt) for prompt in prompts if len(prompt) > room]
    if context is not None and long:
        longest, new = max(long), rules.max_new_tokens
        raise UserError(
            f"{len(long)} of {len(prompts)} prompts do not fit: the longest has {longest} tokens, and with {new} new "
            f"ones that is {longest + new} in a context of {context}",
            mend=f"set max_new_tokens to {context - longest} or less" if longest < context else "shorten the prompts",
        )


def _batches(rows: list[_Row], batch_size: int, max_tokens: int | None, max_new_tokens: int) -> Iterator[list[_Row]]:
    """Rows of like length together, the longest first, so that a batch that does not fit in memory fails at once."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        widest = len(batch[0].prompt) if batch else len(row.prompt)
        over = max_tokens is not None and (len(batch) + 1) * (widest + max_new_tokens) > max_tokens
        if batch and (len(batch) >= batch_size or over):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _left_padded(prompts: Sequence[Sequence[int]], more: int) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (B, T) and mask (B, T + more), in which the `more` tokens to come are already visible.

    >>> ids, mask = _left_padded([[5, 6, 7], [8]], 1)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 7], [0, 0, 8]], [[1, 1, 1, 1], [0, 0, 1, 1]])
    """
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.ones(len(prompts), width + more, dtype=torch.long)
    for place, prompt in enumerate(prompts):
        ids[place, width - len(prompt) :] = torch.tensor(prompt)
        mask[place, : width - len(prompt)] = 0
    return ids, mask


class _RoomyLayer(DynamicLayer):
    """The keys and values of one layer, written into spare room instead of copied whole for every token.

    transformers' own layer concatenates at each step, which was 15 % of the time at 200 tokens and grows with length.
    """

    SPARE = 128  # tokens

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.room = [key_states[:, :, :0], value_states[:, :, :0]]
        used = self.get_seq_length()
        length = used + key_states.shape[2]  # of (B, heads, T, head_dim)
        for which, new in enumerate((key_states, value_states)):
            if length > self.room[which].shape[2]:
                larger = new.new_empty(*new.shape[:2], length + self.SPARE, new.shape[3])
                larger[:, :, :used] = self.room[which][:, :, :used]
                self.room[which] = larger
            self.room[which][:, :, used:length] = new
        self.keys, self.values = (room[:, :, :length] for room in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        self.room = [room[indices] for room in self.room]
        self.keys, self.values = (room[:, :, :length] for room in self.room)


def _cache(config: Any) -> DynamicCache:
    """A cache for the model's kinds of layers; plain attention gets the roomy one."""
    cache = DynamicCache(config=config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


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
