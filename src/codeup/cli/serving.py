"""`codeup serve`: argv to one call of serve/running.py; the address on stdout, what happens on stderr."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from pathlib import Path
from typing import Any

from codeup import models
from codeup.cli.scoring import tokenizer_of
from codeup.errors import UserError


def serve(
    model: str,
    *,
    adapters: list[str],
    name: str,
    template: str | None,
    host: str,
    port: int,
    token_env: str,
    allow_host: list[str],
    queue: int,
    max_batch: int,
    deadline_s: float,
    device: str,
    dtype: str,
    json: bool,
    tokenizer: str = "",
) -> None:
    """Serve until Ctrl-C. With --json the line with the address is a JSON object, printed when the model is ready."""
    token = read_token(token_env)
    _check_names(template, dtype, device)
    from codeup.serve.guard import is_loopback

    file = models.is_gguf(model)
    named = parse_adapters(adapters, files=file)
    folder = tokenizer_of(model, tokenizer) if file else models.locate(model)  # which may have to merge `nano` first
    print("loading libraries", file=sys.stderr, flush=True)
    from codeup.serve import app, running, voices
    from codeup.serve.pages import Page
    from codeup.serve.programs import Programs

    running.check_address(host, token)
    listening = running.bind(host, port)
    port = listening.getsockname()[1]
    limits = app.Limits(deadline_s=deadline_s, max_batch=max_batch, max_queue=queue)
    called = name or (Path(model).stem if file else voices.default_name(model))
    if file:
        load = running.gguf_loader(Path(model).expanduser(), folder, called, named, template=template, limits=limits)
    else:
        load = running.hf_loader(folder, called, named, template=template, device=device, dtype=dtype, limits=limits)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"

    def ready(loaded: Any) -> None:
        served = {"url": url, "models": list(loaded.voices), "engine": loaded.description, "context": loaded.context}
        print(jsonlib.dumps(served) if json else f"{url}  {', '.join(loaded.voices)}", flush=True)
        print(f"the page: {url.removesuffix('v1')}{'login?token=…' if token else ''}", file=sys.stderr, flush=True)
        print("ready; Ctrl-C ends", file=sys.stderr, flush=True)

    print(f"listening on {url}, loading {model if file else folder}", file=sys.stderr, flush=True)
    if not is_loopback(host):
        print("the traffic is not encrypted: put a TLS proxy in front on an open network", file=sys.stderr)
    programs = Programs()
    page = Page(programs, token)
    try:
        running.serve(
            listening, load, host=host, limits=limits, token=token, allow=allow_host, on_ready=ready,
            more_routes=page.routes(),
        )  # fmt: skip
    finally:
        programs.close()


def _check_names(template: str | None, dtype: str, device: str) -> None:
    """What would otherwise be found out when the model is loaded."""
    from codeup.chat.templates import TEMPLATES
    from codeup.engines._interface import DTYPES

    if template is not None and template not in TEMPLATES:
        raise UserError(f"no template is named {template!r}", where="--template", mend=f"use {', '.join(TEMPLATES)}")
    if dtype not in ("auto", *DTYPES):
        raise UserError(f"no dtype is named {dtype!r}", where="--dtype", mend=f"use auto, {', '.join(DTYPES)}")
    if device.partition(":")[0] not in ("auto", "cpu", "cuda"):  # cuda:1 is one of several
        raise UserError(f"no device is named {device!r}", where="--device", mend="use auto, cpu or cuda")


def read_token(variable: str) -> str | None:
    """The token in an environment variable, None where no variable is named."""
    if not variable:
        return None
    token = os.environ.get(variable, "")
    if not token:
        raise UserError(f"--token-env names {variable!r}, which is not set", mend=f"export {variable}=…")
    return token


def parse_adapters(pairs: list[str], *, files: bool = False) -> dict[str, Path]:
    """NAME=FOLDER pairs; with `files` NAME=LORA.gguf. UserError for others, a name twice, or what is not there."""
    found: dict[str, Path] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise UserError(f"--adapter {pair!r} is not NAME=FOLDER", mend="for example --adapter math=adapters/math")
        if name in found:
            raise UserError(f"two adapters are named {name!r}", mend="give each its own name")
        if "." in name or not name.isprintable():
            raise UserError(f"an adapter cannot be named {name!r}", mend="use letters, digits, - and _")
        if files and not Path(folder).is_file():
            raise UserError(
                "a GGUF model takes adapters as GGUF files, and there is no such file", where=folder,
                mend="make one: codeup export gguf BASE --adapter FOLDER",
            )  # fmt: skip
        found[name] = Path(folder) if files else models.check_adapter(Path(folder))
    return found
