"""Generation by llama.cpp from a GGUF file: quantised weights on a CPU, adapters switched on for each request.

    Engine("nano-q8_0.gguf").generate([[0, 5, 9]], max_new_tokens=64, end_ids=[1])      as engines/hf.py
    Engine("nano-q8_0.gguf", loras={"math": Path("math.gguf")}).live(...)               for chat and the server

Prompts go out as token ids and answers come back as ids; text is made here by the model's own tokenizer, which lies
beside the file (`nano-q8_0.tokenizer/`, written by `codeup export gguf`) or is named. End tokens and stop strings are
therefore ours, as in the other engines: where llama.cpp ends at a token that is no end for the request, it goes on.
Not covered: sampling that equals engines/hf.py draw by draw, GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup.engines._interface import Completion
from codeup.engines._llama_live import Live
from codeup.engines._llama_server import LlamaServer
from codeup.engines._worklist import check_prompts, check_settings, make_requests
from codeup.engines._writing import Writer
from codeup.errors import UserError, WorkFailed

CONTEXT, SLOTS = 4096, 16
"""Tokens per answer (less where the model was trained with less), and answers at once: keys and values of their
product are allocated when the file is loaded."""
SMALL = 100_000_000
"""Bytes below which threads would mostly wait for each other."""
PROBES = ("def add(a, b):\n    return a + b\n", "It's 12345 naïve 数\r\n\t{'x': [1.5e-3]}  # 😀\n\n")


class Engine:
    """A GGUF file in memory. `tokenizer` is a model folder; default: `tokenizer_beside` the file.

    `loras` are GGUF adapters by name. Raises UserError for a missing package, file or tokenizer, for files that
    llama.cpp cannot load, and for a tokenizer that reads text otherwise than the file does.
    """

    def __init__(
        self, model: str | Path, *, tokenizer: str | Path | None = None, loras: Mapping[str, Path] | None = None,
        context: int = CONTEXT, slots: int = SLOTS, threads: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        from codeup.engines.hf import _bos_id, _load_tokenizer, _quiet_transformers

        file = check_file(Path(model))
        self.folder = tokenizer_beside(file) if tokenizer is None else Path(tokenizer)
        with _quiet_transformers():
            self.tokenizer = _tokenizer(self.folder, _load_tokenizer)
        self.adapters = {name: number for number, name in enumerate(loras or {})}
        self.threads = threads or (1 if file.stat().st_size < SMALL else cores())
        self.server = LlamaServer(
            file, loras=list((loras or {}).values()), context=context, slots=slots, threads=self.threads
        )
        self.slots, self.seed, self.writer = slots, seed, Writer(self.tokenizer)
        self.context: int = self.server.get("/props")["default_generation_settings"]["n_ctx"]
        self.bos_id = _bos_id(self.tokenizer)
        self.description = _description(file, self.server)
        self._check_tokenizer()

    def close(self) -> None:
        """Free the model."""
        self.server.close()

    def live(self, *, adapters: Mapping[str, Path] | None = None, max_batch: int = SLOTS, max_queue: int = 64) -> Live:
        """Serve requests that come and go, up to `max_batch` at once; `adapters` must be those of the engine."""
        unknown = sorted(set(adapters or {}) - set(self.adapters))
        if unknown:
            raise UserError(f"the adapter {unknown[0]!r} was not loaded with the GGUF file")
        return Live(self.server, self.writer, self.adapters, max_batch=min(max_batch, self.slots), max_queue=max_queue)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        end_ids: Sequence[int],
        stop_strings: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        batch_size: int = SLOTS,
        seed: int | None = None,
        keys: Sequence[int] | None = None,
        adapter: str = "",
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Continue each prompt, as `hf.Engine.generate` does; the answers come in the order of the prompts.

        Raises UserError for prompts that do not fit, WorkFailed where llama.cpp fails.
        What `on_done` was told is final.
        """
        check_settings(max_new_tokens, temperature, top_p)
        check_prompts(prompts, max_new_tokens, self.context, self.bos_id)
        requests = make_requests(
            prompts, max_new_tokens=max_new_tokens, end_ids=end_ids, stop_strings=stop_strings, temperature=temperature,
            top_p=top_p, seed=self.seed if seed is None else seed, keys=keys, adapter=adapter,
        )  # fmt: skip
        live = self.live(max_batch=batch_size, max_queue=len(requests))
        number_of = {id(ticket): number for number, ticket in enumerate(live.submit(requests))}
        done: dict[int, Completion] = {}
        try:
            while len(done) < len(requests):
                for ticket, piece in live.step():
                    if piece.finish in ("failed", "cancelled"):
                        raise WorkFailed(f"an answer could not be made: {piece.error}")
                    if piece.finish is not None:
                        number = number_of[id(ticket)]
                        done[number] = ticket.writing.completion(piece)
                        if on_done is not None:
                            on_done(number, done[number])
        finally:
            live.give_up()
        return [done[number] for number in range(len(requests))]

    def _check_tokenizer(self) -> None:
        for text in PROBES:
            here = self.tokenizer.encode(text, add_special_tokens=False)
            if here != self.server.tokenize(text):
                raise UserError(
                    "this tokenizer is not that of the GGUF file: the same text has other token ids",
                    where=str(self.folder),
                    mend="name the folder of the model that the file was made of: --tokenizer FOLDER",
                )  # fmt: skip


def cores() -> int:
    """Physical cores that this process may use: a second thread on a core reads memory no faster."""
    import os

    import psutil

    return min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)))


def check_file(file: Path) -> Path:
    """The file, if it begins as a GGUF file does. Raises UserError."""
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(file), mend="name a .gguf file") from None
    if magic != b"GGUF":
        raise UserError("is not a GGUF file", where=str(file), mend="make one: codeup export gguf MODEL")
    return file


def companion(file: Path) -> Path:
    """Where the tokenizer of a GGUF file is kept: models/nano-q8_0.gguf -> models/nano-q8_0.tokenizer"""
    return file.with_suffix(".tokenizer")


def tokenizer_beside(file: Path) -> Path:
    """The folder with a GGUF file's tokenizer: its companion, or the folder it lies in. Raises UserError."""
    for folder in (companion(file), file.parent):
        if (folder / "tokenizer.json").is_file():
            return folder
    raise UserError(
        f"there is no tokenizer beside it ({companion(file).name}/)", where=str(file),
        mend="name the folder of the model that the file was made of: --tokenizer FOLDER",
    )  # fmt: skip


def _tokenizer(folder: Path, load: Callable[[Any, None], Any]) -> Any:
    if not (folder / "tokenizer.json").is_file():
        raise UserError("the folder has no tokenizer.json", where=str(folder), mend="name the folder of a model")
    from transformers import AutoTokenizer

    if (folder / "config.json").is_file():
        return load(folder, None)
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise UserError(f"its tokenizer cannot be loaded: {error}", where=str(folder)) from error


def _description(file: Path, server: LlamaServer) -> str:
    """ "llama.cpp (xllamacpp 2026.10.11549), nano-q8_0.gguf, Q8_0"."""
    from importlib.metadata import version

    kind = server.get("/props").get("model_ftype", "?")
    return f"llama.cpp (xllamacpp {version('xllamacpp')}), {file.name}, {kind}"
