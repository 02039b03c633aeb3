"""How fast rows are prepared: CodeUp's parts beside their physical floor, and peers over some of the same rows.

    real rows -> made rows (rows.py) -> prepare: read, dedup, decontaminate, tokenise, mix and split, publish
                                     -> floors:  parse every line, copy memory, the tokenizer's own encode_batch
                                     -> peers:   LLaMA-Factory tokenising Alpaca rows, datasketch's MinHash and LSH

`cpu_s` are seconds of all cores of the process together: on a machine with other work they say more than `wall_s`. The
programs that decontamination runs are processes of the sandbox and are in `wall_s` only. A peer gets at most PEER_ROWS
rows, and is compared per row with the part of CodeUp that does the same work.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeup.bench import peers, rows, runners
from codeup.bench.measure import CommandFailed, measured
from codeup.errors import UserError, WorkFailed
from codeup.types import Emit, Event, ignore_event

STEP = "bench data"
VERSIONS = {"llamafactory": "0.9.5", "datasketch": "2.0.0"}
PEER_ROWS = 20_000
TOKENIZER_ROWS = 4_000
VOCABULARY = 32_000
MADE = 0.25
"""Share of making the rows in the time that CodeUp's part of the work takes."""
TOKENISE = "tokenise"
"""The name of the part that tokenises; it counts what is in each row, too, as no peer does."""
TOKENIZERS = ("bpe", "none")
"""A byte-level BPE as models have it; or one that makes one token of a text, where all else is to be measured."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the work. `rows` it went over; a floor has a `floor` name and is no part of the sum."""

    name: str
    wall_s: float
    cpu_s: float
    rows: int
    floor: str = ""

    @property
    def per_second(self) -> float:
        """Rows per second of one core."""
        return self.rows / self.cpu_s if self.cpu_s else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a run found."""

    rows: int
    bytes: int
    kept: int
    dropped: dict[str, int]
    tokens: int
    peak_mb: float
    parts: tuple[Part, ...]
    floors: tuple[Part, ...]
    encode_share: float
    peers: tuple[tuple[Part, float], ...]

    @property
    def without_tokenizer_s(self) -> float:
        """Core seconds of everything but the tokenizer itself: of the part that tokenises, all but the floor counts.

        On a busy machine the bare tokenizer may measure slower than the part that uses it, which is then left out.
        """
        whole = sum(part.cpu_s for part in self.parts)
        tokenise = sum(part.cpu_s for part in self.parts if part.name == TOKENISE)
        return whole - min(tokenise, sum(floor.cpu_s for floor in self.floors if floor.floor == TOKENISE))


def compare(
    data: Sequence[Path],
    *,
    count: int = 20_000,
    against: dict[str, Path] | None = None,
    peer: Sequence[str] = (),
    python: dict[str, Path] | None = None,
    tokenizer: str = "bpe",
    keep: Path | None = None,
    emit: Emit = ignore_event,
) -> Comparison:
    """Make rows, prepare them, measure floors and peers. UserError for unusable data or a peer that is not there."""
    if unknown := [name for name in peer if name not in VERSIONS]:
        raise UserError(f"--peer is {unknown[0]!r}", mend=f"use {', '.join(VERSIONS)}")
    if tokenizer not in TOKENIZERS:
        raise UserError(f"--tokenizer is {tokenizer!r}", mend=f"use {' or '.join(TOKENIZERS)}")
    modules = {"llamafactory": "llamafactory", "datasketch": "datasketch"}
    pythons = {
        name: peers.installed(
            name, VERSIONS[name], python=(python or {}).get(name), module=modules[name], step=STEP, emit=emit
        )
        for name in peer
    }
    pieces = rows.pieces_of(data)
    emit(Event("start", STEP))
    with tempfile.TemporaryDirectory(prefix="codeup-bench-", dir=keep) as temporary:
        root = Path(temporary)
        emit(Event("progress", STEP, unit="made", values={"now": "making rows"}))
        sizes = rows.write_rows(root / "rows", count, pieces, _leaks(against or {}))
        model = _model(root / "model", pieces, tokenizer)
        order = {"recipe": _recipe(root, model, against or {}), "model": str(model), "out": str(root / "run"),
                 "files": [str(root / "rows" / file) for file in rows.FILES.values()], "rows": count}  # fmt: skip
        found, peak = _run(root / "own", Path(sys.executable), "own_data.py", order, _progress(emit))
        others = tuple(_peer(name, python, root, order, found, emit) for name, python in pythons.items())
    emit(Event("finish", STEP, values={"seconds": found["parts"][-1]["wall_s"]}))
    return _comparison(count, sum(sizes.values()), found, peak, others)


def as_json(result: Comparison) -> dict[str, Any]:
    """The whole comparison as one plain object."""
    others = [{**asdict(part), "ratio": ratio} for part, ratio in result.peers]
    return {**asdict(result), "peers": others, "without_tokenizer_s": result.without_tokenizer_s, "versions": VERSIONS}


def _comparison(
    count: int, size: int, found: dict[str, Any], peak: float, others: tuple[tuple[Part, float], ...]
) -> Comparison:
    parts = [Part(each["part"], each["wall_s"], each["cpu_s"], count) for each in found["parts"][:-1]]
    whole = found["parts"][-1]
    wall, cpu = (whole[key] - sum(getattr(part, key) for part in parts) for key in ("wall_s", "cpu_s"))
    named = {each["part"]: each for each in found["floors"]}
    share = named["encode_batch"]["cpu_s"] / named["rendered"]["cpu_s"]
    tokens = sum(found["tokens"][side] for side in ("train", "validation"))
    encode = named["encode_batch"]["cpu_s"] / max(1, named["encode_batch"]["amount"]) * found["rows_kept"]
    copy = size * named["memory"]["cpu_s"] / named["memory"]["amount"]
    floors = (
        Part("json parse of every line", named["json"]["wall_s"], named["json"]["cpu_s"], count, "read"),
        Part("one copy of every byte", copy, copy, count, "dedup"),
        Part("encode_batch, same segments", encode, encode, count, TOKENISE),
    )
    return Comparison(
        count, size, found["rows_kept"], found["dropped"], tokens, max(peak, found["peak_rss_mb"]),
        (*parts, Part("start and manifest", wall, cpu, count)), floors, share, others,
    )  # fmt: skip


def _leaks(against: dict[str, Path]) -> list[str]:
    from codeup.data.contamination.items import read_items

    items = [item for name, path in against.items() for item in read_items(name, path)]
    return [f"{item.prompt}{item.solution}" for item in items]


def _recipe(root: Path, model: Path, against: dict[str, Path]) -> dict[str, Any]:
    sources = [{"source": name, "path": str(root / "rows" / file)} for name, file in rows.FILES.items()]
    benchmarks = [{"name": name, "path": str(path.resolve())} for name, path in against.items()]
    data = {"sources": sources, "dedup": "near", "cutoff": 4096, "validation_rows": 200, "decontaminate": benchmarks}
    return {
        "name": "bench", "model": {"base": str(model), "template": "llama3"}, "data": {"bench": data},
        "stages": [{"name": "s", "data": "bench"}],
    }  # fmt: skip


def _model(folder: Path, pieces: Sequence[rows.Piece], kind: str) -> Path:
    """A tokenizer made from the real rows, in a folder that passes for a model's."""
    from transformers import PreTrainedTokenizerFast

    from codeup.bench.train import SHAPE, SPECIAL

    made = _byte_level(pieces, SPECIAL) if kind == "bpe" else _one_token(SPECIAL)
    named = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "pad_token": SPECIAL[-1]}
    PreTrainedTokenizerFast(tokenizer_object=made, **named).save_pretrained(folder)
    config = {**SHAPE, "model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _byte_level(pieces: Sequence[rows.Piece], special: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(special), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator((f"{ask}\n{answer}" for ask, answer in pieces[:TOKENIZER_ROWS]), trainer)
    return backend


def _one_token(special: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate([*special, "[UNK]"])}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.add_special_tokens(list(special))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)  # a sign before the text: it is no special token
    return backend


def _peer(
    name: str, python: Path, root: Path, order: dict[str, Any], found: dict[str, Any], emit: Emit
) -> tuple[Part, float]:  # fmt: skip
    """The peer's seconds over some rows, and how many times longer than CodeUp it takes for one."""
    folder = root / name
    folder.mkdir()
    cpu = {each["part"]: each["cpu_s"] / found["rows_in"] for each in found["parts"]}
    if name == "datasketch":
        sample = list(rows.texts([Path(path) for path in order["files"]], PEER_ROWS))
        (folder / "texts.json").write_text(json.dumps(sample), encoding="utf-8")
        asked: dict[str, Any] = {"texts": str(folder / "texts.json")}
        own = cpu["read"] + cpu["dedup"]
    else:
        _factory_rows(folder / "rows", root / "rows" / rows.FILES["alpaca"])
        asked = {"model": order["model"], "rows_folder": str(folder / "rows"), "cutoff": 4096, "out": str(folder)}
        own = cpu[TOKENISE]
    emit(Event("progress", STEP, unit="of its rows", values={"now": name}))  # how long a peer takes is not known
    took, _ = _run(folder / "run", python, f"{name}_data.py", asked, lambda share: None)
    part = Part(f"{name} {VERSIONS[name]}", took["wall_s"], took["cpu_s"], took["rows"])
    return part, part.cpu_s / part.rows / own


def _factory_rows(folder: Path, made: Path) -> None:
    folder.mkdir()
    with made.open("rb") as lines, (folder / "rows.jsonl").open("wb") as some:
        for _, line in zip(range(PEER_ROWS), lines, strict=False):
            some.write(line)
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    info = {"rows": {"file_name": "rows.jsonl", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


def _run(
    folder: Path, python: Path, runner: str, order: dict[str, Any], hear: Callable[[float], None]
) -> tuple[dict[str, Any], float]:
    """Start a runner and read its result; with it the most memory of its process tree in MiB."""
    folder.mkdir()
    place, result = folder / "order.json", folder / "result.json"
    place.write_text(json.dumps(order), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1", "HF_HOME": str(folder / "hf")}
    if python != Path(sys.executable):
        environment.pop("PYTHONPATH", None)
    try:
        time = measured([str(python), str(Path(runners.__file__).parent / runner), str(place)], result, folder,
                        environment, hear)  # fmt: skip
    except CommandFailed as error:
        raise WorkFailed(f"{runner} failed: {error}") from None
    return json.loads(result.read_text(encoding="utf-8")), time.peak_mb or 0.0


def _progress(emit: Emit) -> Callable[[float], None]:
    """Hears how much of the runner's work is done; says nothing while nobody can tell how much time is left."""

    def hear(share: float) -> None:
        if share:
            emit(Event("progress", STEP, 100 * (MADE + (1 - MADE) * share), 100, "%"))

    return hear
