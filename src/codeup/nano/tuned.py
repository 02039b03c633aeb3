"""`nano`: the packaged base with the adapter that recipes/nano.yaml trained: a model to talk to at once.

    base/model.safetensors (bf16)  +  adapter/ (float16: three stages of LoRA as one, rank 48)  ->  a model in the cache

Made anew with `codeup run recipes/nano.yaml`, `codeup export hub runs/nano --out nano-hub` and
`python -m codeup.nano.tuned nano-hub`.
The merge happens when the model is first asked for, and again where base or adapter are others. It is a demonstration:
it knows the tasks this project generates and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from codeup import artifacts

HERE = Path(__file__).parent
ADAPTER, BASE = HERE / "adapter", HERE / "base"
WEIGHTS = "adapter_model.safetensors"
BESIDE = ("chat_template.jinja", "tokenizer_config.json", "generation_config.json")
"""Files of the tuned model that differ from the base's."""


def tuned_folder() -> Path:
    """The merged model's folder in the cache, written once for these weights. UserError where the cache cannot be."""
    files = [BASE / "model.safetensors", ADAPTER / WEIGHTS, *(ADAPTER / name for name in BESIDE)]
    print_ = artifacts.fingerprint({path.name: artifacts.file_sha256(path) for path in files})[:16]
    folder = artifacts.cache_folder() / f"nano-{print_}" / "nano"
    if not (folder / "config.json").is_file():  # copied last
        artifacts.make_folder(folder)
        _merge(folder / "model.safetensors")
        for path in (BASE / "tokenizer.json", *(ADAPTER / name for name in BESIDE), BASE / "config.json"):
            artifacts.write_bytes(folder / path.name, path.read_bytes())
    return folder


def _merge(target: Path) -> None:
    """W + alpha / r * B A in float32, rounded once to the base's type."""
    from safetensors.torch import load_file, save

    weights, adapter = load_file(BASE / "model.safetensors"), load_file(ADAPTER / WEIGHTS)
    settings = json.loads((ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    for name in [name for name in adapter if name.endswith(".lora_A.weight")]:
        a, b = adapter[name].float(), adapter[name.replace(".lora_A.", ".lora_B.")].float()
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        weight = weights[f"{module}.weight"]
        weights[f"{module}.weight"] = (weight.float() + scale * (b @ a)).to(weight.dtype)
    artifacts.write_bytes(target, save(weights, {"format": "pt"}))


def pack(exported: Path) -> None:
    """Take the adapter of an exported study into the package, in half precision."""
    import torch
    from safetensors.torch import load_file, save_file

    ADAPTER.mkdir(exist_ok=True)
    weights = load_file(exported / "adapter" / WEIGHTS)
    save_file({name: tensor.to(torch.float16) for name, tensor in weights.items()}, ADAPTER / WEIGHTS, {"format": "pt"})
    settings = json.loads((exported / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = "nano-base"
    (ADAPTER / "adapter_config.json").write_text(
        json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    for name in BESIDE:
        shutil.copyfile(exported / name, ADAPTER / name)
        os.chmod(ADAPTER / name, 0o644)


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
