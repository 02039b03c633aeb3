"""Which of several training processes this one is, from the variables that every launcher sets (torchrun, srun, ours).

    RANK 5   WORLD_SIZE 16   LOCAL_RANK 1   MASTER_ADDR node-0   MASTER_PORT 29500
        -> the sixth of sixteen, the second on its machine; process 0 waits at node-0:29500

Loads nothing: a command asks here before it knows whether anything heavy is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from codeup.errors import UserError

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """`rank` of `count` processes, `local` among those of this machine; `meeting` is host:port of process 0."""

    rank: int
    count: int
    local: int
    meeting: str


def here(variables: Mapping[str, str] = os.environ) -> Place | None:
    """This process's place, or None where it is alone. UserError where the variables do not make sense."""
    if variables.get("WORLD_SIZE", "1") == "1":
        return None
    missing = [name for name in NEEDED if not variables.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {variables['WORLD_SIZE']}, and {', '.join(missing)} not set",
            where="environment",
            mend="start with torchrun, or set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT",
        )
    rank, count, local = (_number(variables, name, default) for name, default in
                          (("RANK", ""), ("WORLD_SIZE", ""), ("LOCAL_RANK", "0")))  # fmt: skip
    if not rank < count:
        raise UserError(f"RANK {rank} is not below WORLD_SIZE {count}", where="environment")
    return Place(rank, count, local, f"{variables['MASTER_ADDR']}:{variables['MASTER_PORT']}")


def _number(variables: Mapping[str, str], name: str, default: str) -> int:
    text = variables.get(name, default)
    if not text.isdigit():
        raise UserError(f"{name} is {text!r}, not a number", where="environment")
    return int(text)
