"""Generation by copies of a model on the machines of an executor, with the answers of one copy.

    prompts -> shares, as engines/hf.py makes them -> one piece each -> a replica works it off -> told in their order

A share is never divided between replicas, and every row draws from a stream of its own, so an answer is made of the
same numbers wherever its share is. The model's folder must be seen by every node under the same path: its content is
compared by hash before a replica is used. Replicas that compute differently (another GPU, other vector instructions,
another version) are refused, because a near tie would be decided differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from codeup import artifacts
from codeup.engines import hf
from codeup.engines._interface import Completion, Request
from codeup.engines._worklist import answer, check_prompts, check_settings, make_requests, shares
from codeup.errors import UserError
from codeup.executors import Crew, Executor

SHARED = "put the run folder and the base model where every node sees them, under the same path"


@dataclass(frozen=True, slots=True)
class Share:
    """A piece: requests that are worked off in one running batch of so many rows."""

    requests: tuple[Request, ...]
    batch_size: int


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

    def work(self, share: Share) -> list[tuple[int, Completion]]:
        """(place in the share, completion), in the order of ending."""
        first = share.requests[0]
        prompts = [request.prompt for request in share.requests]
        check_prompts(prompts, first.max_new_tokens, self.engine.context, self.engine.bos_id)
        place_of = {id(request): place for place, request in enumerate(share.requests)}
        done = answer(self.engine.model, self.engine.writer, share.requests, share.batch_size)
        return [(place_of[id(request)], completion) for request, completion in done]

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
        max_new_tokens: int,
        end_ids: Sequence[int],
        stop_strings: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        batch_size: int = 32,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """As Engine.generate; `on_done` is called in the same order, when a share and all before it are finished."""
        check_settings(max_new_tokens, temperature, top_p)
        requests = make_requests(
            prompts, max_new_tokens=max_new_tokens, end_ids=end_ids, stop_strings=stop_strings, temperature=temperature,
            top_p=top_p, seed=seed, keys=keys,
        )  # fmt: skip
        number_of = {id(request): number for number, request in enumerate(requests)}
        work = shares(requests, batch_size)
        found: dict[int, Completion] = {}
        pieces = (Share(tuple(share), batch_size) for share in work)
        for share, told in zip(work, self._crew.in_order(pieces), strict=True):
            for place, completion in told:
                number = number_of[id(share[place])]
                found[number] = completion
                if on_done is not None:
                    on_done(number, completion)
        return [found[number] for number in range(len(requests))]


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
