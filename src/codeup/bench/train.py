"""CodeUp and other trainers fit the same adapter to the same rows of the same model, one after the other, in one run.

    rows.json -> a Llama of random weights and its tokenizer (--shape), or --model -> tokens
              -> CodeUp, TRL packed, TRL padded, LLaMA-Factory

The same in each: model, rows and their tokens (template llama3), epochs, adapted layers, rank, learning rate and its
schedule, precision, tokens per optimiser step (on average, where a tool counts rows). Each tool runs in its own process
and, for a peer, in its own environment. `seconds` are those of the training as the tool itself reports them: loading
and tokenising are in `wall_s` only. Speed counts the rows' own tokens, never padding. `loss` is measured afterwards, by
one program for all, on rows that were not trained. On a GPU a row or batch of rows at a time goes through it, so that
every tool fits, and its memory is the most that the tool's PyTorch held.

Not compared: several devices, time to install the peers.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codeup.bench import peers, runners
from codeup.bench.measure import CommandFailed, Measured, measured
from codeup.errors import UserError, WorkFailed
from codeup.types import Conversation, Emit, Event, Message, ignore_event

if TYPE_CHECKING:
    from codeup.train.tokens import TokenStore

STEP = "bench train"
VERSIONS = {"trl": "1.16.0", "llamafactory": "0.9.5"}
VARIANTS = {"trl": ("trl packed", "trl padded"), "llamafactory": ("llamafactory",)}
HELD_OUT = 200
SHAPE = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
"""31 million parameters, weights random from a fixed seed."""
SHAPES = ("small", "llama-3-8b")
SPECIAL = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>")
PEAK_SIZE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True, slots=True)
class Trained:
    """One tool's training. `seconds`: the training alone; `loss`: mean over the trained tokens of held-out rows.

    `gpu_mb`: the most that PyTorch had allocated on the GPU (MiB); None on a CPU.
    """

    tool: str
    seconds: float
    time: Measured
    gpu_mb: float | None
    loss: float
    tokens_per_s: float
    utilisation: float
    """share of the machine's measured matrix peak that the useful work comes to"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a run found; the first of `trained` is CodeUp's."""

    rows: int
    tokens: int
    trained_tokens: int
    dtype: str
    device: str
    peak_flops: float
    untrained_loss: float
    trained: tuple[Trained, ...]

    def ratio(self, trained: Trained) -> float:
        """How many times longer than CodeUp the tool trained."""
        return trained.seconds / self.trained[0].seconds


def compare(
    data: Path,
    *,
    peer: Sequence[str] = (),
    python: dict[str, Path] | None = None,
    model: Path | None = None,
    shape: str = "small",
    rows: int = 1600,
    epochs: int = 1,
    cutoff: int = 1024,
    rank: int = 32,
    dropout: float = 0.0,
    dtype: str = "float32",
    learning_rate: float = 1e-3,
    emit: Emit = ignore_event,
) -> Comparison:
    """Train with CodeUp and each peer. UserError for unusable data, an unknown peer or one that cannot be installed."""
    if unknown := [name for name in peer if name not in VERSIONS]:
        raise UserError(f"--peer is {unknown[0]!r}", mend=f"use {', '.join(VERSIONS)}")
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"--dtype is {dtype!r}", mend="use float32 or bfloat16")
    if shape not in SHAPES:
        raise UserError(f"--shape is {shape!r}", mend=f"use {' or '.join(SHAPES)}, or --model FOLDER")
    pythons = {name: _peer(name, (python or {}).get(name), emit) for name in peer}
    emit(Event("start", STEP))
    with tempfile.TemporaryDirectory(prefix="codeup-bench-") as temporary:
        root = Path(temporary)
        work = _prepare(root, data, model, shape=shape, rows=rows, cutoff=cutoff, dtype=dtype)
        batch = 4 * cutoff
        at_once = cutoff if _cuda() else batch
        per_step = max(1, round(batch * work.rows / work.tokens))
        order = {
            "model": str(work.model), "tokens": str(root / "tokens"), "rows_folder": str(root / "rows"),
            "cutoff": cutoff, "rank": rank, "dropout": dropout, "epochs": epochs, "dtype": dtype, "cpu": not _cuda(),
            "learning_rate": learning_rate, "batch_tokens": batch, "row_tokens": at_once, "rows": 8,
            "accumulation": max(1, per_step // 8),
        }  # fmt: skip
        tools = ["codeup", *(variant for name in peer for variant in VARIANTS[name])]
        peak = _matrix_peak(dtype)
        done: list[Trained] = []
        for number, tool in enumerate(tools):
            hear = _progress(emit, tool, number, len(tools))
            runner = pythons.get(tool.partition(" ")[0], Path(sys.executable))
            result, time = _run(root / f"run-{number}", runner, tool, {**order, "do": "train"}, hear)
            loss = _score(root / f"score-{number}", order, root / "held-out", result["adapter"])
            speed = epochs * work.tokens / result["seconds"]
            share = work.flops_per_token(rank) * speed / peak
            done.append(Trained(tool, result["seconds"], time, result.get("gpu_mb"), loss, speed, share))
            hear(1.0)
        untrained = _score(root / "score-base", order, root / "held-out", "")
    emit(Event("finish", STEP, values={"seconds": sum(each.time.wall_s for each in done)}))
    device = "cuda" if _cuda() else "cpu"
    return Comparison(work.rows, work.tokens, work.trained, dtype, device, peak, untrained, tuple(done))


def as_json(result: Comparison) -> dict[str, Any]:
    """The whole comparison as one plain object."""
    trained = [{**asdict(each), "ratio": result.ratio(each)} for each in result.trained]
    return {**asdict(result), "trained": trained, "memory": "PSS of the whole process tree, MiB", "versions": VERSIONS}


@dataclass(frozen=True)
class _Work:
    model: Path
    rows: int
    tokens: int
    trained: int
    attended: float

    def flops_per_token(self, rank: int) -> float:
        """4 N + 6 N_lora + attention, the head for trained tokens only (train/needs.py)."""
        from codeup.train import counts, operations, shapes

        shape = shapes.shape_of(json.loads((self.model / "config.json").read_text(encoding="utf-8")))
        adapters = counts.lora_parameters(shape, rank)
        share = self.trained / self.tokens
        return operations.work(shape, adapters, attended=self.attended, trained_share=share).useful


def _prepare(root: Path, data: Path, model: Path | None, *, shape: str, rows: int, cutoff: int, dtype: str) -> _Work:
    """The model, the tokens, and the same rows as files for other tools: their text, and their tokens."""
    from codeup.chat import load_renderer
    from codeup.train.tokens import write_tokens

    pairs = _pairs(data)
    place = model or _random_model(root / "model", shape, [f"{ask}\n{answer}" for ask, answer in pairs], dtype)
    renderer = load_renderer(place, "llama3")
    chats = [
        Conversation((Message("user", ask), Message("assistant", answer)), source="bench", row=number)
        for number, (ask, answer) in enumerate(pairs)
    ]
    fitting = [(pair, t) for pair, t in zip(pairs, renderer.render_many(chats), strict=True) if len(t.ids) <= cutoff]
    if len(fitting) < rows + HELD_OUT:
        raise UserError(
            f"{len(fitting)} rows fit in {cutoff} tokens; {rows} are trained and {HELD_OUT} held out",
            where=str(data),
            mend="lower --rows or name a larger file",
        )
    store = write_tokens(root / "tokens", [tokens for _, tokens in fitting[:rows]])
    write_tokens(root / "held-out", [tokens for _, tokens in fitting[rows : rows + HELD_OUT]])
    folder = root / "rows"
    folder.mkdir()
    table = [{"instruction": ask, "input": "", "output": answer} for (ask, answer), _ in fitting[:rows]]
    (folder / "rows.json").write_text(json.dumps(table), encoding="utf-8")
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    info = {"rows": {"file_name": "rows.json", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    np.savez(folder / "tokens.npz", ids=store.ids, offsets=store.offsets, trained=_marks(store))
    lengths = store.lengths
    attended = float((lengths**2).sum() / lengths.sum())
    return _Work(place, len(store), len(store.ids), int(store.targets_per_document().sum()), attended)


def _marks(store: TokenStore) -> np.ndarray:
    """One per token of the store: whether it is trained."""
    return np.concatenate([store[index][1] for index in range(len(store))])


def _pairs(data: Path) -> list[tuple[str, str]]:
    """Question and answer of each Alpaca row, in an order mixed by a fixed seed."""
    try:
        found = json.loads(data.read_text(encoding="utf-8"))
        pairs = [("\n".join(filter(None, (r["instruction"], r.get("input")))), r["output"]) for r in found]
    except OSError as error:
        raise UserError(
            f"cannot be read ({error.strerror})", where=str(data), mend="name a JSON file of rows"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        mend = "a JSON list of rows with instruction, input and output"
        raise UserError(f"not a file of Alpaca rows ({error!r})", where=str(data), mend=mend) from None
    usable = [pair for pair in pairs if all(pair)]
    random.Random(0).shuffle(usable)
    return usable


def _random_model(folder: Path, shape: str, texts: Sequence[str], dtype: str) -> Path:
    """A Llama of this shape with random weights, and a byte-level BPE tokenizer of 8,192 trained on the texts."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"], special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    named = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "pad_token": SPECIAL[-1]}
    PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)
    config = LlamaConfig(**_sizes(shape), bos_token_id=0, eos_token_id=1)
    config.dtype = getattr(torch, dtype)
    device = torch.device("cuda" if _cuda() else "cpu")  # 8 billion random numbers take a CPU minutes
    with torch.random.fork_rng(), device:
        torch.manual_seed(0)
        LlamaForCausalLM._from_config(config).save_pretrained(folder)
    return folder


def _sizes(shape: str) -> dict[str, Any]:
    """The settings of a LlamaConfig."""
    from codeup.train.shapes import PUBLISHED

    if shape == "small":
        return SHAPE
    sizes = PUBLISHED["meta-llama/Meta-Llama-3-8B"]
    return {
        "vocab_size": sizes.vocabulary, "hidden_size": sizes.hidden, "intermediate_size": sizes.intermediate,
        "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.heads, "num_key_value_heads": sizes.kv_heads,
        "max_position_embeddings": 8192, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "tie_word_embeddings": False,
    }  # fmt: skip


def _peer(name: str, python: Path | None, emit: Emit) -> Path:
    """The peer's Python, with the same torch as ours."""
    import torch

    same = f"torch=={torch.__version__.partition('+')[0]}"
    module = "trl" if name == "trl" else "llamafactory.train.tuner"
    version = VERSIONS[name]
    if python is None:
        there = peers.installed(name, version, beside=[same], module="sys", step=STEP, emit=emit)
        if name == "llamafactory" and not peers.version_in(there, name, module):
            _without_pictures_and_sound(there)
        return peers.checked(there, name, version, module)
    return peers.installed(name, version, python=python, module=module)


def _without_pictures_and_sound(python: Path) -> None:
    """LLaMA-Factory imports torchaudio and torchvision even for text; builds for another torch break the import.

    Here torchvision goes, which transformers can do without, and an empty module stands in for torchaudio.
    """
    commands = (
        ["-m", "pip", "uninstall", "--quiet", "--yes", "torchvision", "torchaudio"],
        ["-c", "import pathlib, sysconfig as s; f = pathlib.Path(s.get_path('purelib'), 'torchaudio'); f.mkdir(); "
               "(f / '__init__.py').touch()"],
    )  # fmt: skip
    for command in commands:
        subprocess.run([str(python), *command], capture_output=True, stdin=subprocess.DEVNULL, check=False)


def _run(
    folder: Path, python: Path, tool: str, order: dict[str, Any], hear: Callable[[float], None]
) -> tuple[dict[str, Any], Measured]:
    """Start the tool's runner and read its result."""
    folder.mkdir()
    name = {"codeup": "own.py", "llamafactory": "llamafactory_sft.py"}.get(tool, "trl_sft.py")
    place = folder / "order.json"
    order = {**order, "out": str(folder / "out"), "packing": tool == "trl packed"}
    place.write_text(json.dumps(order), encoding="utf-8")
    result = folder / "result.json"
    command = [str(python), str(Path(runners.__file__).parent / name), str(place)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1"}
    if tool != "codeup":
        environment.pop("PYTHONPATH", None)
    try:
        time = measured(command, result, folder, environment, hear)
    except CommandFailed as error:
        raise WorkFailed(f"{tool} failed: {error}") from None
    return json.loads(result.read_text(encoding="utf-8")), time


def _score(folder: Path, order: dict[str, Any], tokens: Path, adapter: str) -> float:
    asked = {**order, "do": "score", "tokens": str(tokens), "adapter": adapter}
    result, _ = _run(folder, Path(sys.executable), "codeup", asked, lambda share: None)
    return float(result["loss"])


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _matrix_peak(dtype: str) -> float:
    """Operations per second of a square product of random numbers on this machine, the best of several."""
    import time

    import torch

    device = "cuda" if _cuda() else "cpu"
    size = PEAK_SIZE[device]
    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    best = float("inf")
    for _ in range(12):
        started = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _progress(emit: Emit, what: str, done: int, total: int) -> Callable[[float], None]:
    return lambda share: emit(Event("progress", STEP, done + share, total, "runs", values={"now": what}))
