"""Generation by copies of a model on the machines of an executor, with the answers of one copy.

    prompts -> batches, as engines/hf.py makes them -> one piece each -> a replica's `generate` -> told in their order

A batch is never divided between replicas, and every row draws from a stream of its own, so an answer is made of the
same numbers wherever its batch is. The model's folder must be seen by every node under the same path: its content is
compared by hash before a replica is used. Replicas that compute differently (another GPU, other vector instructions,
another version) are refused, because a near tie would be decided differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from codeup import artifacts
from codeup.engines import hf
from codeup.engines._interface import Completion
from codeup.errors import UserError
from codeup.executors import Crew, Executor

SHARED = "put the run folder and the base model where every node sees them, under the same path"


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece: prompts that are decoded together, their keys, and how."""

    prompts: tuple[Sequence[int], ...]
    keys: tuple[int, ...]
    settings: Mapping[str, Any]


class Replica:
    """A worker: the model in memory. Raises UserError where its folder is missing or holds another model."""

    def __init__(self, folder: str, content: str, device: str) -> None:
        path = Path(folder)
        if not path.is_dir():
            raise UserError("does not see this model folder", where=folder, mend=SHARED)
        if content_of(path) != content:
            raise UserError("holds another model than on the driver's machine", where=folder, mend=SHARED)
        self.engine = hf.Engine(path, device=device)
        self.about = {"description": self.engine.description, "computes": _computes(self.engine.device)}

    def work(self, batch: Batch) -> list[tuple[int, Completion]]:
        """(place in the batch, completion), in the order of ending."""
        told: list[tuple[int, Completion]] = []
        self.engine.generate(
            batch.prompts, keys=batch.keys, batch_size=len(batch.prompts), **batch.settings,
            on_done=lambda place, completion: told.append((place, completion)),
        )  # fmt: skip
        return told

    def close(self) -> None:
        """Its memory goes with its process."""


def _computes(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return str(torch.backends.cpu.get_cpu_capability())


def content_of(folder: Path) -> str:
    """One hash over the names and contents of a model folder's files."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return artifacts.fingerprint([[path.name, artifacts.file_sha256(path)] for path in files])


class Replicas:
    """As engines/hf.py's Engine, as far as `generate` goes."""

    def __init__(self, folder: Path, crew: Crew) -> None:
        first = crew.abouts[0]
        for other in crew.abouts:
            if (other["description"], other["computes"]) != (first["description"], first["computes"]):
                told = "; ".join(
                    f"{each['node']}: {each['description']}, {each['computes']}" for each in (first, other)
                )
                raise UserError(f"the nodes do not compute alike ({told})", mend="use nodes of one kind for generation")
        self.description = str(first["description"])
        self.tokenizer = hf._load_tokenizer(folder, None)
        self._crew = crew

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        batch_size: int = 32,
        keys: Sequence[int] | None = None,
        on_done: Callable[[int, Completion], None] | None = None,
        **settings: Any,
    ) -> list[Completion]:
        """As Engine.generate; `on_done` is called in the same order, when a batch and all before it are finished."""
        numbers = range(len(prompts)) if keys is None else keys
        rows = [hf._Row(index, prompt, torch.empty(0)) for index, prompt in enumerate(prompts)]
        batches = [
            [row.index for row in batch] for batch in hf._batches(rows, batch_size, None, settings["max_new_tokens"])
        ]
        pieces = (
            Batch(tuple(prompts[at] for at in places), tuple(numbers[at] for at in places), settings)
            for places in batches
        )
        found: dict[int, Completion] = {}
        for places, told in zip(batches, self._crew.in_order(pieces), strict=True):
            for place, completion in told:
                found[places[place]] = completion
                if on_done is not None:
                    on_done(places[place], completion)
        return [found[index] for index in range(len(prompts))]


@contextmanager
def replicated(executor: Executor, folder: Path, *, device: str = "auto") -> Iterator[Replicas]:
    """Replicas on the executor's machines: as many as it was told, or one per GPU, or one per node."""
    folder = folder.resolve()
    gpus = 1 if executor.gpus and device != "cpu" else 0
    count = executor.replicas or (executor.gpus if gpus else executor.nodes)
    cpus = 1 if gpus else max(1, executor.cpus // count)
    arguments = {"folder": str(folder), "content": content_of(folder), "device": device}
    with executor.crew("codeup.engines._replicas:Replica", arguments, count=count, cpus=cpus, gpus=gpus) as crew:
        yield Replicas(folder, crew)
