"""`codeup list`, `codeup doctor` and `codeup sandbox selftest`: what there is, and what this machine can do."""

from __future__ import annotations

import json as jsonlib
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from codeup import __version__, plugins
from codeup.errors import UserError

LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate", "numpy", "pydantic")
OPTIONAL = ("bitsandbytes", "xllamacpp", "ray")


def list_names(kind: str, *, json: bool) -> None:
    """Print the names of a kind with their first docstring line; `settings` prints every setting of a recipe."""
    kinds = [*plugins.KINDS, "settings"]
    if not kind:
        print(jsonlib.dumps({"kinds": kinds}) if json else "kinds: " + ", ".join(kinds))
        return
    if kind not in kinds:
        raise UserError(f"there is no kind {kind!r}", where="codeup list", mend=f"one of: {', '.join(kinds)}")
    rows = _settings() if kind == "settings" else plugins.describe(kind)
    if json:
        print(jsonlib.dumps({"kind": kind, "names": [{"name": name, "about": about} for name, about in rows]}))
        return
    width = max((len(name) for name, _ in rows), default=0) + 2
    for name, about in rows:
        print(f"{name:<{width}}{about}")


def doctor(*, json: bool) -> None:
    """Print versions, devices and the sandbox level that this machine reaches."""
    import torch

    from codeup.evaluate import whole
    from codeup.sandbox import probe

    found: dict[str, Any] = {
        "codeup": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "libraries": {name: _installed(name) for name in (*LIBRARIES, *OPTIONAL)},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "sandbox": probe.describe(),
        "languages": whole.installed(),
    }
    if json:
        print(jsonlib.dumps(found))
        return
    languages = found.pop("languages")
    for key, value in found.items():
        print(f"{key:<12}{_flat(value)}")
    for name, version in languages.items():
        print(f"  {name:<12}{version}")


def selftest(*, json: bool, off: Sequence[str] = (), languages: bool = False) -> bool:
    """Run the attack corpus, or other languages' attacks, and print what each achieved; True when the sandbox held."""
    if languages:
        from codeup.evaluate.language_selftest import selftest as run_languages

        found = run_languages()
        print(jsonlib.dumps(found.as_dict()) if json else found.text())
        return found.held

    from codeup.sandbox.selftest import selftest as run_selftest

    report = run_selftest(off=off)
    print(jsonlib.dumps(report.as_dict()) if json else report.text())
    return report.held


def _settings() -> list[tuple[str, str]]:
    from pydantic import BaseModel

    from codeup.recipe import Recipe
    from codeup.recipe_text import section_in

    rows: list[tuple[str, str]] = []

    def walk(section: type[BaseModel], prefix: str) -> None:
        for name, field in section.model_fields.items():
            inner = section_in(field.annotation)
            default = (
                "" if field.is_required() or inner else f" (default {field.get_default(call_default_factory=True)!r})"
            )
            rows.append((prefix + name, (field.description or "") + default))
            if inner:
                walk(inner, f"{prefix}{name}.")

    walk(Recipe, "")
    return rows


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner if inner is not None else '-'}" for key, inner in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
