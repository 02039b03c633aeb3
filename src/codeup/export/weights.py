"""The weight files of a model folder, opened side by side; a tensor is read when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from codeup.errors import UserError


def files_of(folder: Path) -> list[Path]:
    """The safetensors files that the index names, or model*.safetensors where there is none. UserError for missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError(f"damaged index ({error})", where=str(index), mend="fetch or make it again") from None
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("model*.safetensors"))
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = f"weights missing: {', '.join(missing) or 'no .safetensors file'}"
        raise UserError(what, where=str(folder), mend="fetch the model again")
    return files


@contextmanager
def opened(files: list[Path]) -> Iterator[dict[str, Any]]:
    """Tensor name -> the open file that holds it (`get_slice`, `get_tensor`). UserError for a damaged file."""
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        for file in files:
            try:
                weights = stack.enter_context(safe_open(file, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise UserError(
                    f"damaged weight file ({error})", where=str(file), mend="fetch or make it again"
                ) from None
            found.update(dict.fromkeys(weights.keys(), weights))
        yield found
