"""Trains in several processes that meet over loopback. Run by test_train_ranks.py.

    python train_ranks_driver.py '{"arguments": {"model": .., ..}, "runs": [{"count": 2, "out": .., ..}]}'

One line of JSON per run: what each rank returned, or the error it ended with. The parent never trains: the ranks are
forked with the libraries loaded, and have one thread each. Of a run:

    count, out       how many ranks, and the folder of the training
    more             other arguments of train_sft (train_dpo where there is a `beta`)
    more_of          the same for one rank, by its number
    killed           [rank, step]: that rank kills itself when it begins the gradient of that step
    interrupted      the same with Ctrl-C
    copy_of          a folder that `out` begins as
    strategy         of ranks.join
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from codeup.errors import UserError, WorkFailed
from codeup.train import loop, ranks, sharded, zero
from codeup.train.dpo import train_dpo
from codeup.train.sft import train_sft


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def end_at(step: int, number: signal.Signals) -> None:
    original = loop.accumulate

    def accumulate(run: loop.Run, *arguments: Any) -> Any:
        if run.progress.step == step:
            os.kill(os.getpid(), number)
        return original(run, *arguments)

    loop.accumulate = accumulate  # type: ignore[assignment]


def count_what_is_read() -> list[int]:
    """Numbers in each piece of a shared-out base that this process reads."""
    sizes: list[int] = []
    original = sharded.rows

    def rows(*arguments: Any) -> Any:
        piece = original(*arguments)
        sizes.append(piece.numel())
        return piece

    sharded.rows = rows  # type: ignore[assignment]
    return sizes


def count_what_is_held() -> dict[str, int]:
    """Under DeepSpeed, after a step and while its passes go on: numbers of first moments here (`moments`), of this
    rank's shares of the base (`shares`), and the most numbers of the layers' weights that are whole (`passing`)."""
    held = {"moments": 0, "shares": 0, "passing": 0}
    original = loop.train_step

    def train_step(run: loop.Run) -> loop.StepResult:
        frozen = [p for p in run.model.get_decoder().layers.parameters() if not p.requires_grad]

        def count(*_: Any) -> None:
            held["passing"] = max(held["passing"], sum(p.numel() for p in frozen))

        def watch(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            count()
            if isinstance(output, torch.Tensor) and output.requires_grad:
                output.register_hook(count)

        hooks = [m.register_forward_hook(watch) for m in run.model.get_decoder().layers.modules()]
        result = original(run)
        for hook in hooks:
            hook.remove()
        held["moments"] = sum(state["exp_avg"].numel() for state in run.optimizer.state.values())
        held["shares"] = sum(p.ds_tensor.numel() for p in frozen if hasattr(p, "ds_tensor"))
        return result

    loop.train_step = train_step
    return held


def one_rank(order: dict[str, Any], run: dict[str, Any], rank: int, port: int) -> dict[str, Any]:
    if run["count"] > 1:
        place = {"RANK": rank, "WORLD_SIZE": run["count"], "LOCAL_RANK": rank, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    for how, number in (("killed", signal.SIGKILL), ("interrupted", signal.SIGINT)):
        if how in run and run[how][0] == rank:
            end_at(run[how][1], number)
    arguments = order["arguments"] | run.get("more", {}) | run.get("more_of", {}).get(str(rank), {})
    paths: dict[str, Any] = {name: Path(arguments.pop(name)) for name in ("model", "tokens", "validation")}
    read = count_what_is_read()
    held = count_what_is_held() if run.get("strategy", "").startswith("deepspeed") else {}
    train = train_dpo if "beta" in arguments else train_sft
    try:
        joined = ranks.join("cpu", run.get("strategy", "ddp"))
        summary = train(**paths, out=Path(run["out"]), ranks=joined, **arguments)
        ranks.leave()
        return {"summary": summary, "read": sum(read), **held}
    except (UserError, WorkFailed) as error:
        return {"error": type(error).__name__, "message": str(error)}
    except KeyboardInterrupt:
        return {"error": "KeyboardInterrupt"}
    except BaseException:
        return {"error": "traceback", "message": traceback.format_exc()}


def one_run(order: dict[str, Any], run: dict[str, Any]) -> list[dict[str, Any]]:
    port, ends = free_port(), []
    if "copy_of" in run:
        shutil.copytree(run["copy_of"], run["out"])
    for rank in range(run["count"]):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, json.dumps(one_rank(order, run, rank, port)).encode())
            os._exit(0)
        os.close(writer)
        ends.append((child, reader))
    answers = []
    for child, reader in ends:
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        answers.append(json.loads(text) if text else {"signal": os.WTERMSIG(status)})
    return answers


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if any(run.get("strategy", "").startswith("deepspeed") for run in given["runs"]):
        zero.library(torch.device("cpu"))  # once: loading it takes longer than these trainings
    for each in given["runs"]:
        print(json.dumps(one_run(given, each)), flush=True)
