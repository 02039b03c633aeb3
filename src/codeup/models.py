"""Where a model's name leads: the packaged nano models, a folder, a finished run, or the Hub.

Covers finding and identifying models. Loading weights is for engines/ and train/.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from codeup.errors import UserError

PACKAGED = ("nano", "nano-base")
"""Models that come with the package: the demonstration's tuned model, and its base."""
SAMPLE_BYTES = 1 << 16
"""Weight files are identified by size and three samples of this many bytes; hashing 16 GB each time is too slow."""


def locate(name: str, revision: str | None = None) -> Path:
    """The folder of a model: `nano`, `nano-base`, a model folder, a run folder (its final model), or a Hub id.

    Raises UserError when nothing is found, saying what was looked for and where.
    """
    if name in PACKAGED:
        from codeup import nano

        return nano.base_folder() if name == "nano-base" else nano.tuned_folder()
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if (path / "run.json").is_file():
        return _final_model(path)
    if is_gguf(name):
        raise UserError("a GGUF file cannot be used here", where=name, mend="give the folder that it was made of")
    if path.exists():
        raise UserError("is not a model: it has no config.json", where=name, mend="give the folder of a saved model")
    _refuse_no_hub_id(name)
    return _download(name, revision)


def _refuse_no_hub_id(name: str) -> None:
    """Raise UserError for what is neither here nor can be on the Hub: ./model, /models/x, model, a/b/c."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(
            f"there is no model {name!r}",
            mend="give nano, nano-base, a model folder, a run folder, or a Hub id OWNER/NAME",
        )


def read_config(name: str, revision: str | None = None) -> dict[str, Any]:
    """config.json of a model by the names `locate` takes; of a Hub model nothing else is fetched."""
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists():
        path = _download_config(name, revision)
    else:
        path = locate(name, revision) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"damaged file ({error})", where=str(path), mend="fetch the model again") from None
    if not isinstance(config, dict):
        raise UserError("is not a JSON object", where=str(path), mend="fetch the model again")
    return config


def is_local(name: str) -> bool:
    """Whether `locate` would find the model without asking the Hub."""
    return name in PACKAGED or Path(name).expanduser().exists()


def identity(name: str, revision: str | None = None) -> str:
    """What makes two models the same for a run: a folder's contents, a Hub id and revision. Downloads nothing.

    Raises UserError for a folder that is not there or holds no model; whether the Hub has an id is not asked.
    """
    if not is_local(name):
        _refuse_no_hub_id(name)
        return f"hub:{name}@{revision or 'main'}"
    digest = hashlib.sha256()
    if is_gguf(name):
        files = [Path(name).expanduser()]
    else:
        files = [path for path in locate(name).iterdir() if path.is_file() and path.suffix not in (".md", ".csv")]
    for file in sorted(files):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}\0".encode())
        try:
            with file.open("rb") as stream:
                for offset in sorted({0, max(0, size // 2), max(0, size - SAMPLE_BYTES)}):
                    stream.seek(offset)
                    digest.update(stream.read(SAMPLE_BYTES))
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=str(file)) from None
    return f"sha256:{digest.hexdigest()}"


def is_gguf(name: str) -> bool:
    """Whether a name means a GGUF file, which engines/llamacpp.py runs and nothing trains or exports."""
    return name.lower().endswith(".gguf") and not Path(name).expanduser().is_dir()


def is_tuned(folder: Path) -> bool:
    """Whether a model folder says which template it answers in (every model that CodeUp writes does)."""
    return (folder / "chat_template.jinja").is_file()


def check_adapter(folder: Path) -> Path:
    """The folder, if it holds an adapter. Raises UserError before anything heavy is loaded."""
    if not folder.is_dir():
        raise UserError("no such adapter folder", where=str(folder), mend="name the folder with adapter_config.json")
    if not (folder / "adapter_config.json").is_file():
        raise UserError("is not an adapter: it has no adapter_config.json", where=str(folder), mend="name its folder")
    return folder


def _final_model(run: Path) -> Path:
    try:
        final = json.loads((run / "run.json").read_text(encoding="utf-8"))["final_model"]
    except (ValueError, KeyError, TypeError):
        raise UserError("damaged run.json", where=str(run), mend="run `codeup run` on its recipe again") from None
    if not final:
        raise UserError(
            "this run has not finished a model", where=str(run), mend="run `codeup run` on its recipe again"
        )
    return run / final


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "tokenizer*", "*.model"]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the Hub client raises many unrelated types; all of them mean "not available from here"
        raise _not_available(name, error) from None


def _download_config(name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision))
    except Exception as error:  # as in _download
        raise _not_available(name, error) from None


def _not_available(name: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0]
    return UserError(
        f"model {name!r} is not a folder here and could not be fetched from the Hub ({reason})",
        mend="check the id and your network, log in for gated models (`hf auth login`), or give a local folder",
    )
