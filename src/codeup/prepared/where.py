"""Find prepared datasets: the folder of one, or a run folder that holds several.

runs/nano/                               every finished data step of the run, the newest where one ran twice
runs/nano/steps/data-code-3f9a1c07d2/    that one
exported/                                an export, which has a manifest of its own
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeup import artifacts
from codeup.data.split import choose_validation, group_key
from codeup.data.store import read_conversations
from codeup.errors import UserError
from codeup.provenance.manifest import MANIFEST


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset's folder with what is written in it."""

    folder: Path
    manifest: dict[str, Any]
    marker: dict[str, Any]
    """artifact.json; empty for an export."""

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def is_export(self) -> bool:
        return bool(self.manifest.get("kind") == "export")

    @property
    def funnel(self) -> dict[str, Any]:
        """The account of its rows, as the step left it."""
        return read_json(self.folder / "funnel.json")


def find(place: Path, dataset: str = "") -> list[Path]:
    """Folders of the datasets at a place, one of them if `dataset` names it. Raises UserError where there is none."""
    if (place / MANIFEST).is_file() or _is_prepare(place):
        found = [place]
    elif (place / "steps").is_dir():
        found = sorted(_newest(place / "steps").values())
    else:
        found = sorted(each.parent for each in place.glob(f"*/{MANIFEST}"))
    if not found:
        what = "holds no prepared dataset" if place.is_dir() else "there is no such folder"
        raise UserError(
            what, where=str(place), mend="give the folder of a run, of one of its data steps, or of an export"
        )
    if not dataset:
        return found
    names = {_name(folder): folder for folder in found}
    if dataset not in names:
        raise UserError(f"no dataset {dataset!r}", where=str(place), mend=f"one of: {', '.join(names)}")
    return [names[dataset]]


def is_dataset(place: Path) -> bool:
    """Whether `find` would find something."""
    return (place / MANIFEST).is_file() or (place / "steps").is_dir() or any(place.glob(f"*/{MANIFEST}"))


def load(folder: Path) -> Prepared:
    """Read what is written in a dataset's folder. Raises UserError for a manifest that is gone or damaged."""
    if not (folder / MANIFEST).is_file():
        raise UserError(f"there is no {MANIFEST}", where=str(folder), mend="prepare the data again")
    manifest, marker = read_json(folder / MANIFEST), folder / artifacts.MARKER
    if not {"name", "kind", "files", "counts", "sources"} <= manifest.keys():
        raise UserError("is not the manifest of a dataset", where=str(folder / MANIFEST), mend="prepare the data again")
    return Prepared(folder, manifest, read_json(marker) if marker.is_file() else {})


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file. Raises UserError."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), mend="prepare the data again") from None
    except ValueError as error:
        raise UserError(f"damaged file ({error})", where=str(path), mend="prepare the data again") from None
    if not isinstance(value, dict):
        raise UserError("is not a JSON object", where=str(path), mend="prepare the data again")
    return value


def held_out(prepared: Prepared) -> tuple[NDArray[np.bool_], list[bytes]]:
    """For each line of conversations.jsonl whether it is a validation row, and its group. Reads the file once."""
    keys = [group_key(each) for each in read_conversations(prepared.folder / "conversations.jsonl")]
    settings = prepared.manifest["settings"]
    chosen = choose_validation(keys, rows=settings["validation_rows"], seed=settings["seed"])
    return np.array([key in chosen for key in keys], dtype=bool), keys


def _is_prepare(folder: Path) -> bool:
    marker = folder / artifacts.MARKER
    return marker.is_file() and read_json(marker).get("kind") == "prepare"


def _newest(steps: Path) -> dict[str, Path]:
    """Folders of finished prepare steps by step name; of several, the one finished last."""
    found: dict[str, tuple[str, Path]] = {}
    for folder in _prepare_folders(steps):
        marker = read_json(folder / artifacts.MARKER)
        entry = (str(marker.get("finished")), folder)
        found[marker["step"]] = max(entry, found.get(marker["step"], entry))
    return {step: folder for step, (_, folder) in found.items()}


def _prepare_folders(steps: Path) -> Iterator[Path]:
    yield from (folder for folder in sorted(steps.iterdir()) if ".replaced-" not in folder.name and _is_prepare(folder))


def _name(folder: Path) -> str:
    return load(folder).name
