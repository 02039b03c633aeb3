"""How several devices share a training, by name, and whether what it takes is installed. Loads nothing heavy.

ddp               each has the whole base and all of what AdamW keeps (ranks.py)
fsdp2             1/n of the base's layers each (sharded.py)
deepspeed-zero2   1/n each of what AdamW keeps (zero.py)
deepspeed-zero3   1/n of the base's layers each (zero.py)
"""

from __future__ import annotations

import importlib.metadata

from packaging.version import Version

from codeup.errors import UserError, installs
from codeup.recipe_checks import SHARING_THE_BASE

ZERO2, ZERO3 = "deepspeed-zero2", "deepspeed-zero3"
STRATEGIES = ("ddp", "fsdp2", ZERO2, ZERO3)
OLDEST, TOO_NEW = "0.19", "0.20"
"""DeepSpeed whose workings are known: the moments of ZeRO-2 are reached through a function that is not public."""


def shares_base(strategy: str) -> bool:
    """Whether no device holds the whole base."""
    return strategy in SHARING_THE_BASE


def require(strategy: str) -> None:
    """UserError for an unknown strategy, and where it needs DeepSpeed and that is missing or of another version."""
    if strategy not in STRATEGIES:
        raise UserError(f"unknown strategy {strategy!r}", mend=f"choose from: {', '.join(STRATEGIES)}")
    if strategy not in (ZERO2, ZERO3):
        return
    try:
        found = importlib.metadata.version("deepspeed")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{strategy} needs DeepSpeed, which is not installed",
            where="strategy",
            mend=f"{installs('deepspeed')}, or take ddp or fsdp2",
        ) from None
    if not Version(OLDEST) <= Version(found) < Version(TOO_NEW):
        raise UserError(
            f"DeepSpeed {found} is installed, and {strategy} was made for {OLDEST} up to {TOO_NEW}",
            where="strategy",
            mend=f"pip install 'deepspeed>={OLDEST},<{TOO_NEW}', or take ddp or fsdp2",
        )
