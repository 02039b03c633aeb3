"""llama.cpp in this process: a GGUF file behind a loopback port that only we can use.

    with LlamaServer(Path("model.gguf")) as server:
        server.tokenize("def f")                    -> [296, 292]
        server.complete([0, 5, 6], 8)               -> [236, 35, 31, ...]      greedy ids

The package xllamacpp starts llama.cpp's own server inside our process, on a port the system chooses, and it answers
only with a key made here. Its logs go to stderr, warnings and errors only. Not covered: GPUs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeup.engines import _huge_pages
from codeup.errors import UserError, WorkFailed, installs

TIMEOUT_S = 600.0


class LlamaServer:
    """A loaded GGUF model with `loras` (GGUF adapter files), which are off unless a request gives them a scale.

    Keys and values are kept in float16, llama.cpp's default, or with `exact_cache`, and without flash attention, in
    float32: log-probabilities of an f32 file then agree with float32 here to 1e-5, otherwise to 1e-3.
    Raises UserError where xllamacpp is not installed, and for a file that llama.cpp cannot load.
    """

    def __init__(
        self, model: Path, *, loras: Sequence[Path] = (), context: int = 4096, slots: int = 1, threads: int = 0,
        exact_cache: bool = False,
    ) -> None:  # fmt: skip
        try:
            import xllamacpp
        except ImportError:
            raise UserError("the package xllamacpp is not installed", mend=installs("cpu")) from None
        if not model.is_file():
            raise UserError("there is no such file", where=str(model))
        self._key = secrets.token_urlsafe(24)
        given = xllamacpp.CommonParams()
        given.model.path = str(model)
        given.n_ctx, given.n_parallel = context * slots, slots
        given.api_keys, given.cors_origins = [self._key], "localhost"
        given.verbosity, given.warmup = 1, False
        given.cache_ram_mib = 0  # kept prompts would be found again under another adapter
        if exact_cache:
            given.cache_type_k = given.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            given.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if threads:
            given.cpuparams.n_threads = given.cpuparams_batch.n_threads = threads
        huge = _huge_pages.worth_it(model.stat().st_size)
        if huge:
            given.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
        given.lora_init_without_apply = True
        given.lora_adapters = [_lora(xllamacpp, path) for path in loras]
        self.loras = len(loras)
        try:
            self._server = xllamacpp.Server(given)
        except RuntimeError as error:
            files = ", ".join(str(path) for path in (model, *loras))
            raise UserError(
                f"llama.cpp cannot load this ({error})", where=files,
                mend="name a whole file of an architecture that llama.cpp knows; make one: codeup export gguf MODEL",
            ) from None  # fmt: skip
        if huge:
            _huge_pages.collapse()
        self.address = self._server.listening_address

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server's threads and free the model."""
        self._server = None

    def tokenize(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        """Token ids of a text; with `special`, the names of control tokens in it become those tokens."""
        asked = {"content": text, "add_special": begin, "parse_special": special}
        return list(self.post("/tokenize", asked)["tokens"])

    def complete(self, prompt: Sequence[int], most: int, *, lora_scales: Sequence[float] = ()) -> list[int]:
        """Greedy continuation of token ids, at most `most`, with the token that ended it where one did."""
        asked = {
            "prompt": list(prompt), "n_predict": most, "temperature": 0.0, "return_tokens": True,
            "cache_prompt": False, "lora": [{"id": at, "scale": scale} for at, scale in enumerate(lora_scales)],
        }  # fmt: skip
        return list(self.post("/completion", asked)["tokens"])

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """One request to llama.cpp's server; WorkFailed with its words where it refuses."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise WorkFailed(f"llama.cpp refused {path}: {error.read().decode(errors='replace')[:400]}") from None

    def get(self, path: str) -> Any:
        """What the server says of itself."""
        request = urllib.request.Request(self.address + path, None, {"Authorization": f"Bearer {self._key}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())

    def stream(
        self, path: str, body: Mapping[str, Any], on_open: Callable[[socket.socket], None]
    ) -> Iterator[dict[str, Any]]:
        """The events of one streamed request. `on_open` is given its socket: shutting that down ends the work.

        Raises WorkFailed with the server's words where it refuses, OSError where the connection breaks.
        """
        place = urllib.parse.urlsplit(self.address)
        with contextlib.closing(http.client.HTTPConnection(str(place.hostname), place.port or 80, TIMEOUT_S)) as line:
            line.connect()
            on_open(line.sock)
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
            line.request("POST", path, json.dumps({**body, "stream": True}), headers)
            reply = line.getresponse()
            if reply.status != 200:
                said = reply.read().decode(errors="replace")
                raise WorkFailed(f"llama.cpp refused {path}: {said[:400]}")
            for text in reply:
                if text.startswith(b"data: {"):
                    event: dict[str, Any] = json.loads(text[6:])
                    if "error" in event:
                        raise WorkFailed(f"llama.cpp failed: {json.dumps(event['error'])[:400]}")
                    yield event
                elif text.startswith(b"error: "):
                    raise WorkFailed(f"llama.cpp failed: {text.decode(errors='replace')[:400]}")


def _lora(xllamacpp: Any, path: Path) -> Any:
    if not path.is_file():
        raise UserError("there is no such file", where=str(path))
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path, info.scale = str(path), 0.0
    return info
