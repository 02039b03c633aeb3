"""One base model in memory with any number of LoRA adapters, of which each step switches one on, or none.

    use("")      the base: every adapter layer is passed by            use("math")   base + math

The weights of the base are there once and stay as they are; an adapter is a few percent beside them. Switching walks
the adapter layers and touches no weights. Not covered: adapters of several bases, several adapters at once in one row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeup.artifacts import weights_sha256
from codeup.errors import UserError


class Adapters:
    """Raises UserError for a folder that is not an adapter, or one of another base."""

    def __init__(self, model: Any, folders: Mapping[str, Path]) -> None:
        self._model, self._layers, self._active = model, [], ""
        if not folders:
            return
        from peft import PeftModel
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper

        wrapped: Any = None
        for name, folder in folders.items():
            _check(Path(folder))
            try:
                if wrapped is None:
                    wrapped = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
                else:
                    wrapped.load_adapter(str(folder), adapter_name=name)
            except Exception as error:  # peft raises RuntimeError, ValueError, KeyError and safetensors' own
                raise UserError(
                    f"the adapter does not fit the model: {_cause(error)}",
                    where=str(folder),
                    mend="serve it with the base it was trained on, which its adapter_config.json names",
                ) from error
        wrapped.eval()
        kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
        self._layers = [module for module in wrapped.modules() if isinstance(module, kinds)]
        self._active = list(folders)[-1]
        self._switch("")

    def use(self, adapter: str) -> Any:
        """The model with this adapter on ("" for none), ready for a forward pass."""
        if adapter != self._active:
            self._switch(adapter)
        return self._model

    def _switch(self, adapter: str) -> None:
        for layer in self._layers:
            layer.enable_adapters(bool(adapter))
            if adapter:
                layer.set_adapter(adapter, inference_mode=True)
        self._active = adapter


def check_base(model: Path, adapter: Path) -> None:
    """Raise UserError where an adapter of CodeUp's records the weights of another base than `model`.

    The record is the sha256 over the sha256 of each weight file, in the order of their names; adapters without one
    are left to the shapes.
    """
    record = adapter / "codeup_adapter.json"
    if not record.is_file():
        return
    try:
        wanted = json.loads(record.read_text(encoding="utf-8")).get("base_sha256")
    except (ValueError, AttributeError) as error:
        raise UserError(f"damaged codeup_adapter.json ({error})", where=str(adapter)) from None
    if wanted is not None and wanted != weights_sha256(model):
        raise UserError(
            f"the adapter was trained on another base than {model}",
            where=str(record),
            mend="serve it with the base it was trained on, which its adapter_config.json names",
        )


def _check(folder: Path) -> None:
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise UserError("the folder has no adapter_config.json", where=str(folder), mend="name an adapter folder")
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"damaged adapter_config.json ({error})", where=str(folder)) from None


def _cause(error: BaseException) -> str:
    """The line of peft's message that says what does not fit (the first says only that something does not)."""
    lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
    return next((line for line in lines if "size mismatch" in line or "not found" in line), lines[0] if lines else "")
