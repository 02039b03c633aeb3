"""A server from its port to its end: bound first, answered by another process while the model is loaded, then by us.

Not covered: worker processes, reloading, systemd sockets.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from codeup.engines._interface import Request
from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.serve import app
from codeup.serve.desk import Desk, Loaded
from codeup.serve.guard import MIN_TOKEN_CHARS, is_loopback
from codeup.serve.metrics import Metrics
from codeup.serve.voices import end_ids, load_voices
from codeup.serve.waiting import server_config, waiting_room


def check_address(host: str, token: str | None) -> None:
    """Raise UserError for an address that others can reach without a token, and for a token that can be guessed."""
    if token is not None and (len(token) < MIN_TOKEN_CHARS or not token.isascii() or not token.isprintable()):
        raise UserError(
            f"the token is too weak: it needs at least {MIN_TOKEN_CHARS} printable ASCII characters",
            mend="for example: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    if token is None and not is_loopback(host):
        raise UserError(
            f"--host {host} can be reached by others and no token is set",
            mend="put a secret into an environment variable and name it: --token-env VAR; or use --host 127.0.0.1",
        )


def bind(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet. Raises UserError where the port is taken or the address not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"--host {host} is not an address: {error.strerror}", mend="use 127.0.0.1") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(host, port) from None
        if error.errno == errno.EACCES:
            raise UserError(f"port {port} needs privileges", mend="name one above 1023: --port N") from None
        raise UserError(f"cannot listen on {host} port {port}: {error.strerror}", mend="use --host 127.0.0.1") from None
    listening.setblocking(False)
    return listening


def _in_use(host: str, port: int) -> UserError:
    return UserError(f"port {port} of {host} is in use", mend="name another one: --port N")


def hf_loader(
    folder: Path, name: str, adapters: Mapping[str, Path], *, template: str | None, device: str, dtype: str,
    limits: app.Limits,
) -> Callable[[], Loaded]:  # fmt: skip
    """What loads a model by transformers, its heavy imports with it."""

    def load() -> Loaded:
        from codeup.engines._adapters import check_base
        from codeup.engines.hf import Engine

        for adapter in adapters.values():
            check_base(folder, adapter)
        engine = Engine(folder, device=device, dtype=dtype)
        voices = load_voices(
            name, folder, adapters, template=template, engine_tokenizer=engine.tokenizer, end_ids=end_ids(folder)
        )  # fmt: skip
        server = engine.live(adapters=adapters, max_batch=limits.max_batch, max_queue=limits.max_queue)
        _warm_up(server)
        return Loaded(
            server, voices, engine.context, lambda id: engine.writer.text([id]), engine.description,
            _constrainer(voices[name].tokenizer, engine.model.config.get_text_config().vocab_size),
        )  # fmt: skip

    return load


def gguf_loader(
    file: Path, tokenizer: Path, name: str, adapters: Mapping[str, Path], *, template: str | None, limits: app.Limits
) -> Callable[[], Loaded]:
    """What loads a GGUF file and its LoRA files by llama.cpp; `tokenizer` is a folder (engines/llamacpp.py)."""

    def load() -> Loaded:
        from codeup.engines.llamacpp import Engine

        engine = Engine(file, tokenizer=tokenizer, loras=adapters, slots=limits.max_batch)
        voices = load_voices(
            name, tokenizer, adapters, template=template, engine_tokenizer=engine.tokenizer,
            end_ids=end_ids(tokenizer),
        )  # fmt: skip
        server = engine.live(adapters=adapters, max_batch=limits.max_batch, max_queue=limits.max_queue)
        _warm_up(server)
        tokens = voices[name].tokenizer
        return Loaded(
            server, voices, engine.context, lambda id: engine.writer.text([id]), engine.description,
            _constrainer(tokens, len(tokens)),
        )  # fmt: skip

    return load


def _warm_up(server: Any) -> None:
    """One answer that nobody reads: what libraries import and allocate at the first one is done before any is asked."""
    server.submit([Request((0, 1), 2)])
    while server.load() != (0, 0):
        server.step()


def _constrainer(tokenizer: Any, vocabulary: int) -> Callable[[Any, frozenset[int]], Any]:
    """JSON answers, made ready when the first one is asked for."""
    grammars: list[Any] = []

    def constrain(schema: Any, end_ids: frozenset[int]) -> Any:
        from codeup.engines._constrained import JsonGrammars

        if not grammars:
            grammars.append(JsonGrammars(tokenizer, vocabulary))
        return grammars[0].prepare(schema, end_ids)

    return constrain


def serve(
    listening: socket.socket, load: Callable[[], Loaded], *, host: str, allow: Sequence[str] = (), **settings: Any
) -> None:  # fmt: skip
    """Load, then answer until Ctrl-C or a signal; `settings` are further ones of `prepare`.

    Raises what loading raised, WorkFailed for anything unexpected.
    """
    try:
        with waiting_room(listening, loopback=is_loopback(host), allow=allow):
            loaded = load()
            _spare_collecting()
        server, desk = prepare(lambda: loaded, host=host, allow=allow, **settings)
        try:
            listening.listen(512)
        except OSError:
            raise _in_use(host, listening.getsockname()[1]) from None
        asyncio.run(server.serve(sockets=[listening]))
        if desk.error is not None:
            raise desk.error
    except (CodeUpError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise WorkFailed(f"the model could not be served: {type(error).__name__}: {error}") from error
    finally:
        gc.unfreeze()
        listening.close()


def _spare_collecting() -> None:
    """Take what was loaded out of the garbage collector's sight: libraries leave some 400,000 objects, and looking
    through them all holds Python's lock for a fifth of a second, in whichever thread it happens."""
    gc.collect()
    gc.freeze()


def prepare(
    load: Callable[[], Loaded], *, host: str, limits: app.Limits, token: str | None = None, allow: Sequence[str] = (),
    on_ready: Callable[[Loaded], None] = lambda loaded: None, more_routes: Sequence[Any] = (),
) -> tuple[uvicorn.Server, Desk]:  # fmt: skip
    """A server that has not begun, and its desk. `more_routes` are further routes, guarded as the others are."""

    def fail() -> None:
        server.should_exit = True

    desk = Desk(load, Metrics(), fail, on_ready)
    guarded = app.build(desk, limits, loopback=is_loopback(host), token=token, allow=allow, more_routes=more_routes)
    server = http_server(guarded)
    return server, desk


def http_server(app: Any, *, graceful_s: int = 5) -> uvicorn.Server:
    """An HTTP server of ours around an ASGI app; what it still answers at its end may take `graceful_s` seconds."""
    return uvicorn.Server(server_config(app, lifespan="on", timeout_graceful_shutdown=graceful_s))
